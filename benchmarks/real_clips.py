"""What follows the person in real clips, and what does not.

    python -m benchmarks.real_clips clips/*.mp4 clips/*.jpg --portrait clips/face.jpg --out sheets/
    python -m benchmarks.real_clips clips/*.mp4 clips/*.jpg --only landmarks

Every video is encoded, decoded at 256² (aligned, without sound), looked into, and given another identity: that of
--portrait, or of the next clip. For each there is a contact sheet (rows: input, avatar, puppet) and a plot of tracks in
--out. The tracks are read by dlib's 68-point predictor, a yardstick that the codec does not use, off the input's
aligned crops and off the outputs alike. Those of the avatar are read by MediaPipe's face mesh too: the codec steers by
it, but it stays on brows and lips where dlib's points leave them (`benchmarks.yardstick`). The landmarks question sets
the pack's own points against dlib's on frames of the videos and on the stills. Figures go to results/real_clips.json,
of that question alone to results/real_landmarks.json; a clip that fails is reported, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.landmark_tracks import SIDE, Yardstick, means, moves, plot, unseen, words
from benchmarks.measuring import RESULTS, save, table
from benchmarks.provenance import provenance
from benchmarks.yardstick import read_by_mesh
from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.encoding.front_end import front_end_for
from stylecodec.encoding.options import PRESETS, EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.face.align import AlignedTrack, crops
from stylecodec.face.detect import FaceDetector
from stylecodec.face.landmarks import Dlib68, PackLandmarks
from stylecodec.geometry import CropTransform
from stylecodec.media import Frame, VideoReader, is_picture, read_image
from stylecodec.metrics.tracks import NAMES, Floats, compare, face_tracks, landmark_distance
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack

COMPARED = 24  # frames of a clip, at most, on which the two landmark nets are compared


class Recorded:
    """The encoder's own front end, which keeps the track it found: the crops of the sheet are those of the encoder."""

    def __init__(self, pack: ModelPack, device: str) -> None:
        self.aligner = front_end_for(pack, EncodeOptions(device=device))
        self.tracked: AlignedTrack | None = None

    def track(self, frames: Iterable[Frame], rate: float) -> AlignedTrack:
        self.tracked = self.aligner.track(frames, rate)
        return self.tracked

    def split(self, track: AlignedTrack, cuts: Sequence[int], rate: float) -> AlignedTrack:
        self.tracked = self.aligner.split(track, cuts, rate)
        return self.tracked

    def still(self, image: Frame) -> CropTransform:
        return self.aligner.still(image)


@dataclass
class Clip:
    """One video on its way through the codec."""

    path: Path
    stream: Path
    found: AlignedTrack
    facts: dict[str, Any]
    shots: int
    inputs: list[Frame]
    outputs: list[Frame]
    puppets: list[Frame] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.stem


# --- the codec --------------------------------------------------------------------------------------------


def through(path: Path, pack: ModelPack, options: EncodeOptions, work: Path) -> Clip:
    """Encode and decode a video; StylecodecError when that fails."""
    stream, front_end = work / f"{path.stem}.stc", Recorded(pack, options.device)
    report = api.encode(path, stream, options, front_end=front_end)
    track = front_end.tracked
    assert track is not None
    frames = (frame for _, frame in VideoReader(path).frames(0.0, options.duration))
    return Clip(
        path=path,
        stream=stream,
        found=track,
        facts=api.probe(stream),
        shots=report.shots,
        inputs=list(crops(frames, track, SIDE)),
        outputs=rendered(stream, pack, options.device, work),
    )


def rendered(stream: Path, pack: ModelPack, device: str, work: Path) -> list[Frame]:
    """The frames of a stream as the decode command writes them: 256², upright, without sound."""
    video = work / "rendered.mp4"
    api.decode(stream, video, size=SIDE, device=device, pose="aligned", pack=pack, audio=False)
    return [frame for _, frame in VideoReader(video).frames()]


# --- tracks -----------------------------------------------------------------------------------------------


