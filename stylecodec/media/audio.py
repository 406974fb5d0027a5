"""A clip's sound as Opus packets, cut in step with the video frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from stylecodec.errors import MediaError, OptionError
from stylecodec.media.doubt import Damage
from stylecodec.media.opus import SAMPLE_RATE, OpusTrack
from stylecodec.media.opus_encoder import OpusEncoder, Samples
from stylecodec.media.source import PathLike, holds_data, open_input, packets_of, readable
from stylecodec.media.streams import asked_stream, has_video, ranked_audio, words
from stylecodec.media.video import VideoReader

SILENCE = 1e-4  # a track that never exceeds this (-80 dB) counts as no sound
GAP_SECONDS = 0.02  # smaller jumps of the time stamps are rounding, not gaps
SETTLING = 1.0  # seconds before a start to decode from: Opus and AAC need a few packets
TOLD_SECONDS = 0.1  # of sound that is left out without a word before the first frame and after the last
OPPOSED = -0.5  # correlation of two channels below which they cancel each other in a plain mean
JUDGED_SECONDS, OPPOSED_SHARE = 0.25, 0.1  # what is judged at once; share of it that is opposed only now and then
MIN_BITRATE, MAX_BITRATE = 6_000, 256_000
LAME_DELAY = 1105  # samples before the first that a decoder gives of what LAME made


def encode_opus(
    path: PathLike,
    bitrate: int = 12_000,
    channels: int = 1,
    start: float = 0.0,
    duration: float | None = None,
    *,
    stream: str | None = None,
    video: VideoReader | None = None,
    notes: list[str] | None = None,
) -> OpusTrack | None:
    """The sound of a video file as 20 ms Opus packets; None when it has none or nothing is to be heard.

    bitrate: bits per second, 6,000..256,000. channels: 1 or 2. start, duration: seconds, as for
    `VideoReader.frames`: sample `pre_skip` of the decoded result sounds with the first frame given there.
    stream: which of several tracks, as `streams.asked_stream` takes it; None: the best by FFmpeg's rule, where tracks
    that are silent or cannot be decoded are passed over. video: the reader of the pictures, where there is one
    already. notes: takes sentences about what was passed over or left out.
    Raises MediaError for an unreadable file, OptionError for a value out of range or a stream that is not there.
    """
    if not MIN_BITRATE <= bitrate <= MAX_BITRATE:
        raise OptionError(f"the audio bit rate must be {MIN_BITRATE}..{MAX_BITRATE} bit/s, not {bitrate}")
    if channels not in (1, 2):
        raise OptionError(f"sound has 1 or 2 channels, not {channels}")
    told = [] if notes is None else notes
    with open_input(path) as container:
        if video is None and has_video(container):
            video = VideoReader(path)
        seen = None if video is None else container.streams[video.stream_index]
        candidates = ranked_audio(container, seen if isinstance(seen, VideoStream) else None)
        if stream is not None:
            candidates = [asked_stream(list(container.streams.audio), stream, "audio", path)]
        tracks = [(one.index, words(one), one.codec_context is not None) for one in candidates]
    lost = [name for _, name, decodable in tracks if not decodable]
    told.extend(f"sound stream {name} cannot be decoded and is left out" for name in lost)
    whole = _Part.of(video, start, duration)
    for index, name, decodable in tracks:
        if not decodable:
            continue
        part = replace(whole, begin=whole.begin + _lateness(path, index, video))
        levels = _measured(path, index, part)
        if not levels.samples:
            told.append(f"sound stream {name} cannot be decoded and is left out")
        elif levels.peak < SILENCE:
            told.append(f"sound stream {name} is silent and is left out")
        else:
            if len(tracks) > 1:
                told.append(f"of several sound streams {name} is taken")
            told.extend(levels.notes(part, channels))
            return _encoded(path, index, part, bitrate, channels, levels)
    return None


@dataclass(frozen=True)
class _Part:
    """The part of the sound that goes with the pictures: where it begins on the file's clock, and its seconds, None
    for all that comes. whole: the pictures are not cut, neither at their start nor at their end."""

    begin: float
    duration: float | None
    whole: bool

    @classmethod
    def of(cls, video: VideoReader | None, start: float, duration: float | None) -> _Part:
        whole = start <= 0 and duration is None
        if video is None:
            return cls(start, duration, whole)
        begin = video.first_time(start)
        end = video.duration if duration is None else min(start + duration, video.duration)
        return cls(video.sound_origin + begin, end - begin, whole)


def _lateness(path: PathLike, index: int, video: VideoReader | None) -> float:
    """Seconds by which a track comes late: MP3 in AVI, which has no place for the delay of its encoder.

    FFmpeg's writer puts the pictures off by so much, rounded up to whole frames: in all, or from the second one on.
    """
    with readable(f"the sound of {path} cannot be read"), open_input(path) as container:
        context = _sound(container, index).codec_context
        if container.format.name != "avi" or not context.name.startswith("mp3"):
            return 0.0
        delay, by_ffmpeg = LAME_DELAY / context.sample_rate, "Lavf" in container.metadata.get("software", "")
    if video is None or not by_ffmpeg or len(video.timing.seconds) < 2:
        return delay
    rate = float(video.rate)
    put_off = video.timing.sound_origin + round(float(video.timing.seconds[1]) * rate) - 1
    return delay - put_off / rate if put_off == math.ceil(delay * rate) else delay


@dataclass
class _Levels:
    """What was heard of a track: samples at 48 kHz, the largest of them, energies and product of two channels."""

    samples: int = 0
    peak: float = 0.0
    energies: np.ndarray[tuple[int], np.dtype[np.float64]] = field(default_factory=lambda: np.zeros(2))
    product: float = 0.0
    mixed_peak: dict[int, float] = field(default_factory=lambda: {1: 0.0, -1: 0.0})
    judged: list[float] = field(default_factory=list)  # correlations over JUDGED_SECONDS that are not silent
    recent: list[Samples] = field(default_factory=list)
    first: float | None = None  # seconds at which the track begins
    last: float = 0.0  # seconds at which it ends
    damage: Damage = field(default_factory=Damage)

    def add(self, block: Samples) -> None:
        """Take samples [n, 2] into account."""
        left, right = block[:, 0], block[:, 1]
        self.samples += len(block)
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.energies += np.square(block, dtype=np.float64).sum(axis=0)
        self.product += float(np.dot(left.astype(np.float64), right))
        for sign, peak in self.mixed_peak.items():
            self.mixed_peak[sign] = max(peak, float(np.abs(left + sign * right).max()) / 2)
        self.recent.append(block)
        if sum(map(len, self.recent)) >= JUDGED_SECONDS * SAMPLE_RATE:
            self._judge()

    def _judge(self) -> None:
        heard = np.concatenate(self.recent).astype(np.float64)
        self.recent.clear()
        scale = float(np.sqrt(np.square(heard).sum(axis=0).prod()))
        if scale > len(heard) * SILENCE**2:
            self.judged.append(float(np.dot(heard[:, 0], heard[:, 1])) / scale)

    @property
    def weights(self) -> tuple[float, float]:
        """What the channels are multiplied by before they are added: the right one is turned over where they cancel
        each other all the time, and left out, or the left one, where they do now and then."""
        opposed = float(np.mean([one < OPPOSED for one in self.judged])) if self.judged else 0.0
        if OPPOSED_SHARE <= opposed <= 1 - OPPOSED_SHARE:
            return (1.0, 0.0) if self.energies[0] >= self.energies[1] else (0.0, 1.0)
        scale = float(np.sqrt(self.energies.prod()))
        sign = -1 if scale > 0 and self.product / scale < OPPOSED else 1
        gain = 0.5 / max(1.0, self.mixed_peak[sign])  # never too loud to be coded
        return gain, sign * gain

    def notes(self, part: _Part, channels: int) -> list[str]:
        """What was done to the sound, as sentences."""
        said = []
        left, right = self.weights
        if channels == 1 and not left * right:
            side = "left" if left else "right"
            said.append(f"the two channels of the sound cancel each other at times: only the {side} one is taken")
        elif channels == 1 and right < 0:
            said.append("the two channels of the sound cancel each other in the mix: the right one is turned over")
        if self.damage.packets:
            said.append(f"{self.damage.packets:,} damaged packets of the sound were skipped")
        if part.whole and self.first is not None and part.begin - self.first > TOLD_SECONDS:
            said.append(f"{part.begin - self.first:.2f} s of sound before the first frame are left out")
        if part.whole and part.duration is not None and self.last - part.begin - part.duration > TOLD_SECONDS:
            over = self.last - part.begin - part.duration
            said.append(f"{over:.2f} s of sound after the last frame are left out")
        return said


def _measured(path: PathLike, index: int, part: _Part) -> _Levels:
    """The levels of the part of a track that goes with the pictures; no samples where none can be decoded."""
    levels = _Levels()
    with readable(f"the sound of {path} cannot be read"), open_input(path) as container:
        stream = _sound(container, index)
        for block in _timeline(container, stream, part, 2, levels):
            levels.add(block)
        if part.whole:
            for packet in packets_of(container, stream):
                if holds_data(packet) and packet.pts is not None and packet.time_base is not None:
                    levels.last = max(levels.last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return levels


def _encoded(
    path: PathLike, index: int, part: _Part, bitrate: int, channels: int, levels: _Levels
) -> OpusTrack:
    """The track as packets, mixed to mono where one channel is wanted."""
    encoder, mix = OpusEncoder(bitrate, channels), np.array(levels.weights, np.float32)[:, None]
    with readable(f"the sound of {path} cannot be read"), open_input(path) as container:
        for block in _timeline(container, _sound(container, index), part, 2):
            if channels == 1:
                block = block @ mix
            encoder.feed(block.astype(np.float32, copy=False))
    return encoder.finish()


def _sound(container: InputContainer, index: int) -> AudioStream:
    stream = container.streams[index]
    if not isinstance(stream, AudioStream):
        raise MediaError(f"stream {index} of {container.name} is no sound any more")
    return stream


def _timeline(
    container: InputContainer, stream: AudioStream, part: _Part, channels: int, heard: _Levels | None = None
) -> Iterator[Samples]:
    """Blocks [n, channels] at 48 kHz that follow each other from the part's begin on; gaps are filled with silence.

    heard: is told where the track begins and ends and what is damaged.
    """
    begin = part.begin
    if begin > SETTLING and stream.time_base:
        container.seek(int((begin - SETTLING) / stream.time_base), stream=stream, backward=True)
    limit = None if part.duration is None else round(part.duration * SAMPLE_RATE)
    written = 0
    for seconds, samples in _resampled(container, stream, channels, None if heard is None else heard.damage):
        if heard is not None:
            heard.first = seconds if heard.first is None else heard.first
            heard.last = seconds + len(samples) / SAMPLE_RATE
        at = round((seconds - begin) * SAMPLE_RATE)
        if at > written:
            gap = at - written if limit is None else min(at, limit) - written
            yield np.zeros((gap, channels), np.float32)
            written += gap
        block = samples[max(0, written - at) :]
        if limit is not None:
            block = block[: limit - written]
        if len(block):
            yield block
            written += len(block)
        if limit is not None and written >= limit:
            return


def _resampled(
    container: InputContainer, stream: AudioStream, channels: int, damage: Damage | None
) -> Iterator[tuple[float, Samples]]:
    """(seconds of the first sample, [n, channels] at 48 kHz); continuous but for gaps and new forms of the source."""
    clock = 0.0  # where the next resampled sample belongs
    expected = 0.0  # where the next source frame should begin
    form: tuple[str, str, int] | None = None  # what the resampler takes
    resampler = _resampler(channels)
    for frame in _decoded(container, stream, damage or Damage()):
        seconds = expected if frame.time is None else frame.time
        found = frame.format.name, frame.layout.name, frame.sample_rate
        if found != form or abs(seconds - expected) > GAP_SECONDS:
            if form is not None:
                yield clock, _samples(resampler.resample(None), channels)
            resampler = _resampler(1 if frame.layout.nb_channels == 1 else channels)
            clock = expected = seconds
            form = found
        expected += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler must not act on time stamps of its own accord
        block = _samples(resampler.resample(frame), channels)
        yield clock, block
        clock += len(block) / SAMPLE_RATE
    if form is not None:
        yield clock, _samples(resampler.resample(None), channels)


def _resampler(channels: int) -> av.AudioResampler:
    return av.AudioResampler(format="flt", layout="mono" if channels == 1 else "stereo", rate=SAMPLE_RATE)


def _decoded(container: InputContainer, stream: AudioStream, damage: Damage) -> Iterator[av.AudioFrame]:
    """Frames of sound; packets that cannot be decoded are counted and skipped."""
    for packet in packets_of(container, stream, damage):
        try:
            frames = stream.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damage.packets += bool(packet.size)
            continue
        yield from frames


def _samples(frames: list[av.AudioFrame], channels: int) -> Samples:
    """[n, channels] of what a resampler gave; one channel stands for all."""
    if not frames:
        return np.zeros((0, channels), np.float32)
    own = frames[0].layout.nb_channels
    data = np.concatenate([f.to_ndarray().reshape(-1, own) for f in frames]).astype(np.float32)
    return data if own == channels else np.repeat(data, channels, axis=1)
