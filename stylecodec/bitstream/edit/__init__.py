"""Streams changed without decoding: cut, join, puppet, transcode, strip, repair, dump."""

from .assembly import check_same_pack, require_complete
from .dump import Dumper, undump
from .operations import AT_REST, concat, cut, first_frame_from, first_identity, neutral, puppet, strip, transcode
from .repair import Repair

__all__ = [
    "AT_REST",
    "Dumper",
    "Repair",
    "check_same_pack",
    "concat",
    "cut",
    "first_frame_from",
    "first_identity",
    "neutral",
    "puppet",
    "require_complete",
    "strip",
    "transcode",
    "undump",
]
