"""Real people on a personalised generator: how good, at what cost, against ordinary codecs.

    python -m benchmarks.personal clips/*.mp4 --work personal/ --minutes 15
    python -m benchmarks.personal clips/d18.mp4 --work personal/ --minutes 15      # one clip; again: what is missing
    python -m benchmarks.personal --work personal/ --report                        # tables of what is there

Each clip has a folder in --work, and each part of the work a JSON file in it that says where it comes from; what is
there is not done again, and tuning that was interrupted goes on from its checkpoint. Parts that came from other code
or other networks than today's do not enter the results unless --stale says so, and keep their provenance. Parts:

    whole      tuned on all frames (at most 600): PSNR and SSIM of the head on the 256² crops, landmark tracks, identity
               distance, locality, the delta's cost, bytes
    deltas     bytes against PSNR for ways of coding the same tuned generator, made along with `whole`
    held_out   tuned on the first 60 % of the frames; the rest encoded with the frozen generator by its card, with the
               card's latent and with one fitted anew
    avatars    the fast and the balanced avatar beside it
    rates      bytes of the whole clip; x264, x265 and SVT-AV1 on the same squares at the same bytes and the same PSNR

The head is what the pack's face parser sees in the input. The pictures compared are the decoder's, from the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import personal_figures as figures
from benchmarks import video_codecs
from benchmarks.landmark_tracks import Yardstick, plot, words
from benchmarks.likeness import Frame
from benchmarks.measuring import RESULTS, as_json, table
from benchmarks.personal_bars import TRACKS, summary, verdicts
from benchmarks.personal_figures import SIDE
from benchmarks.provenance import Today, provenance, reasons, today
from benchmarks.real_clips import sheet
from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.bitstream.delta import GeneratorDelta
from stylecodec.clip_source import clip_from
from stylecodec.decoding.decoder import Decoder
from stylecodec.decoding.options import DecodeOptions
from stylecodec.decoding.personal import TunedPack
from stylecodec.encoding.frames import evenly_spaced
from stylecodec.encoding.front_end import front_end_for
from stylecodec.encoding.identity.cards import card_bytes, read_card
from stylecodec.encoding.options import FULL, OFF, EncodeOptions, TuneOptions
from stylecodec.encoding.write import ClipWriter, EncodedClip
from stylecodec.face.align import AlignedTrack, crops
from stylecodec.files import atomic_write
from stylecodec.media.video import VideoReader
from stylecodec.metrics.tracks import compare, face_tracks
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.progress import Progress

TUNED_SHARE = 0.6
RESTS = {"rest": False, "refitted": True}  # is the latent fitted to what was held out?
SCORED = 32  # frames on which ways of coding a delta are compared


@dataclass
class Work:
    """One clip and its folder."""

    clip: Path
    folder: Path
    pack: ModelPack
    options: EncodeOptions

    def done(self, part: str) -> dict[str, Any] | None:
        """The figures of a part that was finished."""
        path = self.folder / f"{part}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def write(self, part: str, content: dict[str, Any]) -> dict[str, Any]:
        """Note the figures of a part and where they come from."""
        content = {"provenance": provenance(self.pack, self.options, [self.clip]), **content}
        with atomic_write(self.folder / f"{part}.json") as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())
        return content


# --- encoding and decoding ------------------------------------------------------------------------------------


@dataclass
class Seen:
    """A stream's input and output: aligned squares of 256² of the frames that show a face."""

    inputs: list[Frame]
    outputs: list[Frame]


def encode(work: Work, stream: Path, options: EncodeOptions) -> tuple[EncodedClip, AlignedTrack]:
    """As api.encode without sound, but what was found on the way is kept."""
    reader, front_end = VideoReader(work.clip), front_end_for(work.pack, work.options)
    card = None if options.identity is None else read_card(options.identity, work.pack)
    begun, told = time.monotonic(), [0.0]

    def tell(event: Progress) -> None:
        if time.monotonic() - told[0] > 20:
            told[0] = time.monotonic()
            of = "" if event.total is None else f" of {event.total:.0f}"
            print(f"  {told[0] - begun:5.0f} s  {event.stage} {event.done:.0f}{of} {event.note}", flush=True)

    clip = clip_from(reader, work.pack, options, front_end, card, tell)
    assert clip.track is not None
    with atomic_write(stream) as file:
        for portion in ClipWriter(clip, options).portions():
            file.write(portion)
    return clip, clip.track


