"""The `.stc` container: sans-I/O reader and writer, random access to files (format_spec/SPEC.md).

    compact/  the entropy coder of the compact profile      edit/  cut, join, puppet, transcode, repair, dump
    live/     streams over RTP and UDP

It needs numpy, construct and zstandard, never torch, av or dlib.
"""

from .audio import AudioChunk, AudioConfig, opus_samples
from .background import Background
from .chunks import Damage
from .compact.modelling import compact_header, plain_quantiser
from .compact.prediction import Term
from .compact.quantiser import Quantiser, nearest_code
from .delta import Personalization
from .events import Attachment, Event, Extra, UnknownChunk
from .file import StreamFile
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
from .reader import StreamReader, StreamReport
from .scan import check
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
    "Attachment",
    "AudioChunk",
    "AudioConfig",
    "Background",
    "ChunkType",
    "CropGeometry",
    "Damage",
    "End",
    "Event",
    "Extra",
    "FrameGroup",
    "Identity",
    "IdentityReference",
    "Index",
    "IndexEntry",
    "Personalization",
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
