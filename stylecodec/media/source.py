"""Opening media files, and their packets one by one, whatever is damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Stream

from stylecodec.errors import MediaError, StylecodecError
from stylecodec.media.doubt import Damage

PathLike = str | os.PathLike[str]

# Demuxers that turn text, lists of files or net addresses into "video".
REFUSED_FORMATS = {"tty", "concat", "hls", "applehttp", "ffmetadata", "lavfi", "sdp", "rtsp", "bin", "xbin"}
NOT_A_VIDEO, NO_FRAME = "is not a video that can be read", "holds no video frame that can be decoded"
# Unreadable places in a row after which a file counts as ended: some demuxers fail in one place for ever.
MOST_FAILURES = 1000
# Pictures of telephones, which are cut into tiles that FFmpeg gives out as so many videos.
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


@contextmanager
def readable(message: str) -> Iterator[None]:
    """Whatever goes wrong in PyAV becomes MediaError(message); our own errors stay as they are."""
    try:
        yield
    except StylecodecError:
        raise
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise MediaError(message) from error


def open_input(path: PathLike) -> InputContainer:
    """Open a media file for reading; MediaError when it is missing or is no media file."""
    file = existing(path)
    refuse_heif(file)
    refusal = f"{file} {NOT_A_VIDEO}"
    with readable(refusal):
        # The explicit protocol keeps a colon in the name from being taken for one.
        container = av.open(f"file:{file}", "r")
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise MediaError(refusal)
    return container


def existing(path: PathLike) -> Path:
    """The path of a file that is there and may be read; MediaError."""
    file = Path(path)
    if not file.exists():
        raise MediaError(f"there is no file {file}")
    if not file.is_file():
        raise MediaError(f"{file} is not a file")
    if not os.access(file, os.R_OK):
        raise MediaError(f"{file} cannot be read: permission denied")
    return file


def refuse_heif(file: Path) -> None:
    """MediaError for a HEIC picture."""
    with file.open("rb") as opened:
        head = opened.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        raise MediaError(f"{file} is a HEIC picture, which is not read here: save it as JPEG or PNG")


def packets_of(container: InputContainer, stream: Stream, damage: Damage | None = None) -> Iterator[av.Packet[Stream]]:
    """The packets of one stream to the end of the file, and an empty one that flushes the decoder.

    Places that cannot be read are counted in `damage` and passed over.
    """
    failures = 0
    while failures < MOST_FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except av.error.EOFError:
            return
        except av.error.InvalidDataError:
            failures += 1
            if damage is not None:
                damage.packets += 1
        except IndexError:
            # PyAV met a packet of a stream that begins only here; it cannot be one of ours.
            failures += 1


def holds_data(packet: av.Packet[Any]) -> bool:
    """Whether a packet carries something to be shown or heard, which a flush or a discarded one does not."""
    return bool(packet.size) and not packet.is_discard
