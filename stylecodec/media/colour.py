"""Decoded frames as sRGB-like BT.709 pictures: matrix and range, wide gamut and HDR, transparency.

Every picture leaves here as it looks on a BT.709 display with the gamma of 2.4 of ITU-R BT.1886.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stylecodec.media.shape import Frame

Floats = NDArray[np.float32]

# A frame's tags that PyAV's Colorspace does not know, or knows only by swscale's number.
RGB_MATRIX, SMPTE170M, BT2020_CONSTANT, ICTCP = 0, 6, 10, 14
UNTOLD = 2
# Without these flags swscale's RGB <-> YUV is a level too dark on average.
EXACT_COLOURS = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
# Of pixels by whether 16 bits are needed and whether transparency is.
LAYOUTS = {(False, False): "rgb24", (False, True): "rgba", (True, False): "rgb48le", (True, True): "rgba64le"}
GROUND = 128  # grey behind transparent parts

DISPLAY_GAMMA = 2.4  # BT.1886
WHITE = 203.0  # cd/m² of diffuse white in HDR, which SDR's white becomes (ITU-R BT.2408)
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2  # cd/m² and system gamma of the reference display (ITU-R BT.2100)
PEAK = 1000.0  # cd/m² that the brightest white is made of
# Signal level from which highlights are compressed; SDR that was put into HDR stays as it was below it.
KNEE = 0.94
CODES = 1 << 16

# Linear light of these primaries to BT.709 (from their chromaticities and D65, ITU-R BT.2087 and SMPTE EG 432-1).
TO_BT709 = {
    int(ColorPrimaries.BT2020): (
        (1.660491, -0.587641, -0.072850),
        (-0.124550, 1.132900, -0.008349),
        (-0.018151, -0.100579, 1.118730),
    ),
    int(ColorPrimaries.SMPTE432): (
        (1.224940, -0.224940, 0.0),
        (-0.042057, 1.042057, 0.0),
        (-0.019638, -0.078636, 1.098274),
    ),
}
BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)


@dataclass(frozen=True)
class Tags:
    """How colours are coded, as numbers of ISO/IEC 23091-2: transfer, primaries, matrix; 2 where it is not told."""

    transfer: int = UNTOLD
    primaries: int = UNTOLD
    matrix: int = UNTOLD

    @classmethod
    def of(cls, source: av.VideoFrame | VideoStream) -> Tags:
        """Those of a frame, or of a stream's container."""
        told = source.codec_context if isinstance(source, VideoStream) else source
        return cls(int(told.color_trc), int(told.color_primaries), int(told.colorspace))

    def or_else(self, other: Tags) -> Tags:
        """These, and the other's where these do not tell."""
        pairs = zip(
            (self.transfer, self.primaries, self.matrix), (other.transfer, other.primaries, other.matrix), strict=True
        )
        return Tags(*(own if own != UNTOLD else theirs for own, theirs in pairs))

    @property
    def hdr(self) -> str | None:
        """PQ or HLG, None for SDR."""
        names = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
        return names.get(self.transfer)

    @property
    def wide(self) -> bool:
        """Whether pixels must go through linear light to become BT.709."""
        return self.hdr is not None or self.primaries in TO_BT709

    def notes(self) -> list[str]:
        """What is done to these colours, and what cannot be, as sentences."""
        said = []
        if self.hdr is not None:
            said.append(f"the picture is HDR ({self.hdr}): it is tone-mapped to BT.709")
        elif self.wide:
            said.append("the picture has a wide gamut: its colours are brought into BT.709")
        if self.matrix in (ICTCP, BT2020_CONSTANT):
            name = "ICtCp" if self.matrix == ICTCP else "BT.2020 constant luminance"
            said.append(f"the picture is coded as {name}, which is read as plain BT.2020: its colours may be off")
        if self.transfer in (int(ColorTrc.LINEAR), int(ColorTrc.LOG), int(ColorTrc.LOG_SQRT)):
            said.append("the picture has a linear or logarithmic transfer, which is shown as it is: it may look flat")
        return said


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether a frame can be transparent."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def to_rgb(frame: av.VideoFrame, width: int, height: int, tags: Tags) -> tuple[Frame, Floats | None]:
    """A frame scaled to [height, width, 3] uint8, BT.709, and its opacity [height, width], 0..1.

    The opacity is None where all of the frame is opaque.
    """
    alpha = has_alpha(frame)
    scaled = frame.reformat(
        width=width,
        height=height,
        format=LAYOUTS[tags.wide, alpha],
        src_colorspace=_matrix(frame, tags),
        interpolation=EXACT_COLOURS,
    )
    pixels = cast("NDArray[np.uint8] | NDArray[np.uint16]", scaled.to_ndarray())
    colours = sdr(cast("NDArray[np.uint16]", pixels[..., :3]), tags) if tags.wide else cast(Frame, pixels[..., :3])
    if not alpha:
        return colours, None
    opacity = pixels[..., 3].astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return np.ascontiguousarray(colours), None if opacity.min() >= 1 else opacity


