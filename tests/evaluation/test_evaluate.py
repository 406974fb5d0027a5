"""Whole videos: what is identical, what a third party does to its output, and what cannot be scored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import stylecodec
from stylecodec.cli import evaluate as command
from stylecodec.cli.main import main
from stylecodec.errors import FaceNotFound, MediaError, OptionError
from stylecodec.evaluation.report import EvaluateReport, OutputScores
from stylecodec.evaluation.scores import METRICS
from stylecodec.evaluation.sources import opened
from stylecodec.media import Frame, VideoReader
from stylecodec.nets.lpips import Lpips
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from stylecodec.packs.upstream.importer import import_files
from tests.decoding import streams
from tests.nets.seeded_weights import fill

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.usefixtures("one_detector")
FRAMES, SIDE, SIZE = 12, 224, 128
# By how much a score may differ when nothing but the place or the time of the output's frames has changed: landmarks
# and detector see other pixels, and smoothing over time begins elsewhere.
TOLERANCES = {"L1": 0.2, "PSNR": 0.5, "SSIM": 0.006, "dlib-identity": 0.03, "mesh-AKD": 0.4, "flicker": 0.2}


def written(path: Path, frames: Sequence[Frame], rate: Fraction = Fraction(25), lossy: bool = False) -> Path:
    """A video, without loss unless asked for."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if lossy else "ffv1", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p" if lossy else "bgr0"
        stream.options = {"crf": "34"} if lossy else {}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode(None))
    return path


def resized(frame: Frame, side: int) -> Frame:
    return np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    frames = [resized(f, SIDE) for _, f in VideoReader(EXAMPLES / "talk.mp4").frames(0.5, FRAMES / 25)]
    lossy = written(folder / "lossy.mp4", frames, lossy=True)
    seen = [frame for _, frame in VideoReader(lossy).frames()]
    shifted = [np.pad(f, ((10, 0), (10, 0), (0, 0)), mode="edge")[:SIDE, :SIDE] for f in seen]
    return {
        "reference": written(folder / "reference.mkv", frames),
        "lossy": lossy,
        "lossless": written(folder / "lossless.mkv", seen),
        "shifted": written(folder / "shifted.mkv", shifted),
        "delayed": written(folder / "delayed.mkv", [seen[0], seen[0], *seen]),
        "short": written(folder / "short.mkv", seen[:5]),
        "other": written(folder / "other.mkv", [resized(f, 320) for f in seen[::2]], Fraction(25, 2)),
        "black": written(folder / "black.mkv", [np.zeros_like(f) for f in seen]),
    }


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """A pack into which a trunk of LPIPS has been imported; its weights are random."""
    folder, trunk = tmp_path_factory.mktemp("judges"), Lpips("alex")
    fill(trunk, "lpips.")
    torch.save({name: v for name, v in trunk.state_dict().items() if name.startswith("features.")}, folder / "alex.pth")
    return import_files([folder / "alex.pth"], "judges", folder).pack


