"""L_t: the frames' inversions by the pack's own encoder (e4e or ReStyle), and which of them failed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...nets.restyle import RestyleEncoder
from ...packs.store import ModelPack
from .rendering import Rendering

PASS = 8  # pictures that the networks see together


class Inverter:
    """Aligned pictures to W+ and back.

    pack: with the generator that renders, a personalised one for targets of PTI; its inversion network (PackNotFound).
    """

    def __init__(self, pack: ModelPack, device: torch.device, side: int) -> None:
        pack.require(("inversion",), "the paper preset")
        self.net, self.device = pack.inversion(device), device
        self.rendering = Rendering(pack, device, side)
        self.identity = pack.identity(device) if pack.has("identity") else None

    @property
    def name(self) -> str:
        """What inverts."""
        return "ReStyle" if isinstance(self.net, RestyleEncoder) else "e4e"

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> L_t [N, 18, 512] float32."""
        size, found = self.net.input_size, []
        for few in torch.split(pictures, PASS):
            few = few if few.shape[-1] == size else F.interpolate(few, size=size, mode="area")
            if isinstance(self.net, RestyleEncoder):
                found.append(self.net.invert(few, self.rendering.generator))
            else:
                found.append(self.net(few))
        return torch.cat(found).float()

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """S_t = G(L_t): [N, 18, 512] -> [N, 3, side, side], clamped to [-1, 1]."""
        made = [
            self.rendering.pictures(self.rendering.generator.styles(few.to(self.device).float()))
            for few in torch.split(latents, PASS)
        ]
        return torch.cat(made).clamp(-1, 1)

    @torch.no_grad()
    def similarity(self, pictures: Tensor, others: Tensor) -> NDArray[np.float32]:
        """[N]: how alike two batches of pictures are, in Eq. 1: a cosine by the identity network.

        Without that network it is 1 minus the RMS difference.
        """
        if self.identity is None:
            small = F.interpolate(pictures, size=others.shape[-1], mode="area")
            value = 1 - (small - others).square().mean(dim=(1, 2, 3)).sqrt()
        else:
            pairs = zip(torch.split(pictures, PASS), torch.split(others, PASS), strict=True)
            embed = self.identity.embed_aligned
            value = torch.cat([(embed(a) * embed(b)).sum(dim=1) for a, b in pairs])
        return np.asarray(value.float().cpu().numpy())
