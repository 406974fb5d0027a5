"""Video files in and out, on tiny clips made here."""

import errno
import os
import resource
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from stylecodec.errors import MediaError, OptionError, OutputError
from stylecodec.media import VideoReader, read_image
from stylecodec.media import video as media_video
from stylecodec.media import writer as media_writer
from stylecodec.media.writer import VideoWriter

W, H, RATE = 64, 48, Fraction(25)


def picture(number, width=W, height=H):
    """A flat picture whose red tells its number, with a bright top left corner."""
    frame = np.full((height, width, 3), (8 * number % 200 + 20, 90, 140), np.uint8)
    frame[: height // 4, : width // 4] = 250
    return frame


def number_of(frame):
    return round((float(frame[-8:, -8:, 0].mean()) - 20) / 8)


def write_clip(path, frames=20, rate=RATE, **options):
    with VideoWriter(path, W, H, rate, **options) as writer:
        for n in range(frames):
            writer.write(picture(n))
    return path


def write_stream(path, frames=75, gop=25):
    """MPEG-TS at 25 fps with a key frame every `gop` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": str(gop), "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(n), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_all(writer, frames):
    for frame in frames:
        writer.write(frame)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_frames_come_back_in_order_with_their_times_and_colours(tmp_path, suffix):
    reader = VideoReader(write_clip(tmp_path / f"clip{suffix}"))
    frames = list(reader.frames())
    assert (reader.width, reader.height, reader.frame_count) == (W, H, 20)
    assert reader.rate == RATE
    assert not reader.variable_rate
    assert not reader.has_audio
    assert reader.duration == pytest.approx(0.8, abs=0.002)
    assert [number_of(f) for _, f in frames] == list(range(20))
    assert [t for t, _ in frames] == pytest.approx([n / 25 for n in range(20)], abs=0.001)
    assert frames[3][1].dtype == np.uint8
    error = np.abs(frames[3][1][16:, 20:].astype(int) - picture(3)[16:, 20:])
    assert error.mean() < 2


def test_start_and_duration_select_frames_by_time(tmp_path):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4", frames=60))
    frames = list(reader.frames(start=1.0, duration=0.4))
    assert [number_of(f) for _, f in frames] == [n * 8 % 200 // 8 for n in range(25, 35)]
    assert frames[0][0] == pytest.approx(1.0)
    assert reader.first_time(1.01) == pytest.approx(1.04)
    assert len(list(reader.frames(start=2.3, duration=9))) == 2
    with pytest.raises(MediaError, match="before the start"):
        list(reader.frames(start=3))


@pytest.mark.parametrize("gop", [25, 75])
@pytest.mark.parametrize("first", [10, 38, 72])
def test_a_start_between_the_key_frames_of_a_transport_stream(tmp_path, gop, first):
    reader = VideoReader(write_stream(tmp_path / "a.ts", gop=gop))
    frames = list(reader.frames(first / 25 - 0.01))
    assert frames[0][0] == reader.first_time(first / 25 - 0.01) == pytest.approx(first / 25)
    assert [number_of(f) for _, f in frames] == [n % 25 for n in range(first, 75)]


def test_a_recording_begun_between_key_frames(tmp_path):
    path = write_stream(tmp_path / "a.ts")
    with av.open(str(path)) as container:
        positions = [p.pos for p in container.demux(video=0) if p.size]
    path.write_bytes(path.read_bytes()[positions[15] :])  # the next key frame is number 25
    reader = VideoReader(path)
    frames = list(reader.frames())
    assert reader.frame_count == len(frames) == 50
    assert reader.duration == pytest.approx(2)
    assert reader.first_time() == frames[0][0] == 0
    assert [number_of(f) for _, f in frames] == [n % 25 for n in range(50)]


def test_frames_are_streamed(tmp_path):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    iterator = reader.frames()
    assert number_of(next(iterator)[1]) == 0
    iterator.close()
    assert len(list(reader.frames())) == 20  # a second pass is independent of the first


def test_a_variable_rate_is_noticed_and_the_times_kept(tmp_path):
    times = [0, 0.04, 0.12, 0.5, 0.52, 0.9]
    path = tmp_path / "variable.mp4"
    with VideoWriter(path, W, H, Fraction(12), variable=True) as writer:
        for n, seconds in enumerate(times):
            writer.write(picture(n), seconds)
    reader = VideoReader(path)
    assert reader.variable_rate
    assert [t for t, _ in reader.frames()] == pytest.approx(times, abs=1e-4)
    assert reader.rate == Fraction(25, 2)  # of most frames, not the mean
    assert reader.duration == pytest.approx(0.98, abs=1e-3)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24), Fraction(12, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_rate_survives_millisecond_time_stamps(tmp_path, rate, suffix):
    reader = VideoReader(write_clip(tmp_path / f"clip{suffix}", rate=rate))
    assert not reader.variable_rate
    assert reader.rate == rate


# The display matrix of a track header: a b u c d v x y w, and what a viewer then does to a picture.
TURNS = {
    "quarter clockwise": ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),
    "quarter counter-clockwise": ((0, -1, 1, 0), lambda f: np.rot90(f)),
    "half": ((-1, 0, 0, -1), lambda f: f[::-1, ::-1]),
    "mirrored": ((-1, 0, 0, 1), lambda f: f[:, ::-1]),
}


@pytest.mark.parametrize("name", TURNS)
def test_display_rotation_is_honoured(tmp_path, name):
    (a, b, c, d), turn = TURNS[name]
    path = write_clip(tmp_path / "clip.mp4", frames=2)
    data = bytearray(path.read_bytes())
    one, unit = 1 << 16, 1 << 30
    matrix = np.array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, unit], ">i4").tobytes()
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix stands 40 bytes into the box
    assert data[at : at + 36] == np.array([one, 0, 0, 0, one, 0, 0, 0, unit], ">i4").tobytes()
    data[at : at + 36] = matrix
    path.write_bytes(data)
    reader = VideoReader(path)
    expected = turn(picture(0))
    assert (reader.height, reader.width) == expected.shape[:2]
    _, frame = next(reader.frames())
    assert np.abs(frame.astype(int) - expected).mean() < 4


def test_wide_pixels_are_widened(tmp_path):
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        container.mux(stream.encode(None))
    reader = VideoReader(path)
    assert (reader.width, reader.height) == (96, H)
    assert next(reader.frames())[1].shape == (H, 96, 3)


def test_a_change_of_size_keeps_the_first(tmp_path):
    path = tmp_path / "call.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        small = av.CodecContext.create("libvpx", "w")
        for n, encoder in enumerate((stream.codec_context, small)):
            encoder.width, encoder.height, encoder.pix_fmt = W >> n, H >> n, "yuv420p"
            encoder.time_base = Fraction(1, 25)
            frame = av.VideoFrame.from_ndarray(picture(n, W >> n, H >> n), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            for packet in [*encoder.encode(frame), *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    frames = [f for _, f in VideoReader(path).frames()]
    assert [f.shape for f in frames] == [(H, W, 3)] * 2
    assert np.abs(frames[1][16:, 20:].astype(int) - picture(1)[16:, 20:]).mean() < 3


@pytest.mark.parametrize("tag", [Colorspace.ITU601, 6])  # BT470BG and SMPTE170M, the two tags of BT.601
def test_tall_video_is_read_by_its_tag(tmp_path, tag):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, 720, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, ColorRange.MPEG
        frame = av.VideoFrame.from_ndarray(picture(0, W, 720), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG
        )
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, frame = next(VideoReader(path).frames())
    assert np.abs(frame[200:, 20:].astype(int) - picture(0, W, 720)[200:, 20:]).max() < 3


def test_a_truncated_clip_gives_its_whole_frames(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", frames=60)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    assert 5 < len(list(VideoReader(path).frames())) < 60


def test_what_is_no_video_is_a_clear_error(tmp_path):
    text, empty, sound, cut = (tmp_path / n for n in ("notes.txt", "empty.mp4", "tone.wav", "cut.mp4"))
    text.write_text("just words\n" * 100)
    empty.write_bytes(b"")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        tone.sample_rate = 8000
        container.mux(stream.encode(tone))
    write_clip(cut)
    cut.write_bytes(cut.read_bytes()[:400])
    for path, reason in [
        (tmp_path / "none.mp4", "there is no file"),
        (tmp_path, "is not a file"),
        (text, "is not a video"),
        (empty, "is not a video"),
        (cut, "is not a video"),
        (sound, "sound but no video"),
    ]:
        with pytest.raises(MediaError, match=reason) as caught:
            VideoReader(path)
        assert str(path) in str(caught.value)


def test_what_ffmpeg_cannot_do_is_a_clear_error(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv")
    reader = VideoReader(path)
    unknown = tmp_path / "b.mkv"
    unknown.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XXX"))
    with pytest.raises(MediaError, match=r"the video of .*b\.mkv cannot be decoded"):
        VideoReader(unknown)

    def refuse(*_, **__):
        raise av.error.PatchWelcomeError(1, "not yet implemented")

    monkeypatch.setattr(media_video, "_decoded", refuse)
    with pytest.raises(MediaError, match="cannot be decoded"):
        list(reader.frames())
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MediaError, match="is not a video"):
        VideoReader(path)


def test_read_image_turns_and_converts(tmp_path):
    Image.fromarray(picture(4)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), picture(4))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter clockwise
    Image.fromarray(picture(4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (W, H, 3)
    Image.fromarray(picture(4)[..., 0]).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (H, W, 3)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nxxxx")
    for name in ("none.png", "bad.png"):
        with pytest.raises(MediaError):
            read_image(tmp_path / name)


def failing_frames():
    yield picture(0)
    raise KeyError("the source fails")


def test_no_partial_file_is_left(tmp_path):
    path = tmp_path / "clip.mp4"
    with pytest.raises(KeyError), VideoWriter(path, W, H, RATE) as writer:
        write_all(writer, failing_frames())
    with pytest.raises(OptionError), VideoWriter(path, W, H, RATE) as writer:
        writer.write(picture(0)[:10])
    with pytest.raises(OutputError, match="no frame"), VideoWriter(path, W, H, RATE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    writer = VideoWriter(path, W, H, RATE)
    writer.write(picture(0))
    assert path.read_bytes() == b"old"
    writer.close()
    writer.close()
    assert VideoReader(path).frame_count == 1
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
    with pytest.raises(OutputError, match="closed"):
        writer.write(picture(0))


def test_a_full_disk_is_an_output_error(tmp_path):
    """A limit on file sizes stands in for the full disk: the same failing write in the same place."""
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with (
            pytest.raises(OutputError, match="too large"),
            VideoWriter(tmp_path / "a.mp4", W, H, RATE) as writer,
        ):
            write_all(writer, (np.roll(noise, n * 7, axis=1) for n in range(200)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_an_output_error(tmp_path, monkeypatch):
    def refuse(*_, **__):  # permissions themselves would not stop root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(media_writer, "open", refuse, raising=False)
    with pytest.raises(OutputError, match="denied"):
        VideoWriter(tmp_path / "a.mp4", W, H, RATE)


def test_a_missing_folder_and_bad_options_are_refused(tmp_path):
    with pytest.raises(OutputError, match="no such file"):
        VideoWriter(tmp_path / "none" / "a.mp4", W, H, RATE)
    for name, width, rate in [("a.avi", W, RATE), ("a.mp4", 63, RATE), ("a.mp4", W, Fraction(0))]:
        with pytest.raises(OptionError):
            VideoWriter(tmp_path / name, width, H, rate)
    with VideoWriter(tmp_path / "a.mp4", W, H, RATE) as writer:
        writer.write(picture(0))
        with pytest.raises(OptionError, match="own time"):
            writer.write(picture(0), 0.5)


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "film.mp4")
    with VideoWriter(tmp_path / "link.mp4", 64, 64, Fraction(25)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    assert (tmp_path / "link.mp4").is_symlink()
    assert VideoReader(tmp_path / "film.mp4").frame_count == 1
