"""Which streams are taken, and what is said of those that are not."""

import av
import numpy as np
import pytest
from av.stream import Disposition

from stylecodec.errors import MediaError, OptionError
from stylecodec.media import VideoReader, describe, encode_opus
from tests.media.made import flat, tone, write_tracks
from tests.media.test_audio import decoded


def clip(level, width=64, height=48, count=10):
    return [flat(level, width, height)] * count


def level_of(path, **options):
    _, frame = next(VideoReader(path, **options).frames())
    return round(float(frame.mean()), -1)


def pitch(track):
    """The strongest frequency in Hz."""
    samples = decoded(track)
    return float(np.abs(np.fft.rfft(samples)).argmax() * 48_000 / len(samples))


def mono(frequency=440, level=0.5):
    return tone(frequency=frequency, level=level)[None]


SMALL = {"frames": clip(50, 32, 32, 25)}
LARGE = {"frames": clip(200, count=25)}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (SMALL, LARGE, 200),  # the larger
        (SMALL | {"default": True}, LARGE, 50),  # the flagged one
        (SMALL, LARGE | {"default": True}, 200),
        (LARGE, SMALL, 200),
    ],
)
def test_the_best_video_is_taken(tmp_path, first, second, expected):
    path = write_tracks(tmp_path / "a.mkv", [first, second])
    reader = VideoReader(path)
    assert level_of(path) == expected
    assert [note for note in reader.notes if "several video streams" in note]
    chosen = [one["index"] for one in describe(path)["streams"] if one["chosen"]]
    assert chosen == [reader.stream_index]


def test_a_video_is_asked_for(tmp_path):
    path = write_tracks(tmp_path / "a.mkv", [SMALL, LARGE], [{"samples": mono()}])
    assert level_of(path, stream="0") == level_of(path, stream="v:0") == 50
    assert level_of(path, stream="1") == level_of(path, stream="v:1") == 200
    assert not VideoReader(path, stream="0").notes
    for wrong in ("2", "v:2", "a:0", "first", "-1", ""):
        with pytest.raises(OptionError):
            VideoReader(path, stream=wrong)
    with pytest.raises(OptionError, match="its video streams: 0, 1"):
        VideoReader(path, stream="7")


def test_a_video_that_cannot_be_decoded_is_passed_over(tmp_path):
    path = write_tracks(tmp_path / "a.mkv", [LARGE | {"codec": "ffv1", "default": True}, SMALL])
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_XXX1"))
    assert level_of(path) == 50
    assert VideoReader(path).notes == ["video stream 0 (no decoder) cannot be decoded and is passed over"]
    with pytest.raises(MediaError, match="no decoder"):
        VideoReader(path, stream="0")