def figures(clip: Clip, yardstick: Yardstick) -> tuple[dict[str, Any], dict[str, dict[str, Floats]]]:
    """What followed, and the tracks [n] that tell, of the frames that show a face: by "input", "avatar", "puppet"."""
    there = clip.found.found
    rows = {"input": clip.inputs, "avatar": clip.outputs, "puppet": clip.puppets}
    shown = {name: [p for p, seen in zip(pictures, there, strict=False) if seen] for name, pictures in rows.items()}
    tracks: dict[str, dict[str, Floats]] = {}
    for name, pictures in shown.items():
        points = yardstick(pictures)
        if points is not None:
            tracks[name] = face_tracks(points)
    result: dict[str, Any] = {
        "frames": clip.facts["frames"],
        "held": int((~there).sum()),
        "shots": clip.shots,
        "kbps": clip.facts["kbps"]["total"],
        "source": clip.facts["source"],
    }
    source = tracks.get("input")
    if source is not None:
        for name in ("avatar", "puppet"):
            if shown[name]:
                result[name] = compare(source, tracks[name]) if name in tracks else unseen(source)
        # dlib's reading of the input decides what moves, for the face mesh too: means are over the same clips.
        mesh = compare(read_by_mesh(shown["input"]), read_by_mesh(shown["avatar"]))
        result["mesh"] = {name: mesh[name] if moves(values) else values for name, values in result["avatar"].items()}
        with StreamFile.open(clip.stream) as stream:
            packets = stream.packets(0, stream.frame_count)[there].astype(np.float64)
        sent = {**source, "yaw": packets[:, 0], "pitch": packets[:, 1]}
        result["packets"] = {name: compare(source, sent)[name] for name in ("yaw", "pitch")}
    return result, tracks


