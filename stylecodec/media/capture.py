"""What comes while it is looked at: cameras, microphones, and files or pipes that are read once from front to back.

Items leave in the order in which the source has them. Pictures are sRGB-like BT.709 as from VideoReader, no larger than
LARGEST pixels per side; sound is mono at 48 kHz.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stylecodec.errors import MediaError
from stylecodec.media.colour import Tags, on_ground, to_rgb
from stylecodec.media.opus import SAMPLE_RATE
from stylecodec.media.shape import Frame, Orientation
from stylecodec.media.source import NOT_A_VIDEO, REFUSED_FORMATS, PathLike, open_input, readable

LARGEST = 1280  # pixels of the longer side: finding a face in more takes longer and finds the same
# By system: FFmpeg's device for pictures, what is opened when no camera is named, and how a named one is written.
CAMERAS = {
    "linux": ("v4l2", "/dev/video0", "{}"),
    "darwin": ("avfoundation", "0", "{}:none"),
    "win32": ("dshow", "", "video={}"),
}
MICROPHONES = {
    "linux": ("alsa", "default", "{}"),
    "darwin": ("avfoundation", "0", ":{}"),
    "win32": ("dshow", "", "audio={}"),
}


@dataclass(frozen=True)
class Picture:
    """One frame [H, W, 3] uint8 RGB. seconds: by the source's own clock, which sound shares."""

    seconds: float
    frame: Frame


@dataclass(frozen=True)
class Sound:
    """Samples float32 [n], -1..1, at 48 kHz; seconds: of the first, by the source's own clock."""

    seconds: float
    samples: NDArray[np.float32]


Item = Picture | Sound


def play(source: PathLike | BinaryIO, sound: bool = True) -> Iterator[Item]:
    """A video file or pipe, or what an open binary file gives, from front to back; MediaError.

    sound: give the sound too, of the track that FFmpeg prefers. Nothing is waited for: times are the source's.
    """
    name = "stdin" if hasattr(source, "read") else str(source)
    with readable(f"{name} {NOT_A_VIDEO}"):
        container = _opened(source)
    with container, readable(f"the video of {name} cannot be read further"):
        seen, heard = container.streams.best("video"), container.streams.best("audio")
        if not isinstance(seen, VideoStream):
            raise MediaError(f"{name} {NOT_A_VIDEO}")
        yield from _items(container, seen, heard if sound and isinstance(heard, AudioStream) else None)


def told_rate(path: PathLike) -> Fraction | None:
    """Frames per second that a file tells of its video, None where it tells none; MediaError."""
    with open_input(path) as container:
        found = container.streams.best("video")
        return (found.average_rate or found.guessed_rate) if isinstance(found, VideoStream) else None


def is_pipe(path: PathLike) -> bool:
    """Whether there is a named pipe of that name."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def camera(name: str | None = None, size: tuple[int, int] = (640, 480), rate: int = 25) -> Iterator[Picture]:
    """The pictures of a camera by PyAV's device of this system, without end; times are the device's.

    name: of the device, "/dev/video2" or as the system calls it; None: the first. size: width and height that are
    asked for, rate: frames per second. Raises MediaError: no such device, or none in this PyAV, or it was taken away.
    """
    device, usual, written = _device(CAMERAS, "camera", name)
    options = {"video_size": f"{size[0]}x{size[1]}", "framerate": str(rate)}
    place = written.format(name or usual)
    failure = f"the camera {place} cannot be read"
    with readable(failure), av.open(place, format=device, options=options) as container:
        if not container.streams.video:
            raise MediaError(failure)
        for item in _items(container, container.streams.video[0], None):
            if isinstance(item, Picture):
                yield item
    raise MediaError(f"the camera {place} gives no more pictures")


def microphone(name: str | None = None) -> Iterator[Sound]:
    """The sound of a microphone by PyAV's device of this system, without end; times are the device's; MediaError."""
    device, usual, written = _device(MICROPHONES, "microphone", name)
    place = written.format(name or usual)
    failure = f"the microphone {place} cannot be read"
    with readable(failure), av.open(place, format=device) as container:
        if not container.streams.audio:
            raise MediaError(failure)
        for item in _items(container, None, container.streams.audio[0]):
            if isinstance(item, Sound):
                yield item
    raise MediaError(f"the microphone {place} gives no more sound")


def _device(known: dict[str, tuple[str, str, str]], what: str, name: str | None) -> tuple[str, str, str]:
    if sys.platform not in known:
        raise MediaError(f"no {what} is read on {sys.platform}: pipe one in (stylecodec call --play -)")
    device, usual, written = known[sys.platform]
    if device not in av.formats_available:
        raise MediaError(
            f"this PyAV was built without {device}, so it reads no {what}: build it against your own FFmpeg "
            f"(pip install --no-binary av av), or pipe one in: ffmpeg -f {device} -i {name or usual or 'NAME'} "
            "-f matroska - | stylecodec call --play -"
        )
    if not (name or usual):
        raise MediaError(f"name the {what}, as the system calls it")
    return device, usual, written


def _opened(source: PathLike | BinaryIO) -> InputContainer:
    """A container that is read from front to back; pipes are not sought in."""
    if not isinstance(source, str | os.PathLike):
        container = av.open(source, "r")
    elif is_pipe(source):
        container = av.open(f"file:{source}", "r")
    else:
        return open_input(source)
    if REFUSED_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise MediaError(f"what comes through the pipe {NOT_A_VIDEO}")
    return container


def _items(container: InputContainer, video: VideoStream | None, audio: AudioStream | None) -> Iterator[Item]:
    """Pictures and sound in the order in which the packets come; what cannot be decoded is left out."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    streams = [stream for stream in (video, audio) if stream is not None]
    for packet in container.demux(streams):
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if not isinstance(frame, av.VideoFrame | av.AudioFrame) or frame.time is None:
                continue
            if isinstance(frame, av.VideoFrame):
                assert video is not None
                yield Picture(float(frame.time), _seen(frame, video))
            else:
                seconds = float(frame.time)
                frame.pts = None  # the resampler must not act on time stamps of its own accord
                for part in resampler.resample(frame):
                    samples = np.asarray(part.to_ndarray().reshape(-1), np.float32)
                    yield Sound(seconds, samples)
                    seconds += len(samples) / SAMPLE_RATE


def _seen(frame: av.VideoFrame, stream: VideoStream) -> Frame:
    """A frame as it is to be seen, [H, W, 3]."""
    tags = Tags.of(frame).or_else(Tags.of(stream))
    place = Orientation.of(frame, stream.sample_aspect_ratio)
    if max(place.shown) > LARGEST:
        place = place.within(LARGEST, LARGEST)
    colours, opacity = to_rgb(frame, place.width, place.height, tags)
    return place.apply(colours if opacity is None else on_ground(colours, opacity))
