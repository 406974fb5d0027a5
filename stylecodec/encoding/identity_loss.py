"""L_ID: how far the faces of renderings are from those of pictures, by a face recognition network.

Source: the identity losses of 2203.14512 (Eq. 7) and 2302.07848, there with ArcFace; here with dlib's network, whose
weights are free of restrictions. A rendering shows the face where the picture has it, so it is cut out there as dlib
would cut out the picture's, moved at random by a little: what the network sees must not hang on single pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..face.detect import RECOGNITION, model_file
from ..face.landmarks import Dlib5
from ..geometry import Similarity
from ..nets.isolation import isolated
from ..nets.recognition import BORDER, CHIP, NUMBERS, POINTS, RecognitionNet
from ..packs.upstream.dlib_network import recognition_net
from .frames import CROP_SIZE, FACE_IN_CROP, Crop, to_input

JITTER = (0.03, 0.04, 3.0)  # spread of the chip's place in its sides, of its size, and of its tilt in degrees
LOOKS = 3  # jittered chips by which a picture is described
AT_ONCE = 16


@cache
def _network(place: str) -> RecognitionNet:
    """One for each device; `isolated` as ModelPack.network is."""
    with isolated(draws=True):
        net = recognition_net(model_file(RECOGNITION).read_bytes()).to(place)
        return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def face_chips(pictures: Sequence[Crop]) -> Tensor:
    """Aligned squares uint8 [256, 256, 3], one and more -> where dlib cuts out their faces [n, 2, 3].

    The matrices take places in the chip to places in the square, both from -1 to 1.
    """
    points, wanted = Dlib5(), (np.array(POINTS) + BORDER) / (1 + 2 * BORDER) * 2 - 1
    found = [Similarity.fit(wanted, points(square, FACE_IN_CROP) / CROP_SIZE * 2 - 1).matrix for square in pictures]
    return torch.from_numpy(np.stack(found).astype(np.float32))


class IdentityLoss:
    """Squared distance of descriptors of renderings from those of pictures.

    chips [N, 2, 3] of the pictures (see face_chips); descriptors [N, 128], theirs.
    Raises MissingDependency where dlib's model files are not installed.
    """

    def __init__(self, chips: Tensor, descriptors: Tensor) -> None:
        self.chips, self.descriptors, self.device = chips, descriptors, descriptors.device
        self.random = torch.Generator().manual_seed(0)
        self._net = _network(str(self.device))

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """Renderings [n, 3, S, S] of the pictures of `rows` [n] -> the mean over them."""
        return (self.describe(output, rows) - self.descriptors[rows]).square().sum(dim=1).mean()

    def describe(self, pictures: Tensor, rows: Tensor) -> Tensor:
        """Pictures [n, 3, S, S] in [-1, 1] of `rows` [n] -> descriptors [n, 128] of chips that are a little off."""
        n = len(rows)
        shift, size, tilt = JITTER
        noise = torch.randn(n, 4, generator=self.random).to(self.device)
        scale, angle = 1 + size * noise[:, 2], torch.deg2rad(tilt * noise[:, 3])
        across, along = scale * torch.cos(angle), scale * torch.sin(angle)
        zeros, ones = torch.zeros_like(across), torch.ones_like(across)
        moved = torch.stack(
            [across, -along, 2 * shift * noise[:, 0], along, across, 2 * shift * noise[:, 1], zeros, zeros, ones], dim=1
        )
        matrices = self.chips[rows] @ moved.view(n, 3, 3)
        grid = F.affine_grid(matrices, [n, 3, CHIP, CHIP], align_corners=False)
        chips = F.grid_sample(pictures.float(), grid, "bilinear", "border", align_corners=False)
        found: Tensor = self._net(chips.clamp(-1, 1))
        return found


class IdentityOfPictures(IdentityLoss):
    """The same for aligned squares uint8 [256, 256, 3], each described when it is first compared with."""

    def __init__(self, pictures: Sequence[Crop], device: torch.device) -> None:
        count = len(pictures)
        super().__init__(torch.zeros(count, 2, 3, device=device), torch.zeros(count, NUMBERS, device=device))
        self.pictures, self._unseen = pictures, set(range(count))

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """Renderings [n, 3, S, S] of the pictures of `rows` [n] -> the mean over them."""
        self.see(rows)
        return super().__call__(output, rows)

    @torch.no_grad()
    def see(self, rows: Tensor) -> None:
        """Describe those of the pictures of `rows` [n] that are not described yet."""
        new = sorted(self._unseen.intersection(rows.tolist()))
        if not new:
            return
        for few in torch.split(torch.tensor(new, dtype=torch.int64), AT_ONCE):
            squares = [self.pictures[row] for row in few.tolist()]
            self.chips[few] = face_chips(squares).to(self.device)
            looks = [self.describe(to_input(squares, self.device), few) for _ in range(LOOKS)]
            self.descriptors[few] = torch.stack(looks).mean(0)
        self._unseen.difference_update(new)
