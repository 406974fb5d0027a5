"""The `.stc` container: sans-I/O reader and writer, random access to files (format_spec/SPEC.md).

Needs numpy, construct and zstandard only; never torch, av or dlib.
"""

from .audio import AudioChunk, AudioConfig, opus_samples
from .chunks import Damage
from .compact.modelling import compact_header, plain_quantiser
from .compact.prediction import Term
from .compact.quantiser import Quantiser, nearest_code
from .file import StreamFile, check
from .groups import FrameGroup
from .header import CropGeometry, Profile, StreamHeader
from .identity import Identity, IdentityReference
from .index import End, Index, IndexEntry
from .layout import (
    ALPHA_COUNT,
    AUDIO_CLOCK,
    DEFAULT_TIME_SCALE,
    IDENTITY_BYTES,
    IDENTITY_DIM,
    IDENTITY_ROWS,
    MAX_AUDIO_PACKETS,
    MAX_GROUP_FRAMES,
    PACKET_BYTES,
    PARAMS_PER_FRAME,
    ChunkType,
)
from .muxing import TimedGroup, mux
from .reader import Event, StreamReader, StreamReport, UnknownChunk
from .writer import StreamWriter, group_frames

__all__ = [
    "ALPHA_COUNT",
    "AUDIO_CLOCK",
    "DEFAULT_TIME_SCALE",
    "IDENTITY_BYTES",
    "IDENTITY_DIM",
    "IDENTITY_ROWS",
    "MAX_AUDIO_PACKETS",
    "MAX_GROUP_FRAMES",
    "PACKET_BYTES",
    "PARAMS_PER_FRAME",
    "AudioChunk",
    "AudioConfig",
    "ChunkType",
    "CropGeometry",
    "Damage",
    "End",
    "Event",
    "FrameGroup",
    "Identity",
    "IdentityReference",
    "Index",
    "IndexEntry",
    "Profile",
    "Quantiser",
    "StreamFile",
    "StreamHeader",
    "StreamReader",
    "StreamReport",
    "StreamWriter",
    "Term",
    "TimedGroup",
    "UnknownChunk",
    "check",
    "compact_header",
    "group_frames",
    "mux",
    "nearest_code",
    "opus_samples",
    "plain_quantiser",
]
