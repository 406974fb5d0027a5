"""Dolby Vision whose picture looks wrong without Dolby's own processing, told by the head of the file.

Most Dolby Vision carries a picture that is plain HDR10, HLG or SDR, and is read as that. Profile 5 (and 10.0 of AV1)
does not: its numbers are neither YCbCr nor ICtCp. PyAV tells nothing of it, so the configuration record is looked for
where it stands: in the `dvcC`, `dvvC` or `dvwC` box of MP4's moov box, or in Matroska's block additions (Dolby Vision
Streams within the ISO Base Media File Format 2.1.2, §2.2; Matroska's Dolby Vision block addition mapping).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RECORDS = (b"dvcC", b"dvvC", b"dvwC")
MATROSKA, MATROSKA_PAYLOAD = b"\x1a\x45\xdf\xa3", b"\x41\xed"  # EBML's head, BlockAddIDExtraData
HEAD_BYTES = 1 << 20  # of a Matroska file
MOST_BYTES = 1 << 26  # of a moov box
MOST_BOXES = 10_000


@dataclass(frozen=True)
class DolbyVision:
    """A configuration record. compatibility: 0 where the picture beneath is nothing else, 1 HDR10, 2 SDR, 4 HLG."""

    profile: int
    compatibility: int

    @property
    def proprietary(self) -> bool:
        """Whether the picture looks wrong without Dolby's processing."""
        return self.compatibility == 0 and self.profile in (5, 10)


def dolby_vision(path: Path) -> DolbyVision | None:
    """The configuration of the first Dolby Vision track of an MP4, MOV or Matroska file; None where there is none."""
    with path.open("rb") as file:
        head = file.read(16)
        if head[:4] == MATROSKA:
            return next(_records(head + file.read(HEAD_BYTES), matroska=True), None)
        if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return None
        at = 0
        for _ in range(MOST_BOXES):
            file.seek(at)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if head[4:8] == b"moov":
                file.seek(at)
                return next(_records(file.read(min(size or MOST_BYTES, MOST_BYTES))), None)
            if size < 8:
                return None
            at += size
    return None


def _records(data: bytes, matroska: bool = False) -> Iterator[DolbyVision]:
    for name in RECORDS:
        at = data.find(name)
        while at >= 0:
            begin = at + 4
            if matroska:  # after its kind comes the payload, whose length is one byte here
                payload = data.find(MATROSKA_PAYLOAD, begin, begin + 16)
                begin = payload + 3 if payload >= 0 else len(data)
            record = data[begin : begin + 5]
            if len(record) == 5 and record[0] in (1, 2, 3) and record[2] >> 1 <= 20:
                yield DolbyVision(record[2] >> 1, record[4] >> 4)
            at = data.find(name, at + 4)
