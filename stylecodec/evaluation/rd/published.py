"""Published curves, to be drawn beside measured ones and never among them: other clips, other faces, other code.

All are of VoxCeleb sequences at 256², 25 frames per second, 250 frames, with the bits of the key frame, and tell
1 - LPIPS (VGG). They were read off the plots of github.com/Goluck-Konuko/GFVC (evaluate/plots.py draws them), so they
are right to ±0.1 kbit/s below 10 and ±0.5 above.
"""

from __future__ import annotations

from dataclasses import dataclass

METRIC = "LPIPS-vgg"
SOURCE = (
    "read off the plots of github.com/Goluck-Konuko/GFVC, to ±0.1 kbit/s below 10 and ±0.5 above: VoxCeleb, 256², 25 "
    "frames per second, 250 frames, key frame counted"
)


@dataclass(frozen=True)
class PublishedCurve:
    """A system's points (kbit/s, 1 - LPIPS). limit: the most that it reaches at any rate, where that is told."""

    system: str
    points: tuple[tuple[float, float], ...]
    limit: float | None = None


CURVES = (
    PublishedCurve("DAC", ((1.6, 0.66), (2.5, 0.76), (4.9, 0.784)), 0.784),
    PublishedCurve("CFTE", ((1.95, 0.66), (5.2, 0.755)), 0.755),
    PublishedCurve("FV2V", ((3.5, 0.66),), 0.677),
    PublishedCurve("HDAC", ((9.0, 0.76), (13.5, 0.80), (26.0, 0.83))),
    PublishedCurve("VVC (VTM 22.2)", ((7.4, 0.66), (15.2, 0.76), (21.8, 0.80), (31.6, 0.83))),
    PublishedCurve("HEVC (HM 16.15)", ((12.0, 0.66), (25.0, 0.76), (36.0, 0.80), (48.0, 0.83))),
)
