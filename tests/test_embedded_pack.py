"""The pack in the wheel: small, sound, and it carries a clip through the whole codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylecodec import api
from stylecodec.bitstream import StreamFile
from stylecodec.decoding.decoder import Decoder
from stylecodec.encoding.options import EncodeOptions
from stylecodec.face.align import Aligner, crops
from stylecodec.face.landmarks import make_landmarker
from stylecodec.media.video import VideoReader
from stylecodec.metrics.psnr import picture_psnr
from stylecodec.packs.card import ROLES, SHIPPED_ROLES
from stylecodec.packs.store import ModelPack, open_pack

CLIP = Path(__file__).resolve().parents[1] / "examples" / "talk.mp4"
SECONDS = 1.0


@pytest.fixture(scope="module")
def pack() -> ModelPack:
    return open_pack()


@pytest.fixture(scope="module")
def stream(pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedded") / "talk.stc"
    report = api.encode(CLIP, path, EncodeOptions(device="cpu", duration=SECONDS))
    assert report.frames == 25
    assert report.held == 0
    return path


def test_size_and_digests(pack: ModelPack) -> None:
    assert pack.name == "avatar-1024"
    assert set(pack.card.networks) == {*ROLES, *SHIPPED_ROLES}
    assert sum(file.stat().st_size for file in pack.folder.iterdir()) <= 41_000_000
    pack.verify()


def test_card_tells_how_it_was_made_and_how_good_it_is(pack: ModelPack) -> None:
    assert "runs" in pack.card.training
    held_out = pack.card.figures["held_out"]
    assert {"psnr", "yaw_error", "pitch_error", "mouth_correlation"} <= set(held_out)


def test_bytes_of_a_second(stream: Path) -> None:
    with StreamFile.open(stream) as file:
        account = file.byte_account()
        assert account["identity"] < 7_000
        assert account["packets"] < 25 * 14
        assert account["audio"] > 1000
        assert sum(v for k, v in account.items() if k != "total") == account["total"] == stream.stat().st_size


def test_the_picture_resembles_the_input(pack: ModelPack, stream: Path) -> None:
    """A guard against a broken chain: a wrong pose or colour fails it. test_golden.py holds the figures closely."""
    reader = VideoReader(CLIP)
    aligner = Aligner(make_landmarker("pack", pack.landmarks("cpu"), pack.alignment), alignment=pack.alignment)
    track = aligner.track((frame for _, frame in reader.frames(0, SECONDS)), float(reader.rate))
    seen = np.stack(list(crops((frame for _, frame in reader.frames(0, SECONDS)), track, 256))).astype(np.float32)
    with Decoder.open(stream, device="cpu", size=256, pose="aligned", as_numpy=True) as decoder:
        rendered = np.stack(list(decoder)).astype(np.float32)
    psnr = [picture_psnr(a, b) for a, b in zip(seen, rendered, strict=True)]
    assert np.mean(psnr) > 26
    assert min(psnr) > 25
    shifted = [picture_psnr(a, b) for a, b in zip(seen, np.roll(rendered, 6, axis=2), strict=True)]
    assert np.mean(psnr) > np.mean(shifted) + 1.5  # six pixels aside is clearly worse


def test_full_size_frame(stream: Path) -> None:
    with Decoder.open(stream, device="cpu", as_numpy=True) as decoder:
        frame = decoder[3]
    assert frame.shape == (1024, 1024, 3)
    assert frame.dtype == np.uint8
    assert frame.std() > 10