def as_aligned(pack: ModelPack, size: int | None = None) -> DecodeOptions:
    """The squares as the encoder's crops lie, without a background."""
    return DecodeOptions(device="cpu", pack=pack, size=size, pose="aligned", as_numpy=True, background="render")


def seen(work: Work, stream: Path, track: AlignedTrack, options: EncodeOptions, avatar: bool = False) -> Seen:
    """What the decoder makes of a stream, beside the crops that it was made from."""
    reader = VideoReader(work.clip)
    frames = (frame for _, frame in reader.frames(options.start, options.duration))
    inputs = list(crops(frames, track, SIDE))
    with Decoder.open(stream, as_aligned(work.pack, SIDE), avatar=avatar) as decoder:
        outputs = [np.asarray(frame, np.uint8) for frame in decoder]
    there = np.flatnonzero(track.found)
    return Seen([inputs[k] for k in there], [outputs[k] for k in there])


def judge(result: dict[str, Any], name: str, found: Seen, pack: ModelPack, yardstick: Yardstick) -> Seen:
    """Note under `name` how alike the heads are, and under `name`_tracks how the output follows; returns `found`."""
    result[name] = figures.likeness(found.inputs, found.outputs, figures.head_masks(found.inputs, pack))
    points = [yardstick(frames) for frames in (found.inputs, found.outputs)]
    if points[0] is not None and points[1] is not None:
        result[f"{name}_tracks"] = compare(face_tracks(points[0]), face_tracks(points[1]))
    return found


# --- the parts ------------------------------------------------------------------------------------------------


def whole(work: Work, yardstick: Yardstick) -> dict[str, Any]:
    """Tuned on the whole clip."""
    stream = work.folder / "whole.stc"
    options = replace(work.options, likeness=FULL, checkpoint=work.folder / "whole.safetensors")
    clip, track = encode(work, stream, options)
    assert clip.tuned is not None
    assert isinstance(clip.pack, TunedPack)
    ours = seen(work, stream, track, options)
    masks = figures.head_masks(ours.inputs, work.pack)
    result: dict[str, Any] = {"tuned": clip.tuned.report(), "head": figures.likeness(ours.inputs, ours.outputs, masks)}
    unlike = seen(work, stream, track, options, avatar=True)
    Image.fromarray(sheet([ours.inputs, ours.outputs, unlike.outputs], 9, 224)).save(work.folder / "sheet.png")
    large_sheet(work, stream, track)
    points = {name: yardstick(frames) for name, frames in (("input", ours.inputs), ("output", ours.outputs))}
    tracks = {name: face_tracks(found) for name, found in points.items() if found is not None}
    if len(tracks) == 2:
        result["tracks"] = compare(tracks["input"], tracks["output"])
        plot(work.clip.stem, tracks, float(VideoReader(work.clip).rate), work.folder / "tracks.png")
    result["identity"] = figures.identity_distance(ours.inputs, ours.outputs)
    result["locality"] = figures.locality(work.pack, clip.pack)
    result["delta_loss"] = float(clip.tuned.result.psnr_before.mean() - clip.tuned.result.psnr.mean())
    result["history"] = list(clip.tuned.result.history)
    if work.done("deltas") is None:
        deltas(work, clip, track, ours)
    return work.write("whole", result | {"bytes": api.probe(stream)["bytes"]})


def large_sheet(work: Work, stream: Path, track: AlignedTrack) -> None:
    """Some frames at 1024² beside their enlarged 256² pictures, to be looked at."""
    rows: list[Frame] = []
    with Decoder.open(stream, as_aligned(work.pack)) as decoder:
        numbers = [int(np.flatnonzero(track.found)[k]) for k in evenly_spaced(int(track.found.sum()), 3)]
        for number in numbers:
            rows.append(np.asarray(decoder[number], np.uint8)[192:832, 192:832])
    Image.fromarray(np.hstack(rows)).save(work.folder / "sheet_1024.png")


