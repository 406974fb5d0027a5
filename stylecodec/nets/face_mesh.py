"""478 points of a face: lids, irises, brows and lips of people as they are, differentiable in the picture.

The network is MediaPipe's face landmark model with attention (Attention Mesh, Grishchenko et al., 2006.10962): a first
guess of the whole mesh, and for lips and eyes a second look at the finer features around the first guess.

    192² ─► stem 48² ─► face ─────────────────────────────► 468 points
                 ├─► the lips of these, cut out, 16² ─► 80 of them again
                 └─► each eye with its brow, likewise ─► 71 of them again
                                                     └─► 5 of its iris

With the published weights, which come with stylecodec's own pack (see its card), points come out as MediaPipe has them,
to a tenth of a pixel of a 256² picture. They were trained on people, the pack's own landmark net on drawn heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 192  # pixels of what the network looks at
CUT = 16  # of what is cut out
AROUND = 1.5  # times as large as the points' box
UNITS_PER_CUT = 4  # the second look's points are in quarters of a cut-out pixel
MESH, IRIS = 468, 5
POINTS = MESH + 2 * IRIS
WHERE = (0.5, 0.55, 0.9)  # centre and side of the square that is looked at, in units of an aligned crop

# fmt: off
# The points that are looked at again, in the order of the network; left and right are the image's.
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407,
)
LEFT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35,
    124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)
RIGHT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
    359, 255, 339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414,
    446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413, 265,
    353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417,
)
# fmt: on
EYE_CORNERS = (33, 133, 362, 263)  # outer left, inner left, inner right, outer right
NOSE_BASE = 2


class _Residual(nn.Module):
    """Depthwise 3x3 and 1x1 convolution beside the input, which is halved by its maximum and gets empty channels."""

    def __init__(self, a: int, b: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.more = stride, b - a
        self.depth = nn.Conv2d(a, a, 3, stride, padding=1 if stride == 1 else 0, groups=a)
        self.point = nn.Conv2d(a, b, 1)
        self.relu = nn.PReLU(b)

    def forward(self, x: Tensor) -> Tensor:
        beside = x
        if self.stride == 2:
            beside, x = F.max_pool2d(x, 2), _behind(x)
        if self.more:
            beside = F.pad(beside, (0, 0, 0, 0, 0, self.more))
        relu: Tensor = self.relu(self.point(self.depth(x)) + beside)
        return relu


def _behind(x: Tensor) -> Tensor:
    """The padding of a 3x3 convolution of stride 2 over an even side: all of it behind."""
    return F.pad(x, (0, 1, 0, 1))


def _stage(a: int, b: int) -> list[nn.Module]:
    return [_Residual(a, a), _Residual(a, a), _Residual(a, b, 2)]


def _head(outputs: int, kernel: int) -> list[nn.Module]:
    """Two more blocks of 128 channels, and a map of all that is left to the outputs."""
    narrow = [nn.Conv2d(128, 32, 1), nn.PReLU(32), _Residual(32, 32)]
    return [_Residual(128, 128), _Residual(128, 128), *narrow, nn.Conv2d(32, outputs, kernel), nn.Flatten()]


class _Part(nn.Module):
    """A second look at some points: cut out upright, between two of them, as large as all of them ask for."""

    points: Tensor

    def __init__(self, points: Sequence[int], ends: tuple[int, int], iris: bool) -> None:
        super().__init__()
        self.ends = ends
        self.register_buffer("points", torch.tensor(points), persistent=False)
        self.shared = nn.Sequential(*_stage(32, 64), *_stage(64, 128))
        self.again = nn.Sequential(*_stage(128, 128), *_head(2 * len(points), 2))
        self.iris = nn.Sequential(*_stage(128, 128), *_head(2 * IRIS, 2)) if iris else None

    def forward(self, features: Tensor, mesh: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features [N, 32, 48, 48] and the first guess [N, 468, 2] in pixels of 192 -> the points, and the iris."""
        turned, start = self._place(mesh)
        line = torch.arange(CUT, device=mesh.device, dtype=mesh.dtype) + 0.5
        down, across = torch.meshgrid(line, line, indexing="ij")
        grid = torch.stack([across, down], dim=-1).flatten(0, 1) @ turned.transpose(1, 2) + start[:, None]
        grid = grid.reshape(-1, CUT, CUT, 2) * (2 / SIDE) - 1
        seen = self.shared(F.grid_sample(features, grid.to(features.dtype), align_corners=False))

        def back(found: Tensor) -> Tensor:
            return found.float().reshape(len(found), -1, 2) / UNITS_PER_CUT @ turned.transpose(1, 2) + start[:, None]

        return back(self.again(seen)), None if self.iris is None else back(self.iris(seen))

    def _place(self, mesh: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 2, 2] and [N, 2]: from pixels of what is cut out to pixels of 192, turned · pixel + start."""
        first, last = self.ends
        right = F.normalize(mesh[:, last] - mesh[:, first], dim=1)
        axes = torch.stack([right, torch.stack([-right[:, 1], right[:, 0]], dim=1)], dim=1)  # rows: right, down
        box = mesh[:, self.points] @ axes.transpose(1, 2)
        low, high = box.amin(dim=1), box.amax(dim=1)
        turned = axes.transpose(1, 2) * ((high - low) * (AROUND / CUT))[:, None]
        middle = ((low + high) / 2)[:, None] @ axes
        return turned, middle[:, 0] - turned.sum(dim=2) * (CUT / 2)


class FaceMesh(nn.Module):
    """Aligned pictures [N, 3, S, S] in [-1, 1] RGB -> points [N, 478, 2] float32 in units of the crop.

    The 468 points of MediaPipe's canonical face mesh, then the centre and the edge of the left and of the right iris.
    The face is looked for in the square that WHERE gives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, 2)
        self.stem = nn.Sequential(nn.PReLU(16), *_stage(16, 32))
        stages = (*_stage(32, 64), *_stage(64, 128), *_stage(128, 128), *_stage(128, 128))
        self.face = nn.Sequential(*stages, *_head(3 * MESH, 3))
        self.lips = _Part(LIPS, (61, 291), iris=False)
        self.left_eye = _Part(LEFT_EYE, (33, 133), iris=True)
        self.right_eye = _Part(RIGHT_EYE, (362, 263), iris=True)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.stem(self.first(_behind(self._cut(pictures))))
        mesh: Tensor = self.face(features).float().reshape(-1, MESH, 3)[..., :2]
        found, irises = mesh.clone(), []
        for part in (self.lips, self.left_eye, self.right_eye):
            again, iris = part(features, mesh)
            found[:, part.points] = again
            irises += [] if iris is None else [iris]
        x, y, side = WHERE
        corner = mesh.new_tensor([x - side / 2, y - side / 2])
        return torch.cat([found, *irises], dim=1) * (side / SIDE) + corner

    def _cut(self, pictures: Tensor) -> Tensor:
        """What the network looks at [N, 3, 192, 192], in [0, 1]."""
        x, y, side = WHERE
        line = (torch.arange(SIDE, device=pictures.device, dtype=pictures.dtype) + 0.5) / SIDE - 0.5
        down, across = torch.meshgrid(line * side + y, line * side + x, indexing="ij")
        grid = torch.stack([across, down], dim=-1).expand(len(pictures), -1, -1, -1) * 2 - 1
        return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False) / 2 + 0.5
