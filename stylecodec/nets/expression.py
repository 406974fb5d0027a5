"""From named expression weights to α: what a face rig's blendshapes do to the 32 StyleSpace offsets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GAIN = 3.0  # raw style units per unit of the last layer's output


class ExpressionNet(nn.Module):
    """Expression [n, inputs] -> α [n, alphas] in raw style units, zero at the neutral face.

    Inputs of the avatar pack: the 53 weights of the head model (0 to 1, ARKit-like names, see the training room), then
    gaze yaw / 15 and gaze pitch / 10 degrees.
    """

    def __init__(self, inputs: int = 55, alphas: int = 32, hidden: int = 192) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, alphas))

    def forward(self, expression: Tensor) -> Tensor:
        """[n, inputs] -> [n, alphas]."""
        out: Tensor = (self.net(expression) - self.net(torch.zeros_like(expression[:1]))) * GAIN
        return out
