"""Head-pose flow: StyleFlow's conditional continuous normalising flow on single W+ rows (2008.02401).

A row w is carried to an attribute-free z by the flow under its own attributes, and back to a row under new ones:
G_sf of 2203.14512, section 3.3. Every W+ row is an independent point; all share one attribute vector.

    w ─► batch-norm ─► ODE from 0 to T ─► batch-norm ─► z         (reverse: the exact inverses, right to left)

Only the state is integrated (no divergence), so the solver is deterministic.

The published flow knows 17 attributes of a face, two of which are the head's pose. The service that measured the others
is closed to new users, and a packet carries only the pose, so the others are held at the means of the flow's own
published sample (`NEUTRAL_ATTRIBUTES`), the same on the way to z and back. At the pose where w was taken the way there
and back is exact whatever they are; what they cost is that an edit is the mean face's edit, not this one's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

# Of the published flow: lighting as nine spherical harmonics, gender, glasses, yaw, pitch, baldness, beard, age in
# years, smile. Means of the 1000 samples published with it, frontal.
NEUTRAL_ATTRIBUTES = (
    *(0.854, -0.151, 0.280, -0.042, -0.022, -0.014, -0.163, -0.005, 0.121),
    *(0.433, 0.168, 0.0, 0.0, 0.074, 0.078, 30.5, 0.743),
)
PUBLISHED_POSE = (11, 12)  # where yaw and pitch stand
PUBLISHED_SIGNS = (-1.0, -1.0)  # there yaw > 0 shows the head's left side, pitch > 0 looks down
PUBLISHED_ROWS = 4  # W+ rows 0 to 3 keep a pose edit, the rest is the source's


class ConcatSquash(nn.Module):
    """linear(x) * sigmoid(gate(context)) + bias(context)."""

    def __init__(self, in_features: int, out_features: int, context: int) -> None:
        super().__init__()
        self._layer = nn.Linear(in_features, out_features)
        self._hyper_bias = nn.Linear(context, out_features, bias=False)
        self._hyper_gate = nn.Linear(context, out_features)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x [N, R, in], context [N, 1, C] -> [N, R, out]."""
        out: Tensor = self._layer(x) * torch.sigmoid(self._hyper_gate(context)) + self._hyper_bias(context)
        return out


class FlowField(nn.Module):
    """dw/dt of the flow: concat-squash layers with tanh between them; the context is [t, attributes]."""

    def __init__(self, dim: int, hidden: Sequence[int], attributes: int) -> None:
        super().__init__()
        widths = [dim, *hidden, dim]
        self.layers = nn.ModuleList(ConcatSquash(a, b, attributes + 1) for a, b in pairwise(widths))

    def forward(self, t: float, x: Tensor, attributes: Tensor) -> Tensor:
        """x [N, R, D] at time t under attributes [N, A] -> its velocity [N, R, D]."""
        context = torch.cat([attributes.new_full((len(attributes), 1), t), attributes], dim=1)[:, None]
        for k, layer in enumerate(self.layers):
            x = layer(x if k == 0 else torch.tanh(x), context)
        return x


class MovingBatchNorm(nn.Module):
    """Batch norm by its running statistics alone; `weight` is a log-scale (eps 1e-4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [..., D]."""
        scale = torch.exp(self.weight) * torch.rsqrt(self.running_var + 1e-4)
        return (x - self.running_mean) * scale + self.bias

    def reverse(self, y: Tensor) -> Tensor:
        """The exact inverse of forward."""
        scale = torch.exp(-self.weight) * torch.sqrt(self.running_var + 1e-4)
        return (y - self.bias) * scale + self.running_mean


