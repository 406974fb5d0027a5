"""What is damaged in a video, and which of its pictures may therefore show what never was there.

A decoder that misses data goes on from what it has: smeared pictures, ghosts of an earlier scene, grey ones. Each
picture is made from others, so all are in doubt until the next one that stands by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import av
from av.video.frame import PictureType

# Pictures after which damage is taken to have gone where none stands by itself (periodic intra refresh).
RENEWED = 300


@dataclass
class Damage:
    """What was passed over while a stream was read: packets that could not be read or decoded, pictures that were
    decoded only in part, gaps between packets. doubtful: numbers of the pictures that may show what never was there."""

    packets: int = 0
    pictures: int = 0
    gaps: int = 0
    doubtful: set[int] = field(default_factory=set)

    @property
    def places(self) -> int:
        """How often something was damaged."""
        return self.packets + self.pictures + self.gaps


class Doubt:
    """Finds the doubtful pictures of a stream while it is decoded, and numbers them in `damage`.

    Packets that cannot be decoded, gaps that the demuxer sees and pictures that the decoder calls corrupt begin the
    doubt. Damage that neither notices is not seen.
    """

    def __init__(self, damage: Damage) -> None:
        self._damage = damage
        self._packets = self._pictures = self._places = 0
        self._until = 0  # the first picture that is trusted again, if none stands by itself before
        self._since: tuple[int, int | None] = 0, None  # packets up to the damage, and the last one's time

    def see_packet(self, packet: av.Packet[Any]) -> None:
        """The next packet, after it went into the decoder."""
        self._packets += bool(packet.size)
        self._damage.gaps += packet.is_corrupt
        if self._damage.places > self._places:
            self._begin((self._packets, packet.pts))

    def see_frame(self, frame: av.VideoFrame) -> None:
        """The next picture that comes out, after `damage` has counted it."""
        if self._damage.places > self._places:
            self._begin((self._pictures, frame.pts))
        elif self._stands_by_itself(frame):
            self._until = 0
        if self._pictures < self._until:
            self._damage.doubtful.add(self._pictures)
        self._pictures += 1

    def _begin(self, since: tuple[int, int | None]) -> None:
        self._places, self._since, self._until = self._damage.places, since, self._pictures + RENEWED

    def _stands_by_itself(self, frame: av.VideoFrame) -> bool:
        """Whether a picture was decoded from no other one, and after the damage: decoders give pictures out late. Some
        tell key frames but no types."""
        kind = PictureType.I if frame.pict_type else PictureType.NONE
        count, time = self._since
        later = self._pictures >= count if time is None or frame.pts is None else frame.pts > time
        return later and frame.pict_type == kind and (kind == PictureType.I or frame.key_frame)
