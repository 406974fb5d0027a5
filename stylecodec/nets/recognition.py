"""dlib's face recognition network: a face chip -> 128 numbers whose distances tell people apart, with gradients.

The weights are dlib's own (dlib_face_recognition_resnet_model_v1, public domain), read by
packs/upstream/dlib_network.py. The structure is that of the network's description by its author (a residual network of
29 convolutions, half of the 34 layers' of 1512.03385 in width): a block that halves the picture averages its input over
2 x 2 pixels and lacks no channel of it; the shorter of the two sums' sides is filled up with zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHIP = 150  # pixels per side of the picture that it takes
NUMBERS = 128
STEM = 32
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))  # width, blocks, halves
MEAN, SPREAD = (122.782, 117.001, 104.298), 256.0  # of RGB 0..255
# Where dlib puts its five points in the chip, of its side; and the same-sized border around the face.
POINTS = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)
BORDER = 0.25


class Block(nn.Module):
    """Two convolutions beside the input."""

    def __init__(self, inputs: int, outputs: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2 if halves else 1, padding=0 if halves else 1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H', W']."""
        y = self.second(F.relu(self.first(x)))
        if self.halves:
            x = F.avg_pool2d(x, 2)
        sizes = [max(a, b) for a, b in zip(x.shape[1:], y.shape[1:], strict=True)]
        return F.relu(_filled(x, sizes) + _filled(y, sizes))


class RecognitionNet(nn.Module):
    """Face chips [N, 3, 150, 150] in [-1, 1] RGB -> descriptors [N, 128]; below a distance of 0.6 one person."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 7, stride=2)
        blocks, inputs = [], STEM
        for width, count, halves in STAGES:
            for number in range(count):
                blocks.append(Block(inputs, width, halves and number == 0))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(inputs, NUMBERS, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 150, 150] in [-1, 1] -> [N, 128]."""
        assert isinstance(self.mean, Tensor)
        x = ((x + 1) * 127.5 - self.mean) / SPREAD
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        found: Tensor = self.output(self.blocks(x).mean(dim=(2, 3)))
        return found

    def convolutions(self) -> list[nn.Conv2d]:
        """In the order in which a picture passes them."""
        return [part for part in self.modules() if isinstance(part, nn.Conv2d)]


def _filled(x: Tensor, sizes: list[int]) -> Tensor:
    """Zeros behind the channels, rows and columns of [N, C, H, W], up to these sizes."""
    channels, height, width = (wanted - there for wanted, there in zip(sizes, x.shape[1:], strict=True))
    return F.pad(x, (0, width, 0, height, 0, channels)) if channels or height or width else x