def deltas(work: Work, clip: EncodedClip, track: AlignedTrack, ours: Seen) -> dict[str, Any]:
    """Bytes against PSNR of the same tuned generator; codes as they were settled on the usual delta."""
    assert clip.tuned is not None
    result, rows = clip.tuned.result, evenly_spaced(len(clip.tuned.rows), SCORED)
    place = {int(frame): n for n, frame in enumerate(np.flatnonzero(track.found))}
    inputs = [ours.inputs[place[int(clip.tuned.rows[k])]] for k in rows]
    masks = figures.head_masks(inputs, work.pack)

    def score(delta: GeneratorDelta) -> float:
        pictures = figures.rendered(TunedPack(work.pack, delta), result.latent, result.codes, rows)
        outputs = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        return figures.likeness(inputs, list(outputs), masks)["psnr"]

    found = figures.delta_rows(result.measured, score)
    chosen = {"bytes": len(result.delta), "psnr": score(result.delta)}
    return work.write("deltas", {"rows": found, "chosen": chosen})


def avatars(work: Work, yardstick: Yardstick) -> dict[str, Any]:
    """The same clip without personalisation: the fast and the balanced avatar, weighed by the same heads."""
    result: dict[str, Any] = {}
    rows: list[list[Frame]] = []
    for preset in ("fast", "balanced"):
        options, stream = replace(work.options, preset=preset, likeness=OFF), work.folder / f"{preset}.stc"
        begun = time.monotonic()
        _, track = encode(work, stream, options)
        result[f"{preset}_seconds"] = time.monotonic() - begun
        found = judge(result, preset, seen(work, stream, track, options), work.pack, yardstick)
        rows = [*(rows or [found.inputs]), found.outputs]
    Image.fromarray(sheet(rows, 9, 224)).save(work.folder / "avatars.png")
    return work.write("avatars", result)


def held_out(work: Work, yardstick: Yardstick) -> dict[str, Any]:
    """Tuned on the first part of the clip; the rest with the frozen generator."""
    reader = VideoReader(work.clip)
    whole_clip = float(reader.timing.seconds[-1] + 1 / reader.rate)
    seconds = min(work.options.duration or whole_clip, whole_clip)
    cut = TUNED_SHARE * seconds
    first = replace(work.options, likeness=FULL, duration=cut, checkpoint=work.folder / "first.safetensors")
    card, streams = work.folder / "first.stid", {name: work.folder / f"{name}.stc" for name in ("first", *RESTS)}
    _, track = encode(work, streams["first"], first)
    with StreamFile.open(streams["first"]) as stream, atomic_write(card) as file:
        for portion in card_bytes(stream):
            file.write(portion)
    encoded = {"first": (first, track)}
    result: dict[str, Any] = {}
    for name, refit in RESTS.items():
        options = replace(work.options, start=cut, duration=seconds - cut, identity=card, refit=refit, delta="carry")
        begun = time.monotonic()
        _, later = encode(work, streams[name], options)
        encoded[name], result[f"{name}_seconds"] = (options, later), time.monotonic() - begun
    for name, (options, squares) in encoded.items():
        pictures = judge(result, name, seen(work, streams[name], squares, options), work.pack, yardstick)
        Image.fromarray(sheet([pictures.inputs, pictures.outputs], 9, 224)).save(work.folder / f"{name}.png")
    return work.write("held_out", result)


def rates(work: Work, _: Yardstick) -> dict[str, Any]:
    """The clip's bytes, and ordinary codecs on the aligned squares in the same run. Sound is left out of both."""
    stream = work.folder / "whole.stc"
    reader, front_end = VideoReader(work.clip), front_end_for(work.pack, work.options)
    duration = work.options.duration
    track = front_end.track((frame for _, frame in reader.frames(0.0, duration)), float(reader.rate))
    pictures = seen(work, stream, track, work.options)
    masks = figures.head_masks(pictures.inputs, work.pack)
    ours = figures.likeness(pictures.inputs, pictures.outputs, masks)
    facts = api.probe(stream)
    parts, seconds = dict(facts["bytes"]), float(facts["duration_seconds"])
    codecs: list[dict[str, Any]] = []
    for codec in video_codecs.available():
        for same, most, psnr in (("PSNR", None, ours["psnr"]), ("bytes", parts["total"], None)):
            found = figures.codec_at(codec, pictures.inputs, masks, reader.rate, most=most, psnr=psnr)
            codecs.append({"same": same, **found})
    return work.write("rates", {"ours": ours, "bytes": parts, "codecs": codecs, "seconds": seconds})


