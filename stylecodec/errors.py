"""Every exception the package raises on purpose.

StylecodecError
├── FormatError (also ValueError)     bytes that are not a valid stream; `.offset` says where
│   ├── BadMagic                      the file is something else
│   ├── UnsupportedVersion            a newer major version, profile or mandatory chunk
│   ├── Truncated                     the bytes end too early
│   ├── LimitExceeded                 a count or length above the limits of SPEC.md
│   ├── ChecksumMismatch              a CRC-32 does not fit its chunk
│   └── CorruptChunk                  the checksum fits, the content makes no sense
├── StreamMismatch                    streams that cannot become one
├── MediaError                        the video or sound cannot be read or written
├── FaceNotFound                      no frame shows a face
├── PackError                         a model pack cannot be used
│   ├── PackNotFound                  no pack of that name or folder
│   ├── PackMismatch                  the stream was made with another pack
│   ├── DeltaNotFound                 the stream names a personalised generator that is not known here
│   ├── PackCorrupt                   a file of the pack does not match its card
│   └── ImportRefused                 a foreign file is not taken into a pack
├── OutputError                       the result cannot be written
├── OptionError (also ValueError)     an option outside its range
└── MissingDependency                 an optional package is needed for this
"""

from __future__ import annotations


class StylecodecError(Exception):
    """Base of all: one plain sentence that says what went wrong and where."""


class FormatError(StylecodecError, ValueError):
    """Bytes that are not a valid stream.

    `offset` is the absolute byte offset of the first offending byte, or None when it is not known.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset:,})")
        self.offset = offset


class BadMagic(FormatError):
    """The file does not begin with the stylecodec signature."""


class UnsupportedVersion(FormatError):
    """The stream needs a newer reader."""


class Truncated(FormatError):
    """The bytes end before the structure they announce."""


class LimitExceeded(FormatError):
    """A count or length above the limits of SPEC.md."""


class ChecksumMismatch(FormatError):
    """The CRC-32 of a chunk does not fit its bytes."""


class CorruptChunk(FormatError):
    """A chunk whose checksum fits but whose content is impossible."""


class StreamMismatch(StylecodecError):
    """Streams that differ in what they must share to be joined."""


class MediaError(StylecodecError):
    """A video or its sound cannot be read or written."""


class FaceNotFound(StylecodecError):
    """No frame of the input shows a face."""


class PackError(StylecodecError):
    """A model pack cannot be used."""


class PackNotFound(PackError):
    """There is no pack of that name or in that folder."""


class PackMismatch(PackError):
    """The stream was encoded with another pack."""


class DeltaNotFound(PackError):
    """The stream names a personalised generator that is neither in it nor known here."""


class PackCorrupt(PackError):
    """A file of the pack is missing or does not match its card."""


class ImportRefused(PackError):
    """A foreign file that cannot or must not become part of a pack."""


class OutputError(StylecodecError):
    """The result cannot be written where it was asked for."""


class OptionError(StylecodecError, ValueError):
    """An option outside its range."""


class MissingDependency(StylecodecError):
    """An optional package is needed; the message says how to install it."""
