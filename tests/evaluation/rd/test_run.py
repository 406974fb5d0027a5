"""A whole run on a tiny pack: every byte, resuming, long calls, frames not tuned on, given files, the report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import stylecodec
from stylecodec import LandmarkCorrectionOptions, PixelCorrectionOptions, RdOptions, RdReport, TuneOptions
from stylecodec.bitstream import StreamFile
from stylecodec.errors import MediaError, MissingDependency, OptionError
from stylecodec.evaluation.faces import aligner_for
from stylecodec.evaluation.rd import figures, measuring, page, run
from stylecodec.evaluation.rd.options import Way
from stylecodec.media.codecs import decoded_video
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from stylecodec.progress import Progress
from tests.evaluation.markup import Tags
from tests.tiny import FixedFace, write_clip

pytestmark = pytest.mark.usefixtures("one_detector", "quick_rounding")
FRAMES, RATE, LONG = 9, Fraction(18), 1.0  # 18 frames of a long call: there, back, and there again
QUALITIES = (40.0, 60.0)
CODEC = (25, 35, 45, 51)


def options_for(pack: ModelPack) -> RdOptions:
    plain = stylecodec.EncodeOptions(
        pack=pack.folder,
        device="cpu",
        likeness="off",
        identity_candidates=2,
        identity_average=1,
        fit=stylecodec.FitOptions(enabled=False),
        landmark_correction=LandmarkCorrectionOptions(enabled=False),
    )
    tune = TuneOptions(steps=2, frames=8, batch=2, side=32, locality=0.0, upper=0.0, look_steps=1)
    pixels = PixelCorrectionOptions(keyframes=1, side=32, compared=32)
    tuned = replace(plain, likeness="quick", tune=tune, pixel_correction=pixels)
    return RdOptions(
        ways=(Way("fast+off", plain, QUALITIES), Way("fast+quick", tuned, (50.0,))),
        codecs={"x264": CODEC},
        sizes=(64,),
        metrics=("SSIM", "PSNR", "LPIPS-vgg"),
        long=LONG,
        device="cpu",
    )


def measure(clip: Path, folder: Path, options: RdOptions, **more: object) -> RdReport:
    return stylecodec.rate_distortion([clip], folder, options, front_end=FixedFace(), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("rd")
    clip = write_clip(folder / "some clip.mp4", FRAMES, RATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "aligner_for", lambda device: FixedFace())
        patch.setattr(figures, "DPI", 20)
        patch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
        options = options_for(tiny_pack)
        report = measure(clip, folder / "out", options)
        yield SimpleNamespace(report=report, clip=clip, folder=folder / "out", options=options)


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """`found` has drawn the curves: no page is written, which takes longer than all else."""
    monkeypatch.setattr(page, "write_report", lambda *_: [])


def test_every_point_is_there_with_every_byte(found: SimpleNamespace) -> None:
    points = found.report.points
    assert len(points) == 2 * (len(QUALITIES) + 1 + len(CODEC))  # lengths
    assert {(p.clip, p.size, p.long, p.frames) for p in points} == {
        ("some-clip", 64, long, RATE if long else FRAMES) for long in (False, True)
    }
    files = [path for path in (found.folder / "kept" / "encodes").iterdir() if path.suffix in (".stc", ".mkv")]
    assert sorted(path.stat().st_size for path in files) == sorted(sum(p.parts.values()) for p in points)
    for p in points:
        assert p.rates["total"] == pytest.approx(sum(p.parts.values()) * 8 / p.seconds / 1000)
        assert p.rates["video"] < p.rates["total"]
        assert p.parts["sound"] > 0
        assert set(p.scores) == {"PSNR", "SSIM"}
        assert "vgg16-397923af.pth" in p.left_out["LPIPS-vgg"]


def test_every_size_is_measured(found: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(found.folder / "kept", tmp_path / "out" / "kept")
    (off, _), codec = found.options.ways, {"x264": (51,)}
    options = replace(found.options, ways=(replace(off, qualities=(60.0,)),), codecs=codec, sizes=(64, 96), long=None)
    report = measure(found.clip, tmp_path / "out", options)
    expected = {(size, system, 9) for size in (64, 96) for system in ("stylecodec fast+off", "x264")}
    assert {(p.size, p.system, p.frames) for p in report.points} == expected
    assert len(report.points) == len(expected)
    kept = {(p.system, p.setting): p for p in found.report.points if not p.long}
    for p in report.points:
        assert set(p.scores) == {"PSNR", "SSIM"}
        assert (p.size == 64) == (p.as_dict() == kept[p.system, p.setting].as_dict())
    assert {path.stem for path in (tmp_path / "out").glob("*.svg")} == {"64-PSNR", "64-SSIM", "96-PSNR", "96-SSIM"}


def test_the_identity_is_paid_once_and_long_calls_are_measured(found: SimpleNamespace) -> None:
    short, long = (
        next(p for p in found.report.points if (p.system, p.setting, p.size, p.long) == (*point, 64, long))
        for point in [("stylecodec fast+off", "60 dB")]
        for long in (False, True)
    )
    assert long.seconds == LONG
    assert long.parts["packets"] > short.parts["packets"] > 0
    assert abs(long.parts["identity"] - short.parts["identity"]) < 0.2 * short.parts["identity"]
    assert long.rates["video"] < short.rates["video"]


def test_a_long_call_has_no_seam(found: SimpleNamespace) -> None:
    def seen(name: str) -> np.ndarray:
        (path,) = (found.folder / "kept" / "sequences").glob(f"{name}-????????????????.mkv")
        return np.stack(list(decoded_video(path))).astype(int)

    short, long = seen("some-clip-64"), seen("some-clip-1s-64")
    assert len(long) == RATE
    there = [*range(FRAMES), *range(FRAMES - 2, 0, -1), 0, 1]
    assert np.array_equal(long, short[there])
    steps = np.abs(np.diff(long, axis=0)).mean(axis=(1, 2, 3))
    assert steps.max() <= np.abs(np.diff(short, axis=0)).mean(axis=(1, 2, 3)).max()


def test_frames_that_were_not_tuned_on_are_reported_apart(found: SimpleNamespace) -> None:
    tuned = [p for p in found.report.points if p.system == "stylecodec fast+quick"]
    assert {len(p.tuned) for p in tuned if not p.long} == {8}
    for p in tuned:
        (apart,) = {tuple(values.frames.tolist()) for values in p.untuned().values()}
        assert set(apart) == set(range(p.frames)) - p.tuned
        assert 0 < len(apart) < p.frames
        assert p.parts["personalization"] > 0
        assert p.as_dict()["frames_not_tuned_on"]["PSNR"]["n"] == len(apart)
    long = next(p for p in tuned if p.long)
    there = [*range(FRAMES), *range(FRAMES - 2, 0, -1), 0, 1]
    pictures = {there[frame] for frame in long.tuned}
    assert long.tuned == {k for k, shown in enumerate(there) if shown in pictures}  # wherever a picture returns
    others = [p for p in found.report.points if p.system != "stylecodec fast+quick"]
    assert all("frames_not_tuned_on" not in p.as_dict() for p in others)


def test_a_stream_is_the_one_that_encode_makes(found: SimpleNamespace, tmp_path: Path) -> None:
    (sequence,) = (found.folder / "kept" / "sequences").glob("some-clip-64-*.mkv")
    (kept,) = (found.folder / "kept" / "encodes").glob("some-clip-64-fast-off-40dB-*.stc")
    options = replace(found.options.ways[0].options, quality=40.0)
    stylecodec.encode(sequence, tmp_path / "again.stc", options, front_end=FixedFace())  # type: ignore[arg-type]
    assert (tmp_path / "again.stc").read_bytes() == kept.read_bytes()
    with StreamFile.open(kept) as stream:
        assert stream.frame_count == FRAMES


@pytest.mark.usefixtures("unwritten")
def test_what_is_kept_is_not_done_again(found: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    for name in ("encode_video", "score_output"):
        monkeypatch.setattr(measuring, name, fail)
    monkeypatch.setattr(measuring.api, "encode_at", fail)
    events: list[Progress] = []
    again = measure(found.clip, found.folder, found.options, progress=events.append)
    assert again.as_dict() == found.report.as_dict()
    assert events == []


@pytest.mark.usefixtures("unwritten")
def test_an_interrupted_run_goes_on(found: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(found.folder / "kept", tmp_path / "out" / "kept")
    (lost,) = (tmp_path / "out" / "kept" / "encodes").glob("some-clip-64-x264-crf-45-*.json")
    lost.unlink()
    made: list[int] = []
    encode = measuring.encode_video
    monkeypatch.setattr(measuring, "encode_video", lambda *words: made.append(words[3].quality) or encode(*words))
    monkeypatch.setattr(measuring.api, "encode_at", None)
    again = measure(found.clip, tmp_path / "out", found.options)
    assert made == [45]
    assert again.as_dict() == found.report.as_dict()
    lost.write_text("{")
    with pytest.raises(stylecodec.OutputError, match="is damaged: delete it"):
        measure(found.clip, tmp_path / "out", found.options)


def test_a_lossless_sequence_given_as_a_codec_has_no_bd_rate(found: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(found.folder / "kept", tmp_path / "out" / "kept")
    (sequence,) = (found.folder / "kept" / "sequences").glob("some-clip-64-*.mkv")
    given = tmp_path / "some-clip-64.FFV1.all.mkv"
    shutil.copy(sequence, given)
    table = tmp_path / "others.csv"
    rows = [f"some-clip,64,Other,q{k},{10 * 2**k},{12 + 2 * k}" for k in range(5)]
    table.write_text("\n".join(["clip,size,system,setting,kbps,PSNR", *rows]))
    report = measure(found.clip, tmp_path / "out", replace(found.options, given=(given, table), sizes=(64,)))
    exact = next(p for p in report.points if p.system == "FFV1")
    assert (exact.origin, exact.scores["PSNR"].mean) == ("given", float("inf"))
    assert exact.rates["video"] == pytest.approx(given.stat().st_size * 8 / exact.seconds / 1000)
    reasons = {c.left_out for c in report.comparisons if c.anchor == "FFV1" and c.metric == "PSNR"}
    assert reasons == {"FFV1 has a lossless point, which has no place on a curve"}
    other = [p for p in report.points if p.system == "Other"]
    assert [p.mean("PSNR") for p in other] == [12, 14, 16, 18, 20]
    assert all(p.size == 64 and not p.long and p.parts is None for p in other)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Other q0 <small>given</small>" in page
    assert "not measured here" in page


def test_given_files_that_fit_nothing(found: SimpleNamespace, tmp_path: Path) -> None:
    for name, error, words in (
        ("talk.266", OptionError, "is called SEQUENCE.SYSTEM.SETTING"),
        ("talk-64.VTM.qp37.266", OptionError, "is of no sequence of this run, which are: some-clip-1s-64"),
        ("some-clip-64.x.y.mkv", MediaError, "is not 9 frames of 64x64: frame 1 is 96x96"),
        ("no-column.csv", MediaError, "has no column system, setting, kbps"),
        ("no-number.csv", MediaError, "row 2: kbps is no number but 'fast'"),
        ("elsewhere.csv", OptionError, "has A on talk at 64², which this run does not measure"),
    ):
        path = tmp_path / name
        text = {"no-column.csv": "clip,size\na,64", "no-number.csv": "clip,size,system,setting,kbps\na,64,A,q,fast"}
        path.write_text(text.get(name, "clip,size,system,setting,kbps,PSNR\ntalk,64,A,q,10,30"))
        if name == "some-clip-64.x.y.mkv":
            shutil.copy(found.clip, path)
        with pytest.raises(error, match=re.escape(words)):
            measure(found.clip, found.folder, replace(found.options, given=(path,)))


def test_the_report_opens_offline(found: SimpleNamespace) -> None:
    page, tags = (found.folder / "index.html").read_text(), Tags()
    tags.feed(page)
    assert tags.open == []
    assert all(address.startswith("#") for address in tags.addresses)
    assert not re.search(r"https?:|@import|url\((?!#)|<script|<link|<img", page)
    drawn = {f"{long}64-{metric}" for long in ("", "long-") for metric in ("PSNR", "SSIM")}
    names = {path.name for path in found.folder.iterdir()}
    pictures = {f"{name}.{end}" for name in drawn for end in ("svg", "png")}
    assert names == {"kept", "index.html", "rd.json", "points.csv"} | pictures
    assert page.count("<svg") == len(drawn)
    for words in ("x264", "stylecodec fast+off 40 dB", "identity, bytes", "Frames that the generator was not tuned on"):
        assert words in page
    assert "published" not in page


def test_json_and_csv_say_the_same(found: SimpleNamespace) -> None:
    facts = json.loads((found.folder / "rd.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    with (found.folder / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(facts["points"]) == len(found.report.points)
    for row, point in zip(rows, facts["points"], strict=True):
        assert float(row["kbps"]) == pytest.approx(point["kbps"]["video"])
        assert float(row["PSNR"]) == pytest.approx(point["scores"]["PSNR"]["mean"])
        assert int(row["bytes total"]) == point["bytes"]["total"]
        assert row["LPIPS-vgg"] == ""
    assert {one["anchor"] for one in facts["bd_rates"]} == {"x264"}
    assert facts["sequences"][0]["frames"] == FRAMES


def test_what_makes_no_sense(tmp_path: Path, tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_for(tiny_pack)
    clip = write_clip(tmp_path / "a.mp4", 6, sound=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(run, "aligner_for", aligner_for)  # the real one: that of `found` sees a face everywhere
    for wrong, error, words in (
        (replace(options, codecs={"h261": None}), OptionError, "no codec 'h261'; the codecs are: x264, x265"),
        (replace(options, codecs={"x264": (77,)}), OptionError, "from 0 to 51, not 77"),
        (replace(options, codecs={"vvc": None}), MissingDependency, "vvc needs vvencapp"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            measure(clip, tmp_path / "out", wrong)
    with pytest.raises(OptionError, match="there is no clip"):
        stylecodec.rate_distortion([], tmp_path / "out", options)
    with pytest.raises(OptionError, match="two clips are called a"):
        stylecodec.rate_distortion([clip, clip], tmp_path / "out", options)
    with pytest.raises(MediaError, match="there is no file"):
        measure(tmp_path / "b.mp4", tmp_path / "out", options)
    with pytest.raises(OptionError, match=r"no clip could be measured: .*a\.mp4: no face was found"):
        measure(clip, tmp_path / "out", options)


def test_the_conditions_of_gfvc_take_125_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "aligner_for", lambda device: FixedFace())
    clip = write_clip(tmp_path / "short.mp4", 30, sound=False, size=64)
    options = RdOptions(ways=(), codecs={"x264": (51,)}, sizes=(64,), fps=25, frame_counts=(250, 125), device="cpu")
    with pytest.raises(OptionError, match=r"short\.mp4 has 30 frames at 25 per second; the conditions take 250 or 125"):
        measure(clip, tmp_path / "out", options)
