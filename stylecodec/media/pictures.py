"""Still pictures, known by their content and not by their names."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageCms
from PIL.ExifTags import Base

from stylecodec.errors import MediaError
from stylecodec.jpeg import MAX_SCANS, too_many_scans
from stylecodec.media.colour import GROUND
from stylecodec.media.shape import Frame
from stylecodec.media.source import PathLike, existing, refuse_heif

# What Pillow reads without running other programs and tells apart by signature.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "ICO")

TURNS = {  # by the EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_picture(path: PathLike) -> bool:
    """Whether a file holds a still picture that can be read, by its content; MediaError when the file is missing.

    Of animated pictures the first one counts.
    """
    try:
        with _opened(path):
            return True
    except Image.DecompressionBombError:
        return True  # too large a picture, which read_image says
    except MediaError:
        raise
    except Exception:  # Pillow's errors for damaged files are of any kind
        return False


def read_image(path: PathLike) -> Frame:
    """A still picture as [H, W, 3] uint8 sRGB, turned as its EXIF data says; of an animated one the first.

    Transparent parts are laid on grey, 16 bits of grey are scaled to 8, colours with an ICC profile are brought to
    sRGB. Raises MediaError when the file is missing or cannot be read.
    """
    file = existing(path)
    refuse_heif(file)
    try:
        with _opened(path) as image:
            if image.format in ("JPEG", "MPO"):
                with file.open("rb") as opened:
                    if too_many_scans(opened):
                        raise MediaError(f"{file} is a JPEG picture of more than {MAX_SCANS} scans")
            image.load()
            return cast(Frame, np.array(_to_srgb(_flat(_eight_bits(_upright(image))))))
    except Image.DecompressionBombError as error:
        raise MediaError(f"{file} is a picture of too many pixels") from error
    except MediaError:
        raise
    except Exception as error:  # as above
        raise MediaError(f"{file} is not a picture that can be read") from error


class _Bounded(io.BufferedReader):
    """A file that never sets memory aside for more than it has left, whatever a damaged picture asks it to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        if size is not None and size > 0 and self._size:
            size = max(min(size, self._size - self.tell()), 0)
        return super().read(size)


@contextmanager
def _opened(path: PathLike) -> Iterator[Image.Image]:
    with (
        warnings.catch_warnings(action="ignore"),  # of damaged metadata; above 89 megapixels, of which 179 are refused
        _Bounded(existing(path)) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        yield image


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the EXIF data says, where there is any that can be read.

    ImageOps.exif_transpose writes the data anew, which fails on damaged ones.
    """
    try:
        turn = TURNS.get(image.getexif().get(Base.Orientation, 1))
    except (OSError, SyntaxError, ValueError, struct.error):
        turn = None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep grey (16 or 32 bits, or floating point) scaled to 8 bits."""
    if not image.mode.startswith(("I", "F")):
        return image
    levels = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    if image.mode == "F":
        top = 1.0 if levels.max(initial=0) <= 1 else 255.0 if levels.max() <= 255 else float(levels.max())
    else:
        top = 65535.0 if levels.max(initial=0) <= 65535 else float(2**31 - 1)
    grey = Image.fromarray(np.rint(np.clip(levels / top, 0, 1) * 255).astype(np.uint8))
    grey.info = image.info
    return grey


def _flat(image: Image.Image) -> Image.Image:
    """A picture with transparency, whatever its form, laid on grey."""
    if not image.has_transparency_data:
        return image
    seen = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, (GROUND, GROUND, GROUND, 255))
    flat = Image.alpha_composite(ground, seen).convert("RGB")
    flat.info = {"icc_profile": image.info.get("icc_profile")}
    return flat


def _to_srgb(image: Image.Image) -> Image.Image:
    """RGB, by the picture's ICC profile where it has one that fits its pixels."""
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK", "L", "LAB"):
        try:
            made = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            made = None
        if made is not None:
            return made
    return image.convert("RGB")
