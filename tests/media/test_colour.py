"""Colours as they were meant: HDR, wide gamut, ranges, depths, transparency."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from stylecodec.errors import MediaError
from stylecodec.media import VideoReader
from stylecodec.media.colour import CODES, KNEE, TO_BT709, Tags, sdr
from tests.media.made import flat, frame_of, write_tracks

PQ, HLG, BT2020 = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67), int(ColorPrimaries.BT2020)


def scene():
    """A picture [64, 64, 3] of many colours, white and black among them."""
    steps = np.linspace(0, 255, 8)
    patches = np.stack(np.meshgrid(steps, steps, [0, 90, 190, 255]), axis=-1).reshape(16, 16, 3)
    return np.repeat(np.repeat(patches, 4, axis=0), 4, axis=1).astype(np.uint8)


def coded(picture, transfer):
    """The codes [H, W, 3], 0..1, of an SDR picture in BT.2020 by PQ or HLG, its white at 203 cd/m² (BT.2408)."""
    light = 203 * (picture / 255.0) ** 2.4 @ np.linalg.inv(np.array(TO_BT709[BT2020])).T
    if transfer == PQ:
        power = (light.clip(0) / 10_000) ** (2610 / 16384)
        return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    display = light / 1000
    luminance = display @ np.array([0.2627, 0.6780, 0.0593])
    linear = display * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    curve = 0.17883277 * np.log(np.maximum(12 * linear - 0.28466892, 1e-9)) + 0.55991073
    return np.where(linear <= 1 / 12, np.sqrt(3 * linear.clip(0)), curve)


def write_coded(path, signal, transfer, count=3):
    """A 10-bit HEVC clip of codes [H, W, 3], 0..1, tagged as BT.2020 and the transfer."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:crf=4"})
        stream.height, stream.width, stream.pix_fmt = *signal.shape[:2], "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.BT2020, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT2020, ColorTrc(transfer)
        for n in range(count):
            frame = frame_of(np.rint(signal * 65535).astype(np.uint16), n, layout="rgb48le")
            yuv = frame.reformat(
                format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_range=ColorRange.MPEG
            )
            yuv.pts, yuv.time_base = n, Fraction(1, 25)
            yuv.color_primaries, yuv.color_trc = BT2020, transfer
            container.mux(stream.encode(yuv))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_comes_out_as_the_sdr_original(tmp_path, transfer):
    reader = VideoReader(write_coded(tmp_path / "a.mp4", coded(scene(), transfer), transfer))
    frames = [frame for _, frame in reader.frames()]
    assert any("tone-mapped" in note for note in reader.notes)
    for frame in frames:
        assert np.abs(frame.mean(axis=(0, 1)) - scene().mean(axis=(0, 1))).max() < 6


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_tone_mapping_is_exact_below_the_knee_and_monotone_above(transfer):
    colours = np.rint(coded(scene(), transfer) * (CODES - 1)).astype(np.uint16)
    dark = scene().max(axis=-1) < KNEE * 255
    assert np.abs(sdr(colours, Tags(transfer, BT2020, 9)).astype(int) - scene())[dark].max() <= 3
    greys = np.repeat(np.arange(256)[None, :, None], 3, axis=2)
    codes = np.rint(coded(greys, transfer) * (CODES - 1)).astype(np.uint16)
    shown = sdr(codes, Tags(transfer, BT2020, 9)).astype(int)[0]
    assert np.abs(shown - greys[0])[: int(KNEE * 255)].max() <= 1
    assert (np.abs(shown - greys[0]) <= 8).all()
    ramp = sdr(np.repeat(np.arange(0, CODES, 16, dtype=np.uint16)[None, :, None], 3, axis=2), Tags(transfer, BT2020, 9))
    assert (np.diff(ramp[0, :, 0].astype(int)) >= 0).all()
    assert ramp[0, -1].tolist() == [255, 255, 255]


def test_highlights_keep_their_hue():
    bright = np.array([[[0.75, 0.70, 0.65]]])  # a thousand cd/m² and less
    shown = sdr(np.rint(bright * 65535).astype(np.uint16), Tags(PQ, 1, 9)).astype(float)[0, 0]
    assert shown[0] > shown[1] > shown[2] + 20


def test_wide_gamut_sdr_is_brought_into_bt709():
    # The red of BT.709 in Display P3 (SMPTE EG 432-1): 0.8225, 0.0332, 0.0171 of its linear light.
    linear = np.array([[[0.8225, 0.0332, 0.0171]]]) ** (1 / 2.4)
    tags = Tags(1, int(ColorPrimaries.SMPTE432), 1)
    assert tags.wide
    assert not tags.hdr
    shown = sdr(np.rint(linear * 65535).astype(np.uint16), tags)[0, 0].astype(int)
    assert np.abs(shown - [255, 0, 0]).max() <= 12  # 0.0003 of linear light are 8 levels


