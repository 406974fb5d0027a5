"""Files in, files out: encode, decode, puppet, probe, verify. Here the layers meet.

Every output is written beside its place under a hidden name and takes its final name only when it is whole.
The layers are imported when they are needed: `probe`, `verify` and puppeteering between streams never load torch.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from .bitstream import Identity, StreamFile, StreamHeader, StreamReport, check, edit
from .bitstream.attached import personalizations
from .bitstream.facts import stream_facts
from .bitstream.layout import MAGIC
from .decoding.known_people import KnownPeople, remember
from .encoding.report import EncodeReport as EncodeReport
from .errors import FormatError, OptionError, OutputError, Truncated
from .extras import need_extra
from .files import PathLike, atomic_write, check_output, reading
from .progress import Progress, ProgressCallback, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .decoding.decoder import Decoder
    from .decoding.options import DecodeOptions
    from .decoding.packets import PackChoice
    from .encoding.front_end import FrontEnd
    from .encoding.options import EncodeOptions

    Frame = NDArray[np.uint8]  # [H, W, 3] RGB


@dataclass(frozen=True)
class DecodeReport:
    """What `decode` wrote."""

    output: str
    frames: int
    held: int  # frames missing from a damaged file, which repeat the one before
    missing: list[str]  # what else a damaged file lacks, as sentences
    size: int  # pixels per side of the rendered square
    width: int
    height: int
    fps: float
    duration_seconds: float
    audio: bool
    device: str
    seconds_taken: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def encode(
    source: PathLike,
    output: PathLike,
    options: EncodeOptions | None = None,
    progress: ProgressCallback | None = None,
    front_end: FrontEnd | None = None,
) -> EncodeReport:
    """Encode a video file into an .stc file.

    progress: told how far each stage is. front_end: finds the face in place of the pack's own.
    Raises MediaError (missing, no video, no frames between start and end), FaceNotFound, PackError, OptionError,
    OutputError, FormatError (an identity card that is none, or names what is not known here).
    """
    need_extra("encode", "encoding")
    from .encoding.options import EncodeOptions
    from .nets.isolation import isolated

    usual = options or EncodeOptions()
    with isolated(draws=True):
        return _encode(source, [(output, usual)], usual, progress or silent, front_end)[0]


def encode_at(
    source: PathLike,
    outputs: Mapping[float, PathLike],
    options: EncodeOptions,
    progress: ProgressCallback | None = None,
    front_end: FrontEnd | None = None,
) -> dict[float, EncodeReport]:
    """Encode a video once and write it at several qualities: {quality in dB: .stc file} of the compact profile.

    Each file is the one that `encode` makes with this quality. Arguments and errors otherwise as of `encode`.
    """
    need_extra("encode", "encoding")
    from .nets.isolation import isolated

    compact = dataclasses.replace(options, profile="compact")
    asked = [(path, dataclasses.replace(compact, quality=quality)) for quality, path in outputs.items()]
    with isolated(draws=True):
        reports = _encode(source, asked, options, progress or silent, front_end)
    return dict(zip(outputs, reports, strict=True))


def decode(
    source: PathLike,
    output: PathLike,
    options: DecodeOptions | None = None,
    progress: ProgressCallback | None = None,
    **changes: Any,
) -> DecodeReport:
    """Render an .stc file into a video (.mp4, .mkv or .webm) with its sound.

    Single options may be given by keyword: `decode("talk.stc", "talk.mp4", size=512)`. The size must be even.
    Raises FormatError, PackError, OptionError, MediaError (missing file), MissingDependency (an AVIF background, or
    PyAV is not installed), DeltaNotFound, OutputError.
    """
    need_extra("video", "writing a video")
    from .decoding.decoder import Decoder
    from .decoding.options import DecodeOptions
    from .media.writer import VideoWriter
    from .opus_chunks import opus_track

    begun = perf_counter()
    options = DecodeOptions.of(options, {**changes, "as_numpy": True})
    if options.size is not None and options.size % 2:
        raise OptionError(f"a video needs an even size, not {options.size}")
    check_output(output, source)
    tell = progress or silent
    with reading(source), Decoder.open(source, options) as decoder:
        stream = decoder.stream
        if not options.partial:
            edit.require_complete(stream, "decode it with --partial to get the rest")
        elif not stream.frame_count:
            raise Truncated("not one group of frames is whole")
        if options.remember:
            remember(stream)
        width, height = decoder.frame_size
        sound = opus_track(stream) if options.audio else None
        header, count, held = stream.header, 0, 0
        with VideoWriter(output, width, height, header.rate, sound, header.variable_rate) as writer:
            for number, picture, repeated in _pictures(decoder, options.partial):
                seconds = float(stream.pts(number, number + 1)[0]) if header.variable_rate else None
                writer.write(picture, seconds)
                count, held = count + 1, held + repeated
                tell(Progress("rendering", count, len(decoder)))
        return DecodeReport(
            output=str(output),
            frames=count,
            held=held,
            missing=list(stream.report.missing) if stream.report else [],
            size=decoder.size,
            width=width,
            height=height,
            fps=decoder.fps,
            duration_seconds=stream.duration_seconds,
            audio=sound is not None,
            device=str(decoder.device),
            seconds_taken=round(perf_counter() - begun, 3),
        )


def puppet(
    source: PathLike,
    driving: PathLike,
    output: PathLike,
    pack: PackChoice = None,
    device: str = "auto",
    front_end: FrontEnd | None = None,
    relative: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Give a stream another identity: that of another .stc file or card, of a picture of a face, or of the best frame
    of a video; returns `probe(output)` with notes on how a video was read, as of EncodeReport.

    What `source` is, its content tells. Motion, times and sound are those of `driving`, the personalised generator is
    that of `source`. pack: for a picture or video, the pack to encode it with; by default the one that the driving
    stream names. relative: the motion is what differs from the driving clip's neutral frame, added to the source's (a
    picture's, a video's and a card's is the face at rest).
    Raises FormatError (also where `source` only names an identity that is not known here), MediaError, FaceNotFound,
    PackError, OptionError, OutputError.
    """
    check_output(output, source, driving)
    given, personal, rest, notes = None, None, edit.AT_REST, list[str]()
    if _is_stream(source):
        with reading(source), StreamFile.open(os.fspath(source), recall=KnownPeople().recall) as stream:
            identity = edit.first_identity(stream)
            given, personal = stream.header, personalizations(stream).get(identity.digest)
            rest = edit.neutral(stream) if relative and stream.frame_count else rest
    else:
        need_extra("encode", "a picture or video that shows whom to see")
    with reading(driving), StreamFile.open(os.fspath(driving)) as motion:
        edit.require_complete(motion)
        if given is None:
            identity = _portrait(source, motion.header, pack, device, front_end, progress or silent, notes)
        else:
            edit.check_same_pack(given, motion.header)
        shift = rest - edit.neutral(motion) if relative else None
        with atomic_write(output) as file:
            for portion in edit.puppet(identity, motion, personal, shift):
                file.write(portion)
    return probe(output) | {"notes": notes}


