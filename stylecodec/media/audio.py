"""A clip's sound as Opus packets, cut in step with the video frames."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer
from numpy.typing import NDArray

from stylecodec.errors import OptionError
from stylecodec.media.opus import PACKET_SAMPLES, SAMPLE_RATE, OpusPacket, OpusTrack
from stylecodec.media.video import PathLike, VideoReader, find_video, open_input, readable

Samples = NDArray[np.float32]  # [n, channels], -1..1

SILENCE = 1e-4  # a track that never exceeds this (-80 dB) counts as no sound
GAP_SECONDS = 0.02  # smaller jumps of the time stamps are rounding, not gaps
MIN_BITRATE, MAX_BITRATE = 6_000, 256_000
SPEECH_BITRATE = 32_000  # up to here Opus is told that it codes speech


def encode_opus(
    path: PathLike,
    bitrate: int = 12_000,
    channels: int = 1,
    start: float = 0.0,
    duration: float | None = None,
) -> OpusTrack | None:
    """The sound of a video file as 20 ms Opus packets; None when it has none or is silent.

    bitrate: bits per second, 6,000..256,000. channels: 1 or 2. start, duration: seconds, as for
    `VideoReader.frames`: sample `pre_skip` of the decoded result sounds with the first frame given there.
    Raises MediaError for an unreadable file, OptionError for a value out of range.
    """
    if not MIN_BITRATE <= bitrate <= MAX_BITRATE:
        raise OptionError(f"the audio bit rate must be {MIN_BITRATE}..{MAX_BITRATE} bit/s, not {bitrate}")
    if channels not in (1, 2):
        raise OptionError(f"sound has 1 or 2 channels, not {channels}")
    with open_input(path) as container:
        if not container.streams.audio:
            return None
        has_video = find_video(container) is not None
    begin, origin = start, 0.0
    if has_video:
        reader = VideoReader(path)
        begin = reader.first_time(start)
        origin = _origin_seconds(reader)
        end = reader.duration if duration is None else min(start + duration, reader.duration)
        duration = end - begin
    encoder = _OpusEncoder(bitrate, channels)
    with readable(f"the sound of {path} cannot be decoded"), open_input(path) as container:
        for block in _timeline(container, channels, origin + begin, duration):
            encoder.feed(block)
    return encoder.finish()


def _origin_seconds(reader: VideoReader) -> float:
    """The first video frame's time on the clock that sound and video share."""
    with open_input(reader.path) as container:
        stream = find_video(container)
        origin = reader.timing.origin
        if stream is None or stream.time_base is None or origin is None:
            return 0.0
        return float(origin * stream.time_base)


def _timeline(
    container: InputContainer, channels: int, begin: float, duration: float | None
) -> Iterator[Samples]:
    """Blocks [n, channels] at 48 kHz that follow each other from `begin` on; gaps are filled with silence."""
    stream = container.streams.audio[0]
    if begin > 1.0 and stream.time_base:
        # A second early: Opus and AAC need a few packets to settle.
        container.seek(int((begin - 1.0) / stream.time_base), stream=stream, backward=True)
    limit = None if duration is None else round(duration * SAMPLE_RATE)
    written = 0
    for seconds, samples in _resampled(container, channels):
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


def _resampled(container: InputContainer, channels: int) -> Iterator[tuple[float, Samples]]:
    """(seconds of the first sample, [n, channels] at 48 kHz); continuous but for gaps and new forms of the source."""
    layout = "mono" if channels == 1 else "stereo"
    resampler = av.AudioResampler(format="flt", layout=layout, rate=SAMPLE_RATE)
    clock = 0.0  # where the next resampled sample belongs
    expected = 0.0  # where the next source frame should begin
    form: tuple[str, str, int] | None = None  # what the resampler takes
    for frame in _decode_audio(container):
        seconds = expected if frame.time is None else frame.time
        found = frame.format.name, frame.layout.name, frame.sample_rate
        if found != form or abs(seconds - expected) > GAP_SECONDS:
            if form is not None:
                yield clock, _samples(resampler.resample(None), channels)
                resampler = av.AudioResampler(format="flt", layout=layout, rate=SAMPLE_RATE)
            clock = expected = seconds
            form = found
        expected += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler must not act on time stamps of its own accord
        block = _samples(resampler.resample(frame), channels)
        yield clock, block
        clock += len(block) / SAMPLE_RATE
    if form is not None:
        yield clock, _samples(resampler.resample(None), channels)


def _decode_audio(container: InputContainer) -> Iterator[av.AudioFrame]:
    stream = container.streams.audio[0]
    for packet in container.demux(stream):
        try:
            yield from stream.decode(packet)
        except av.error.InvalidDataError:
            continue


def _samples(frames: list[av.AudioFrame], channels: int) -> Samples:
    if not frames:
        return np.zeros((0, channels), np.float32)
    return np.concatenate([f.to_ndarray().reshape(-1, channels) for f in frames]).astype(np.float32)


class _OpusEncoder:
    """Takes samples in blocks of any length and cuts them into packets."""

    def __init__(self, bitrate: int, channels: int) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate = SAMPLE_RATE
        context.layout = "mono" if channels == 1 else "stereo"
        context.format = "flt"
        context.bit_rate = bitrate
        context.time_base = Fraction(1, SAMPLE_RATE)
        speech = bitrate <= SPEECH_BITRATE * channels
        context.options = {
            "application": "voip" if speech else "audio",
            "frame_duration": "20",
            "vbr": "constrained",  # the rate is part of what the stream promises
        }
        context.open()
        self._context = context
        self._channels = channels
        self.pre_skip: int = struct.unpack_from("<H", context.extradata or b"", 10)[0]
        self._rest = np.zeros((0, channels), np.float32)
        self._coded: list[bytes] = []
        self._samples = 0
        self._peak = 0.0

    def feed(self, samples: Samples) -> None:
        """Code as many whole packets of samples [n, channels] as there are."""
        if not len(samples):
            return
        self._samples += len(samples)
        self._peak = max(self._peak, float(np.abs(samples).max()))
        data = np.concatenate([self._rest, samples])
        whole = len(data) // PACKET_SAMPLES * PACKET_SAMPLES
        for begin in range(0, whole, PACKET_SAMPLES):
            self._packet(data[begin : begin + PACKET_SAMPLES])
        self._rest = data[whole:]

    def _packet(self, samples: Samples) -> None:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.reshape(1, -1)), format="flt", layout=self._context.layout.name
        )
        frame.sample_rate = SAMPLE_RATE
        frame.pts = len(self._coded) * PACKET_SAMPLES
        frame.time_base = Fraction(1, SAMPLE_RATE)
        self._coded.extend(bytes(p) for p in self._context.encode(frame))

    def finish(self) -> OpusTrack | None:
        """All packets; the decoder's delay is filled up so that the last sample comes out."""
        if self._peak < SILENCE:
            return None
        total = self._samples + self.pre_skip
        missing = -(-total // PACKET_SAMPLES) * PACKET_SAMPLES - self._samples
        self.feed(np.zeros((missing, self._channels), np.float32))
        packets = tuple(
            OpusPacket(n * PACKET_SAMPLES, PACKET_SAMPLES, data) for n, data in enumerate(self._coded)
        )
        return OpusTrack(SAMPLE_RATE, self._channels, self.pre_skip, packets)
