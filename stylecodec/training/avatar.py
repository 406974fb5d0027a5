"""The model that the training fits: generator, head-pose flow and expression net as one renderer of heads.

    identity parameters ─► mapping ─► w ─► flow to (yaw, pitch), rows 0..pose_rows-1 ─► A(.) ─► + α ─► synthesis
    expression ───────────────────────────────────────► α = E(expression) - E(0) ────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..nets.expression import ExpressionNet
from ..nets.styleflow import HeadPoseFlow, small_start
from ..nets.stylegan2 import Generator
from ..nets.stylespace import apply_offsets
from .checkpoint import checkpoint_of
from .loop import State, TrainOptions, load_average

CHANNELS: Mapping[int, int] = {4: 192, 8: 192, 16: 192, 32: 160, 64: 64, 128: 32, 256: 16, 512: 16, 1024: 8}
POSE_ROWS = 9  # rows 0-8 of W+ (up to 64²) take the flow's edit
# The 32 designated StyleSpace channels: the first 4 of each conv at 16², 6 at 32², 4 at 64², and 4 of conv0 at 128².
ALPHA_LAYERS = ((5, 4), (6, 4), (8, 6), (9, 6), (11, 4), (12, 4), (14, 4))
ALPHA_INDICES: tuple[tuple[int, int], ...] = tuple(
    (layer, channel) for layer, count in ALPHA_LAYERS for channel in range(count)
)
FLOW_SETTINGS = {"hidden": [256, 256, 256], "attributes": 2, "attribute_scale": [20.0, 10.0], "steps": 2}


RENDERER_RUNS = ("sharpen", "encoder")  # the runs that leave a renderer which fits the encoder, the last one first


class AvatarModel(nn.Module):
    """Generator, flow and expression net, with the standardisation of the identity parameters."""

    def __init__(self, identity_size: int, channels: Mapping[int, int] | None = None) -> None:
        super().__init__()
        channels = CHANNELS if channels is None else channels
        self.generator = Generator(
            max(channels),
            channels,
            z_dim=identity_size,
            mapping_layers=4,
            normalize_z=False,
            mapping_lr=0.1,
        )
        self.flow = HeadPoseFlow(self.generator.w_dim, **FLOW_SETTINGS)  # type: ignore[arg-type]
        small_start(self.flow)
        self.expression = ExpressionNet()
        self.identity_mean: Tensor
        self.identity_std: Tensor
        self.register_buffer("identity_mean", torch.zeros(identity_size))
        self.register_buffer("identity_std", torch.ones(identity_size))

    def standardize(self, identities: NDArray[np.float32]) -> None:
        """Take mean and deviation of the identity parameters from these vectors [n, d]."""
        values = torch.from_numpy(identities).float()
        self.identity_mean.copy_(values.mean(0))
        self.identity_std.copy_(values.std(0) + 1e-3)

    def latent(self, identity: Tensor) -> Tensor:
        """Identity parameters [n, d] -> w [n, 512] of the face at rest."""
        w: Tensor = self.generator.mapping((identity - self.identity_mean) / self.identity_std * 0.5)
        return w

    def pose(self, w: Tensor, pose: Tensor) -> Tensor:
        """Turn latents to `pose` [n, 2] in degrees: w [n, 512] or W+ [n, 18, 512] -> W+ [n, 18, 512]."""
        rows = w[:, None] if w.dim() == 2 else w[:, :POSE_ROWS]
        turned = self.flow.reverse(self.flow(rows, torch.zeros_like(pose)), pose)
        if w.dim() == 2:
            still = w[:, None].expand(-1, self.generator.rows - POSE_ROWS, -1)
            return torch.cat([turned.expand(-1, POSE_ROWS, -1), still], dim=1)
        return torch.cat([turned, w[:, POSE_ROWS:]], dim=1)

    def styles(self, w: Tensor, pose: Tensor, alpha: Tensor) -> list[Tensor]:
        """Latents, pose in degrees and α [n, 32] -> StyleSpace (Eq. 13)."""
        return apply_offsets(self.generator.styles(self.pose(w, pose)), ALPHA_INDICES, alpha)

    def render(self, w: Tensor, pose: Tensor, alpha: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """RGB [n, 3, size, size]."""
        return self.generator.synthesis(self.styles(w, pose, alpha), noise=False, stop_at=size, dtype=dtype)


FIRST_LAYER = "mapping.layers.0.weight"


def with_fields(state: State, size: int) -> State:
    """A generator's state for identity vectors of `size` numbers: what was appended to them since has no effect yet."""
    weight = state[FIRST_LAYER]
    missing = size - weight.shape[1]
    if missing <= 0:
        return state
    # a layer divides by the root of its inputs' number
    wider = torch.cat([weight * (size / weight.shape[1]) ** 0.5, weight.new_zeros(len(weight), missing)], dim=1)
    return {**state, FIRST_LAYER: wider}


def begin_renderer(options: TrainOptions, identities: NDArray[np.float32]) -> AvatarModel:
    """A model for identity parameters like these [n, d], with the networks of the pack to go on from, if any.

    With `keep_codes` all is frozen but the synthesis and what the mapping makes of fields that the pack did not know.
    """
    size = identities.shape[1]
    model = AvatarModel(size)
    options.begin(model.generator, "generator", partial(with_fields, size=size))
    options.begin(model.flow, "flow")
    options.begin(model.expression, "expression")
    model.standardize(identities)
    if options.keep_codes:
        for part in (model.flow, model.expression, model.generator.mapping):
            part.requires_grad_(False)
        weight = model.generator.mapping.get_parameter("layers.0.weight")
        new = (weight == 0).all(dim=0)
        if bool(new.any()):
            weight.requires_grad_(True)
            weight.register_hook(lambda gradient: gradient * new.to(gradient.device))  # type: ignore[no-untyped-call]
    return model


def load_renderer(model: AvatarModel, work: Path) -> None:
    """Load the averaged weights of the latest renderer in `work` that fits the encoder, in eval mode."""
    name = next((n for n in RENDERER_RUNS if checkpoint_of(work, n).is_file()), RENDERER_RUNS[-1])
    load_average(model, checkpoint_of(work, name), "avatar")