def probe(path: PathLike) -> dict[str, Any]:
    """What a stream is, without decoding it: frames, rate, pack, sound, bytes and kilobits per second by part.

    Raises FormatError, MediaError (missing file).
    """
    with reading(path), StreamFile.open(os.fspath(path), partial=True) as stream:
        return {"file": os.fspath(path), **stream_facts(stream)}


def probe_source(path: PathLike) -> dict[str, Any]:
    """What a media file holds: its format, seconds and streams, and which of them `encode` takes; MediaError."""
    need_extra("video", "looking into a video")
    from .media.streams import describe

    return describe(path)


def verify(path: PathLike) -> StreamReport:
    """Read every byte of a stream and report what is whole, damaged, missing; FormatError, MediaError (no file)."""
    with reading(path):
        return check(os.fspath(path))


# --- encoding ---------------------------------------------------------------------------------------------


def _encode(
    source: PathLike,
    outputs: Sequence[tuple[PathLike, EncodeOptions]],
    options: EncodeOptions,
    progress: ProgressCallback,
    front_end: FrontEnd | None,
) -> list[EncodeReport]:
    """`encode` into several files that differ in profile and quality, in the torch state of a fresh process."""
    from .clip_source import encode_picture, noted, open_source, read_source, ready_to_write
    from .encoding.front_end import front_end_for
    from .encoding.identity.cards import read_card
    from .packs.abilities import require_preset
    from .packs.store import open_pack

    begun, heard = perf_counter(), list[str]()
    for output, _ in outputs:
        _check_outputs(output, source, options)
    reader = open_source(source, options)
    with noted(lambda: [*reader.notes, *heard]):
        pack = open_pack(options.pack)
        require_preset(pack.card, options.preset)
        front_end = front_end or front_end_for(pack, options)
        card = None if options.identity is None else read_card(options.identity, pack, options.refit)
        clip = read_source(reader, options, front_end, card is not None, progress, heard)
        encoded = encode_picture(clip, pack, options, card, progress)
        written = []
        for output, one in outputs:
            writer = ready_to_write(encoded, clip.sound, one, progress)
            with atomic_write(output) as file:
                for portion in writer.portions():
                    file.write(portion)
            written.append(writer.written)
    notes, seconds = [*reader.notes, *heard], perf_counter() - begun
    done = zip(outputs, written, strict=True)
    return [EncodeReport.of(output, encoded, each, notes, seconds) for (output, _), each in done]


