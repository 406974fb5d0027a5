"""Sound as Opus packets: in step with the frames, never re-encoded on the way out."""

from fractions import Fraction

import av
import numpy as np
import pytest

from stylecodec.errors import MediaError, OptionError
from stylecodec.media.audio import encode_opus
from stylecodec.media.opus import OpusPacket, OpusTrack, opus_head
from stylecodec.media.video import VideoReader
from stylecodec.media.writer import VideoWriter

ONSETS = (0.5, 1.5)
SECONDS = 2.0


def bursts(rate, seconds=SECONDS, onsets=ONSETS):
    """Silence with a 440 Hz tone of 0.2 s at each onset."""
    t = np.arange(round(rate * seconds)) / rate
    on = sum(((t >= o) & (t < o + 0.2)).astype(float) for o in onsets)
    return (0.5 * np.sin(2 * np.pi * 440 * t) * on).astype(np.float32)


def sound_frames(samples, rate, layout, delay=0.0):
    """Frames of 1,024 samples, the same in each channel; the first is heard at `delay` seconds."""
    channels = 2 if layout == "stereo" else 1
    for at in range(0, len(samples), 1024):
        block = np.repeat(samples[None, at : at + 1024], channels, axis=0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = at + round(delay * rate)
        yield frame


def make_clip(path, samples, rate=44_100, delay=0.0, layout="stereo", codec="aac", video_delay=0):
    """A 25 fps clip of SECONDS, a key frame every 0.4 s, with this sound; `delay` seconds later its sound begins."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"g": "10", "sc_threshold": "0"})
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout=layout)
        for n in range(round(25 * SECONDS)):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 4 * n, np.uint8), format="rgb24")
            frame.pts, frame.time_base = n + video_delay, Fraction(1, 25)
            container.mux(video.encode(frame))
        for frame in sound_frames(samples, rate, layout, delay):
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def decoded(track):
    """The samples of a track after its pre-skip, decoded by an independent path: raw packets into libopus."""
    context = av.CodecContext.create("libopus", "r")
    context.extradata = opus_head(track.channels, track.pre_skip)
    out = []
    for packet in track.packets:
        for frame in context.decode(av.Packet(packet.data)):
            array = frame.to_ndarray().astype(np.float32)
            scale = 32768 if frame.format.name.startswith("s16") else 1
            out.append(array.reshape(-1, track.channels).mean(1) / scale)
    samples = np.concatenate(out)
    skipped = len(track.packets) * 960 - len(samples)  # some decoders drop the pre-skip themselves
    return samples[track.pre_skip - skipped :]


def played(path):
    """(samples, rate) of a file's sound as a player lines it up with the first video frame."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        origin = float(container.streams.video[0].start_time * container.streams.video[0].time_base)
        rate = frames[0].sample_rate
        data = [
            f.to_ndarray().mean(0) if f.format.is_planar else f.to_ndarray().reshape(f.samples, -1).mean(1)
            for f in frames
        ]
    lead = round((frames[0].time - origin) * rate)
    samples = np.concatenate(data)
    return np.concatenate([np.zeros(max(0, lead)), samples[max(0, -lead) :]]), rate


def onsets(samples, rate=48_000):
    """Seconds at which the loudness (5 ms mean) rises above a tenth of its peak after 0.2 s of quiet."""
    width = rate // 200
    loud = np.sqrt(np.convolve(np.square(samples), np.ones(width) / width, "same"))
    active = np.flatnonzero(loud > 0.1 * loud.max()) / rate
    return active[np.diff(active, prepend=-1) > 0.2]


def test_the_tone_begins_where_it_did(tmp_path):
    track = encode_opus(make_clip(tmp_path / "a.mp4", bursts(44_100)))
    assert (track.sample_rate, track.channels, track.pre_skip) == (48_000, 1, 312)
    assert [p.pts for p in track.packets] == [960 * n for n in range(len(track.packets))]
    assert {p.duration for p in track.packets} == {960}
    assert track.duration_seconds == pytest.approx(SECONDS, abs=0.021)
    assert onsets(decoded(track)) == pytest.approx(ONSETS, abs=0.01)


def test_a_late_sound_stays_late(tmp_path):
    track = encode_opus(make_clip(tmp_path / "a.mkv", bursts(48_000, 1.0, (0.3,)), 48_000, delay=0.4))
    assert onsets(decoded(track)) == pytest.approx([0.7], abs=0.01)
    track = encode_opus(make_clip(tmp_path / "b.mkv", bursts(48_000), 48_000, video_delay=5))
    assert onsets(decoded(track)) == pytest.approx([0.3, 1.3], abs=0.01)


@pytest.mark.parametrize("start", [0.3, 1.21])
def test_the_cut_follows_the_first_frame(tmp_path, start):
    path = make_clip(tmp_path / "a.mp4", bursts(44_100))
    first = VideoReader(path).first_time(start)
    track = encode_opus(path, start=start, duration=0.6)
    expected = [o - first for o in ONSETS if first < o < start + 0.6]
    assert onsets(decoded(track)) == pytest.approx(expected, abs=0.01)
    assert track.duration_seconds == pytest.approx(start + 0.6 - first, abs=0.021)


def test_sound_keeps_step_with_a_recording_begun_between_key_frames(tmp_path):
    path = make_clip(tmp_path / "a.ts", bursts(48_000), 48_000)
    with av.open(str(path)) as container:
        positions = [p.pos for p in container.demux(video=0) if p.size]
    path.write_bytes(path.read_bytes()[positions[5] :])
    assert VideoReader(path).frame_count == round(25 * SECONDS) - 10  # the first 0.4 s cannot be decoded
    assert onsets(decoded(encode_opus(path))) == pytest.approx([o - 0.4 for o in ONSETS], abs=0.01)


def test_channels_may_change_on_the_way(tmp_path):
    parts = []
    for layout in ("mono", "stereo"):
        with av.open(str(tmp_path / "part.aac"), "w") as container:
            sound = container.add_stream("aac", rate=48_000, layout=layout)
            for frame in [*sound_frames(bursts(48_000, 1.0, (0.3,)), 48_000, layout), None]:
                container.mux(sound.encode(frame))
        parts.append((tmp_path / "part.aac").read_bytes())
    (tmp_path / "a.aac").write_bytes(b"".join(parts))
    lead = 1024 / 48_000  # of AAC, which this format does not tell; each part is a frame longer by it
    track = encode_opus(tmp_path / "a.aac")
    assert onsets(decoded(track)) == pytest.approx([0.3 + lead, 48 * lead + 0.3 + lead], abs=0.01)


def test_sound_without_a_decoder_is_left_out_and_told(tmp_path):
    path = make_clip(tmp_path / "a.mkv", bursts(48_000), 48_000)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XXX"))
    notes = []
    assert encode_opus(path, notes=notes) is None
    assert notes == ["sound stream 1 (no decoder) cannot be decoded and is left out"]


def test_the_bit_rate_is_kept(tmp_path):
    rng = np.random.default_rng(1)
    noise = (0.1 * np.cumsum(rng.standard_normal(48_000 * 2)) / 30).clip(-0.9, 0.9).astype(np.float32)
    path = make_clip(tmp_path / "a.mkv", noise, 48_000)
    for bitrate, channels in [(12_000, 1), (64_000, 2)]:
        track = encode_opus(path, bitrate=bitrate, channels=channels)
        assert track.channels == channels
        assert 0.5 * bitrate < track.payload_bytes * 8 / SECONDS < 1.25 * bitrate


def test_silence_and_no_sound_give_nothing(tmp_path):
    assert encode_opus(make_clip(tmp_path / "a.mp4", np.zeros(48_000, np.float32))) is None
    with VideoWriter(tmp_path / "b.mp4", 32, 32, Fraction(25)) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    assert encode_opus(tmp_path / "b.mp4") is None


def test_a_missing_file_and_bad_options_are_refused(tmp_path):
    with pytest.raises(MediaError):
        encode_opus(tmp_path / "none.mp4")
    for options in ({"bitrate": 1000}, {"channels": 3}):
        with pytest.raises(OptionError):
            encode_opus(tmp_path / "none.mp4", **options)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_packets_are_muxed_untouched_and_in_step(tmp_path, suffix):
    track = encode_opus(make_clip(tmp_path / "in.mp4", bursts(44_100)))
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 64, 64, Fraction(25), audio=track) as writer:
        for n in range(50):
            writer.write(np.full((64, 64, 3), 4 * n, np.uint8))
    with av.open(str(path)) as container:
        coded = [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]
    assert coded == [p.data for p in track.packets]
    reader = VideoReader(path)
    assert reader.has_audio
    assert reader.duration == pytest.approx(SECONDS, abs=0.002)
    samples, rate = played(path)
    assert onsets(samples, rate) == pytest.approx(ONSETS, abs=0.01)
    assert len(samples) / rate == pytest.approx(SECONDS, abs=0.02)


@pytest.mark.parametrize("pre_skip", [312, 3840])
def test_the_muxed_pre_skip_is_the_tracks_own(tmp_path, pre_skip):
    packets = tuple(OpusPacket(960 * n, 960, b"\xf8\xff\xfe") for n in range(50))
    with VideoWriter(
        tmp_path / "a.mp4", 32, 32, Fraction(25), OpusTrack(48_000, 1, pre_skip, packets)
    ) as writer:
        for _ in range(25):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    samples, rate = played(tmp_path / "a.mp4")
    assert len(samples) == 50 * 960 - pre_skip
    assert rate == 48_000