@pytest.fixture(scope="module")
def report(videos: dict[str, Path], judges: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> EvaluateReport:
    options = stylecodec.EvaluateOptions(size=SIZE, networks=judges, device="cpu")
    folder = tmp_path_factory.mktemp("report")
    found: EvaluateReport = stylecodec.evaluate(videos["reference"], list(videos.values()), options, report=folder)
    facts = json.loads((folder / "report.json").read_text())
    assert facts["size"] == SIZE
    assert facts["judges"]["imported"]["lpips_alex"]["file"] == "alex.pth"
    assert "data:image" not in (folder / "index.html").read_text()
    return found


@pytest.fixture(scope="module")
def scores(report: EvaluateReport, videos: dict[str, Path]) -> dict[str, OutputScores]:
    return dict(zip(videos, report.outputs, strict=True))


def test_a_video_against_itself(scores: dict[str, OutputScores]) -> None:
    same = scores["reference"]
    assert same.notes == ()
    found = {score.metric.name: score for score in same.scores if not score.left_out}
    for name in ("L1", "LPIPS-alex", "parser-distance", "dlib-identity", "mesh-AKD", "flicker"):
        assert found[name].mean == pytest.approx(0, abs=1e-9), name
    for name in ("SSIM", "mesh-AU", "mesh-AU+gaze"):
        assert found[name].mean == pytest.approx(1), name
    assert found["PSNR"].mean == math.inf
    assert found["PSNR"].n == FRAMES
    assert same.as_dict()["matching"]["pairs"] == FRAMES


def test_every_metric_is_there_or_says_why_not(scores: dict[str, OutputScores]) -> None:
    lossy = scores["lossy"]
    assert [score.metric.name for score in lossy.scores] == list(METRICS)
    absent = {score.metric.name: score.left_out for score in lossy.scores if score.left_out}
    assert {"LPIPS-vgg", "DISTS", "L_ID", "FID", "FVD", "FVD-mouth", "rho_AU", "MS-SSIM"} <= set(absent)
    assert "vgg16-397923af.pth" in absent["LPIPS-vgg"]
    assert "176 pixels or more, not of 128" in absent["MS-SSIM"]
    assert not {"L1", "PSNR", "SSIM", "LPIPS-alex", "parser-distance", "dlib-identity", "mesh-AU"} & set(absent)


def test_a_lossy_copy_is_nearer_than_a_stranger(scores: dict[str, OutputScores]) -> None:
    for name in ("L1", "PSNR", "SSIM", "LPIPS-alex", "parser-distance", "dlib-identity", "mesh-AKD", "mesh-AU"):
        lossy, best = scores["lossy"].score(name), scores["reference"].score(name)
        sign = 1 if lossy.metric.better == "lower" else -1
        assert lossy.unrelated is not None
        assert sign * best.mean < sign * lossy.mean < sign * lossy.unrelated, name


def test_a_lossless_copy_scores_the_same(scores: dict[str, OutputScores]) -> None:
    a, b = (scores[name].as_dict() for name in ("lossy", "lossless"))
    assert a["metrics"] == b["metrics"]
    assert a["matching"] == b["matching"]


@pytest.mark.parametrize("how", ["shifted", "delayed"])
def test_place_and_delay_hardly_change_a_score(scores: dict[str, OutputScores], how: str) -> None:
    for name, tolerance in TOLERANCES.items():
        assert scores[how].score(name).mean == pytest.approx(scores["lossy"].score(name).mean, abs=tolerance), name
    facts = scores[how].matching
    assert facts is not None
    assert facts["delay_frames"] == (2 if how == "delayed" else 0)
    assert any("2 frames (0.080 s) late" in note for note in scores[how].notes) == (how == "delayed")


def test_other_lengths_sizes_and_rates_are_said(scores: dict[str, OutputScores]) -> None:
    short, other = scores["short"], scores["other"]
    assert "5 frames are matched, of 12 of the reference and 5 of the output; the others are not scored" in short.notes
    assert "5 frames are too few" in short.score("mesh-AU").left_out
    assert short.score("PSNR").n == 5
    assert "the rates differ: 25 and 12.5 frames per second" in other.notes
    assert "6 frames are matched, of 12 of the reference and 6 of the output; the others are not scored" in other.notes
    assert other.score("PSNR").mean == pytest.approx(scores["lossy"].score("PSNR").mean, abs=1)


def test_an_output_without_a_face_has_no_scores(scores: dict[str, OutputScores]) -> None:
    black = scores["black"]
    assert not black.scored
    assert all("black.mkv: no face was found in any of the 12 frames" in score.left_out for score in black.scores)
    assert [score.metric.name for score in black.scores] == list(METRICS)


def test_a_puppet_is_judged_without_pixels(videos: dict[str, Path]) -> None:
    options = stylecodec.EvaluateOptions(size=SIZE, puppet=True, identity=EXAMPLES / "portrait.png", device="cpu")
    found = stylecodec.evaluate(videos["reference"], [videos["reference"]], options)
    (puppet,) = found.outputs
    assert [score.metric.name for score in puppet.scores] == [name for name, one in METRICS.items() if one.puppet]
    assert puppet.score("dlib-identity").mean > 0.3  # the clip shows somebody else than the picture
    assert puppet.score("mesh-AU+gaze").mean == pytest.approx(1)


def test_a_reference_without_a_face_is_an_error(videos: dict[str, Path]) -> None:
    with pytest.raises(FaceNotFound, match=r"black\.mkv: no face"):
        stylecodec.evaluate(videos["black"], [videos["lossy"]], stylecodec.EvaluateOptions(device="cpu"))


def test_what_makes_no_sense(tmp_path: Path) -> None:
    clip = EXAMPLES / "talk.mp4"
    with pytest.raises(MediaError, match="there is no file"):
        stylecodec.evaluate(clip, [tmp_path / "none.mp4"])
    with pytest.raises(MediaError, match="there is no file"):
        stylecodec.evaluate(clip, [clip], stylecodec.EvaluateOptions(openface=(tmp_path / "a.csv", tmp_path / "b.csv")))
    with pytest.raises(OptionError, match="no output to score"):
        stylecodec.evaluate(clip, [])
    with pytest.raises(OptionError, match="one by one"):
        stylecodec.evaluate(clip, [clip, clip], stylecodec.EvaluateOptions(openface=("a.csv", "b.csv")))


def test_a_stream_is_rendered_once(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    path = tmp_path / "a.stc"
    path.write_bytes(streams.stream(tiny_pack, count=3))
    with opened(path, "cpu", tmp_path) as source:
        assert (source.kind, source.width, source.height, source.count) == ("stream", 1024, 1024, 3)
        first, again = ([(time, frame.copy()) for time, frame in source.read()] for _ in range(2))
    with stylecodec.Decoder.open(path, device="cpu", as_numpy=True) as decoder:
        for (a, x), (b, y), z in zip(first, again, decoder, strict=True):
            assert a == b
            assert np.array_equal(x, y)
            assert np.array_equal(x, z)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Callable[[EvaluateReport], None]:
    """Makes the command's work come out as a report that is there already."""
    return lambda found: monkeypatch.setattr(command, "evaluate", lambda *words: found)


def test_the_command(
    report: EvaluateReport, running: Callable[[EvaluateReport], None], capsys: pytest.CaptureFixture[str]
) -> None:
    running(report)
    assert main(["evaluate", "a.mp4", "b.mp4"]) == 1  # black.mkv has no score
    out = capsys.readouterr().out
    assert "PSNR (higher is better)" in out
    assert "left out: LPIPS-vgg: its weights cannot be shipped" in out
    running(EvaluateReport(report.reference, SIZE, False, report.outputs[:2], report.seconds))
    assert main(["evaluate", "a.mp4", "b.mp4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [len(output["metrics"]) for output in facts["outputs"]] == [len(METRICS)] * 2
    assert facts["outputs"][0]["metrics"][1]["mean"] == "inf"


@pytest.mark.parametrize("words", [["--size", "large"], ["--size", "100"], ["--pictures"], ["--identity", "a.png"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "a.mp4", "b.mp4", *words]) == 2
    assert capsys.readouterr().err.startswith("stylecodec: error: ")