def test_tags_of_the_container_count_where_the_pictures_have_none():
    assert Tags(2, 9, 2).or_else(Tags(16, 1, 9)) == Tags(16, 9, 9)
    assert any("ICtCp" in note for note in Tags(16, 9, 14).notes())
    assert any("logarithmic" in note for note in Tags(9, 1, 1).notes())
    assert Tags(1, 1, 1).notes() == Tags().notes() == []


DEPTHS = [
    ("ffv1", "yuv420p10le"),
    ("ffv1", "yuv422p10le"),
    ("ffv1", "yuv444p16le"),
    ("libx264", "yuv444p"),
    ("ffv1", "gbrp10le"),
    ("ffv1", "bgr0"),
    ("prores_ks", "yuv422p10le"),
]


@pytest.mark.parametrize(("codec", "pix_fmt"), DEPTHS)
def test_depths_and_samplings(tmp_path, codec, pix_fmt):
    picture = flat((200, 120, 60), 64, 64)
    path = write_tracks(tmp_path / "a.mkv", [{"frames": [picture] * 2, "codec": codec, "pix_fmt": pix_fmt}])
    _, frame = next(VideoReader(path).frames())
    assert np.abs(frame.astype(int) - picture).max() <= 4
    assert VideoReader(path).notes == []


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray16le"])
def test_grey_video(tmp_path, pix_fmt):
    path = write_tracks(tmp_path / "a.mkv", [{"frames": [flat(150)] * 2, "codec": "ffv1", "pix_fmt": pix_fmt}])
    _, frame = next(VideoReader(path).frames())
    assert np.abs(frame.astype(int) - 150).max() <= 2


@pytest.mark.parametrize("levels", [ColorRange.MPEG, ColorRange.JPEG])
def test_limited_and_full_range(tmp_path, levels):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.color_range = levels
        frame = frame_of(flat((220, 120, 30)), 0).reformat(format="yuv420p", dst_color_range=levels)
        frame.color_range = levels
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, shown = next(VideoReader(tmp_path / "a.mp4").frames())
    assert np.abs(shown.astype(int) - (220, 120, 30)).max() <= 4


def half_seen(width=64, height=64):
    """Bright green that is hidden on the left and seen on the right, as RGBA."""
    picture = np.zeros((height, width, 4), np.uint8)
    picture[...] = (20, 230, 20, 255)
    picture[:, : width // 2, 3] = 0
    return picture


ALPHA = [
    ("a.mov", "qtrle", "argb", {}),
    ("a.mov", "png", "rgba", {}),
    ("a.mov", "prores_ks", "yuva444p10le", {}),
    ("a.mkv", "ffv1", "yuva420p", {}),
    ("a.webm", "libvpx-vp9", "yuva420p", {"alpha_mode": "1"}),
    ("a.webm", "libvpx", "yuva420p", {"alpha_mode": "1"}),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "metadata"), ALPHA)
def test_transparent_video_lies_on_grey(tmp_path, name, codec, pix_fmt, metadata):
    with av.open(str(tmp_path / name), "w") as container:
        options = {"profile": "4444"} if codec == "prores_ks" else {"auto-alt-ref": "0"} if "vpx" in codec else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 64, pix_fmt
        stream.metadata.update(metadata)
        for n in range(3):
            container.mux(stream.encode(frame_of(half_seen(), n, layout="rgba")))
        container.mux(stream.encode(None))
    reader = VideoReader(tmp_path / name)
    frames = [frame.astype(int) for _, frame in reader.frames()]
    assert len(frames) == 3
    for frame in frames:
        assert np.abs(frame[:, 4:24] - 128).max() <= 4
        assert np.abs(frame[:, 44:60] - (20, 230, 20)).max() <= 16
    assert any("laid on grey" in note for note in reader.notes)


def test_an_unused_fourth_byte_is_no_transparency(tmp_path):
    picture = half_seen()
    picture[..., 3] = 0
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "bgra"
        container.mux(stream.encode(frame_of(picture, 0, layout="rgba")))
        container.mux(stream.encode(None))
    reader = VideoReader(tmp_path / "a.avi")
    assert next(reader.frames())[1][0, 0].tolist() == [20, 230, 20]
    assert reader.notes == []


def test_a_heic_picture_is_called_so(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    with pytest.raises(MediaError, match="HEIC"):
        VideoReader(tmp_path / "a.heic")