class HeadPoseFlow(nn.Module):
    """The flow over W+ rows.

    Parameters: `dim` of a row; `hidden` widths of the field (the published network: five of 512);
    `attributes` per sample (17 upstream; yaw and pitch in degrees in the avatar pack); `attribute_scale`
    divides each attribute before it enters the field (1 upstream); `steps` of the Runge-Kutta solver; `neutral`
    values of all attributes, where they are more than the pose; `pose` places of yaw and pitch among them, `signs`
    that turn our degrees into the flow's.
    """

    def __init__(
        self,
        dim: int = 512,
        hidden: Sequence[int] = (512, 512, 512, 512, 512),
        attributes: int = 17,
        attribute_scale: Sequence[float] | None = None,
        steps: int = 8,
        neutral: Sequence[float] | None = None,
        pose: Sequence[int] = (0, 1),
        signs: Sequence[float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        if len(pose) != 2 or len(signs) != 2 or not all(0 <= place < attributes for place in pose):
            raise ValueError(f"yaw and pitch cannot stand at {list(pose)} among {attributes} attributes")
        if neutral is not None and len(neutral) != attributes:
            raise ValueError(f"{len(neutral)} neutral values for {attributes} attributes")
        self.attributes, self.steps = attributes, steps
        self.norm_in, self.norm_out = MovingBatchNorm(dim), MovingBatchNorm(dim)
        self.field = FlowField(dim, hidden, attributes)
        self.sqrt_end_time = nn.Parameter(torch.ones([]))
        scale = [1.0] * attributes if attribute_scale is None else list(attribute_scale)
        self.attribute_scale: Tensor
        self.register_buffer("attribute_scale", torch.tensor(scale), persistent=False)
        self.pose, self.signs = tuple(pose), tuple(float(sign) for sign in signs)
        self.neutral: Tensor | None
        self.register_buffer("neutral", None if neutral is None else torch.tensor([*neutral]), persistent=False)

    @property
    def pose_only(self) -> bool:
        """Whether yaw and pitch are all that the flow takes."""
        return self.attributes == 2 and self.neutral is None

    def attributes_at(self, pose: Tensor) -> Tensor:
        """Yaw and pitch [N, 2] in degrees of ours -> the flow's attributes [N, A], the others neutral."""
        if self.pose_only:
            return pose
        if self.neutral is None:
            raise ValueError(f"the flow takes {self.attributes} attributes, and no neutral values are known")
        attributes = self.neutral.expand(len(pose), -1).clone()
        for column, (place, sign) in enumerate(zip(self.pose, self.signs, strict=True)):
            attributes[:, place] = sign * pose[:, column]
        return attributes

    def forward(self, w: Tensor, attributes: Tensor) -> Tensor:
        """Rows w [N, R, D] under their attributes [N, A] -> attribute-free z [N, R, D]."""
        return self.norm_out(self._integrate(self.norm_in(w), attributes, backward=False))  # type: ignore[no-any-return]

    def reverse(self, z: Tensor, attributes: Tensor) -> Tensor:
        """z [N, R, D] -> rows w [N, R, D] under attributes [N, A]."""
        return self.norm_in.reverse(self._integrate(self.norm_out.reverse(z), attributes, backward=True))

    def _integrate(self, x: Tensor, attributes: Tensor, backward: bool) -> Tensor:
        """Classical fourth-order Runge-Kutta over `steps` equal steps between 0 and T."""
        if attributes.shape[-1] != self.attributes:
            raise ValueError(f"the flow takes {self.attributes} attributes, not {attributes.shape[-1]}")
        scaled = attributes / self.attribute_scale
        end = float(self.sqrt_end_time.detach()) ** 2
        start, step = (end, -end / self.steps) if backward else (0.0, end / self.steps)
        for k in range(self.steps):
            t = start + k * step
            k1 = self.field(t, x, scaled)
            k2 = self.field(t + step / 2, x + k1 * (step / 2), scaled)
            k3 = self.field(t + step / 2, x + k2 * (step / 2), scaled)
            k4 = self.field(t + step, x + k3 * step, scaled)
            x = x + (k1 + 2 * k2 + 2 * k3 + k4) * (step / 6)
        return x


def small_start(flow: HeadPoseFlow, scale: float = 0.1) -> None:
    """Begin training near the identity: shrink the last layer of the field."""
    last = flow.field.layers[-1]
    for parameter in last.parameters():
        torch.nn.init.normal_(parameter, std=scale / math.sqrt(max(parameter.shape[-1], 1)))
