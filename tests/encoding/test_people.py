"""A clip of two people through the whole encoder: an identity for each, one quantiser, groups that end at the cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import stylecodec
from stylecodec import EncodeOptions, StreamFile
from stylecodec.encoding import front_end
from stylecodec.encoding.frames import Crop, Motion
from stylecodec.encoding.identity import people_in_clip
from stylecodec.encoding.motion import landmark_correction
from stylecodec.encoding.options import FitOptions, LandmarkCorrectionOptions
from stylecodec.errors import OptionError
from stylecodec.face.recognition import Descriptor
from stylecodec.media import VideoReader, VideoWriter
from stylecodec.packs.store import ModelPack
from tests.media.test_doubt import write_hurt
from tests.tiny import FixedFace

pytestmark = pytest.mark.usefixtures("quick_rounding")
SIZE, FIRST, SECOND, THIRD = 96, 14, 13, 9  # frames of one, the other, and the one again
COUNT = FIRST + SECOND + THIRD
NOTE = "at 0.6 and 1.1 s another person appears; 2 people, "
EACH = "each with an identity of their own, the generator tuned to none (--split off: one for all)"


class ByColour:
    """Tells the red person from the blue one."""

    def __call__(self, crop: Crop) -> Descriptor:
        red, _, blue = crop.reshape(-1, 3).mean(axis=0)
        return np.asarray(np.eye(128)[0 if red > blue else 1], np.float32)


@pytest.fixture(autouse=True)
def _by_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_in_clip, "CropDescriptor", ByColour)


def frames() -> Iterator[np.ndarray]:
    x = np.arange(SIZE)
    for number in range(COUNT):
        red = not FIRST <= number < FIRST + SECOND
        picture = np.full((SIZE, SIZE, 3), 40 if red else 90, np.uint8)
        stripes = 150 + 60 * np.sin((x + number) / 7)
        picture[..., 0 if red else 2] = stripes if red else stripes[:, None]
        yield picture


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("people") / "two.mp4"
    with VideoWriter(path, SIZE, SIZE, Fraction(25)) as writer:
        for picture in frames():
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def options(tiny_pack: ModelPack) -> EncodeOptions:
    return EncodeOptions(
        pack=tiny_pack.folder,
        device="cpu",
        identity_candidates=4,
        identity_average=2,
        group_seconds=0.4,
        likeness="off",
        fit=FitOptions(steps=2, side=32),
        landmark_correction=LandmarkCorrectionOptions(enabled=False),
    )


@pytest.mark.parametrize("profile", ["compact", "raw"])
def test_each_person_has_an_identity(video: Path, options: EncodeOptions, tmp_path: Path, profile: str) -> None:
    out = tmp_path / "two.stc"
    report = stylecodec.encode(video, out, replace(options, profile=profile), front_end=FixedFace())
    assert report.notes == [NOTE + EACH]
    first, second = report.people
    assert (first["first_frame"], first["frames"]) == (0, FIRST + THIRD)
    assert first["stretches"] == [[0, FIRST], [FIRST + SECOND, THIRD]]
    assert (second["first_frame"], second["frames"]) == (FIRST, SECOND)
    assert FIRST <= second["identity"]["frame"] < FIRST + SECOND
    assert report.identity == first["identity"]
    with StreamFile.open(str(out)) as stream:
        assert len(stream.identities) == 2
        assert [len(group) for group in stream.groups()] == [10, 4, 10, 3, 9]
        assert [group.identity for group in stream.groups()] == [0, 0, 1, 1, 0]
    assert stylecodec.verify(out).complete


def test_the_identities_and_motion_are_those_of_each_alone(
    video: Path, options: EncodeOptions, tmp_path: Path
) -> None:
    """The second person's stretch encoded by itself has the same latent and packets: nothing leaks over a cut."""
    raw = replace(
        options, profile="raw", smoothing=0.1, identity_candidates=32, identity_average=1, fit=FitOptions(enabled=False)
    )
    stylecodec.encode(video, tmp_path / "two.stc", raw, front_end=FixedFace())
    alone = replace(raw, start=FIRST / 25, duration=SECOND / 25)
    stylecodec.encode(video, tmp_path / "one.stc", alone, front_end=FixedFace())
    with StreamFile.open(str(tmp_path / "two.stc")) as two, StreamFile.open(str(tmp_path / "one.stc")) as one:
        assert one.frame_count == SECOND
        packets = two.packets(FIRST, FIRST + SECOND)
        np.testing.assert_allclose(np.delete(packets, 2, 1), np.delete(one.packets(0, SECOND), 2, 1), atol=0.02)
        np.testing.assert_allclose(two.identity_for(FIRST).latent, one.identity_for(0).latent, atol=1e-3)
        assert not np.allclose(two.identity_for(FIRST).latent, two.identity_for(0).latent, atol=1e-3)


