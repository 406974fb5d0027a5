"""Files in, files out: encode, decode, puppet, probe, verify. Here the layers meet.

Every output is written beside its place under a hidden name and takes its final name only when it is whole.
The layers are imported when they are needed: `probe`, `verify` and puppeteering between streams never load torch.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, cast

from .bitstream import AudioConfig, Identity, StreamFile, StreamHeader, StreamReport, check
from .bitstream.attached import background as background_of
from .bitstream.attached import personalizations
from .bitstream.edit import operations as edit
from .decoding.known_people import KnownPeople, remember
from .encoding.options import FITTING, REGISTERING
from .errors import FormatError, OptionError, OutputError, Truncated
from .extras import need_extra
from .files import PathLike, check_output, reading, whole_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .decoding.decoder import Decoder
    from .decoding.options import DecodeOptions
    from .decoding.packets import PackChoice
    from .encoding.options import EncodeOptions
    from .face.align import AlignedTrack
    from .geometry import CropTransform
    from .media.video import VideoReader
    from .packs.store import ModelPack

    Frame = NDArray[np.uint8]  # [H, W, 3] RGB


class Progress(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int | None, *, note: str = "", unit: str = "frames") -> None:
        """The stage's name, the units done, and their number where it is known; note: how it goes."""
        ...


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class FrontEnd(Protocol):
    """Finds and aligns the face: face.align.Aligner, or a stand-in."""

    def track(self, frames: Iterable[Frame], rate: float) -> AlignedTrack:
        """The squares of all frames of a clip, `rate` of them per second; FaceNotFound when none shows a face."""
        ...

    def still(self, image: Frame) -> CropTransform:
        """The square of one picture; FaceNotFound."""
        ...


@dataclass(frozen=True)
class EncodeReport:
    """What `encode` wrote."""

    output: str
    frames: int
    held: int  # frames without a face, which repeat the one before
    shots: int  # pieces between which the face jumps
    fps: float
    duration_seconds: float
    bytes: dict[str, int]  # by part; all but "total" add up to the file
    kbps: dict[str, float]
    identity: dict[str, Any]  # frame, similarity, averaged, candidates, steps: see encoding.select_id, fit_identity
    pack: dict[str, str]
    personalization: dict[str, Any] | None  # how the generator was tuned; None when it was not
    seconds_taken: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


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
    progress: Progress | None = None,
    front_end: FrontEnd | None = None,
) -> EncodeReport:
    """Encode a video file into an .stc file.

    Raises MediaError (missing, no video, no frames between start and end), FaceNotFound, PackError, OptionError,
    OutputError, FormatError (an identity card that is none, or names what is not known here).
    """
    need_extra("encode", "encoding")
    from .encoding.aligned_clip import AlignedClip
    from .encoding.background import scene_behind
    from .encoding.identity.cards import read_card
    from .encoding.options import EncodeOptions
    from .encoding.personalization.crop_registration import registered
    from .encoding.pipeline import encode_frames, stream_bytes
    from .media.audio import encode_opus
    from .media.video import VideoReader
    from .opus_chunks import audio_chunks
    from .packs.abilities import ENCODE_ROLES, MAKES_STREAMS
    from .packs.store import open_pack

    begun = perf_counter()
    options = options or EncodeOptions()
    _check_outputs(output, source, options)
    reader = VideoReader(source)
    total = reader.count(options.start, options.duration)
    pack = open_pack(options.pack)
    pack.require(ENCODE_ROLES, MAKES_STREAMS)
    front_end = front_end or _aligner(pack, options)
    card = None if options.identity is None else read_card(options.identity, pack, options.refit)
    sound = None
    if options.audio and reader.has_audio:
        sound = encode_opus(source, options.audio_bitrate, 1, options.start, options.duration)
    tell = progress or _silent
    frames = _counted(reader, options, lambda done: tell("finding the face", done, total))
    track = front_end.track(frames, float(reader.rate))
    aligned = AlignedClip(lambda: reader.frames(options.start, options.duration), track)
    if card is not None:
        aligned, card = registered(aligned, card, pack, options, functools.partial(_tell_stage, tell))
    clip = encode_frames(
        aligned,
        pack,
        options,
        reader.rate,
        (reader.width, reader.height),
        lambda done: tell("encoding", done, total),
        card,
        functools.partial(_tell_stage, tell),
    )
    clip = dataclasses.replace(clip, scene=scene_behind(aligned, pack, options))
    config = AudioConfig(sound.sample_rate, sound.channels, sound.pre_skip) if sound else None
    with whole_file(output) as file:
        for portion in stream_bytes(clip, pack, options, reader.rate, config, audio_chunks(sound)):
            file.write(portion)
    facts = probe(output)
    return EncodeReport(
        output=str(output),
        frames=len(clip.packets),
        held=clip.held,
        shots=track.report.shots,
        fps=facts["fps"],
        duration_seconds=facts["duration_seconds"],
        bytes=facts["bytes"],
        kbps=facts["kbps"],
        identity={
            "frame": clip.choice.frame,
            "similarity": round(clip.choice.similarity, 4),
            "averaged": clip.choice.averaged,
            "candidates": clip.choice.candidates,
            "steps": options.fit.steps if card is None else 0,
        },
        pack=facts["pack"],
        personalization=None if clip.tuned is None else clip.tuned.report(),
        seconds_taken=round(perf_counter() - begun, 3),
    )


