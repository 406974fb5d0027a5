"""Who is seen when, told by descriptors: stand-ins for them, and pictures of one colour per person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from stylecodec.encoding.frames import AlignedClip, Crop
from stylecodec.encoding.identity import people_in_clip as stage
from stylecodec.encoding.identity.people_in_clip import (
    CropDescriptor,
    PeopleInClip,
    Stretch,
    people_in_clip,
)
from stylecodec.encoding.identity.picture_changes import PictureChanges
from stylecodec.encoding.options import ANOTHER_PERSON
from stylecodec.face.align import AlignedTrack, Aligner, AlignReport
from stylecodec.face.detect import FaceDetector
from stylecodec.face.landmarks import Dlib5
from stylecodec.face.recognition import Descriptor, FaceDescriptor
from stylecodec.face.warp import Frame, warp
from stylecodec.media.pictures import read_image

RATE = 25.0
ANNA, BERT, CARL = 40, 120, 200  # the colours of three people


def picture(colour: int) -> Frame:
    return np.full((64, 64, 3), colour, np.uint8)


def by_colour(crop: Crop) -> Descriptor:
    """Descriptors whose distance is 1 for 80 levels, with a little noise."""
    noise = np.random.default_rng(int(crop.astype(int).sum())).normal(0, 0.01, 128)
    return np.asarray(noise + np.eye(128)[0] * float(crop.mean()) / 80, np.float32)


def clip_of(colours: Sequence[int | None], shots: Sequence[int] = (0,)) -> AlignedClip:
    """A clip of pictures in these colours; None: no face."""
    found = np.array([colour is not None for colour in colours])
    report = AlignReport(len(colours), int((~found).sum()), int(found.argmax()), len(shots), 0, 1)
    track = AlignedTrack(np.tile([32.0, 32.0, 50.0, 0.0], (len(colours), 1)), found, report, tuple(shots))

    def read() -> Iterator[tuple[float, Frame]]:
        return ((k / RATE, picture(0 if colour is None else colour)) for k, colour in enumerate(colours))

    return AlignedClip(read, track)


def cuts_of(clip: AlignedClip) -> list[int]:
    changes = PictureChanges(RATE)
    for _ in changes.watch(frame for _, frame in clip.read()):
        pass
    return changes.cuts()


def people(colours: Sequence[int | None], shots: Sequence[int] = (0,)) -> PeopleInClip:
    clip = clip_of(colours, shots)
    return people_in_clip(clip, cuts_of(clip), RATE, by_colour)


def unused(crop: Crop) -> Descriptor:
    raise AssertionError("a clip without a cut costs nothing")


def test_a_cut_to_another_person() -> None:
    found = people([ANNA] * 20 + [BERT] * 15)
    assert found.stretches == (Stretch(0, 20, 0), Stretch(20, 35, 1))
    assert (found.count, found.cuts) == (2, (20,))
    assert found.shown(1).tolist() == [False] * 20 + [True] * 15


def blended(count: int) -> list[int]:
    """The colours of a blend over so many frames."""
    return [round(ANNA + (BERT - ANNA) * (k + 1) / (count + 1)) for k in range(count)]


@pytest.mark.parametrize("count", [8, 12, 25])
def test_a_blend_into_another_person(count: int) -> None:
    """No frame of it differs much from the one before."""
    found = people([ANNA] * 40 + blended(count) + [BERT] * 40)
    assert found.count == 2
    (cut,) = found.cuts
    assert abs(cut - (40 + count / 2)) <= 2


def test_a_blend_near_the_ends_of_a_short_clip() -> None:
    assert people([ANNA] * 14 + blended(8) + [BERT] * 14).cuts == (18,)


def test_a_way_through_black_into_another_person() -> None:
    down, up = [round(ANNA * (1 - k / 7)) for k in range(8)], [round(BERT * k / 7) for k in range(8)]
    found = people([ANNA] * 40 + down + up + [BERT] * 40)
    assert found.count == 2


def test_a_head_that_moves_is_no_blend() -> None:
    """A soft blob that goes to and fro, and one that goes away for good."""
    x = np.arange(64)
    for path in (32 + 10 * np.sin(np.arange(100) / 5), 16 + np.minimum(np.arange(100) / 2.5, 40)):
        blobs = [np.exp(-((x - at) ** 2 + (x[:, None] - 32) ** 2) / 200) for at in path]
        changes = PictureChanges(RATE)
        list(changes.watch(np.repeat((60 + 120 * blob).astype(np.uint8)[..., None], 3, axis=2) for blob in blobs))
        assert changes.cuts() == []


def test_somebody_who_comes_back_is_known_again() -> None:
    found = people([ANNA] * 12 + [BERT] * 12 + [ANNA + 3] * 12 + [CARL] * 12 + [BERT] * 12)
    assert [one.person for one in found.stretches] == [0, 1, 0, 2, 1]
    assert found.of(1) == (Stretch(12, 24, 1), Stretch(48, 60, 1))


def test_a_cut_to_the_same_person_makes_no_other() -> None:
    clip = clip_of([ANNA] * 20 + [ANNA + 20] * 20)
    assert cuts_of(clip) == [20]
    assert people_in_clip(clip, [20], RATE, by_colour).stretches == (Stretch(0, 40, 0),)


def test_nothing_is_described_without_a_candidate() -> None:
    late = clip_of([None] * 5 + [ANNA] * 20 + [None] * 3 + [ANNA] * 5, shots=(5,))
    assert people_in_clip(late, [], RATE, unused).stretches == (Stretch(0, 33, 0),)


def test_a_face_that_jumps_is_a_candidate() -> None:
    """Two people side by side in one picture, of whom the tracker follows first one, then the other."""
    clip = clip_of([ANNA] * 20 + [BERT] * 20, shots=(0, 20))
    assert people_in_clip(clip, [], RATE, by_colour).cuts == (20,)
    assert people_in_clip(clip, [19], RATE, by_colour).cuts == (19,)  # the jump is the picture cut's


def test_another_may_come_after_a_while_without_a_face() -> None:
    clip = clip_of([ANNA] * 20 + [None] * 15 + [BERT] * 20)
    assert people_in_clip(clip, [], RATE, by_colour).stretches == (Stretch(0, 35, 0), Stretch(35, 55, 1))


def test_pictures_without_a_face_are_nobody() -> None:
    found = people([None] * 10 + [ANNA] * 20 + [None] * 10 + [BERT] * 20 + [CARL] * 2)
    assert found.stretches == (Stretch(0, 40, 0), Stretch(40, 62, 1))


@pytest.mark.parametrize("after", [ANNA, BERT])
@pytest.mark.parametrize("candidates", [[20, 30], [20], [30]])
def test_a_ghost_is_nobody_and_hides_nobody(after: int, candidates: list[int]) -> None:
    """Ten smeared pictures count as without a face, whoever comes after them."""
    clip = clip_of([ANNA] * 20 + [CARL] * 10 + [after] * 20)
    trusted = np.arange(50) // 10 != 2
    found = people_in_clip(clip.only(trusted), candidates, RATE, by_colour)
    assert found.count == (1 if after == ANNA else 2)
    assert all(cut in (20, 30) for cut in found.cuts)


def test_one_wrong_sample_does_not_split() -> None:
    colours: list[int | None] = [ANNA] * 40
    colours[21], colours[29] = CARL, CARL  # turned away, say
    clip = clip_of(colours)
    numbers = stage._samples(clip, 20, 40)
    assert {21, 29} < set(numbers)
    assert people_in_clip(clip, [20], RATE, by_colour).count == 1


def test_what_moves_all_the_time_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (48, 80, 3), np.uint8) for _ in range(30)]
    slow = [picture(k * 8) for k in range(30)]
    held = [picture(40 + 30 * (k // 3 % 2)) for k in range(30)]  # 8 pictures in each 25 frames
    for frames in (noisy, slow, held):
        changes = PictureChanges(RATE)
        assert len(list(changes.watch(frames))) == 30
        assert changes.cuts() == []


def test_a_face_that_changes_before_the_same_wall_is_a_cut() -> None:
    frames = [picture(90) for _ in range(20)]
    for frame in frames[10:]:
        frame[20:44, 20:44] = 140
    changes = PictureChanges(RATE)
    list(changes.watch(frames))
    assert changes.cuts() == [10]


def test_the_note() -> None:
    two = people([ANNA] * 20 + [BERT] * 15)
    seconds = np.arange(100) / RATE
    assert two.note(seconds, "shown as one") == "at 0.8 s another person appears; 2 people, shown as one"
    three = PeopleInClip((Stretch(0, 20, 0), Stretch(20, 40, 1), Stretch(40, 100, 2)))
    assert three.note(seconds, "so") == "at 0.8 and 1.6 s another person appears; 3 people, so"
    many = PeopleInClip(tuple(Stretch(10 * k, 10 * k + 10, k % 2) for k in range(10)))
    assert many.note(seconds, "so").startswith("at 0.4, 0.8, 1.2, 1.6 and 5 more times s")


def test_the_descriptor_of_an_aligned_crop_is_that_of_the_picture() -> None:
    """The face is where FACE says: a detector that looks for it comes to nearly the same descriptor."""
    image = read_image(Path(__file__).parents[3] / "examples" / "portrait.png")
    crop = warp(image, Aligner(Dlib5(), FaceDetector(), checker=None).still(image), 256)
    apart = FaceDescriptor.distance(CropDescriptor()(crop), FaceDescriptor()(image))
    assert apart < ANOTHER_PERSON / 2
