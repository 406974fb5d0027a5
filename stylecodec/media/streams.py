"""Which of a file's streams are taken: FFmpeg's rule, or the one that is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from stylecodec.errors import MediaError, OptionError
from stylecodec.media.source import NOT_A_VIDEO, PathLike, existing, open_input, readable

Kind = TypeVar("Kind", VideoStream, AudioStream)

# What FFmpeg counts the default flag as, in pixels of a picture (ffmpeg's map_auto_video).
DEFAULT_PIXELS = 5_000_000
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails  # cover art, pictures for the seek bar
SECONDARY = Disposition.still_image | Disposition.dependent
NOT_THE_SPEECH = (
    Disposition.comment
    | Disposition.karaoke
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.descriptions
    | Disposition.non_diegetic
    | Disposition.dependent
)
SPECIFIER = re.compile(r"(?:(?P<kind>[av]):)?(?P<number>\d{1,9})")  # FFmpeg's: 2, or a:0 for the first sound
TS_PACKET, TS_SYNC, TS_SEARCHED = 188, 0x47, 1 << 20


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a media file. kind: video, audio or what else FFmpeg calls it; chosen: taken when none is asked
    for; rate: frames or samples per second."""

    index: int
    kind: str
    codec: str
    decodable: bool
    default: bool
    chosen: bool
    cover: bool
    language: str | None
    title: str | None
    width: int | None = None
    height: int | None = None
    rate: float | None = None
    channels: int | None = None


def ranked_video(container: InputContainer) -> list[VideoStream]:
    """The video streams that can be decoded, best first: by default flag and size; cover art never counts, and a
    single picture beside a moving one (animated AVIF) comes after it."""

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        context = stream.codec_context
        flagged = bool(stream.disposition & Disposition.default)
        score = context.width * context.height + DEFAULT_PIXELS * flagged
        return not stream.disposition & SECONDARY, stream.frames != 1, score

    streams = [s for s in _videos(container) if s.codec_context is not None]
    return sorted(streams, key=rank, reverse=True)


def ranked_audio(container: InputContainer, video: VideoStream | None) -> list[AudioStream]:
    """The audio streams, best first: those that can be decoded, of the video's programme, flagged as default, for
    everyone (neither comment nor description), with most channels."""
    related = container.streams.best("audio", related=video) if video is not None else None
    programme = None if related is None else related.index

    def rank(stream: AudioStream) -> tuple[bool, bool, bool, bool, int]:
        context = stream.codec_context
        flagged = bool(stream.disposition & Disposition.default)
        near = stream.index == programme and container.format.name == "mpegts"
        everyone = not stream.disposition & NOT_THE_SPEECH
        return context is not None, near, flagged, everyone, context.channels if context else 0

    return sorted(container.streams.audio, key=rank, reverse=True)


def asked_stream(streams: Sequence[Kind], specifier: str, kind: str, path: PathLike) -> Kind:
    """The stream of a specifier: its number among all of the file's (`2`), or among its own kind (`a:0`).

    kind: "video" or "audio". Raises OptionError when there is none of that number.
    """
    parts = SPECIFIER.fullmatch(specifier)
    if parts is None or (parts["kind"] or kind[0]) != kind[0]:
        raise OptionError(f"a {kind} stream is named by its number, 2 or {kind[0]}:0, not {specifier!r}")
    number = int(parts["number"])
    for place, stream in enumerate(streams):
        if number == (place if parts["kind"] else stream.index):
            return stream
    there = ", ".join(str(stream.index) for stream in streams) or "none"
    raise OptionError(f"{path} has no {kind} stream {specifier}; its {kind} streams: {there}")