def on_ground(colours: Frame, opacity: Floats) -> Frame:
    """Colours [H, W, 3] uint8 laid on grey by their opacity [H, W], 0..1."""
    share = opacity[..., None]
    return cast(Frame, np.rint(colours * share + GROUND * (1 - share)).astype(np.uint8))


def sdr(codes: NDArray[np.uint16], tags: Tags) -> Frame:
    """RGB of any transfer and primaries [H, W, 3] as BT.709 SDR [H, W, 3] uint8.

    Linear light up to 203 cd/m², the white of SDR, comes out as it looks; brighter light is compressed to fit, each
    pixel by one factor for its three colours, so that hues stay (all in the display light of ITU-R BT.2408 §5.1).
    """
    light = _linear(tags.transfer)[codes]
    if tags.hdr == "HLG":  # from scene to display light: the OOTF of BT.2100, table 5
        luminance = np.maximum(light @ BT2020_LUMINANCE, 1e-6)
        light *= (luminance ** (HLG_GAMMA - 1))[..., None]
    light *= np.float32(_white(tags))
    matrix = TO_BT709.get(tags.primaries)
    if matrix is None and tags.hdr is not None and tags.primaries == UNTOLD:
        matrix = TO_BT709[int(ColorPrimaries.BT2020)]
    if matrix is not None:
        light = np.maximum(light @ np.array(matrix, np.float32).T, 0)
    if tags.hdr is not None:
        _compress(light)
    np.sqrt(np.minimum(light, 1, out=light), out=light)
    light *= CODES - 1
    return np.take(_shades(), light.astype(np.uint16))


def _white(tags: Tags) -> float:
    """What linear light is multiplied by, so that SDR's white is 1."""
    return {"PQ": 10_000 / WHITE, "HLG": HLG_PEAK / WHITE}.get(tags.hdr or "", 1.0)


def _compress(light: Floats) -> None:
    """Bring the brightest of each pixel's three colours to at most 1, in place; the others keep their ratio to it."""
    brightest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
    high = brightest > KNEE**DISPLAY_GAMMA
    if not high.any():
        return
    level = brightest[high] ** np.float32(1 / DISPLAY_GAMMA)
    span = 1 - KNEE
    top = ((PEAK / WHITE) ** (1 / DISPLAY_GAMMA) - KNEE) / span
    over = np.minimum((level - KNEE) / span, top)
    # Slope 1 at the knee, 1 at the peak: Reinhard's extended curve over what exceeds the knee.
    shown = KNEE + span * over * (1 + over / top**2) / (1 + over)
    light[high] *= ((shown / level) ** DISPLAY_GAMMA)[:, None]


@cache
def _linear(transfer: int) -> Floats:
    """[65536] linear light of each 16-bit code: 1 is 10,000 cd/m² for PQ, the brightest white otherwise."""
    signal = np.linspace(0, 1, CODES)
    if transfer == int(ColorTrc.SMPTE2084):  # BT.2100, table 4
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        root = signal ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    elif transfer == int(ColorTrc.ARIB_STD_B67):  # BT.2100, table 5
        a, b = 0.17883277, 0.28466892
        c = 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    else:
        light = signal**DISPLAY_GAMMA
    return light.astype(np.float32)


@cache
def _shades() -> NDArray[np.uint8]:
    """[65536] levels 0..255 of the square root of linear light, 0..1."""
    root = np.linspace(0, 1, CODES)
    return np.rint(255 * root ** (2 / DISPLAY_GAMMA)).astype(np.uint8)


def _matrix(frame: av.VideoFrame, tags: Tags) -> Colorspace | None:
    """The matrix for swscale; None: the frame's own tag."""
    if tags.matrix in set(Colorspace) or tags.matrix == SMPTE170M:
        own = int(frame.colorspace) == tags.matrix and tags.matrix != SMPTE170M
        return None if own else Colorspace.ITU601 if tags.matrix == SMPTE170M else Colorspace(tags.matrix)
    if tags.matrix in (ICTCP, BT2020_CONSTANT) or tags.hdr or tags.primaries == int(ColorPrimaries.BT2020):
        return Colorspace.BT2020
    # Files without a tag follow the usual rule: BT.709 for high definition, BT.601 below.
    return Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
