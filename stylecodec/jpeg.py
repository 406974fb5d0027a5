"""A limit to the scans of JPEG pictures: each takes time for all pixels, and costs a file a dozen bytes."""

from __future__ import annotations

from typing import BinaryIO

MAX_SCANS = 50  # progressive pictures have about ten
_SCAN = b"\xff\xda"  # does not occur within the data of a scan
_BLOCK = 1 << 20


def too_many_scans(file: BinaryIO) -> bool:
    """Whether a JPEG file has more than MAX_SCANS scans, those of previews inside it included."""
    found, last = 0, b""
    file.seek(0)
    while block := file.read(_BLOCK):
        found += (last + block).count(_SCAN)
        if found > MAX_SCANS:
            return True
        last = block[-1:]
    return False
