"""Every exception the package raises on purpose.

    StylecodecError                   base of all: one plain sentence that says what went wrong and where
      ├─ FormatError (ValueError)     bytes that are not a valid stream; `.offset` says where
      │    ├─ BadMagic                the file is something else
      │    ├─ UnsupportedVersion      a newer major version, profile or mandatory chunk
      │    ├─ Truncated               the bytes end too early
      │    ├─ LimitExceeded           a count or length above the limits of SPEC.md
      │    ├─ ChecksumMismatch        a CRC-32 does not fit its chunk
      │    └─ CorruptChunk            the checksum fits, the content makes no sense
      ├─ StreamMismatch               streams that cannot become one
      ├─ MediaError                   the video or sound cannot be read
      ├─ FaceNotFound                 no frame shows a face
      ├─ PackError                    a model pack cannot be used
      │    ├─ PackNotFound            no pack of that name or folder
      │    ├─ PackMismatch            the stream was made with another pack
      │    ├─ DeltaNotFound           the stream names a personalised generator that is not known here
      │    ├─ PackCorrupt             a file of the pack does not match its card
      │    └─ ImportRefused           a foreign file is not taken into a pack
      ├─ OutputError                  the result cannot be written
      ├─ OptionError (ValueError)     an option outside its range
      └─ MissingDependency            an optional package is needed for this

All are names of the package: `except stylecodec.FormatError`. What is wrong with a caller's own code (an index past the
end, a closed decoder) stays IndexError, ValueError or TypeError. An error that is not here is a fault of the package.
"""

from __future__ import annotations


class StylecodecError(Exception):
    """Base of all that the package raises on purpose; `str` of it is one plain sentence: what went wrong, and where."""


class FormatError(StylecodecError, ValueError):
    """Bytes that are not a valid stream.

    `offset` is the absolute byte offset of the first offending byte, or None when it is not known.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset:,})")
        self.offset = offset


class BadMagic(FormatError):
    """The bytes do not begin with the stylecodec signature: the file is something else."""


class UnsupportedVersion(FormatError):
    """A newer major version, or a profile or mandatory chunk that this reader does not know."""


class Truncated(FormatError):
    """The bytes end before the structure that they announce: a file that is cut off or still being written."""


class LimitExceeded(FormatError):
    """A count or length above the limits of SPEC.md, refused before anything of that size is allocated."""


class ChecksumMismatch(FormatError):
    """The CRC-32 of a chunk does not fit its bytes: they were damaged on the way."""


class CorruptChunk(FormatError):
    """A chunk whose checksum fits but whose content is impossible: it was written wrong."""


class StreamMismatch(StylecodecError):
    """Streams that differ in what they must share to be joined: pack, channels, rate, sound."""


class MediaError(StylecodecError):
    """A file cannot be read, or is no video, sound or picture, or one without what is needed of it."""


class FaceNotFound(StylecodecError):
    """No frame of a video, or not the picture, shows a face that the detector finds."""


class PackError(StylecodecError):
    """A model pack cannot be used: base of what goes wrong with packs, and raised where a network is missing in one."""


class PackNotFound(PackError):
    """There is no pack of that name or in that folder."""


class PackMismatch(PackError):
    """The stream was encoded with another pack."""


class DeltaNotFound(PackError):
    """The stream names a personalised generator that is neither in it nor known here."""


class PackCorrupt(PackError):
    """A file of a pack is missing, or does not match the digest, shapes or kind on its card."""


class ImportRefused(PackError):
    """A foreign file that cannot or must not become part of a pack: unknown, unsafe to read, or not what it says."""


class OutputError(StylecodecError):
    """The result cannot be written where it was asked for; nothing of it is left there."""


class OptionError(StylecodecError, ValueError):
    """An option outside its range, or options that exclude each other. The command line returns 2 for it."""


class MissingDependency(StylecodecError):
    """An optional package is needed; the message says how to install it."""
