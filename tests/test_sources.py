"""What people's files do to encode, puppet and info: what is chosen, what is said, and when things happen."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import stylecodec
from stylecodec.cli.main import main
from stylecodec.encoding import front_end
from stylecodec.encoding.options import EncodeOptions, FitOptions, LandmarkCorrectionOptions
from stylecodec.errors import FaceNotFound, MediaError, OptionError
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.media.made import flat, tone, write_tracks
from tests.media.test_timing import PAUSED, write_times
from tests.tiny import FixedFace

OPTIONS = EncodeOptions(
    pack="tiny-1024",
    device="cpu",
    profile="raw",
    likeness="off",
    identity_candidates=2,
    identity_average=1,
    fit=FitOptions(enabled=False),
    landmark_correction=LandmarkCorrectionOptions(enabled=False),
)


@pytest.fixture(autouse=True)
def _packs(monkeypatch: pytest.MonkeyPatch, tiny_pack: ModelPack) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))


def encoded(source: Path, **options: object) -> stylecodec.EncodeReport:
    from dataclasses import replace

    return stylecodec.encode(source, source.with_suffix(".stc"), replace(OPTIONS, **options), front_end=FixedFace())  # type: ignore[arg-type]


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    """Two videos of 5 and 10 frames, a silent sound and one of 0.4 s."""
    videos = [{"frames": [flat(50, 32, 32)] * 5}, {"frames": [flat(150)] * 10, "default": True}]
    sounds = [{"samples": np.zeros((1, 19_200), np.float32)}, {"samples": tone(seconds=0.4)[None]}]
    return write_tracks(tmp_path / "a.mkv", videos, sounds)


def test_the_report_says_what_was_chosen_and_dropped(tracks: Path) -> None:
    report = encoded(tracks)
    assert report.frames == 10
    assert report.bytes["audio"] > 0
    assert [note for note in report.notes if "video streams 1 (h264, 64x48) is taken" in note]
    assert [note for note in report.notes if "sound stream 2 (aac, 1 channels) is silent" in note]
    assert report.as_dict()["notes"] == report.notes


def test_streams_are_asked_for(tracks: Path) -> None:
    report = encoded(tracks, video_stream="0", audio_stream="a:0")
    assert report.frames == 5
    assert report.bytes["audio"] == 0
    assert report.notes == ["sound stream 2 (aac, 1 channels) is silent and is left out"]
    with pytest.raises(OptionError, match="no video stream 2"):
        encoded(tracks, video_stream="2")


def test_nothing_is_said_of_a_usual_clip(clip: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(clip.read_bytes())
    assert encoded(source).notes == []


def test_a_source_is_described(tracks: Path) -> None:
    facts = stylecodec.probe_source(tracks)
    assert [one["index"] for one in facts["streams"] if one["chosen"]] == [1, 2]
    assert [one["kind"] for one in facts["streams"]] == ["video", "video", "audio", "audio"]
    with pytest.raises(MediaError, match="there is no file"):
        stylecodec.probe_source(tracks.with_name("none"))


def test_a_pause_is_as_long_everywhere(tmp_path: Path) -> None:
    source = write_times(tmp_path / "a.mp4", PAUSED)
    length = PAUSED[-1] + 1 / 30
    report = encoded(source)
    assert report.duration_seconds == pytest.approx(length, abs=1 / 30)
    assert stylecodec.probe(report.output)["duration_seconds"] == pytest.approx(length, abs=1 / 30)
    stylecodec.decode(report.output, tmp_path / "out.mp4", size=32, device="cpu")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(length, abs=1 / 30)


def puppet(source: Path, driving: Path) -> bytes:
    output = driving.with_name("puppet.stc")
    stylecodec.puppet(source, driving, output, device="cpu", front_end=FixedFace())
    with stylecodec.StreamFile.open(str(output)) as made:
        return made.identities[0].digest


@pytest.mark.usefixtures("quick_portraits")
def test_whom_to_show_is_known_by_content(clip: Path, tmp_path: Path) -> None:
    driving = tmp_path / "talk.mp4"
    driving.write_bytes(clip.read_bytes())
    driving = Path(encoded(driving).output)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    digests = []
    for name, kind in (("a.jfif", "PNG"), ("b", "TIFF"), ("c.stc", "WEBP")):
        Image.fromarray(pixels).save(tmp_path / name, format=kind, lossless=True)
        digests.append(puppet(tmp_path / name, driving))
    assert digests[0] == digests[1] == digests[2]
    (tmp_path / "p.png").write_bytes(driving.read_bytes())  # a stream by another name
    with stylecodec.StreamFile.open(str(driving)) as motion:
        assert puppet(tmp_path / "p.png", driving) == motion.identities[0].digest


def test_a_video_shows_whom_to_show(clip: Path, tracks: Path, tmp_path: Path) -> None:
    """And what was chosen of it is told."""
    driving = tmp_path / "talk.mp4"
    driving.write_bytes(clip.read_bytes())
    driving = Path(encoded(driving).output)
    made = tmp_path / "made.stc"
    facts = stylecodec.puppet(tracks, driving, made, device="cpu", front_end=FixedFace())
    assert facts["notes"] == ["of several video streams 1 (h264, 64x48) is taken"]
    with stylecodec.StreamFile.open(str(driving)) as motion, stylecodec.StreamFile.open(str(made)) as shown:
        assert shown.identities[0].digest != motion.identities[0].digest


def test_an_error_takes_the_notes_along(
    tracks: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was chosen and dropped may be why there is no face."""
    monkeypatch.setattr(front_end, "front_end_for", lambda pack, options: FixedFace(lost=range(10)))
    out = tracks.with_suffix(".stc")
    with pytest.raises(FaceNotFound) as caught:
        stylecodec.encode(tracks, out, OPTIONS)
    notes = caught.value.__notes__
    assert notes[0] == "of several video streams 1 (h264, 64x48) is taken"
    assert [note for note in notes if "sound stream 2 (aac, 1 channels) is silent" in note]
    assert main(["encode", str(tracks), str(out), "--pack", "tiny-1024", "--device", "cpu"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in said] == ["note"] * len(notes) + ["error"]


def test_what_shows_nobody_is_called_so(clip: Path, tmp_path: Path) -> None:
    driving = tmp_path / "talk.mp4"
    driving.write_bytes(clip.read_bytes())
    driving = Path(encoded(driving).output)
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (tmp_path / "words.jpg").write_text("words")
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)).save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:2000])
    for name in ("cut.png", "words.jpg", "half.jpg"):
        with pytest.raises(MediaError, match=rf"{name} is not a .* that can be read"):
            puppet(tmp_path / name, driving)
