"""Still pictures: portraits and sources as files, and the plates that streams carry."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from zlib import compress, crc32

import numpy as np
from PIL import Image, ImageCms, features

from stylecodec.bitstream.background import Background, Mode, PictureFormat
from stylecodec.decoding.background import decode_plate
from stylecodec.errors import FormatError, MediaError
from stylecodec.media.pictures import is_picture, read_image

from .checkpoints import folder
from .judging import MIB, Signature, Surface
from .mutating import LIMITS, Mutations

SIDE = (24, 16)
PIXELS = 1 << 20  # the limit of pixels is lowered to twice this number, so that it is met by small files
BYTES_PER_PIXEL = 24  # of a picture while it is read: in two modes, with alpha laid on grey, as an array


# --- valid files ----------------------------------------------------------------------------------------------


def _pixels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(4).integers(0, 256, (SIDE[1], SIDE[0], 4), np.uint8)


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def seeds() -> dict[str, bytes]:
    rgba = Image.fromarray(_pixels())
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("P")
    deep = Image.fromarray(np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 170)
    floats = Image.fromarray(np.linspace(-1, 300, 16 * 24, dtype=np.float32).reshape(16, 24))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    found = {
        "jpeg": stored(rgb, "JPEG", exif=exif, icc_profile=profile),
        "progressive": stored(rgb, "JPEG", progressive=True),
        "cmyk": stored(rgb.convert("CMYK"), "JPEG"),
        "png": stored(rgba, "PNG", icc_profile=profile, exif=exif),
        "png palette": stored(palette, "PNG", transparency=3),
        "png 16": stored(deep, "PNG"),
        "apng": stored(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)]),
        "webp": stored(rgba, "WEBP", icc_profile=profile, exif=exif.tobytes()),
        "webp lossless": stored(rgb, "WEBP", lossless=True),
        "gif": stored(palette, "GIF", save_all=True, append_images=[palette.rotate(180)], transparency=2),
        "tiff": stored(rgba, "TIFF"),
        "tiff deflate": stored(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "tiff lzw": stored(grey, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": stored(rgb, "TIFF", compression="jpeg"),
        "tiff float": stored(floats, "TIFF"),
        "bmp": stored(rgb, "BMP"),
        "dib": stored(palette, "DIB"),
        "ico": stored(rgba, "ICO", sizes=[(16, 16)]),
        "ppm": stored(rgb, "PPM"),
        "pgm 16": stored(deep, "PPM"),
        "ppm text": b"P3 3 2 255\n" + b"255 0 9 " * 6,
        "pbm text": b"P1 8 2\n" + b"0 1 " * 8,
        "ppm of 9": b"P6 4 4 9\n" + bytes(range(10)) * 5,
        "pfm": b"Pf\n4 4\n-1.0\n" + np.linspace(0, 1, 16, dtype="<f4").tobytes(),
    }
    optional = {"avif": ("AVIF", rgba), "jpeg2000": ("JPEG2000", rgb)}
    for name, (kind, image) in optional.items():
        if features.check("avif" if name == "avif" else "jpg_2000"):
            found[name] = stored(image, kind)
    return found


# --- damage that knows the format ---------------------------------------------------------------------------


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    whole = [(len(body), kind + body) for kind, body in chunks]
    parts = [size.to_bytes(4, "big") + part + crc32(part).to_bytes(4, "big") for size, part in whole]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_chunks(rng: random.Random) -> bytes:
    """PNG: chunks damaged, lost, doubled, invented, of another picture; the checksums fit."""
    names = ("png", "png palette", "png 16", "apng")
    chunks = _png_chunks(seeds()[rng.choice(names)])
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(chunks))
        kind, body = chunks[at]
        match rng.randrange(6):
            case 0:
                del chunks[at : at + (len(chunks) > 1)]
            case 1:
                chunks.insert(rng.randrange(len(chunks)), chunks[at])
            case 2:
                chunks.insert(at, rng.choice(_png_chunks(seeds()[rng.choice(names)])))
            case 3:
                text = compress(bytes(rng.choice((10, 1 << 16, 1 << 23, 1 << 26))), 1)
                extra = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}
                kind = rng.choice(list(extra))
                chunks.insert(1, (kind, extra[kind] + text))
            case _ if body:
                broken = bytearray(body)
                where, width = rng.randrange(min(len(body), 40)), rng.choice((1, 2, 4))
                value = rng.choice((*LIMITS, 0, 1, 2, 3, 6, 4000))
                broken[where : where + width] = (value % (1 << 8 * width)).to_bytes(width, "big")
                chunks[at] = kind, bytes(broken)
            case _:
                chunks.append((rng.randbytes(4), b""))
    return _png(chunks)


def png_sizes(rng: random.Random) -> bytes:
    """PNG of pixels that are all alike, as large as can be, with less or more data than they need."""
    width, height = (rng.choice((1, 16, 1000, 1448, 2048, 46_341, 1 << 16, (1 << 31) - 1)) for _ in "wh")
    depth, colour = rng.choice(((1, 0), (8, 0), (8, 2), (8, 6), (16, 2), (16, 4), (8, 3), (3, 9)))
    data = compress(bytes(min(1 << 22, (width * 4 + 1) * height)), 1)
    data = data[: rng.choice((len(data), len(data) // 2, 10))]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, rng.choice((0, 0, 1)))
    return _png([(b"IHDR", head), (b"PLTE", bytes(12)), (b"IDAT", data), (b"IEND", b"")])


def jpeg_segments(rng: random.Random) -> bytes:
    """JPEG: segments damaged, lost, doubled, hundreds of scans, other sizes in the frame's head."""
    data = seeds()[rng.choice(("jpeg", "progressive", "cmyk"))]
    parts = [b"\xff" + part for part in data.split(b"\xff")[1:]]
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(parts))
        scans = [k for k, part in enumerate(parts) if part[1:2] == b"\xda"]
        frames = [k for k, part in enumerate(parts) if part[1:2] in (b"\xc0", b"\xc2")]
        match rng.randrange(5):
            case 0 if frames:
                head = bytearray(parts[frames[0]])
                head[5:9] = struct.pack(">HH", *(rng.choice((0, 1, 16, 1000, 2000, 65_500, 65_535)) for _ in "hw"))
                parts[frames[0]] = bytes(head)
            case 1 if scans:
                k = rng.choice(scans)
                parts[k:k] = [parts[k]] * rng.choice((1, 10, 99, 101, 2000))
            case 2:
                del parts[at : at + (len(parts) > 1)]
            case 3:
                parts.insert(rng.randrange(len(parts)), parts[at])
            case _:
                part = bytearray(parts[at])
                part[rng.randrange(len(part))] = rng.randrange(256)
                parts[at] = bytes(part)
    return b"".join(parts)


