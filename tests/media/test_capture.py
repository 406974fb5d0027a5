"""Sources that are read once: files, pipes, and devices that are not there."""

from __future__ import annotations

import os
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stylecodec.errors import MediaError
from stylecodec.media import VideoReader
from stylecodec.media import capture as module
from stylecodec.media.capture import LARGEST, Picture, Sound, camera, microphone, play, told_rate
from tests.tiny import write_clip


def test_a_file_gives_pictures_and_sound_in_order(clip: Path) -> None:
    items = list(play(clip))
    pictures = [item for item in items if isinstance(item, Picture)]
    sound = [item for item in items if isinstance(item, Sound)]
    whole = list(VideoReader(clip).frames())
    assert [item.seconds for item in pictures] == pytest.approx([seconds for seconds, _ in whole])
    assert all(np.array_equal(item.frame, frame) for item, (_, frame) in zip(pictures, whole, strict=True))
    samples = np.concatenate([item.samples for item in sound])
    assert len(samples) == pytest.approx(0.8 * 48_000, rel=0.05)
    assert np.abs(samples).max() == pytest.approx(8000 / 32768, rel=0.2)
    assert sound[1].seconds - sound[0].seconds == pytest.approx(len(sound[0].samples) / 48_000, abs=0.01)
    assert not [item for item in play(clip, sound=False) if isinstance(item, Sound)]
    assert told_rate(clip) == 25


def test_an_open_file_is_read_from_front_to_back(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 5)
    with path.open("rb") as file:
        assert sum(isinstance(item, Picture) for item in play(file)) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_named_pipe(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 5)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    assert sum(isinstance(item, Picture) for item in play(pipe)) == 5
    writer.join()


def test_large_pictures_are_made_smaller(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "large.mp4", 1, Fraction(25), False, LARGEST + 64)
    (item,) = play(path)
    assert isinstance(item, Picture)
    assert item.frame.shape == (LARGEST, LARGEST, 3)


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is no file"):
        list(play(tmp_path / "none.mp4"))
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    with pytest.raises(MediaError, match="is not a video"):
        list(play(text))
    with pytest.raises(MediaError, match="is not a video"), text.open("rb") as file:
        list(play(file))


def test_devices_that_this_pyav_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module.av, "formats_available", set())
    with pytest.raises(MediaError, match=r"built without v4l2.*ffmpeg -f v4l2 -i /dev/video2 .*call --play -"):
        next(camera("/dev/video2"))
    with pytest.raises(MediaError, match="built without alsa"):
        next(microphone())
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(module.av, "formats_available", {"dshow"})
    with pytest.raises(MediaError, match="name the camera"):
        next(camera())
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(MediaError, match="no camera is read on plan9"):
        next(camera())


def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_device", lambda known, what, name: ("lavfi", "no-such-filter", "{}"))
    with pytest.raises(MediaError, match="the camera no-such-filter cannot be read"):
        next(camera())


def test_a_camera_that_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_device", lambda known, what, name: ("rawvideo", "/dev/null", "{}"))
    with pytest.raises(MediaError, match="camera"):
        list(camera())