def following_rows(results: dict[str, dict[str, Any]], who: str, names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
    """Per clip, correlation and in brackets gain of every track: "–" where the input hardly moves or was not read."""
    rows = []
    for clip, result in results.items():
        row: dict[str, Any] = {"clip": clip}
        for name in names:
            row[name] = words(result[who][name]) if who in result else "–"
        rows.append(row)
    return rows


# --- pictures ---------------------------------------------------------------------------------------------


def sheet(rows: Sequence[Sequence[Frame]], columns: int, tile: int) -> Frame:
    """Contact sheet [rows * tile, columns * tile, 3] of frames spread evenly in time; empty rows are left out."""
    strips = []
    for row in rows:
        if row:
            picks = np.linspace(0, len(row) - 1, columns).round().astype(int)
            tiles = [Image.fromarray(row[k]).resize((tile, tile), Image.Resampling.BOX) for k in picks]
            strips.append(np.hstack([np.asarray(t, np.uint8) for t in tiles]))
    return np.vstack(strips)


# --- the pack's landmarks ---------------------------------------------------------------------------------


def landmark_rows(paths: Sequence[Path], pack: ModelPack, device: str) -> list[dict[str, Any]]:
    """Per video or still: how far the pack's points lie from dlib's 68, both in frame pixels, from the same box."""
    detector, reference = FaceDetector(), Dlib68()
    own = PackLandmarks(pack.landmarks(device), pack.alignment)
    rows = []
    for path in paths:
        found, truth = [], []
        for frame in frames_to_compare(path):
            seen = detector(frame)
            if seen is not None:
                found.append(own(frame, seen.box))
                truth.append(reference(frame, seen.box))
        distances = landmark_distance(np.stack(found), np.stack(truth)) if found else {}
        rows.append({"file": path.name, "frames": len(found), **distances})
    return rows


def frames_to_compare(path: Path) -> list[Frame]:
    """A still, or some frames spread over a video."""
    if is_picture(path):
        return [read_image(path)]
    reader = VideoReader(path)
    step = -(-reader.frame_count // COMPARED)
    return [frame for _, frame in islice(reader.frames(), 0, None, step)]


# --- the command ------------------------------------------------------------------------------------------


def puppeteer(
    clips: Sequence[Clip], portraits: Sequence[Path], pack: ModelPack, device: str, work: Path
) -> dict[str, str]:
    """Give every clip another identity; returns what failed. With neither portrait nor second clip: no puppets."""
    failures = {}
    for number, clip in enumerate(clips):
        source = portraits[number % len(portraits)] if portraits else clips[(number + 1) % len(clips)].stream
        if source != clip.stream:
            stream = work / f"{clip.name}_puppet.stc"
            try:
                api.puppet(source, clip.stream, stream, pack, device)
                clip.puppets = rendered(stream, pack, device, work)
            except StylecodecError as error:
                failures[f"puppet of {clip.name}"] = f"{type(error).__name__}: {error}"
    return failures


def run_clips(arguments: argparse.Namespace, pack: ModelPack) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Figures of every clip, and what went wrong with the others."""
    results: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    clips: list[Clip] = []
    arguments.out.mkdir(parents=True, exist_ok=True)
    yardstick = Yardstick()
    options = EncodeOptions(
        preset=arguments.preset, pack=pack.folder, device=arguments.device, duration=arguments.seconds, audio=False
    )
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for path in arguments.videos:
            try:
                clips.append(through(path, pack, options, work))
                print(f"{path.name}: {len(clips[-1].outputs)} frames", flush=True)
            except StylecodecError as error:
                failures[path.stem] = f"{type(error).__name__}: {error}"
                print(f"{path.name}: {failures[path.stem]}", flush=True)
        failures |= puppeteer(clips, arguments.portrait, pack, arguments.device, work)
        for clip in clips:
            results[clip.name], tracks = figures(clip, yardstick)
            rows = [clip.inputs, clip.outputs, clip.puppets]
            Image.fromarray(sheet(rows, arguments.columns, arguments.tile)).save(arguments.out / f"{clip.name}.png")
            plot(clip.name, tracks, float(clip.facts["fps"]), arguments.out / f"{clip.name}_tracks.png")
    return results, failures


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_clips",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", type=Path, nargs="+", help="videos; stills serve the landmarks question only")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", choices=PRESETS, default=EncodeOptions().preset)
    parser.add_argument("--portrait", type=Path, nargs="*", default=[], help="stills that give the puppets' identities")
    parser.add_argument("--only", choices=("clips", "landmarks"))
    parser.add_argument("--seconds", type=float, help="of each clip (default: all)")
    parser.add_argument("--columns", type=int, default=9)
    parser.add_argument("--tile", type=int, default=192, help="pixels per picture of a sheet")
    parser.add_argument("--out", type=Path, default=Path("real_clips"), help="folder of the pictures")
    parser.add_argument("--results", type=Path, help="JSON file (default: real_clips.json, real_landmarks.json)")
    arguments = parser.parse_args(argv)
    usual = "real_landmarks.json" if arguments.only == "landmarks" else "real_clips.json"
    arguments.results = arguments.results or RESULTS / usual
    arguments.videos = [path for path in arguments.inputs if not is_picture(path)]
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = arguments_of(argv)
    pack = open_pack(arguments.pack)
    origin = provenance(pack, vars(arguments), [*arguments.inputs, *arguments.portrait])
    content: dict[str, Any] = {"preset": arguments.preset}
    failures: dict[str, str] = {}
    if arguments.only != "landmarks":
        results, failures = run_clips(arguments, pack)
        content |= {"clips": results, "failures": failures}
        for who, title in (("avatar", "avatar"), ("puppet", "puppet"), ("mesh", "avatar, by the face mesh,")):
            print(f"\n{title} against input: correlation (gain)\n{table(following_rows(results, who))}")
            seen = {clip: result[who] for clip, result in results.items() if who in result}
            content.setdefault("mean", {})[who] = means(seen)
            print("mean: " + ", ".join(f"{name} {words(values)}" for name, values in means(seen).items()))
        print("\nangles sent against input: correlation (degrees per unit)")
        print(table(following_rows(results, "packets", ("yaw", "pitch"))))
    if arguments.only != "clips" and pack.has("landmarks"):
        content["landmarks"] = landmark_rows(arguments.inputs, pack, arguments.device)
        print(f"\nthe pack's landmarks against dlib's, in outer eye distances\n{table(content['landmarks'])}")
    elif arguments.only != "clips":
        print(f"\nthe pack {pack.name} has no landmark net to compare")
    save(arguments.results, origin, content)
    for name, sentence in failures.items():
        print(f"failed: {name}: {sentence}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