PARTS: dict[str, Callable[[Work, Yardstick], dict[str, Any]]] = {
    "whole": whole,
    "held_out": held_out,
    "rates": rates,
    "avatars": avatars,
}


# --- the report -----------------------------------------------------------------------------------------------


def gathered(folder: Path, now: Today, stale: bool) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """{clip: {part: figures}} of a work folder, and sentences on the parts that are refused as stale, or kept so."""
    clips: dict[str, dict[str, Any]] = {}
    sentences = []
    for path in sorted(folder.glob("*/*.json")):
        part = json.loads(path.read_text())
        if why := reasons(part.get("provenance"), now):
            verdict = "stale" if stale else "left out"
            sentences.append(f"{verdict}: {path.parent.name}/{path.stem}: {'; '.join(why)}")
        if stale or not why:
            clips.setdefault(path.parent.name, {})[path.stem] = part
    return clips, sentences


def report(folder: Path, out: Path, pack: ModelPack, stale: bool = False) -> None:
    """Print and save what is there; stale: parts of other code and networks too, with the provenance that they have."""
    clips, sentences = gathered(folder, today(pack), stale)
    print("\n".join(sentences))
    rows = {name: summary(parts) for name, parts in clips.items()}
    print(table([{"clip": name, **row} for name, row in rows.items()]))
    print("\n" + table(verdicts(rows)))
    for name, parts in clips.items():
        if "tracks" in parts.get("whole", {}):
            print(f"\n{name}: " + ", ".join(f"{t} {words(parts['whole']['tracks'][t])}" for t in TRACKS))
        for preset in ("fast", "balanced"):
            if preset in parts.get("avatars", {}):
                print(f"\n{name}, {preset}: head {parts['avatars'][preset]['psnr']:.2f} dB")
        if "deltas" in parts:
            print(f"\n{name}: bytes of the delta against PSNR\n{table(parts['deltas']['rows'])}")
        if "rates" in parts:
            print(f"\n{name}: ordinary codecs\n{table(parts['rates']['codecs'])}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_json({"clips": clips}) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.personal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = TuneOptions()
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--work", type=Path, required=True, help="folder of streams, checkpoints, figures and sheets")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--seconds", type=float, help="of each clip (default: all)")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="for each tuning (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="for each tuning, in place of minutes")
    parser.add_argument("--processes", type=int, default=1, help="that share each tuning (default: %(default)s)")
    parser.add_argument("--side", type=int, default=usual.side, help="pixels per side at most (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), help="parts of the work (default: all)")
    parser.add_argument("--report", action="store_true", help="only the tables of what is there")
    parser.add_argument("--stale", action="store_true", help="keep parts of other code or networks, marked as such")
    parser.add_argument("--results", type=Path, default=RESULTS / "personal.json")
    arguments = parser.parse_args(argv)
    pack = open_pack(arguments.pack)
    tune = replace(
        usual,
        minutes=arguments.minutes,
        steps=arguments.steps,
        side=arguments.side,
        processes=arguments.processes,
    )
    usual_options = EncodeOptions()
    side = min(arguments.side, usual_options.refine.side)
    options = replace(
        usual_options,
        pack=pack.folder,
        device="cpu",
        audio=False,
        duration=arguments.seconds,
        tune=tune,
        refine=replace(usual_options.refine, side=side),
        refine_tuned=replace(usual_options.refine_tuned, side=side),
    )
    yardstick = Yardstick()
    for clip in [] if arguments.report else arguments.clips:
        work = Work(clip, arguments.work / clip.stem, pack, options)
        work.folder.mkdir(parents=True, exist_ok=True)
        for name, part in PARTS.items():
            if work.done(name) is None and name in (arguments.only or PARTS):
                print(f"{clip.name}: {name}", flush=True)
                part(work, yardstick)
    report(arguments.work, arguments.results, pack, arguments.stale)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
