"""A video file as the encoder takes it: its faces found, its sound coded. Here media and encoding meet.

    file ─► VideoReader ─┬► find_faces ─► FacesInClip ─┬► SourceClip ─► encode_picture ─► ready_to_write
                         └► encode_opus ───────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .bitstream import AudioConfig
from .encoding.frames import AlignedClip, AlignedFrame
from .encoding.front_end import FacesInClip, FrontEnd, find_faces
from .encoding.identity.cards import IdentityCard
from .encoding.options import EncodeOptions
from .encoding.pipeline import compacted, encode_clip
from .encoding.write import ClipWriter, EncodedClip
from .errors import StylecodecError
from .files import PathLike
from .media.audio import encode_opus
from .media.fields import Deinterlace
from .media.opus import OpusTrack
from .media.video import VideoReader
from .opus_chunks import audio_chunks
from .packs.store import ModelPack
from .progress import ProgressCallback, silent


@dataclass(frozen=True)
class SourceClip:
    """A clip whose face has been found, with what else of its source goes into the stream."""

    faces: FacesInClip
    rate: Fraction  # frames per second
    size: tuple[int, int]  # width and height of the source in pixels
    total: int | None  # frames, for reports of progress
    sound: OpusTrack | None

    def stored(self) -> SourceClip:
        """The same with its crops in memory, 196,608 bytes each: it can be sent to another process."""
        clip = StoredClip(list(self.faces.clip), self.faces.clip)
        return replace(self, faces=replace(self.faces, clip=clip))


class StoredClip(AlignedClip):
    """An AlignedClip whose source is not read again: what needs whole frames (a background) cannot be made of it."""

    def __init__(self, frames: list[AlignedFrame], clip: AlignedClip) -> None:
        super().__init__(tuple, clip.track)
        self.frames = frames

    def __iter__(self) -> Iterator[AlignedFrame]:
        for frame, found in zip(self.frames, self.track.found, strict=False):
            yield frame if found else AlignedFrame(frame.seconds, None)

    def only(self, shown: NDArray[np.bool_]) -> AlignedClip:
        """As of AlignedClip."""
        return StoredClip(self.frames, super().only(shown))


def open_source(source: PathLike, options: EncodeOptions) -> VideoReader:
    """The video to encode; MediaError, and for a start after its end."""
    reader = VideoReader(source, options.video_stream, cast("Deinterlace", options.deinterlace))
    with noted(lambda: reader.notes):
        reader.count(options.start, options.duration)
    return reader


def read_source(
    reader: VideoReader,
    options: EncodeOptions,
    front_end: FrontEnd,
    known: bool = False,
    progress: ProgressCallback = silent,
    notes: list[str] | None = None,
) -> SourceClip:
    """Find the face in a video and code its sound.

    known: whether the identity is given. notes: takes sentences about the sound. Raises MediaError, FaceNotFound,
    OptionError.
    """
    sound = None
    if options.audio and reader.has_audio:
        part = (options.start, options.duration)
        track = options.audio_stream
        sound = encode_opus(reader.path, options.audio_bitrate, 1, *part, stream=track, video=reader, notes=notes)
    faces = faces_from(reader, options, front_end, known, progress)
    total = reader.count(options.start, options.duration)
    return SourceClip(faces, reader.rate, (reader.width, reader.height), total, sound)


def faces_from(
    reader: VideoReader,
    options: EncodeOptions,
    front_end: FrontEnd,
    known: bool = False,
    progress: ProgressCallback = silent,
) -> FacesInClip:
    """The faces of a video; `find_faces` has the arguments and errors."""
    total = reader.count(options.start, options.duration)

    def read() -> Iterator[tuple[float, NDArray[np.uint8]]]:
        return reader.frames(options.start, options.duration)

    return find_faces(
        read, front_end, float(reader.rate), options, known, total, progress, doubtful=lambda: reader.doubtful
    )


def encode_source(
    clip: SourceClip,
    pack: ModelPack,
    options: EncodeOptions,
    card: IdentityCard | None = None,
    progress: ProgressCallback = silent,
) -> ClipWriter:
    """The clip, encoded and ready to be written; `encode_clip` has the errors."""
    return ready_to_write(encode_picture(clip, pack, options, card, progress), clip.sound, options, progress)


def encode_picture(
    clip: SourceClip,
    pack: ModelPack,
    options: EncodeOptions,
    card: IdentityCard | None = None,
    progress: ProgressCallback = silent,
) -> EncodedClip:
    """The clip's picture, encoded but not rounded: that depends on the quality. `encode_clip` has the errors."""
    plain = replace(options, profile="raw", progressive=False)
    return encode_clip(clip.faces, pack, plain, clip.rate, clip.size, card, clip.total, progress)


def ready_to_write(
    clip: EncodedClip, sound: OpusTrack | None, options: EncodeOptions, progress: ProgressCallback = silent
) -> ClipWriter:
    """A clip that is not compacted, with its sound, in the profile and quality of the options."""
    rounded = compacted(clip, options, progress) if options.profile == "compact" else clip
    config = AudioConfig(sound.sample_rate, sound.channels, sound.pre_skip) if sound else None
    return ClipWriter(rounded, options, config, audio_chunks(sound))


def clip_from(
    reader: VideoReader,
    pack: ModelPack,
    options: EncodeOptions,
    front_end: FrontEnd,
    card: IdentityCard | None = None,
    progress: ProgressCallback = silent,
) -> EncodedClip:
    """A source's picture alone, encoded: what `encode` does between reading and writing files."""
    faces = faces_from(reader, options, front_end, card is not None, progress)
    total, size = reader.count(options.start, options.duration), (reader.width, reader.height)
    return encode_clip(faces, pack, options, reader.rate, size, card, total, progress)


@contextmanager
def noted(notes: Callable[[], list[str]]) -> Iterator[None]:
    """Within, an error of ours takes along what a user should know of the source, as its `__notes__`."""
    try:
        yield
    except StylecodecError as error:
        for sentence in notes():
            if sentence not in getattr(error, "__notes__", ()):
                error.add_note(sentence)
        raise
