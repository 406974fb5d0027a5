"""Augmentation that carries encoders from synthetic heads to real people."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

BACKGROUND_CLASS = 0
FILTERED = 0.5  # of the batches, in which half the pictures have their texture changed


def random_background(count: int, side: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Soft colour noise [count, 3, side, side] in [-1, 1], a new coarseness each call."""
    coarse = 2 ** int(rng.integers(1, 7))
    return F.interpolate(
        torch.rand(count, 3, coarse, coarse, device=device) * 2 - 1, size=(side, side), mode="bilinear"
    )


def replace_background(x: Tensor, labels: Tensor, rng: np.random.Generator, share: float = 0.8) -> Tensor:
    """Put noise behind the head in `share` of the pictures x [n, 3, s, s]; labels uint8 [n, H, W]."""
    side = x.shape[-1]
    behind = F.interpolate((labels == BACKGROUND_CLASS)[:, None].float(), size=(side, side), mode="area")
    behind = behind * (torch.rand(len(x), 1, 1, 1, device=x.device) < share)
    return x * (1 - behind) + random_background(len(x), side, rng, x.device) * behind


def jitter_colour(x: Tensor) -> Tensor:
    """Contrast, brightness, colour cast, gamma and partial greying, one draw per picture; x [n, 3, s, s]."""
    n = len(x)

    def draw(scale: float, channels: int = 1) -> Tensor:
        return (torch.rand(n, channels, 1, 1, device=x.device) - 0.5) * scale

    x = x * (1 + draw(0.7)) + draw(0.4) + draw(0.35, 3) * (draw(1.0) + 0.5)
    grey = x.mean(1, keepdim=True)
    keep = torch.where(draw(1.0) < -0.2, draw(1.0) + 0.5, torch.ones_like(draw(1.0)))
    x = x * keep + grey * (1 - keep)
    unit = x.clamp(-1, 1).add(1).div(2).clamp_min(1e-4)
    return unit.pow(torch.exp(draw(0.8))).mul(2).sub(1)


def light_from_the_side(x: Tensor) -> Tensor:
    """A random brightness ramp across each picture, as of a lamp beside the head."""
    n, side = len(x), x.shape[-1]
    angle = torch.rand(n, device=x.device) * 2 * math.pi
    strength = torch.rand(n, 1, 1, 1, device=x.device) * 0.6
    axis = torch.linspace(-1, 1, side, device=x.device)
    ramp = torch.cos(angle).view(n, 1, 1) * axis[None, None] + torch.sin(angle).view(n, 1, 1) * axis[None, :, None]
    return (x + 1) * (1 + strength * ramp[:, None]) - 1


