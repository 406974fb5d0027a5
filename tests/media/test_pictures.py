"""Still pictures of every kind, known by their content."""

import io
import struct
import tracemalloc
from contextlib import suppress
from zlib import crc32

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylecodec import jpeg
from stylecodec.errors import MediaError
from stylecodec.media import is_picture, read_image

RED = (200, 60, 40)


def plain(mode="RGB", colour=RED, size=(24, 16)):
    return Image.new("RGB", size, colour).convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000", "PPM"])
@pytest.mark.parametrize("name", ["portrait", "portrait.jfif", "portrait.stc"])
def test_a_picture_is_known_by_its_content(tmp_path, kind, name):
    plain().save(tmp_path / name, format=kind)
    assert is_picture(tmp_path / name)
    assert np.abs(read_image(tmp_path / name).astype(int) - RED).max() <= 4


def test_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("words")
    (tmp_path / "b.png").write_bytes(b"")
    for name in ("a.png", "b.png"):
        assert not is_picture(tmp_path / name)
        with pytest.raises(MediaError, match="is not a picture that can be read"):
            read_image(tmp_path / name)
    with pytest.raises(MediaError, match="there is no file"):
        is_picture(tmp_path / "none.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_that_is_cut_off_is_called_unreadable(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, format=kind)
    (tmp_path / "a").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(MediaError, match="is not a picture that can be read"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_is_scaled(tmp_path, kind):
    levels = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(8, axis=0)
    Image.fromarray(levels).save(tmp_path / "a", format=kind)
    read = read_image(tmp_path / "a")
    assert np.abs(read[0, :, 0] - levels[0] / 257).max() <= 1
    assert (read == read[..., :1]).all()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_grey_is_scaled(tmp_path, top):
    levels = np.linspace(0, top, 64, dtype=np.float32)[None].repeat(8, axis=0)
    Image.fromarray(levels).save(tmp_path / "a", format="TIFF")
    assert np.abs(read_image(tmp_path / "a")[0, :, 0] - levels[0] / top * 255).max() <= 1


def transparent(mode):
    """Green that is hidden on the left."""
    picture = Image.new("RGBA", (24, 16), (20, 230, 20, 255))
    picture.paste((20, 230, 20, 0), (0, 0, 12, 16))
    if mode == "P":
        indexed = Image.new("P", (24, 16), 1)
        indexed.putpalette([20, 230, 20, 20, 230, 20])
        indexed.paste(0, (0, 0, 12, 16))
        indexed.info["transparency"] = 0
        return indexed
    return picture.convert(mode)


TRANSPARENT = [("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF"), ("LA", "PNG"), ("RGBA", "WEBP")]


@pytest.mark.parametrize(("mode", "kind"), TRANSPARENT)
def test_transparent_parts_lie_on_grey(tmp_path, mode, kind):
    picture = transparent(mode)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture.save(tmp_path / "a", format=kind, **({"transparency": 0} if mode == "P" else {}), **options)
    read = read_image(tmp_path / "a").astype(int)
    assert np.abs(read[:, :12] - 128).max() <= 1
    seen = (20, 230, 20) if mode != "LA" else np.asarray(picture)[0, -1, 0]
    assert np.abs(read[:, 12:] - seen).max() <= 3


def test_half_transparent_parts_are_mixed(tmp_path):
    Image.new("RGBA", (8, 8), (255, 255, 255, 128)).save(tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - 192).max() <= 1


def test_cmyk(tmp_path):
    plain("CMYK").save(tmp_path / "a.jpg")
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - RED).max() <= 6


def test_a_profile_is_honoured(tmp_path):
    """CIE Lab's own profile stands for the wide ones: no other ships with Pillow."""
    lab = ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(plain(), ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    picture.save(tmp_path / "a.tiff", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    assert np.abs(read_image(tmp_path / "a.tiff").astype(int) - RED).max() <= 3
    plain().save(tmp_path / "b.png", icc_profile=b"no profile at all")
    assert np.abs(read_image(tmp_path / "b.png").astype(int) - RED).max() <= 1


@pytest.mark.parametrize(("turn", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0)), (2, (0, -1))])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_turn_in_the_exif_data(tmp_path, turn, corner, kind):
    levels = np.full((16, 24, 3), 30, np.uint8)
    levels[:8, :8] = 240
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(levels).save(tmp_path / "a", format=kind, exif=exif)
    read = read_image(tmp_path / "a")
    assert read.shape == ((24, 16, 3) if turn in (6, 8) else (16, 24, 3))
    assert read[corner].mean() > 200


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG"])
def test_of_an_animated_picture_the_first(tmp_path, kind):
    frames = [plain(colour=(40 * n, 60, 40)) for n in range(4)]
    frames[0].save(tmp_path / "a", format=kind, save_all=True, append_images=frames[1:], duration=100)
    assert is_picture(tmp_path / "a")
    assert np.abs(read_image(tmp_path / "a").astype(int) - (0, 60, 40)).max() <= 4


def test_a_large_picture_is_read_and_too_large_a_one_refused(tmp_path):
    Image.new("L", (9500, 9500), 90).save(tmp_path / "a.png")  # 90 megapixels, of which Pillow warns
    assert read_image(tmp_path / "a.png").shape == (9500, 9500, 3)
    Image.new("1", (14_000, 14_000)).save(tmp_path / "b.png")
    assert is_picture(tmp_path / "b.png")
    with pytest.raises(MediaError, match="too many pixels"):
        read_image(tmp_path / "b.png")


def test_what_is_not_a_number_is_black(tmp_path):
    levels = np.array([[0.5, np.nan, np.inf, -np.inf]], np.float32).repeat(4, axis=0)
    Image.fromarray(levels).save(tmp_path / "a", format="TIFF")
    assert read_image(tmp_path / "a")[0, :, 0].tolist() == [128, 0, 0, 0]


def test_damaged_metadata_is_passed_over_in_silence(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a long description"
    whole = io.BytesIO()
    plain().save(whole, format="PNG", exif=exif)
    data = whole.getvalue()
    at = data.index(b"eXIf") + 4
    length = int.from_bytes(data[at - 8 : at - 4], "big")
    broken = data[at : at + length].replace(b"\x01\x0e", b"\x01\x0f").replace(struct.pack(">I", 19), b"\0\1\0\0")
    assert broken != data[at : at + length]
    kind = b"eXIf" + broken
    (tmp_path / "a").write_bytes(data[: at - 4] + kind + struct.pack(">I", crc32(kind)) + data[at + length + 4 :])
    assert is_picture(tmp_path / "a")
    read_image(tmp_path / "a")  # warnings are errors here


def many_scans(count, size=(64, 64)):
    """A progressive JPEG whose last scan comes again and again."""
    whole = io.BytesIO()
    plain(size=size).save(whole, format="JPEG", progressive=True)
    data = whole.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(many_scans(10))
    assert read_image(tmp_path / "a").shape == (64, 64, 3)
    (tmp_path / "a").write_bytes(many_scans(2000, (4096, 4096)))  # minutes of work in 120 KB
    assert is_picture(tmp_path / "a")
    with pytest.raises(MediaError, match="more than 50 scans"):
        read_image(tmp_path / "a")


def test_scans_are_counted_across_blocks(monkeypatch):
    monkeypatch.setattr(jpeg, "_BLOCK", 3)
    assert jpeg.too_many_scans(io.BytesIO(b"\xff\xda" * 51))
    assert not jpeg.too_many_scans(io.BytesIO(b"\xff\xda" * 50))
    assert jpeg.too_many_scans(io.BytesIO(b"a\xff\xda" * 51))


def test_memory_is_taken_for_what_a_file_holds(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (200, 30, 30)).save(file, "PNG")
    data = bytearray(file.getvalue())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = (0x7FFFFFF0).to_bytes(4, "big")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with suppress(MediaError):  # Pillow may show the part that is there
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