def find_video(container: InputContainer, specifier: str | None, path: PathLike) -> list[VideoStream]:
    """The video streams to try, best first; only the one that is asked for where one is.

    Raises MediaError when the file holds none or none that can be decoded, OptionError as `asked_stream`.
    """
    there = list(container.streams.video)
    if specifier is not None:
        asked = asked_stream(there, specifier, "video", path)
        if asked.codec_context is None:
            raise MediaError(f"the video of {path} cannot be decoded: there is no decoder for stream {asked.index}")
        return [asked]
    if not _videos(container):
        what = "sound but no video" if container.streams.audio else "no video"
        raise MediaError(f"{path} holds {what}")
    ranked = ranked_video(container)
    if not ranked and container.format.name.endswith("_pipe"):  # pictures of kinds that FFmpeg knows by name alone
        raise MediaError(f"{path} {NOT_A_VIDEO}")
    if not ranked:
        raise MediaError(f"the video of {path} cannot be decoded: there is no decoder for its codec")
    return ranked


def has_video(container: InputContainer) -> bool:
    """Whether there is a video stream that is more than the cover of a sound file."""
    return bool(_videos(container))


def words(stream: VideoStream | AudioStream) -> str:
    """A stream in words: number, codec, size or channels."""
    context = stream.codec_context
    if isinstance(context, VideoCodecContext):
        return f"{stream.index} ({context.name}, {context.width}x{context.height})"
    if isinstance(context, AudioCodecContext):
        return f"{stream.index} ({context.name}, {context.channels} channels)"
    return f"{stream.index} (no decoder)"


def describe(path: PathLike) -> dict[str, Any]:
    """What a media file holds: format, seconds, its streams and which of them are taken; MediaError."""
    with readable(f"{path} cannot be read"), open_input(path) as container:
        videos = ranked_video(container)
        video = videos[0] if videos else None
        audio = next(iter(ranked_audio(container, video)), None)
        taken = {stream.index for stream in (video, audio) if stream is not None and stream.codec_context is not None}
        return {
            "file": str(path),
            "format": container.format.name,
            "duration_seconds": None if container.duration is None else round(container.duration / 1e6, 6),
            "programmes": programmes(path) if container.format.name == "mpegts" else 1,
            "streams": [asdict(_info(stream, stream.index in taken)) for stream in container.streams],
        }


def programmes(path: PathLike) -> int:
    """The number of programmes of an MPEG transport stream, by the first whole association table (ISO/IEC 13818-1
    §2.4.4.3); 1 where there is none."""
    with existing(path).open("rb") as file:
        data = file.read(TS_SEARCHED)
    for size in (TS_PACKET, TS_PACKET + 4, TS_PACKET + 16):  # plain, with time codes, with Reed-Solomon codes
        first = next((n for n in range(min(size, len(data))) if set(data[n : n + 8 * size : size]) == {TS_SYNC}), None)
        if first is None:
            continue
        for at in range(first, len(data) - TS_PACKET, size):
            packet = data[at : at + TS_PACKET]
            starts, number = packet[1] & 0x40, (packet[1] & 0x1F) << 8 | packet[2]
            if starts and number == 0 and packet[3] & 0x30 == 0x10:
                table = packet[5 + packet[4] :]
                length = ((table[1] & 0x0F) << 8 | table[2]) - 9 if len(table) > 8 else 0
                entries = table[8 : 8 + max(0, length)]
                count = sum(entries[n : n + 2] != b"\0\0" for n in range(0, len(entries) - 3, 4))
                return max(1, count)
    return 1


def _videos(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & NO_VIDEO]


def _info(stream: Stream, chosen: bool) -> StreamInfo:
    context = stream.codec_context
    more: dict[str, Any] = {}
    if isinstance(stream, VideoStream) and isinstance(context, VideoCodecContext):
        rate = stream.average_rate or stream.guessed_rate
        more = {"width": context.width, "height": context.height, "rate": None if rate is None else float(rate)}
    elif isinstance(context, AudioCodecContext):
        more = {"rate": context.sample_rate, "channels": context.channels}
    return StreamInfo(
        index=stream.index,
        kind=stream.type,
        codec=context.name if context is not None else "unknown",
        decodable=context is not None,
        default=bool(stream.disposition & Disposition.default),
        chosen=chosen,
        cover=bool(stream.disposition & Disposition.attached_pic),
        language=stream.metadata.get("language"),
        title=stream.metadata.get("title"),
        **more,
    )
