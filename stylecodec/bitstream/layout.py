"""The numbers of SPEC 2 to 8: magic, versions, chunk types, limits and the declared structures.

SPEC.md (format_spec/) is normative, and each number of it stands in one module: those of live transport (SPEC 11) in
live/transport.py, of the compact coder (SPEC 12) in compact/, of personalised generators (SPEC 13) in delta.py, of
backgrounds (SPEC 14) in background.py, all others here. Integers are little-endian. A stream is

    prologue │ HEADER │ chunk │ chunk │ … │ INDEX │ END

and every chunk is `sync type flags length check │ payload │ crc`: 16 bytes around its payload.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
from construct import Bytes, Float64l, Int8ul, Int16ul, Int32ul, Int64sl, Int64ul, Struct

# --- identity of the format (SPEC 2) ------------------------------------------------------------------

#: A first byte outside ASCII, then CR LF, ^Z and LF: a text-mode transfer or a 7-bit channel changes it visibly.
MAGIC = b"\x8dSTC\r\n\x1a\n"
VERSION_MAJOR = 1
FIRST_MINOR = 0  # of streams that use nothing that came later
PREDICTED_MINOR = 1  # brought identities that are predicted from others
VERSION_MINOR = PREDICTED_MINOR  # the highest that this package knows

#: Read as fp16 at either byte alignment, one of its halves is a NaN, so the word cannot occur inside an array of
#: finite fp16 numbers: neither in packets nor in an identity.
SYNC = b"\xfd\x7e\xfc\x7f"

# --- the packet (SPEC 5.3; paper section 3, "35 parameters per frame") ---------------------------------

ALPHA_COUNT = 32
PARAMS_PER_FRAME = 3 + ALPHA_COUNT  # yaw, pitch, roll in degrees, then alpha 0..31
PACKET_BYTES = 2 * PARAMS_PER_FRAME  # 70
FP16 = np.dtype("<f2")

# --- the identity (SPEC 5.2) --------------------------------------------------------------------------

IDENTITY_ROWS = 18
IDENTITY_DIM = 512
IDENTITY_BYTES = 2 * IDENTITY_ROWS * IDENTITY_DIM  # 18,432
DIGEST_BYTES = 32  # SHA-256

# --- clocks -------------------------------------------------------------------------------------------

AUDIO_CLOCK = 48_000  # ticks per second of every audio time: the rate Opus decodes at
DEFAULT_TIME_SCALE = 90_000  # ticks per second of frame times, where a writer has no better idea


class ChunkType(IntEnum):
    """The chunk types of version 1 (SPEC 4). 0x80 to 0xFF are free for private use."""

    HEADER = 0x01
    IDENTITY = 0x02
    GROUP = 0x03
    AUDIO_CONFIG = 0x04
    AUDIO = 0x05
    INDEX = 0x06
    END = 0x07
    GENERATOR_DELTA = 0x10  # how the generator of an identity differs from the pack's, or the digest of that delta
    IDENTITY_REFERENCE = 0x11  # an identity by its digest, for receivers that know it
    BACKGROUND = 0x12  # what to put behind the head


#: The types that this version defines; any other is unknown to it.
DEFINED_TYPES = frozenset(ChunkType)
#: Types that only a renderer needs, and what a report calls them where they are lost.
ATTACHMENT_NAMES: dict[int, str] = {
    ChunkType.GENERATOR_DELTA: "a personalised generator",
    ChunkType.BACKGROUND: "the background",
}
ATTACHMENT_TYPES = frozenset(ATTACHMENT_NAMES)


class ChunkFlag(IntFlag):
    MANDATORY = 0x01  # a reader that does not know the type must stop


class HeaderFlag(IntFlag):
    CROP = 0x01  # the crop geometry is present
    LIVE = 0x02  # no index and no END chunk will follow


class GroupFlag(IntFlag):
    TIMES = 0x01  # presentation times are there
    LEVELS = 0x02  # the packets are entropy-coded levels: profile compact


class IdentityForm(IntEnum):
    RAW = 0  # 18,432 bytes of fp16
    COMPACT = 1  # a step and entropy-coded levels
    PREDICTED = 2  # the same, as differences from an identity before it; from PREDICTED_MINOR on


class AudioCodec(IntEnum):
    OPUS = 1


# --- limits (SPEC 7), checked before memory is allocated -------------------------------------------------

MAX_GROUP_FRAMES = 1024
MAX_FRAMES = 1 << 40
MAX_IDENTITIES = 256  # slots 0..255
MAX_LEVEL = 32_767  # of the compact profile, either side of 0
MAX_IDENTITY_LEVEL = 1023  # of the compact form of an identity
MAX_PREDICTIONS = 8  # of an identity from another, and of that one from another, and so on
MAX_VALUE = 65_504  # level times step: the largest fp16
MAX_TERMS = 140  # of the predictor
MAX_RATE = 1000  # frames per second
MAX_PICTURE_SIDE = 16_384
MAX_SOURCE_SIDE = 1 << 20
MAX_PACK_NAME_BYTES = 64
MAX_STYLE_LAYER = 63
MAX_STYLE_CHANNEL = 8191
MAX_TICKS = (1 << 62) - 1  # frame and audio times
MAX_STEP_TICKS = (1 << 32) - 1  # between two frames of a group
MAX_AUDIO_CHANNELS = 8
MAX_AUDIO_PACKET_BYTES = 61_440  # the longest Opus packet of RFC 6716: 48 frames of up to 1,275 bytes
MAX_AUDIO_PACKETS = 1024  # in one chunk
MAX_AUDIO_CHUNK_BYTES = 1 << 20
MAX_INDEX_ENTRIES = 1 << 20
MAX_OTHER_BYTES = 1 << 24  # payload of a chunk of any other type

# --- structures (SPEC 2 to 6) -----------------------------------------------------------------------------

PROLOGUE = Struct(
    "magic" / Bytes(8),
    "major" / Int8ul,
    "minor" / Int8ul,
    "reserved" / Int16ul,  # zero; readers ignore it
    "crc" / Int32ul,  # CRC-32 of the 12 bytes before it
)
PROLOGUE_BYTES: int = PROLOGUE.sizeof()  # 16

CHUNK_HEAD = Struct(
    "sync" / Bytes(4),
    "type" / Int8ul,
    "flags" / Int8ul,
    "length" / Int32ul,  # of the payload
    "check" / Int16ul,  # low 16 bits of the CRC-32 of the 10 bytes before it
)
CHUNK_HEAD_BYTES: int = CHUNK_HEAD.sizeof()  # 12
CHUNK_CRC = Int32ul  # CRC-32 of head and payload
CHUNK_CRC_BYTES = 4
CHUNK_OVERHEAD = CHUNK_HEAD_BYTES + CHUNK_CRC_BYTES  # 16

HEADER_HEAD = Struct(
    "profile" / Int8ul,
    "flags" / Int8ul,
    "width" / Int16ul,
    "height" / Int16ul,
    "rate_numerator" / Int32ul,
    "rate_denominator" / Int32ul,
    "time_scale" / Int32ul,  # ticks per second of frame times; 0: the rate is constant
    "pack_digest" / Bytes(DIGEST_BYTES),
    "indices" / Struct("layer" / Int8ul, "channel" / Int16ul)[ALPHA_COUNT],
    "name_length" / Int8ul,
)
HEADER_HEAD_BYTES: int = HEADER_HEAD.sizeof()  # then the pack name, then the crop geometry

CROP = Struct(
    "source_width" / Int32ul,
    "source_height" / Int32ul,
    "center_x" / Float64l,
    "center_y" / Float64l,
    "side" / Float64l,
)
CROP_BYTES: int = CROP.sizeof()  # 32

#: The quantiser of profile compact: 35 step codes of a byte, 35 activity classes of half a byte, 35 rest levels of
#: 1 to 3 bytes, the number of prediction terms and 3 bytes for each.
SPREAD_BYTES = (PARAMS_PER_FRAME + 1) // 2
TERM = np.dtype([("target", "u1"), ("source", "u1"), ("weight", "i1")])
MAX_QUANTISER_BYTES = PARAMS_PER_FRAME * (1 + 3) + SPREAD_BYTES + 1 + MAX_TERMS * TERM.itemsize

IDENTITY_HEAD = Struct("slot" / Int8ul, "form" / Int8ul, "digest" / Bytes(DIGEST_BYTES))
IDENTITY_HEAD_BYTES: int = IDENTITY_HEAD.sizeof()  # 34
IDENTITY_PAYLOAD_BYTES = IDENTITY_HEAD_BYTES + IDENTITY_BYTES  # 18,466

GROUP_HEAD = Struct("first_frame" / Int64ul, "count" / Int16ul, "slot" / Int8ul, "flags" / Int8ul)
GROUP_HEAD_BYTES: int = GROUP_HEAD.sizeof()  # 12
FIRST_TIME = Int64ul
FIRST_TIME_BYTES = 8
STEP = np.dtype("<u4")

AUDIO_CONFIG = Struct("codec" / Int8ul, "channels" / Int8ul, "pre_skip" / Int16ul, "sample_rate" / Int32ul)
AUDIO_CONFIG_BYTES: int = AUDIO_CONFIG.sizeof()  # 8

AUDIO_HEAD = Struct("pts" / Int64sl, "count" / Int16ul)
AUDIO_HEAD_BYTES: int = AUDIO_HEAD.sizeof()  # 10

#: One entry per chunk before the index, in file order. `count` is frames or audio packets, else 0.
INDEX_ENTRY = np.dtype([("offset", "<u8"), ("type", "u1"), ("slot", "u1"), ("count", "<u2")])

END = Struct("index_offset" / Int64ul, "frame_count" / Int64ul, "stream_length" / Int64ul)
END_BYTES: int = END.sizeof()  # 24

#: Longest payload, in bytes, of the types that have a limit of their own.
MAX_PAYLOAD: dict[int, int] = {
    ChunkType.HEADER: HEADER_HEAD_BYTES + MAX_PACK_NAME_BYTES + CROP_BYTES + MAX_QUANTISER_BYTES,
    ChunkType.IDENTITY: IDENTITY_PAYLOAD_BYTES,
    ChunkType.GROUP: GROUP_HEAD_BYTES
    + MAX_GROUP_FRAMES * PACKET_BYTES
    + FIRST_TIME_BYTES
    + (MAX_GROUP_FRAMES - 1) * STEP.itemsize,
    ChunkType.AUDIO_CONFIG: AUDIO_CONFIG_BYTES,
    ChunkType.AUDIO: MAX_AUDIO_CHUNK_BYTES,
    ChunkType.INDEX: MAX_INDEX_ENTRIES * INDEX_ENTRY.itemsize,
    ChunkType.END: END_BYTES,
    ChunkType.IDENTITY_REFERENCE: IDENTITY_HEAD_BYTES,
}


def max_payload(chunk_type: int) -> int:
    """Longest payload, in bytes, that a chunk of this type may announce (SPEC 7)."""
    return MAX_PAYLOAD.get(chunk_type, MAX_OTHER_BYTES)


def chunk_name(chunk_type: int) -> str:
    """The name of a chunk of this type in error messages."""
    try:
        return f"{ChunkType(chunk_type).name} chunk"
    except ValueError:
        return f"chunk of unknown type 0x{chunk_type:02x}"


def frame_range(first: int, last: int) -> str:
    """The frames first..last in the words of a message."""
    return f"frame {first}" if first == last else f"frames {first} to {last}"
