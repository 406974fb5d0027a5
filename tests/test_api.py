"""Files in, files out, through all layers, with a stand-in for the face detector."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import stylecodec
from stylecodec import EncodeOptions, StreamFile
from stylecodec.encoding import front_end
from stylecodec.encoding.options import FitOptions, LandmarkCorrectionOptions
from stylecodec.errors import (
    BadMagic,
    FaceNotFound,
    FormatError,
    MediaError,
    OptionError,
    OutputError,
    PackMismatch,
    PackNotFound,
    Truncated,
)
from stylecodec.face.align import AlignedTrack
from stylecodec.media import VideoReader
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from stylecodec.progress import Progress
from tests.decoding import streams
from tests.tiny import FixedFace, write_clip

pytestmark = pytest.mark.usefixtures("quick_rounding")
SIZE = 64
FIT = FitOptions(steps=2, side=32)


@pytest.fixture(autouse=True)
def _packs(monkeypatch: pytest.MonkeyPatch, tiny_pack: ModelPack) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))


PLAIN = {"profile": "raw", "fit": FitOptions(False), "landmark_correction": LandmarkCorrectionOptions(enabled=False)}
"""Changes of `options` where it does not matter what is encoded."""


@pytest.fixture(scope="module")
def options() -> EncodeOptions:
    correction = LandmarkCorrectionOptions(frames=1, side=32)
    few = {"identity_candidates": 4, "identity_average": 2, "fit": FIT, "landmark_correction": correction}
    few["likeness"] = "off"
    return EncodeOptions(pack="tiny-1024", device="cpu", **few)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Made:
    """A stream, and what was told while it was made."""

    path: Path
    report: stylecodec.EncodeReport
    told: list[Progress]


@pytest.fixture(scope="module")
def made(
    clip: Path, options: EncodeOptions, tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    path, told = tmp_path_factory.mktemp("api") / "talk.stc", list[Progress]()
    chosen = dataclasses.replace(options, pack=tiny_pack.folder)
    return Made(path, stylecodec.encode(clip, path, chosen, told.append, front_end=FixedFace(lost=[3, 4])), told)


@pytest.fixture(scope="module")
def stc(made: Made) -> Path:
    return made.path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_encode_report_and_file(made: Made) -> None:
    report, seen = made.report, made.told
    assert report.frames == 20
    assert report.held == 2
    assert report.fps == 25
    assert report.duration_seconds == pytest.approx(0.8)
    assert report.pack["name"] == "tiny-1024"
    assert report.bytes["total"] == made.path.stat().st_size
    assert report.as_dict()["identity"]["candidates"] == 4
    assert names(made.path.parent) == ["talk.stc"]
    assert seen[0] == Progress("finding the face", 1, 20)
    assert Progress("encoding", 20, 20) in seen
    assert Progress("fitting the identity", FIT.steps, FIT.steps, "steps") in seen
    assert Progress("correcting by landmarks", 20, 20) in seen
    assert seen[-1].stage == "rounding the identity"
    facts = stylecodec.probe(made.path)
    for name in ("frames", "fps", "duration_seconds", "bytes", "kbps", "pack"):
        assert getattr(report, name) == facts[name]
    assert report.identity["steps"] == FIT.steps


def test_the_stream_holds_motion_roll_and_sound(stc: Path) -> None:
    with StreamFile.open(stc) as stream:
        packets = stream.packets(0, 20)
        assert packets[10, 2] == pytest.approx(5.0, abs=0.5)  # half a degree per frame
        assert packets[19, 2] > packets[10, 2] + 3
        assert stream.header.crop is not None
        assert stream.header.crop.side == pytest.approx(0.9 * 96)
        config = stream.audio_config
        assert config is not None
        chunks = list(stream.audio_chunks())
    assert chunks[0].first_packet_pts == -config.pre_skip
    samples = sum(sum(chunk.durations) for chunk in chunks)
    assert samples - config.pre_skip == pytest.approx(0.8 * 48_000, abs=960)


def test_decode_brings_back_frames_and_sound(stc: Path, tmp_path: Path) -> None:
    report = stylecodec.decode(stc, tmp_path / "out.mp4", size=SIZE, device="cpu")
    assert (report.frames, report.size, report.held, report.audio) == (20, SIZE, 0, True)
    reader = VideoReader(tmp_path / "out.mp4")
    assert (reader.width, reader.height, reader.frame_count) == (SIZE, SIZE, 20)
    assert reader.rate == 25
    assert reader.has_audio
    assert names(tmp_path) == ["out.mp4"]
    with stylecodec.Decoder.open(stc, device="cpu", size=SIZE, as_numpy=True) as decoder:
        expected = decoder[7]
    found = [frame for _, frame in reader.frames()][7]
    assert np.abs(found.astype(int) - np.asarray(expected, int)).mean() < 12  # H.264, 4:2:0


def test_start_duration_and_silence(clip: Path, options: EncodeOptions, tmp_path: Path) -> None:
    part = dataclasses.replace(options, start=0.2, duration=0.4, audio=False, **PLAIN)
    report = stylecodec.encode(clip, tmp_path / "a.stc", part, front_end=FixedFace())
    assert report.frames == 10
    assert report.bytes["audio"] == 0
    facts = stylecodec.probe(tmp_path / "a.stc")
    assert facts["audio"] is None
    stylecodec.decode(tmp_path / "a.stc", tmp_path / "a.mkv", size=SIZE, device="cpu")
    assert not VideoReader(tmp_path / "a.mkv").has_audio


def test_decode_without_sound(stc: Path, tmp_path: Path) -> None:
    assert not stylecodec.decode(stc, tmp_path / "a.mp4", size=SIZE, device="cpu", audio=False).audio
    assert not VideoReader(tmp_path / "a.mp4").has_audio


def test_probe(stc: Path, tiny_pack: ModelPack) -> None:
    facts = stylecodec.probe(stc)
    assert facts["frames"] == 20
    assert facts["fps"] == 25.0
    assert facts["duration_seconds"] == 0.8
    assert facts["profile"] == "compact"
    assert facts["pack"] == {"name": "tiny-1024", "digest": tiny_pack.digest.hex()}
    parts = dict(facts["bytes"])
    assert set(parts) >= {"total", "header", "identity", "packets", "audio", "index", "personalization"}
    assert parts["total"] == stc.stat().st_size
    assert sum(count for part, count in parts.items() if part != "total") == parts["total"]
    assert parts["identity"] < 18_432
    assert parts["packets"] < 20 * 70
    assert set(facts["kbps"]) == {"total", "packets", "audio"}
    assert facts["kbps"]["total"] == pytest.approx(parts["total"] * 8 / 0.8 / 1000, abs=1e-3)
    assert facts["complete"]


def test_verify(stc: Path, tmp_path: Path) -> None:
    assert stylecodec.verify(stc).complete
    damaged = tmp_path / "damaged.stc"
    data = bytearray(stc.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert not stylecodec.verify(damaged).complete


def test_puppet_from_a_stream(stc: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "other.stc").write_bytes(streams.stream(tiny_pack, identities=(9,)))
    facts = stylecodec.puppet(tmp_path / "other.stc", stc, tmp_path / "puppet.stc")
    assert facts["frames"] == 20
    with StreamFile.open(tmp_path / "puppet.stc") as made, StreamFile.open(stc) as motion:
        assert made.identities[0].digest == streams.identity(9).digest
        assert np.array_equal(made.packets(0, 20), motion.packets(0, 20))
        assert list(made.audio_chunks()) == list(motion.audio_chunks())
    assert stylecodec.verify(tmp_path / "puppet.stc").complete


@pytest.mark.usefixtures("quick_portraits")
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_puppet_from_a_picture(stc: Path, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"face{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)).save(picture)
    stylecodec.puppet(picture, stc, tmp_path / "puppet.stc", device="cpu", front_end=FixedFace())
    with StreamFile.open(tmp_path / "puppet.stc") as made, StreamFile.open(stc) as motion:
        assert made.identities[0].digest != motion.identities[0].digest
    report = stylecodec.decode(tmp_path / "puppet.stc", tmp_path / "puppet.mp4", size=32, device="cpu")
    assert report.frames == 20


def test_puppet_needs_one_pack(stc: Path, other_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "other.stc").write_bytes(streams.stream(other_pack))
    with pytest.raises(PackMismatch, match="was made with pack"):
        stylecodec.puppet(tmp_path / "other.stc", stc, tmp_path / "puppet.stc")
    assert names(tmp_path) == ["other.stc"]


def test_variable_frame_times_survive(tiny_pack: ModelPack, tmp_path: Path) -> None:
    pts = np.array([0, 3000, 12_000, 15_000], np.int64)
    (tmp_path / "a.stc").write_bytes(streams.stream(tiny_pack, count=4, group=2, pts=pts, time_scale=90_000))
    stylecodec.decode(tmp_path / "a.stc", tmp_path / "a.mp4", size=32, device="cpu")
    times = [seconds for seconds, _ in VideoReader(tmp_path / "a.mp4").frames()]
    np.testing.assert_allclose(times, pts / 90_000, atol=2e-3)


def cut_off(stc: Path, tmp_path: Path, pack: ModelPack, count: int = 12) -> Path:
    path = tmp_path / "cut.stc"
    path.write_bytes(streams.stream(pack, count=count)[:-200])
    return path


def test_an_incomplete_file_is_an_error_unless_partial(stc: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    path = cut_off(stc, tmp_path, tiny_pack)
    with pytest.raises(Truncated, match=r"cut\.stc: the file is not whole, missing: .*--partial"):
        stylecodec.decode(path, tmp_path / "a.mp4", size=32, device="cpu")
    assert names(tmp_path) == ["cut.stc"]
    report = stylecodec.decode(path, tmp_path / "a.mp4", size=32, device="cpu", partial=True)
    assert (report.frames, report.held) == (10, 0)


def test_a_hole_is_held_when_partial(tiny_pack: ModelPack, tmp_path: Path) -> None:
    data = bytearray(streams.stream(tiny_pack, count=15))
    data[data.index(streams.packets(15)[7].tobytes())] ^= 1
    path = tmp_path / "hole.stc"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"hole\.stc: .*checksum"):
        stylecodec.decode(path, tmp_path / "a.mp4", size=32, device="cpu")
    assert names(tmp_path) == ["hole.stc"]
    report = stylecodec.decode(path, tmp_path / "a.mp4", size=32, device="cpu", partial=True)
    assert (report.frames, report.held) == (15, 5)


def test_failures_leave_nothing_behind(clip: Path, options: EncodeOptions, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    text = tmp_path / "text.mp4"
    text.write_text("no video")

    class Broken(FixedFace):
        def track(self, frames: object, rate: float) -> object:  # type: ignore[override]
            raise KeyboardInterrupt

    for error, source, face, settings in [
        (MediaError, tmp_path / "missing.mp4", FixedFace(), options),
        (MediaError, text, FixedFace(), options),
        (FaceNotFound, clip, FixedFace(lost=range(20)), options),
        (PackNotFound, clip, FixedFace(), dataclasses.replace(options, pack="no-such-pack")),
        (OptionError, clip, FixedFace(), dataclasses.replace(options, device="abacus")),
        (MediaError, clip, FixedFace(), dataclasses.replace(options, start=99.0)),
        (KeyboardInterrupt, clip, Broken(), options),
    ]:
        with pytest.raises(error):
            stylecodec.encode(source, out / "a.stc", settings, front_end=face)
        assert names(out) == []


def test_a_cut_between_two_frames_has_none(clip: Path, options: EncodeOptions, tmp_path: Path) -> None:
    between = dataclasses.replace(options, start=0.01, duration=0.02)
    with pytest.raises(MediaError, match="no frames between its start and its end"):
        stylecodec.encode(clip, tmp_path / "a.stc", between, front_end=FixedFace())
    with pytest.raises(MediaError, match="before the start"):
        stylecodec.encode(clip, tmp_path / "a.stc", dataclasses.replace(options, start=9.0), front_end=FixedFace())


def test_outputs_are_checked_before_the_work(clip: Path, stc: Path, options: EncodeOptions, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        stylecodec.encode(clip, tmp_path / "no" / "a.stc", options, front_end=FixedFace())
    with pytest.raises(OutputError, match="is a folder"):
        stylecodec.decode(stc, tmp_path)
    with pytest.raises(OutputError, match="its own source"):
        stylecodec.puppet(stc, stc, stc)
    before = stc.read_bytes()
    for output, checkpoint, words in [
        (stc, None, "its own source"),  # the card
        (tmp_path / "a.stc", stc, "its own source"),
        (tmp_path / "a.stc", clip, "its own source"),
        (tmp_path / "a.stc", tmp_path / ".." / tmp_path.name / "a.stc", "its checkpoint"),
        (tmp_path / "a.stc", tmp_path / "no" / "work.safetensors", "there is no folder"),
    ]:
        known = dataclasses.replace(options, identity=stc, checkpoint=checkpoint)
        with pytest.raises(OutputError, match=words):
            stylecodec.encode(clip, output, known, front_end=FixedFace())
    assert stc.read_bytes() == before
    with pytest.raises(OptionError, match="even size"):
        stylecodec.decode(stc, tmp_path / "a.mp4", size=33)
    with pytest.raises(OptionError, match="one of"):
        stylecodec.decode(stc, tmp_path / "a.avi", size=32, device="cpu")
    assert names(tmp_path) == []


def test_a_plain_identity_cannot_be_refit(clip: Path, stc: Path, options: EncodeOptions, tmp_path: Path) -> None:
    class Unseen(FixedFace):
        def track(self, frames: object, rate: float) -> object:  # type: ignore[override]
            raise AssertionError("too late")

    refit = dataclasses.replace(options, identity=stc, refit=True)
    with pytest.raises(OptionError, match="no personalised generator"):
        stylecodec.encode(clip, tmp_path / "a.stc", refit, front_end=Unseen())


def test_an_existing_output_survives_a_failure(stc: Path, tmp_path: Path) -> None:
    kept = tmp_path / "a.mp4"
    kept.write_text("precious")
    bad = tmp_path / "bad.stc"
    bad.write_bytes(b"RIFF")
    with pytest.raises(BadMagic, match=r"bad\.stc: not a stylecodec stream"):
        stylecodec.decode(bad, kept)
    assert kept.read_text() == "precious"
    with pytest.raises(MediaError, match=r"there is no file .*none\.stc"):
        stylecodec.decode(tmp_path / "none.stc", kept)


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
def test_a_full_disk_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the end of the disk."""
    code = f"""
import resource, sys
from stylecodec.files import atomic_write
from stylecodec.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with atomic_write({str(tmp_path / "a.stc")!r}) as file:
        file.write(bytes(20_000))
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{tmp_path / 'a.stc'} cannot be written: file too large"
    assert names(tmp_path) == []


def test_a_silent_clip_of_another_rate(options: EncodeOptions, tmp_path: Path) -> None:
    from fractions import Fraction

    told: list[float] = []

    class Told(FixedFace):
        def track(self, frames: Iterable[NDArray[np.uint8]], rate: float) -> AlignedTrack:
            told.append(rate)
            return super().track(frames, rate)

    source = write_clip(tmp_path / "in.mkv", frames=7, rate=Fraction(30000, 1001), sound=False)
    plain = dataclasses.replace(options, **PLAIN)
    report = stylecodec.encode(source, tmp_path / "a.stc", plain, front_end=Told())
    assert report.frames == 7
    assert told == [pytest.approx(30000 / 1001)]
    assert stylecodec.probe(tmp_path / "a.stc")["rate"] == "30000/1001"


def test_live_bytes_are_the_files_bytes(stc: Path) -> None:
    decoder = stylecodec.Decoder.live(device="cpu", size=32)
    file = io.BytesIO(stc.read_bytes())
    count = 0
    while portion := file.read(5000):
        count += len(decoder.feed(portion))
    assert count == 20
    assert decoder.close().complete


def test_the_default_front_end_is_dlibs(tiny_pack: ModelPack) -> None:
    from stylecodec.face.align import Aligner

    aligner = front_end.front_end_for(tiny_pack, EncodeOptions(device="cpu"))
    assert isinstance(aligner, Aligner)