def test_a_video_without_a_frame_is_passed_over_and_named(tmp_path):
    path = write_tracks(tmp_path / "a.mkv", [LARGE | {"codec": "ffv1", "default": True}, SMALL])
    spoiled = path.with_name("b.mkv")
    with av.open(str(path)) as source, av.open(str(spoiled), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        streams[0].disposition = Disposition.default
        for packet in source.demux():
            if not packet.size:
                continue
            copy = av.Packet(b"\xff" * packet.size if packet.stream.index == 0 else bytes(packet))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, streams[packet.stream.index]
            target.mux(copy)
    reader = VideoReader(spoiled)
    assert level_of(spoiled) == 50
    assert any("0 (ffv1, 64x48) holds nothing that can be decoded" in note for note in reader.notes)


def test_cover_art_never_counts(tmp_path):
    large = LARGE | {"codec": "mjpeg", "pix_fmt": "yuvj420p", "frames": clip(200, 640, 480, 1)}
    path = write_tracks(tmp_path / "a.mp4", [large | {"flags": Disposition.attached_pic}, SMALL], [{"samples": mono()}])
    assert [one["codec"] for one in describe(path)["streams"] if one["cover"]] == ["mjpeg"]
    assert level_of(path) == 50
    cover = large | {"flags": Disposition.attached_pic}
    sound = write_tracks(tmp_path / "b.mp4", [cover], [{"samples": mono()}])
    with pytest.raises(MediaError, match="holds sound but no video"):
        VideoReader(sound)


@pytest.mark.parametrize(
    ("tracks", "expected", "said"),
    [
        ([{"samples": mono(300)}, {"samples": mono(900), "default": True}], 900, "several"),
        ([{"samples": np.zeros((1, 48_000), np.float32), "default": True}, {"samples": mono(900)}], 900, "silent"),
        ([{"samples": mono(300)}, {"samples": np.repeat(mono(900), 2, axis=0)}], 900, "several"),
        ([{"samples": mono(300), "flags": Disposition.visual_impaired}, {"samples": mono(900)}], 900, "several"),
        ([{"samples": mono(300)}, {"samples": mono(900)}], 300, "several"),
    ],
    ids=["the default", "not the silent one", "more channels", "no description", "else the first"],
)
def test_the_best_sound_is_taken(tmp_path, tracks, expected, said):
    path = write_tracks(tmp_path / "a.mkv", [SMALL], tracks)
    notes = []
    assert pitch(encode_opus(path, notes=notes)) == pytest.approx(expected, abs=3)
    assert any(said in note for note in notes)


def test_a_sound_is_asked_for(tmp_path):
    tracks = [{"samples": mono(300)}, {"samples": mono(900), "default": True}]
    path = write_tracks(tmp_path / "a.mkv", [SMALL], tracks)
    assert pitch(encode_opus(path, stream="1")) == pytest.approx(300, abs=3)
    assert pitch(encode_opus(path, stream="a:1")) == pytest.approx(900, abs=3)
    with pytest.raises(OptionError, match="its audio streams: 1, 2"):
        encode_opus(path, stream="0")


def test_a_sound_that_cannot_be_decoded_is_passed_over(tmp_path):
    tracks = [{"samples": mono(300), "default": True, "codec": "flac"}, {"samples": mono(900)}]
    path = write_tracks(tmp_path / "a.mkv", [SMALL], tracks)
    path.write_bytes(path.read_bytes().replace(b"A_FLAC", b"A_FLAX"))
    notes = []
    assert pitch(encode_opus(path, notes=notes)) == pytest.approx(900, abs=3)
    left_out = "sound stream 1 (no decoder) cannot be decoded and is left out"
    assert notes == [left_out, "of several sound streams 2 (aac, 1 channels) is taken"]
    notes = []
    assert encode_opus(path, stream="1", notes=notes) is None
    assert notes == [left_out]


@pytest.mark.parametrize("right", [-1.0, -0.6])
def test_channels_that_cancel_each_other_are_heard(tmp_path, right):
    left = mono(440)
    path = write_tracks(tmp_path / "a.mkv", [SMALL], [{"samples": np.concatenate([left, right * left])}])
    notes = []
    track = encode_opus(path, 24_000, notes=notes)
    assert np.abs(decoded(track)).max() > 0.3
    assert any("cancel each other" in note for note in notes)


@pytest.mark.parametrize("quieter", [0, 1])
def test_channels_that_cancel_each_other_at_times_are_heard(tmp_path, quieter):
    both = np.stack([tone(), tone()])
    both[quieter] *= 0.9
    both[1, 24_000:] *= -1
    path = write_tracks(tmp_path / "a.mkv", [{"frames": clip(90, count=25)}], [{"samples": both}])
    notes = []
    samples = decoded(encode_opus(path, 24_000, notes=notes))
    for half in (samples[4800:19_200], samples[28_800:43_200]):
        assert np.sqrt(np.mean(np.square(half))) == pytest.approx(0.35, abs=0.05)
    side = ("right", "left")[quieter]
    assert notes == [f"the two channels of the sound cancel each other at times: only the {side} one is taken"]


@pytest.mark.parametrize("right", [0.0, 0.5, 1.0])
def test_other_stereo_is_mixed_as_it_is(tmp_path, right):
    other = right * tone(frequency=440 if right == 1 else 660)
    path = write_tracks(tmp_path / "a.mkv", [SMALL], [{"samples": np.stack([tone(), other])}])
    notes = []
    samples = decoded(encode_opus(path, 24_000, notes=notes))[4800:14_400]
    expected = np.sqrt(np.mean(np.square((tone() + other)[4800:14_400] / 2)))
    assert np.sqrt(np.mean(np.square(samples))) == pytest.approx(expected, rel=0.1)
    assert notes == []


def test_loud_surround_is_not_clipped(tmp_path):
    six = np.repeat(tone(level=0.9)[None], 6, axis=0)
    path = write_tracks(tmp_path / "a.mkv", [SMALL], [{"samples": six, "codec": "flac"}])
    samples = decoded(encode_opus(path, 64_000))[4800:14_400]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    peak = int(spectrum.argmax())
    assert spectrum[3 * peak - 3 : 3 * peak + 4].max() < 0.02 * spectrum[peak]  # a clipped tone has a third harmonic


def two_programmes():
    """Packets of a transport stream: an association table with two programmes (and the network's)."""
    pids = {0: 16, 1: 4096, 2: 64}
    entries = b"".join(n.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big") for n, pid in pids.items())
    section = b"\0\xb0" + bytes([len(entries) + 9]) + b"\0\x01\xc1\0\0" + entries + bytes(4)
    return (b"\x47\x40\0\x10\0" + section).ljust(188, b"\xff")


@pytest.mark.parametrize("gap", [b"", b"\0\0\0\0"])
def test_programmes_are_counted(tmp_path, gap):
    from stylecodec.media.streams import programmes

    path = write_tracks(tmp_path / "a.ts", [SMALL])
    assert programmes(path) == 1
    packets = [two_programmes()] + [b"\x47\x1f\xff\x10".ljust(188, b"\xff")] * 8
    path.write_bytes(b"".join(gap + packet for packet in packets))
    assert programmes(path) == 2
    path.write_bytes(b"\x47" * 50)
    assert programmes(path) == 1


def test_a_second_programme_is_told(tmp_path):
    path = write_tracks(tmp_path / "a.ts", [SMALL])
    assert VideoReader(path).notes == []
    path.write_bytes(two_programmes() + path.read_bytes())
    assert level_of(path) == 50
    assert any("2 programmes" in note for note in VideoReader(path).notes)
