"""Streams that change their size, and containers that tell little: what is shown keeps its shape and its time."""

from fractions import Fraction

import av
import numpy as np
import pytest

from stylecodec.errors import MediaError
from stylecodec.media import VideoReader, encode_opus
from tests.media.made import flat, frame_of, tone, write_tracks
from tests.media.test_audio import bursts, decoded, onsets


def disc(width, height, radius):
    """A bright disc in the middle of a dark picture."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < radius**2
    return np.where(inside[..., None], 220, 40).astype(np.uint8).repeat(3, axis=2)


def write_sizes(path, sizes, codec="libvpx"):
    """A stream that changes its size with each key frame: one frame of each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        own = stream.codec_context
        for n, (width, height) in enumerate(sizes):
            encoder = own if n == 0 else av.CodecContext.create(codec, "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base = Fraction(1, 25)
            for packet in [*encoder.encode(frame_of(disc(width, height, 20), n)), *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    return path


@pytest.mark.parametrize("sizes", [[(96, 96), (172, 96)], [(96, 54), (54, 96)], [(128, 72), (64, 64), (128, 72)]])
def test_a_disc_stays_round(tmp_path, sizes):
    reader = VideoReader(write_sizes(tmp_path / "a.webm", sizes))
    frames = [frame for _, frame in reader.frames()]
    assert {frame.shape for frame in frames} == {(reader.height, reader.width, 3)}
    for frame in frames:
        bright = np.argwhere(frame[..., 0] > 130)
        tall, wide = np.ptp(bright, axis=0) + 1
        assert abs(int(tall) - int(wide)) <= 2
    largest = max(sizes, key=lambda size: size[0] * size[1])
    assert (reader.width, reader.height) == largest
    (note,) = reader.notes
    assert note == "the picture changes from {}x{} to {}x{} at 0.04 s: all is fitted into {}x{}".format(
        *sizes[0], *sizes[1], *largest
    )


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
@pytest.mark.parametrize("aspects", [(1, 2), (2, 1), (2, 2)])
def test_pixels_that_change_their_aspect(tmp_path, suffix, aspects):
    """As television does between programmes; with (2, 2) only the size changes."""
    sizes = [(128, 96), (128 if aspects != (2, 2) else 96, 96)]
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        for n, ((width, height), aspect) in enumerate(zip(sizes, aspects, strict=True)):
            encoder = stream.codec_context if n == 0 else av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.sample_aspect_ratio = Fraction(1, 25), Fraction(aspect)
            picture = frame_of(disc(width * aspect, height, 30)[:, ::aspect], n)
            for packet in [*encoder.encode(picture), *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    reader = VideoReader(path)
    frames = [frame for _, frame in reader.frames()]
    assert len(frames) == 2
    assert (reader.width, reader.height) == (256, 96)
    for frame in frames:
        tall, wide = np.ptp(np.argwhere(frame[..., 0] > 130), axis=0) + 1
        assert abs(int(tall) - int(wide)) <= 3


def test_a_call_that_grows_keeps_its_sharpness(tmp_path):
    """What begins small, as calls do, is not all made small."""
    reader = VideoReader(write_sizes(tmp_path / "a.webm", [(64, 36), (128, 72), (256, 144), (128, 72)]))
    frames = [frame for _, frame in reader.frames()]
    assert {frame.shape for frame in frames} == {(144, 256, 3)}
    steepest = [int(np.abs(np.diff(frame[72, :, 0].astype(int))).max()) for frame in frames]
    assert steepest[2] > 1.5 * steepest[0]


FLASH = (10, 30)


def write_flashes(path, codec, sound, options=None):
    """Two flashes, each with a tone that begins with it, at 30 frames per second."""
    pictures = [flat(235 if n in FLASH else 30, 64, 64) for n in range(45)]
    samples = bursts(48_000, 1.5, [n / 30 for n in FLASH])[None]
    own = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    video = {"frames": pictures, "codec": codec, "options": options or {}, "pix_fmt": own}
    return write_tracks(path, [video], [{"samples": samples, "codec": sound}], rate=30)


AVI = [
    ("mpeg4", "pcm_s16le", {}),
    ("mpeg4", "pcm_s16le", {"bf": "2"}),
    ("libx264", "pcm_s16le", {}),
    ("libx264", "pcm_s16le", {"bf": "0"}),
    ("mjpeg", "pcm_s16le", {}),
    ("libx264", "libmp3lame", {}),
    ("mpeg4", "libmp3lame", {}),
]


@pytest.mark.parametrize(("codec", "sound", "options"), AVI)
def test_sound_in_avi_is_in_step(tmp_path, codec, sound, options):
    path = write_flashes(tmp_path / "a.avi", codec, sound, options)
    shown = [seconds for seconds, frame in VideoReader(path).frames() if frame.mean() > 130]
    heard = onsets(decoded(encode_opus(path)))
    assert heard == pytest.approx(shown, abs=0.006)  # AVI does not tell the delay of an MP3 encoder, 23 ms


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".mov"])
def test_sound_elsewhere_is_in_step(tmp_path, suffix):
    path = write_flashes(tmp_path / f"a{suffix}", "libx264", "aac")
    shown = [seconds for seconds, frame in VideoReader(path).frames() if frame.mean() > 130]
    assert shown == pytest.approx([n / 30 for n in FLASH], abs=0.002)
    assert onsets(decoded(encode_opus(path))) == pytest.approx(shown, abs=0.008)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_sound_longer_than_the_picture_is_told(tmp_path, suffix):
    sound = [{"samples": tone(seconds=3.0)[None]}]
    path = write_tracks(tmp_path / f"a{suffix}", [{"frames": [flat(90)] * 25}], sound)
    notes = []
    assert encode_opus(path, notes=notes).duration_seconds == pytest.approx(1.0, abs=0.021)
    (note,) = notes
    assert float(note.split()[0]) == pytest.approx(2.0, abs=0.05)
    notes = []
    encode_opus(path, notes=notes, duration=0.5)
    assert notes == []  # as asked


def write_damaged(path, seed=0, places=40):
    """Noise for a picture, then noise for some of the file's bytes, its head apart."""
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(60)]
    sound = [{"samples": tone(seconds=2.4)[None], "codec": "mp2"}]
    write_tracks(path, [{"frames": pictures, "options": {"g": "10"}}], sound)
    data = bytearray(path.read_bytes())
    for at in rng.integers(len(data) // 4, len(data) * 3 // 4, places):
        data[at : at + 60] = rng.integers(0, 256, 60, np.uint8).tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
@pytest.mark.parametrize("seed", [0, 1])
def test_damage_is_passed_over_and_told(tmp_path, suffix, seed):
    reader = VideoReader(write_damaged(tmp_path / f"a{suffix}", seed))
    frames = list(reader.frames())
    assert len(frames) >= 20
    notes = []
    encode_opus(reader.path, video=reader, notes=notes)
    assert any("damaged" in note for note in [*reader.notes, *notes])


def test_a_stream_that_begins_on_the_way_is_no_error(tmp_path, monkeypatch):
    """PyAV raises IndexError for its packets; a damaged transport stream has many."""
    path = write_tracks(tmp_path / "a.ts", [{"frames": [flat(90)] * 25}])
    demux, raised = av.container.InputContainer.demux, []

    class Container:
        def __init__(self, container):
            self.container = container

        def demux(self, *streams):
            for number, packet in enumerate(demux(self.container, *streams)):
                yield packet
                if number == 5 and not raised:
                    raised.append(True)
                    raise IndexError("list index out of range")

    from stylecodec.media.source import packets_of

    with av.open(str(path)) as container:
        packets = [p for p in packets_of(Container(container), container.streams.video[0]) if p.size]
    assert raised
    assert len(packets) == 25


def test_demuxing_that_never_ends_is_ended():
    from stylecodec.media.doubt import Damage
    from stylecodec.media.source import MOST_FAILURES, packets_of

    class Stuck:
        def demux(self, *_):
            raise av.error.InvalidDataError(1, "damaged")

    damage = Damage()
    assert list(packets_of(Stuck(), None, damage)) == []
    assert damage.packets == MOST_FAILURES


def test_an_animated_webp_is_read_or_called_so(tmp_path):
    """FFmpeg reads them since PyAV 19; before, the refusal names what the file is."""
    from PIL import Image

    frames = [Image.fromarray(flat(50 * n)) for n in range(4)]
    for kind in ("webp", "gif", "avif"):
        frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], duration=100)
        if kind == "webp" and int(av.__version__.split(".")[0]) < 19:
            with pytest.raises(MediaError, match="animated WebP"):
                VideoReader(tmp_path / f"a.{kind}")
        else:
            assert len(list(VideoReader(tmp_path / f"a.{kind}").frames())) == 4