def _check_outputs(output: PathLike, source: PathLike, options: EncodeOptions) -> None:
    """OutputError where stream or checkpoint cannot be written, or would overwrite what is read or each other."""
    read = [source] if options.identity is None else [source, options.identity]
    check_output(output, *read)
    if options.checkpoint is not None:
        check_output(options.checkpoint, *read)
        if Path(options.checkpoint).resolve() == Path(output).resolve():
            raise OutputError(f"{output} cannot be the stream and its checkpoint at once")


def _is_stream(path: PathLike) -> bool:
    """Whether a file begins as a stream or card does, though it may be damaged; MediaError when it is missing."""
    with reading(path), open(path, "rb") as file:
        return file.read(4) == MAGIC[:4]


def _portrait(
    source: PathLike,
    header: StreamHeader,
    pack: PackChoice,
    device: str,
    front_end: FrontEnd | None,
    progress: ProgressCallback,
    notes: list[str],
) -> Identity:
    """The identity of the face in a picture or video, fitted to it; how that was read goes into `notes`."""
    from .clip_source import noted
    from .decoding.packets import matching_pack
    from .encoding.front_end import front_end_for
    from .encoding.identity.portrait import portrait_identity
    from .encoding.options import EncodeOptions
    from .media.portraits import Portraits
    from .nets.isolation import isolated
    from .packs.registry import pick_device

    with isolated(draws=True):
        portraits, model = Portraits(source), matching_pack(header, pack)
        front_end = front_end or front_end_for(model, EncodeOptions(device=device))
        with noted(lambda: portraits.notes):
            identity = portrait_identity(portraits, front_end, model, pick_device(device), progress)
        notes += portraits.notes
        return identity


# --- decoding ---------------------------------------------------------------------------------------------


def _pictures(decoder: Decoder, partial: bool) -> Iterator[tuple[int, Frame, bool]]:
    """(number, picture, is it a repetition) of every frame; gaps of a partial file repeat the picture before them.

    With variable times nothing is repeated: the picture before a gap stays on screen until the next one's time.
    """
    if not partial:
        for number, frame in enumerate(decoder):
            yield number, cast("Frame", frame), False
        return
    stream, expected, last = decoder.stream, 0, None
    for number in range(stream.group_count):
        try:
            group = stream.group(number)
            stream.identity_for(group.first_frame)
        except FormatError:
            continue
        for offset, frame in enumerate(decoder.frames(group.first_frame, group.end_frame)):
            picture = cast("Frame", frame)
            if not offset and not stream.header.variable_rate:
                for missing in range(expected, group.first_frame):
                    yield missing, picture if last is None else last, True
            yield group.first_frame + offset, picture, False
            last = picture
        expected = group.end_frame