def decode(
    source: PathLike,
    output: PathLike,
    options: DecodeOptions | None = None,
    progress: Progress | None = None,
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
    tell = progress or _silent
    with reading(source), Decoder.open(source, options) as decoder:
        stream = decoder.stream
        if not options.partial:
            edit.whole(stream, "decode it with --partial to get the rest")
        elif not stream.frame_count:
            raise Truncated("not one group of frames is whole")
        if options.remember:
            remember(stream)
        width, height = decoder.frame_size
        sound = opus_track(stream) if options.audio else None
        header, count, held = stream.header, 0, 0
        rate = None if header.variable_rate else header.rate
        with VideoWriter(output, width, height, rate, sound) as writer:
            for number, picture, repeated in _pictures(decoder, options.partial):
                seconds = float(stream.pts(number, number + 1)[0]) if header.variable_rate else None
                writer.write(picture, seconds)
                count, held = count + 1, held + repeated
                tell("rendering", count, len(decoder))
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
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Give a stream another identity: that of another .stc file or card, or of a picture of a face; returns
    `probe(output)`.

    Motion, times and sound are those of `driving`, the personalised generator is that of `source`. pack: for a picture,
    the pack to encode it with; by default the one that the driving stream names. relative: the motion is what differs
    from the driving clip's neutral frame, added to the source's (a picture's and a card's is the face at rest).
    Raises FormatError (also where `source` only names an identity that is not known here), MediaError, FaceNotFound,
    PackError, OptionError, OutputError.
    """
    check_output(output, source, driving)
    given, personal, rest = None, None, edit.AT_REST
    if Path(source).suffix.lower() in IMAGE_SUFFIXES:
        need_extra("encode", "a picture as the source")
    else:
        with reading(source), StreamFile.open(os.fspath(source), recall=KnownPeople().recall) as stream:
            identity = edit.first_identity(stream)
            given, personal = stream.header, personalizations(stream).get(identity.digest)
            rest = edit.neutral(stream) if relative and stream.frame_count else rest
    with reading(driving), StreamFile.open(os.fspath(driving)) as motion:
        edit.whole(motion)
        if given is None:
            identity = _picture_identity(source, motion.header, pack, device, front_end, progress or _silent)
        else:
            edit.check_same_pack(given, motion.header)
        shift = rest - edit.neutral(motion) if relative else None
        with whole_file(output) as file:
            for portion in edit.puppet(identity, motion, personal, shift):
                file.write(portion)
    return probe(output)


def probe(path: PathLike) -> dict[str, Any]:
    """What a stream is, without decoding it: frames, rate, pack, sound, bytes and kilobits per second by part.

    Raises FormatError, MediaError (missing file).
    """
    with reading(path), StreamFile.open(os.fspath(path), partial=True) as stream:
        header, account, seconds = stream.header, stream.byte_account(), stream.duration_seconds
        report = stream.report
        config = stream.audio_config
        crop = header.crop
        tuned, scene = personalizations(stream), background_of(stream)
        return {
            "file": os.fspath(path),
            "frames": stream.frame_count,
            "fps": round(float(header.rate), 6),
            "rate": f"{header.rate.numerator}/{header.rate.denominator}",
            "variable_rate": header.variable_rate,
            "duration_seconds": round(seconds, 6),
            "width": header.width,
            "height": header.height,
            "profile": header.profile.name.lower(),
            "pack": {"name": header.pack_name, "digest": header.pack_digest.hex()},
            "identities": len({i.digest for i in stream.identities}),
            "personalized": [
                {"identity": who.hex(), "delta": one.digest.hex(), "carried": one.delta is not None}
                for who, one in tuned.items()
            ],
            "background": "render" if scene is None else scene.mode.name.lower(),
            "groups": stream.group_count,
            "live": header.live,
            "complete": stream.complete,
            "missing": list(report.missing) if report else [],
            "audio": {"codec": "opus", **dataclasses.asdict(config)} if config else None,
            "source": dataclasses.asdict(crop) if crop else None,
            "bytes": account,
            "kbps": {
                part: round(account[part] * 8 / seconds / 1000, 3) if seconds else 0.0
                for part in ("total", "packets", "audio")
            },
        }


def verify(path: PathLike) -> StreamReport:
    """Read every byte of a stream and report what is whole, damaged, missing; FormatError, MediaError (no file)."""
    with reading(path):
        return check(os.fspath(path))


# --- encoding ---------------------------------------------------------------------------------------------


def _check_outputs(output: PathLike, source: PathLike, options: EncodeOptions) -> None:
    """OutputError where stream or checkpoint cannot be written, or would overwrite what is read or each other."""
    read = [source] if options.identity is None else [source, options.identity]
    check_output(output, *read)
    if options.checkpoint is not None:
        check_output(options.checkpoint, *read)
        if Path(options.checkpoint).resolve() == Path(output).resolve():
            raise OutputError(f"{output} cannot be the stream and its checkpoint at once")


def _silent(stage: str, done: int, total: int | None, *, note: str = "", unit: str = "frames") -> None:
    """Tell nobody."""


def _tell_stage(tell: Progress, stage: str, done: float, of: float | None) -> None:
    """Pass on what encode_frames tells of the stages after the first."""
    if stage == "personalising":
        tell(stage, round(100 * done), 100, note=f"{of:.1f} dB" if of == of else "", unit="%")
    else:
        unit = "steps" if stage in (FITTING, REGISTERING) else "frames"
        tell(stage, int(done), None if of is None else int(of), unit=unit)


def _aligner(pack: ModelPack, options: EncodeOptions) -> FrontEnd:
    from .face.align import Aligner
    from .face.landmarks import make_landmarker

    choice = options.landmarks
    if choice == "auto":
        choice = "pack" if pack.has("landmarks") else "predictor" if pack.has("predictor") else "dlib5"
    net: Any = None
    if choice in ("pack", "predictor"):
        net = pack.landmarks(options.device) if choice == "pack" else pack.predictor()
    return Aligner(make_landmarker(choice, net, pack.alignment), alignment=pack.alignment)


def _counted(reader: VideoReader, options: EncodeOptions, tell: Callable[[int], None]) -> Iterator[Frame]:
    for done, (_, frame) in enumerate(reader.frames(options.start, options.duration), 1):
        yield frame
        tell(done)


def _picture_identity(
    picture: PathLike,
    header: StreamHeader,
    pack: PackChoice,
    device: str,
    front_end: FrontEnd | None,
    tell: Progress,
) -> Identity:
    from .decoding.packets import matching_pack
    from .encoding.identity.fitting import fit_identity
    from .encoding.motion.feedforward import CROP_SIZE, analyse
    from .encoding.options import PORTRAIT, EncodeOptions
    from .face.warp import warp
    from .media.video import read_image
    from .packs.registry import pick_device

    model = matching_pack(header, pack)
    image = read_image(picture)
    front_end = front_end or _aligner(model, EncodeOptions(device=device))
    crop = warp(image, front_end.still(image), CROP_SIZE)
    place = pick_device(device)
    codes = analyse([crop], model, place)
    told = functools.partial(_tell_stage, tell, FITTING, of=PORTRAIT.steps)
    return Identity(fit_identity(codes.w_id[0], [crop], codes, model, place, PORTRAIT, told))


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
