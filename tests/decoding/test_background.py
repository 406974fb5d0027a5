"""Heads before something else: the place, the mask, hostile pictures."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from stylecodec.bitstream import StreamWriter
from stylecodec.bitstream.background import Background, Mode, PictureFormat
from stylecodec.decoding.background import Compositor, decode_plate, soft_mask, surroundings
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.background import background_of, make_plate
from stylecodec.encoding.frames import AlignedClip
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import CorruptChunk, MediaError, MissingDependency, OptionError
from stylecodec.face.align import AlignedTrack, AlignReport
from stylecodec.geometry import CropTransform
from stylecodec.packs.store import ModelPack
from tests.decoding import streams

CPU = torch.device("cpu")


SAID = b"\x00\x40\x00\x60"  # 64 and 96, the height and width in a JPEG file's head


def picture(width: int = 96, height: int = 64, how: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(out, how)
    return out.getvalue()


def plate(square: tuple[float, float, float] = (48.0, 32.0, 40.0)) -> Background:
    return Background(Mode.PLATE, (0, 0, 0), 96, 64, square, PictureFormat.JPEG, picture())


def test_the_head_lies_where_the_chunk_says(tiny_pack: ModelPack) -> None:
    composed = Compositor(tiny_pack, CPU, plate()).compose(torch.full((2, 3, 64, 64), -1.0))
    assert composed.shape == (2, 64, 96, 3)
    assert composed.dtype == torch.uint8
    assert int(composed[0, 34, 48].max()) < 10  # the face
    assert int(composed[0, :8].min()) > 190
    assert int(composed[0, 32, :26].min()) > 190


@pytest.mark.parametrize("square", [(0.0, 0.0, 40.0), (90.0, 60.0, 500.0), (-400.0, 10.0, 20.0)])
def test_a_square_that_leaves_the_scene(tiny_pack: ModelPack, square: tuple[float, float, float]) -> None:
    assert Compositor(tiny_pack, CPU, plate(square)).compose(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 96, 3)


def test_key_and_blur(tiny_pack: ModelPack) -> None:
    images = torch.zeros(1, 3, 64, 64)
    key = Compositor(tiny_pack, CPU, Background(Mode.KEY, (0, 177, 64))).compose(images, torch.tensor([10.0]))
    assert key[0, 0, 0].tolist() == [0, 177, 64]
    assert key[0, 34, 32].tolist() == [128, 128, 128]
    blur = Compositor(tiny_pack, CPU, Background(Mode.BLUR)).compose(images)
    assert int((blur.int() - 128).abs().max()) <= 2


def test_masks_are_soft_and_end_before_the_border() -> None:
    mask = soft_mask(torch.ones(1, 1, 64, 64))
    assert float(mask[0, 0, 32, 32]) == 1
    assert float(mask[0, 0, 0].max()) < 0.2
    step = torch.zeros(1, 1, 64, 64)
    step[..., :32] = 1
    assert 0 < float(soft_mask(step)[0, 0, 32, 32]) < 1


def test_surroundings_do_not_know_the_head() -> None:
    image, mask = torch.ones(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    image[..., 16:48, 16:48], mask[..., 16:48, 16:48] = -1, 1
    assert float(surroundings(image, mask).min()) > 0.9


@pytest.mark.parametrize("data", [b"", b"not a picture", picture()[:200], picture(98, 64), picture(how="PNG")])
def test_pictures_that_are_not_what_is_said(data: bytes) -> None:
    scene = plate()
    object.__setattr__(scene, "picture", data)
    with pytest.raises(CorruptChunk, match="background"):
        decode_plate(scene)


def stream(pack: ModelPack, scene: Background) -> bytes:
    writer = StreamWriter(streams.header(pack))
    data = writer.start() + writer.identity(streams.identity(1))
    data += writer.attach(scene)
    return data + writer.group(streams.packets(3)) + writer.finish()


def test_a_picture_of_thousands_of_scans_is_refused() -> None:
    out = io.BytesIO()
    Image.new("RGB", (4096, 4096)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    slow = dataclasses.replace(plate(), width=4096, height=4096, picture=data[:-2] + last * 2000 + b"\xff\xd9")
    with pytest.raises(CorruptChunk, match="more than 50 scans"):
        decode_plate(slow)


def test_through_the_decoder(tiny_pack: ModelPack) -> None:
    data = stream(tiny_pack, plate())

    def opened(**options: object) -> Decoder:
        return Decoder.open(io.BytesIO(data), device="cpu", pack=tiny_pack, size=32, as_numpy=True, **options)  # type: ignore[arg-type]

    with opened() as decoder:
        assert decoder.frame_size == (96, 64)
        assert decoder[0].shape == (64, 96, 3)
        assert decoder[0:0].shape == (0, 64, 96, 3)
    live = Decoder.live(device="cpu", pack=tiny_pack, size=32, as_numpy=True)
    assert [frame.shape for frame in live.feed(data)] == [(64, 96, 3)] * 3
    with opened(background="render") as decoder:
        assert decoder[0].shape == (32, 32, 3)
    with opened(background="key") as decoder:
        assert np.asarray(decoder[0])[0, 0].tolist() == [0, 177, 64]
    with pytest.raises(OptionError, match="background"):
        opened(background="beach")


def test_live_chooses_a_background_as_files_do(tiny_pack: ModelPack) -> None:
    data = stream(tiny_pack, plate())

    def frames(background: str) -> list[Any]:
        live = Decoder.live(device="cpu", pack=tiny_pack, size=32, as_numpy=True, background=background)  # type: ignore[arg-type]
        return live.feed(data)

    assert [frame.shape for frame in frames("render")] == [(32, 32, 3)] * 3
    assert [frame[0, 0].tolist() for frame in frames("key")] == [[0, 177, 64]] * 3
    with pytest.raises(OptionError, match="background"):
        frames("beach")


def test_live_without_avif_renders_without_the_background(
    tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    scene = Background(Mode.PLATE, (0, 0, 0), 96, 64, (48.0, 32.0, 40.0), PictureFormat.AVIF, b"an AVIF file")
    with pytest.raises(MissingDependency):
        decode_plate(scene)
    live = Decoder.live(device="cpu", pack=tiny_pack, size=32, as_numpy=True)
    assert [frame.shape for frame in live.feed(stream(tiny_pack, scene))] == [(32, 32, 3)] * 3


@pytest.mark.parametrize(
    ("how", "damage"),
    [
        ("JPEG", lambda data: data.replace(SAID, (10_000).to_bytes(2, "big") * 2)),  # Pillow warns
        ("JPEG", lambda data: data.replace(SAID, (40_000).to_bytes(2, "big") * 2)),  # Pillow refuses
        pytest.param(
            *("AVIF", lambda data: data[:-30] + bytes(30)),
            marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow has no AVIF"),
        ),
    ],
    ids=["large", "bomb", "codestream"],
)
def test_a_picture_that_cannot_be_decoded_is_left_out(
    tiny_pack: ModelPack, how: str, damage: Callable[[bytes], bytes]
) -> None:
    scene = dataclasses.replace(plate(), picture_format=PictureFormat[how], picture=damage(picture(how=how)))
    data = stream(tiny_pack, scene)

    def opened(partial: bool) -> Decoder:
        return Decoder.open(io.BytesIO(data), device="cpu", pack=tiny_pack, size=32, partial=partial)

    with pytest.raises(CorruptChunk, match="background"):
        opened(False)
    with opened(True) as decoder:
        assert decoder.frame_size == (32, 32)
        assert decoder[0].shape == (32, 32, 3)
    live = Decoder.live(device="cpu", pack=tiny_pack, size=32)
    assert [frame.shape for frame in live.feed(data)] == [(32, 32, 3)] * 3


def test_the_plate_is_what_the_head_does_not_cover(tiny_pack: ModelPack) -> None:
    """Without a parser the head is an ellipse; it moves, so that everything is seen at some time."""
    rng = np.random.default_rng(0)
    scene = np.repeat(np.repeat(rng.integers(60, 200, (6, 8, 3)), 16, 0), 16, 1).astype(np.uint8)
    shots = []
    for k in range(5):
        frame = scene.copy()
        centre = (30.0 + 17 * k, 48.0)
        y, x = np.mgrid[:96, :128]
        frame[((x - centre[0]) / 7) ** 2 + ((y - centre[1] - 1) / 9) ** 2 < 1] = 255
        shots.append((frame, CropTransform(centre, 36.0)))
    made = make_plate(shots, CropTransform((64.0, 48.0), 36.0), tiny_pack, CPU)
    assert (made.width, made.height) == (128, 96)
    assert made.square == (64.0, 48.0, 36.0)
    found = ((decode_plate(made)[0].permute(1, 2, 0).numpy() + 1) * 127.5).astype(int)
    assert np.abs(found - scene).mean() < 6
    assert Background.parse(bytes(made)).picture_format == made.picture_format
    with pytest.raises(MediaError):
        make_plate([], CropTransform((64.0, 48.0), 36.0), tiny_pack, CPU)


def test_modes_without_a_picture(tiny_pack: ModelPack) -> None:
    report = AlignReport(0, 0, 0, 1, 0, 0)
    clip = AlignedClip(lambda: (), AlignedTrack(np.zeros((0, 4)), np.zeros(0, bool), report))
    made = {name: background_of(clip, tiny_pack, EncodeOptions(background=name)) for name in ("render", "blur", "key")}
    assert made == {"render": None, "blur": Background(Mode.BLUR), "key": Background(Mode.KEY, (0, 177, 64))}
