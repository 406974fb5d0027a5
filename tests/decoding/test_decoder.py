"""Random access to pictures, and the live feed."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylecodec.bitstream import StreamFile
from stylecodec.bitstream.live import LiveReceiver, bursts
from stylecodec.bitstream.live.transport import Packetizer
from stylecodec.decoding import render
from stylecodec.decoding.decoder import Decoder
from stylecodec.decoding.options import DecodeOptions
from stylecodec.decoding.packets import PacketRenderer
from stylecodec.errors import BadMagic, ChecksumMismatch, DeltaNotFound, OptionError, PackMismatch, PackNotFound
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.decoding import streams

pytestmark = pytest.mark.usefixtures("in_float32")
SIZE = 32


def open_stream(data: bytes, pack: ModelPack, **options: object) -> Decoder:
    settings: dict[str, object] = {"device": "cpu", "pack": pack, "size": SIZE, **options}
    return Decoder.open(io.BytesIO(data), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tiny_pack: ModelPack) -> bytes:
    return streams.stream(tiny_pack)


def test_frames_are_uint8_rgb_tensors(data: bytes, tiny_pack: ModelPack) -> None:
    with open_stream(data, tiny_pack) as decoder:
        assert len(decoder) == 12
        assert decoder.fps == 10.0
        frames = list(decoder)
    assert len(frames) == 12
    for frame in frames:
        assert isinstance(frame, torch.Tensor)
        assert frame.dtype == torch.uint8
        assert frame.shape == (SIZE, SIZE, 3)
    assert not torch.equal(frames[0], frames[1])  # type: ignore[arg-type]


def test_every_way_to_a_frame_gives_the_same_picture(data: bytes, tiny_pack: ModelPack) -> None:
    with open_stream(data, tiny_pack, as_numpy=True) as decoder:
        frames = np.stack(list(decoder))
        assert frames.dtype == np.uint8

        def same(a: object, b: object) -> None:
            # The order of float sums may depend on the batch: a level of 255 at most.
            assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1

        same(decoder[7], frames[7])
        same(decoder[-1], frames[11])
        same(decoder[2:6], frames[2:6])
        same(decoder[::-3], frames[::-3])
        same(np.stack(list(decoder.frames(3, 9))), frames[3:9])
        same(np.stack(list(decoder.frames(-2))), frames[-2:])
        same(decoder.at(0.75), frames[7])
        same(decoder.at(99.0), frames[11])
        same(decoder.at(0.0), frames[0])


@pytest.mark.parametrize("batch", [1, 3, 12, 50])
def test_the_batch_does_not_matter(data: bytes, tiny_pack: ModelPack, batch: int) -> None:
    with open_stream(data, tiny_pack, as_numpy=True, batch=batch) as a, open_stream(data, tiny_pack) as b:
        worst = np.abs(np.stack(list(a)).astype(int) - torch.stack(list(b)).numpy().astype(int)).max()  # type: ignore[arg-type]
    assert worst <= 1


def test_the_batch_hardly_matters_in_bfloat16(
    data: bytes, tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "cpu_multiplies_bfloat16", lambda: True)
    frames = []
    for batch in (1, 5):
        with open_stream(data, tiny_pack, as_numpy=True, batch=batch) as decoder:
            assert decoder.pictures.renderer.dtype == torch.bfloat16
            frames.append(np.stack(list(decoder)).astype(int))
    assert np.square(frames[0] - frames[1]).mean() < 0.5


def test_numbers_outside(data: bytes, tiny_pack: ModelPack) -> None:
    with open_stream(data, tiny_pack) as decoder:
        for number in (12, -13, 99):
            with pytest.raises(IndexError, match="12 frames"):
                decoder[number]
        assert list(decoder.frames(12)) == []
        assert list(decoder.frames(5, 3)) == []
        assert decoder[9:3].shape == (0, SIZE, SIZE, 3)


def test_each_group_has_its_identity(tiny_pack: ModelPack) -> None:
    data = streams.stream(tiny_pack, identities=(1, 2))
    renderer = PacketRenderer(tiny_pack, DecodeOptions(device="cpu", size=SIZE))
    values = streams.packets(12)
    with open_stream(data, tiny_pack) as decoder:
        for number, seed in ((4, 1), (5, 2), (9, 2), (10, 1)):
            expected = next(renderer.render(streams.identity(seed), values[number : number + 1]))[0]
            found = decoder[number]
            assert isinstance(found, torch.Tensor)
            assert int((found.int() - expected.int()).abs().max()) <= 1


def test_roll_is_restored_or_left(tiny_pack: ModelPack) -> None:
    data = streams.stream(tiny_pack, count=1)
    with open_stream(data, tiny_pack) as restored, open_stream(data, tiny_pack, pose="aligned") as upright:
        a, b = restored[0], upright[0]
    assert isinstance(a, torch.Tensor)
    assert isinstance(b, torch.Tensor)
    assert not torch.equal(a, b)


def test_options_are_checked(data: bytes, tiny_pack: ModelPack) -> None:
    with pytest.raises(OptionError, match="size must be"):
        open_stream(data, tiny_pack, size=4)
    with pytest.raises(OptionError, match="pose"):
        open_stream(data, tiny_pack, pose="sideways")
    with pytest.raises(OptionError, match="batch"):
        open_stream(data, tiny_pack, batch=0)
    with pytest.raises(OptionError, match="device"):
        open_stream(data, tiny_pack, device="abacus")


def test_the_pack_must_be_the_streams(
    data: bytes, tiny_pack: ModelPack, other_pack: ModelPack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(PackMismatch, match=r"made with pack tiny-1024 .* not with tiny-1024"):
        open_stream(data, other_pack)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(PackNotFound, match="tiny-1024"):
        Decoder.open(io.BytesIO(data), device="cpu")
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    path = tmp_path / "a.stc"
    path.write_bytes(data)
    with Decoder.open(path, device="cpu", size=SIZE) as decoder:
        assert decoder.device.type == "cpu"
    path.unlink()  # the file was closed


def test_not_a_stream(tiny_pack: ModelPack, tmp_path: Path) -> None:
    with pytest.raises(BadMagic):
        open_stream(b"RIFF" + bytes(100), tiny_pack)
    with pytest.raises(FileNotFoundError):
        Decoder.open(tmp_path / "missing.stc")


def test_a_truncated_file_gives_its_whole_groups(data: bytes, tiny_pack: ModelPack) -> None:
    with open_stream(data[: len(data) - 200], tiny_pack) as decoder:
        assert len(decoder) == 10
        assert len(list(decoder)) == 10


def test_a_damaged_group_is_an_error_where_it_is_needed(tiny_pack: ModelPack) -> None:
    data = bytearray(streams.stream(tiny_pack, count=15))
    data[data.index(streams.packets(15)[7].tobytes())] ^= 1
    with open_stream(bytes(data), tiny_pack) as decoder:
        assert decoder[2].shape == decoder[12].shape
        with pytest.raises(ChecksumMismatch, match="checksum"):
            decoder[7]


@pytest.mark.parametrize("portion", [1, 1000, 10**9])
def test_live(data: bytes, tiny_pack: ModelPack, portion: int) -> None:
    decoder = Decoder.live(device="cpu", pack=tiny_pack, size=SIZE)
    frames: list[torch.Tensor] = []
    if portion == 1:  # whole up to the last group, then byte by byte
        cut = data.rindex(streams.packets(12)[10].tobytes()) - 30
        frames += decoder.feed(data[:cut])  # type: ignore[arg-type]
        rest = data[cut:]
    else:
        rest = data
    for start in range(0, len(rest), portion):
        frames += decoder.feed(rest[start : start + portion])  # type: ignore[arg-type]
    report = decoder.close()
    assert report.complete
    with open_stream(data, tiny_pack) as file:
        expected = torch.stack(list(file))  # type: ignore[arg-type]
    assert int((torch.stack(frames).int() - expected.int()).abs().max()) <= 1


def test_live_goes_on_after_damage(data: bytes, tiny_pack: ModelPack) -> None:
    broken = bytearray(data)
    broken[data.index(streams.packets(12)[7].tobytes())] ^= 1
    decoder = Decoder.live(device="cpu", pack=tiny_pack, size=SIZE, as_numpy=True)
    assert len(decoder.feed(bytes(broken))) == 7
    report = decoder.close()
    assert not report.complete
    assert report.frames_lost == 5


def test_live_refuses_another_pack(data: bytes, other_pack: ModelPack) -> None:
    decoder = Decoder.live(device="cpu", pack=other_pack, size=SIZE)
    with pytest.raises(PackMismatch):
        decoder.feed(data)


@pytest.mark.parametrize(("fails", "then"), [({4, 6}, (None, 2)), ({4}, (7, 0))], ids=["always", "once"])
def test_live_gives_what_came_before_an_error(
    data: bytes, tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch, fails: set[int], then: tuple[int | None, int]
) -> None:
    """Groups of 5, 5 and 2 frames; the second fails half-way."""
    render, batches = PacketRenderer._render, itertools.count()

    def failing(*given: Any) -> torch.Tensor:
        if next(batches) in fails:
            raise DeltaNotFound("not known here")
        return render(*given)

    monkeypatch.setattr(PacketRenderer, "_render", failing)
    decoder = Decoder.live(device="cpu", pack=tiny_pack, size=SIZE, batch=2)
    assert len(decoder.feed(data)) == 5
    for count in then:
        if count is None:
            with pytest.raises(DeltaNotFound):
                decoder.feed(b"")
        else:
            assert len(decoder.feed(b"")) == count


def test_live_renders_what_a_receiver_gives(data: bytes, tiny_pack: ModelPack) -> None:
    """The identity is named only: with it at hand every frame is rendered, without it none."""
    with StreamFile.open(io.BytesIO(data)) as source:
        known = {identity.digest: identity for identity in source.identities}
        packetizer = Packetizer(1)
        sent = [
            datagram
            for burst in bursts(source, group_frames=4, send_latent=False)
            for datagram in packetizer.packets(burst.chunks, burst.seconds)
        ]
    for recall, count in ((known.get, 12), (None, 0)):
        receiver = LiveReceiver(delay=0.0)
        decoder = Decoder.live(device="cpu", pack=tiny_pack, size=SIZE, recall=recall)
        frames = [frame for datagram in sent for frame in decoder.feed(receiver.datagram(datagram, 0.0))]
        assert len(frames) == count
        report = decoder.close()
        assert report.complete
        assert len(report.not_held) == (0 if count else len(known))


def test_decoding_needs_neither_av_nor_dlib() -> None:
    code = (
        "import sys\n"
        "for name in ('av', 'dlib', 'cv2', 'scipy', 'PIL', 'stylecodec.face', 'stylecodec.media', "
        "'stylecodec.encoding'):\n"
        "    sys.modules[name] = None\n"
        "import stylecodec.decoding.decoder"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