def test_one_for_all_is_said(video: Path, options: EncodeOptions, tmp_path: Path) -> None:
    off = replace(options, split="off", profile="raw")
    report = stylecodec.encode(video, tmp_path / "one.stc", off, front_end=FixedFace())
    assert report.notes == [NOTE + "all shown as one (--split auto: an identity for each)"]
    assert [one["frames"] for one in report.people] == [FIRST + THIRD, SECOND]
    with StreamFile.open(str(tmp_path / "one.stc")) as stream:
        assert len(stream.identities) == 1
        assert [len(group) for group in stream.groups()] == [10, 10, 10, 6]
    card = replace(options, identity=tmp_path / "one.stc", profile="raw")
    given = stylecodec.encode(video, tmp_path / "given.stc", card, front_end=FixedFace())
    assert given.notes == [NOTE + "all shown as the one identity that was given"]


def test_one_person_is_encoded_as_ever(
    video: Path, options: EncodeOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the descriptors see one person, the cuts change no byte, and nothing is said."""
    stylecodec.encode(video, tmp_path / "off.stc", replace(options, split="off"), front_end=FixedFace())
    monkeypatch.setattr(ByColour, "__call__", lambda self, crop: np.zeros(128, np.float32))
    report = stylecodec.encode(video, tmp_path / "auto.stc", options, front_end=FixedFace())
    assert report.notes == []
    assert [one["frames"] for one in report.people] == [COUNT]
    assert (tmp_path / "auto.stc").read_bytes() == (tmp_path / "off.stc").read_bytes()


def test_the_usual_likeness_is_left_out_for_several(video: Path, options: EncodeOptions, tmp_path: Path) -> None:
    """What nobody asked for is no reason to refuse a clip: the two are encoded without it, and the note says so."""
    off = replace(options, profile="raw")
    usual = replace(off, likeness=None)
    assert usual.tunes
    report = stylecodec.encode(video, tmp_path / "usual.stc", usual, front_end=FixedFace())
    stylecodec.encode(video, tmp_path / "off.stc", off, front_end=FixedFace())
    assert report.notes == [NOTE + EACH]
    assert (tmp_path / "usual.stc").read_bytes() == (tmp_path / "off.stc").read_bytes()


def test_a_generator_is_personalised_to_one(video: Path, options: EncodeOptions, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"2 people, another from 0\.56 s on.*--split off") as caught:
        stylecodec.encode(video, tmp_path / "me.stc", replace(options, likeness="full"), front_end=FixedFace())
    assert not (tmp_path / "me.stc").exists()
    advice = re.search(r"--start ([\d.]+) --duration ([\d.]+)", str(caught.value))
    assert advice is not None
    start, duration = map(float, advice.groups())
    part = replace(options, start=start, duration=duration, profile="raw")
    report = stylecodec.encode(video, tmp_path / "part.stc", part, front_end=FixedFace())
    assert (report.frames, len(report.people)) == (FIRST, 1)


def test_squares_are_aligned_anew(video: Path, options: EncodeOptions) -> None:
    """The front end is told where the people change, and of one for all nothing."""
    told: list[list[int]] = []

    class Splitting(FixedFace):
        def split(self, track, cuts, rate):  # type: ignore[no-untyped-def]
            told.append(list(cuts))
            return super().split(track, cuts, rate)

    def read() -> Iterator[tuple[float, np.ndarray]]:
        return ((k / 25, picture) for k, picture in enumerate(frames()))

    faces = front_end.find_faces(read, Splitting(), 25.0, options)
    assert faces.split
    assert told == [[FIRST, FIRST + SECOND]]
    front_end.find_faces(read, Splitting(), 25.0, options, known=True)
    front_end.find_faces(read, Splitting(), 25.0, replace(options, split="off"))
    assert len(told) == 1


def test_smoothing_stops_at_a_cut() -> None:
    packets = np.zeros((20, 35), np.float16)
    packets[10:] = 5
    packets[15] = np.nan
    cut = Motion(packets).smoothed(2.0, [10]).packets
    assert np.array_equal(cut, packets, equal_nan=True)
    assert not np.array_equal(Motion(packets).smoothed(2.0).packets, packets, equal_nan=True)
    values = packets[:15].astype(np.float32)
    assert np.array_equal(landmark_correction._smooth(values, 2.0, [10]), values)


def test_split_is_auto_or_off() -> None:
    with pytest.raises(OptionError, match="split must be auto or off, not 'always'"):
        EncodeOptions(split="always")


def test_a_ghost_after_a_lost_key_frame_is_nobody(options: EncodeOptions, tmp_path: Path) -> None:
    """A blue card without a face stays on, as the key frame after it is lost, and the face moves under it."""
    x, size = np.arange(2 * SIZE), 2 * SIZE
    grain = np.random.default_rng(7).integers(-40, 40, (size, size))
    pictures = []
    for number in range(36):
        picture = np.full((size, size, 3), 40, np.uint8)
        picture[..., 0] = 150 + 50 * np.sin((x + number) / 7) + np.roll(grain, number, 1)
        pictures.append(picture[..., ::-1] if 9 <= number < 12 else picture)
    source = write_hurt(tmp_path / "hurt.ts", frames=pictures)
    shown = [picture.reshape(-1, 3).mean(axis=0) for _, picture in VideoReader(source).frames()]
    assert sum(blue > 2 * red for red, _, blue in shown) > 10  # the ghost is there
    raw = replace(options, profile="raw")
    report = stylecodec.encode(source, tmp_path / "hurt.stc", raw, front_end=FixedFace(lost=range(9, 12)))
    assert len(report.people) == 1
    assert report.notes
    assert not any("another person" in note for note in report.notes)
