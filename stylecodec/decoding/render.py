"""From StyleSpace codes to 8-bit pictures: synthesis, size, roll, quantisation.

Convention: roll > 0 tilts the head clockwise in the picture. The encoder's crop has the roll removed; restoring
it turns the whole picture clockwise about its centre, and what comes in at the corners mirrors the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import OptionError
from ..packs.registry import pick_device
from ..packs.store import ModelPack
from .options import MIN_SIZE, PRECISIONS, Precision

LEAST_ROLL = 0.01  # degrees: moves the corner of 1024 pixels by an eighth of a pixel
RIM = 128  # the outermost 1/128 of a picture is replaced by its mirrored inside where the picture is turned


@cache
def cpu_multiplies_bfloat16() -> bool:
    """Has this CPU instructions for bfloat16, and PyTorch a library that uses them? Elsewhere they are imitated."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # of PyTorch 2.11 and later
    onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return onednn and any(there for name, there in known.items() if "bf16" in name)


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The type of feature maps on a device; OptionError for a precision that is not known.

    "auto" is bfloat16 where the device multiplies it: the pictures of the pack that comes with stylecodec agree with
    those of float32 to more than 55 dB. A CPU without instructions for it is given float32, with which it is several
    times as fast.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "auto":
        precision = "bfloat16" if device.type in ("cpu", "cuda") else "float32"
    if precision == "bfloat16" and device.type == "cpu" and not cpu_multiplies_bfloat16():
        return torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


class Renderer:
    """Styles to pictures of one size on one device.

    `size`: pixels per side, 16 up to the generator's resolution (its default); smaller pictures are read from the
    generator's skip sum at the next resolution up and averaged down, which costs much less than 1024².
    `precision` of the feature maps: "auto" is bfloat16 on CUDA (the range of float16 does not hold the activations
    of every generator) and float32 elsewhere. The RGB sum is always float32. Against float32, bfloat16 differs by
    about one level of 255; on a CPU with bfloat16 instructions it is nearly twice as fast, on others float32 is
    taken in its place.
    """

    def __init__(
        self,
        pack: ModelPack,
        device: str | torch.device = "auto",
        size: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.device = pick_device(device)
        self.generator = pack.generator(self.device)
        full = self.generator.resolution
        self.size = full if size is None else size
        if not MIN_SIZE <= self.size <= full:
            raise OptionError(f"the size must be {MIN_SIZE} to {full} pixels, not {self.size}")
        self.level = next(r for r in self.generator.resolutions if r >= self.size)
        # Maps of strength 0 would be added for nothing.
        self.noise = any(bool(p.any()) for name, p in self.generator.named_parameters() if "noise_strength" in name)
        self.dtype = pick_dtype(precision, self.device)

    def pictures(self, styles: Sequence[Tensor]) -> Tensor:
        """Styles (one [N, C_l] per layer) -> float32 [N, 3, size, size] in about [-1, 1], not clamped."""
        images = self.generator.synthesis(styles, self.noise, self.level, self.dtype, reference=False)
        return images if self.level == self.size else F.interpolate(images, size=self.size, mode="area")

    def render(self, styles: Sequence[Tensor], roll: Tensor | None = None) -> Tensor:
        """Styles -> uint8 [N, size, size, 3], turned by `roll` [N] degrees where given."""
        images = self.pictures(styles)
        if roll is not None:
            images = restore_roll(images, roll)
        return to_uint8(images)


def restore_roll(images: Tensor, roll: Tensor) -> Tensor:
    """Turn each picture of [N, 3, H, H] clockwise by `roll` [N] degrees about its centre; corners are mirrored.

    Angles below LEAST_ROLL are taken as none. Where `roll` lies on the CPU and has none other, the pictures are
    returned as they are; reading it from another device would wait for that device.
    """
    roll = torch.where(roll.abs() < LEAST_ROLL, 0.0, roll.float())
    if roll.device.type == "cpu" and not bool(roll.any()):
        return images
    angle = torch.deg2rad(roll).to(images.device, non_blocking=True)
    size = images.shape[-1]
    rim = size // RIM  # the mirror stands inside the rim, whose pixels lean on the convolutions' zero padding
    grid = rotated_grid(angle, size) * (size / (size - 2 * rim))
    inside = images[..., rim : size - rim, rim : size - rim]
    return F.grid_sample(inside, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def rotated_grid(angle: Tensor, size: int) -> Tensor:
    """Where each output pixel of a picture turned clockwise by `angle` [N] radians comes from: [N, size, size, 2].

    In the coordinates of grid_sample (x, y in -1..1 between outer edges). As y points down, undoing the turn is
    x' + iy' = (x + iy) exp(-i angle) with the sines of this plane; it separates into a row and a column to be added.
    """
    centres = (torch.arange(size, device=angle.device) * 2 + (1 - size)) / size
    turn = torch.polar(torch.ones_like(angle), -angle)[:, None]
    row, column = centres * turn, centres * (turn * 1j)
    return torch.view_as_real(row[:, None, :] + column[:, :, None])


def to_uint8(images: Tensor) -> Tensor:
    """[N, 3, H, W] in [-1, 1] -> uint8 [N, H, W, 3]; values that are not finite become black."""
    levels = (images + 1.0).mul_(127.5).nan_to_num_(0.0, posinf=0.0, neginf=0.0).clamp_(0.0, 255.0).round_()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
