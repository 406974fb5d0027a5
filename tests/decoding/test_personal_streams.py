"""Streams whose identity has a personalised generator: carried, named, left aside, live."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.bitstream import ChunkType, StreamFile, StreamWriter, UnknownChunk
from stylecodec.bitstream.attached import personalizations
from stylecodec.bitstream.delta import Personalization
from stylecodec.decoding import personal
from stylecodec.decoding.decoder import Decoder, PacketRenderer
from stylecodec.decoding.personal import KnownPeople, TunedPack
from stylecodec.errors import DeltaNotFound
from stylecodec.packs.store import ModelPack

from . import streams
from .test_personal import delta_of

SIZE = 32


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(personal.IDENTITIES_VARIABLE, str(tmp_path / "identities"))


def stream(pack: ModelPack, carried: bool = True, live: bool = False) -> bytes:
    """Six frames of a personalised identity, then four of another one without."""
    one = Personalization.carried(streams.identity(1).digest, delta_of(pack))
    chunk = UnknownChunk(ChunkType.GENERATOR_DELTA, bytes(one if carried else one.named), 0)
    writer, values = StreamWriter(streams.header(pack), live=live), streams.packets(10)
    data = writer.start() + writer.identity(streams.identity(1)) + writer.copy(chunk) + writer.group(values[:6])
    return data + writer.identity(streams.identity(2)) + writer.group(values[6:]) + writer.finish()


def expected(pack: ModelPack) -> np.ndarray:
    values = streams.packets(10)
    tuned = PacketRenderer(TunedPack(pack, delta_of(pack)), "cpu", SIZE)
    plain = PacketRenderer(pack, "cpu", SIZE)
    own = [*tuned.render(streams.identity(1), values[:6]), *plain.render(streams.identity(2), values[6:])]
    return torch.cat(own).numpy().astype(int)


def opened(data: bytes, pack: ModelPack, **options: object) -> np.ndarray:
    with Decoder.open(io.BytesIO(data), device="cpu", pack=pack, size=SIZE, as_numpy=True, **options) as decoder:  # type: ignore[arg-type]
        return np.stack(list(decoder)).astype(int)


def test_each_identity_has_its_generator(tiny_pack: ModelPack) -> None:
    frames, wanted = opened(stream(tiny_pack), tiny_pack), expected(tiny_pack)
    assert np.abs(frames - wanted).max() <= 1
    avatars = opened(stream(tiny_pack), tiny_pack, avatar=True)
    assert np.abs(avatars[6:] - wanted[6:]).max() <= 1
    assert np.abs(avatars[:6] - wanted[:6]).max() > 10


def test_a_named_generator_must_be_known(tiny_pack: ModelPack) -> None:
    data = stream(tiny_pack, carried=False)
    with pytest.raises(DeltaNotFound, match="not known here"):
        opened(data, tiny_pack)
    KnownPeople().add(delta_of(tiny_pack))
    assert np.abs(opened(data, tiny_pack) - expected(tiny_pack)).max() <= 1
    assert len(stream(tiny_pack)) - len(data) == len(delta_of(tiny_pack))


def test_live(tiny_pack: ModelPack) -> None:
    decoder = Decoder.live(device="cpu", pack=tiny_pack, size=SIZE, as_numpy=True)
    frames = decoder.feed(stream(tiny_pack, live=True))
    assert np.abs(np.stack([np.asarray(f, int) for f in frames]) - expected(tiny_pack)).max() <= 1


def test_what_a_file_holds(tiny_pack: ModelPack) -> None:
    with StreamFile.open(io.BytesIO(stream(tiny_pack))) as file:
        found = personalizations(file)
        account = file.byte_account()
    assert list(found) == [streams.identity(1).digest]
    assert found[streams.identity(1).digest].delta == delta_of(tiny_pack)
    assert account["personalization"] == 16 + 66 + len(delta_of(tiny_pack))
    assert account["total"] == sum(n for part, n in account.items() if part != "total")