def blotches(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Uneven brightness of a random coarseness, as of shadows, make-up and skin that is not smooth."""
    coarse = 2 ** int(rng.integers(2, 7))
    strength = torch.rand(len(x), 1, 1, 1, device=x.device) ** 2 * 0.5
    noise = torch.rand(len(x), 1, coarse, coarse, device=x.device) - 0.5
    return (x + 1) * (1 + strength * F.interpolate(noise, size=x.shape[-2:], mode="bilinear")) - 1


def filtered(x: Tensor, rng: np.random.Generator, share: float = 0.5) -> Tensor:
    """Random convolution (2007.13003) of `share` of the pictures, mixed with the picture: other texture, same shape.

    One kernel, 3 x 3 or 5 x 5, for all of x [n, 3, s, s]; what it makes gets back the picture's mean and deviation.
    """
    width = int(rng.choice((3, 5)))
    kernel = torch.randn(3, 3, width, width, device=x.device)
    y = F.conv2d(F.pad(x, (width // 2,) * 4, mode="replicate"), kernel)
    mean, std = y.mean((1, 2, 3), keepdim=True), y.std((1, 2, 3), keepdim=True) + 1e-3
    y = (y - mean) / std * x.std((1, 2, 3), keepdim=True) + x.mean((1, 2, 3), keepdim=True)
    mix = torch.rand(len(x), 1, 1, 1, device=x.device) * (torch.rand(len(x), 1, 1, 1, device=x.device) < share)
    return x + (y - x) * mix * 0.8


def degrade(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Lower resolution (40 % of batches), sensor noise, a few grey boxes (30 % of pictures)."""
    side = x.shape[-1]
    if rng.random() < 0.4:
        small = int(rng.integers(side // 5, side))
        x = F.interpolate(x, size=(small, small), mode="area")
        x = F.interpolate(x, size=(side, side), mode="bilinear")
    x = x + 0.12 * torch.rand(len(x), 1, 1, 1, device=x.device) ** 2 * torch.randn_like(x)
    for k in np.flatnonzero(rng.random(len(x)) < 0.2):
        h, w = (int(v) for v in rng.integers(side // 16, side // 4, 2))
        top, left = int(rng.integers(0, side - h)), int(rng.integers(0, side - w))
        if abs(top + h / 2 - side / 2) + abs(left + w / 2 - side / 2) > side * 0.35:  # beside the face, not on it
            x[k, :, top : top + h, left : left + w] = float(rng.uniform(-1, 1))
    return x.clamp(-1, 1)


def compressed(x: Tensor, rng: np.random.Generator, share: float = 0.3) -> Tensor:
    """`share` of the pictures x [n, 3, s, s] in [-1, 1] as JPEG of quality 15 to 80 leaves them."""
    out = x.clone()
    for k in np.flatnonzero(rng.random(len(x)) < share):
        pixels = x[k].clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(15, 81)))
        levels = np.asarray(Image.open(file), np.float32) / 127.5 - 1
        out[k] = torch.from_numpy(levels).permute(2, 0, 1).to(x)
    return out


def covered(x: Tensor, rng: np.random.Generator, share: float = 0.15) -> Tensor:
    """A soft-edged ellipse of one colour somewhere on `share` of the pictures x [n, 3, s, s]: hands, cups, hair."""
    side = x.shape[-1]
    line = (torch.arange(side, device=x.device) + 0.5) / side
    out = x.clone()
    for k in np.flatnonzero(rng.random(len(x)) < share):
        cx, cy, rx, ry = rng.uniform((0.1, 0.3, 0.06, 0.06), (0.9, 1.0, 0.2, 0.2))
        inside = 1 - ((line[None, :] - cx) / rx) ** 2 - ((line[:, None] - cy) / ry) ** 2
        there = (inside * 8).clamp(0, 1)[None]
        colour = torch.from_numpy(rng.uniform(-1, 1, 3)).to(x)[:, None, None]
        out[k] = out[k] * (1 - there) + colour * there
    return out


def random_similarity(count: int, shift: float, scale: float, degrees: float, device: torch.device) -> Tensor:
    """Sampling matrices [count, 2, 3] for affine_grid: shift in half sides, scale ±, rotation ±degrees."""
    turn, size, move = torch.split(torch.rand(count, 4, device=device) * 2 - 1, [1, 1, 2], dim=1)
    angle = turn[:, 0] * math.radians(degrees)
    zoom = torch.exp(size[:, 0] * math.log(1 + scale))
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(angle) * zoom
    theta[:, 0, 1], theta[:, 1, 0] = -torch.sin(angle) * zoom, torch.sin(angle) * zoom
    theta[:, :, 2] = move * shift
    return theta


def resample(x: Tensor, theta: Tensor, size: int | None = None) -> Tensor:
    """Resample x [n, C, H, W] by theta [n, 2, 3] to `size` (its own side by default), edges repeated."""
    side = x.shape[-1] if size is None else size
    grid = F.affine_grid(theta, [len(x), x.shape[1], side, side], align_corners=False)
    out: Tensor = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return out


def move_points(points: Tensor, theta: Tensor) -> Tensor:
    """Where points [n, P, 2] (crop units 0..1) lie in a picture resampled by theta [n, 2, 3]."""
    inverse: Tensor = torch.linalg.inv(theta[:, :, :2])
    moved: Tensor = ((points * 2 - 1 - theta[:, None, :, 2]) @ inverse.transpose(1, 2) + 1) / 2
    return moved


def wild(x: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """The full recipe for x [n, 3, s, s] in [-1, 1]: background, colour, light, skin, small misalignment, damage."""
    x = replace_background(x, labels, rng)
    if rng.random() < FILTERED:
        x = filtered(x, rng)
    x = blotches(light_from_the_side(jitter_colour(x)), rng)
    x = resample(x, random_similarity(len(x), shift=0.05, scale=0.06, degrees=4.0, device=x.device))
    return degrade(x, rng)