def numbers(rng: random.Random) -> bytes:
    """Numbers in the first bytes of any format, where sizes stand, at their limits."""
    data = bytearray(rng.choice(list(seeds().values())))
    for _ in range(rng.randrange(1, 3)):
        where, width = rng.randrange(min(len(data), rng.choice((40, 400)))), rng.choice((1, 2, 4))
        value = rng.choice((*LIMITS, 0, 1, len(data)))
        data[where : where + width] = (value % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))
    return bytes(data)


def lines(rng: random.Random) -> bytes:
    """PPM and its kin in text, with other sizes, depths and comments."""
    sides = [rng.choice((b"0", b"1", b"3", b"1000", b"46341", b"99999999", b"-1", b"1e3", b"9" * 40)) for _ in range(3)]
    kind = rng.choice((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF", b"P7", b"Py"))
    gap = rng.choice((b" ", b"\n", b"\n# " + b"x" * rng.choice((3, 70_000)) + b"\n", b"\0"))
    body = rng.choice((b"0 1 " * 50, rng.randbytes(100), b"9" * rng.choice((10, 70_000)), b"#" * 50, b""))
    return gap.join([kind, *sides]) + b"\n" + body


# --- the readers ------------------------------------------------------------------------------------------------


@contextmanager
def _few_pixels() -> Iterator[None]:
    """Pillow refuses pictures that are too large for a study of thousands."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def read_file(data: bytes) -> Iterator[Signature]:
    with _few_pixels():
        yield from _read_file(data)


def _read_file(data: bytes) -> Iterator[Signature]:
    path: Path = folder() / "picture"
    path.write_bytes(data)
    if not is_picture(path):
        try:
            read_image(path)
        except MediaError:
            return
        raise AssertionError("read, though it is called no picture")
    yield "picture", read_image(path)[:1, :1].tobytes()


def read_plate(data: bytes) -> Iterator[Signature]:
    """As the background of a stream."""
    kind = PictureFormat.AVIF if data[4:8] == b"ftyp" else PictureFormat.JPEG
    plate = Background(Mode.PLATE, (0, 0, 0), *SIDE, (12.0, 8.0, 9.0), kind, data)
    with _few_pixels():
        yield "plate", str(tuple(decode_plate(plate).shape)).encode()


def surface() -> Surface:
    special = {
        "png chunks": png_chunks,
        "png sizes": png_sizes,
        "jpeg segments": jpeg_segments,
        "numbers": numbers,
        "lines": lines,
    }
    weights = {"avif": 0.3, "jpeg2000": 0.5}
    readers = {"file": read_file, "plate": read_plate}
    fixed = 2 * PIXELS * BYTES_PER_PIXEL + 32 * MIB
    allowed = (MediaError, FormatError)
    return Surface(
        "picture", readers, Mutations(seeds(), special, weights=weights), seeds(), allowed, factor=64, fixed=fixed
    )
