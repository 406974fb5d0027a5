"""A linear reader of expressions: what it cannot read of features or of α is lost on whoever must work with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Reader(nn.Module):
    """Features -> expression in standard units; only the training uses it.

    Parameters: `features` in, `expressions` [n, 55] of the data set (scaled).
    """

    def __init__(self, features: int, expressions: Tensor) -> None:
        super().__init__()
        self.read = nn.Linear(features, expressions.shape[1])
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", expressions.mean(0))
        self.register_buffer("std", expressions.std(0) + 0.02)

    def loss(self, features: Tensor, expression: Tensor) -> Tensor:
        """Squared error in standard units, linear beyond one: most shapes rest in most pictures, and the median of
        what a picture leaves open, which an absolute error asks for, would be that they always do."""
        found = self.read(features).float()
        return F.smooth_l1_loss(found, (expression - self.mean) / self.std)

    def loss_through_noise(self, alpha: Tensor, expression: Tensor, noise: float) -> Tensor:
        """The same from α [n, 32] in standard units of this batch, with noise of this deviation on it."""
        units = (alpha - alpha.mean(0)) / (alpha.std(0) + 1e-3)
        return self.loss(units + noise * torch.randn_like(units), expression)
