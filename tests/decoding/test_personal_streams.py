"""Streams whose identity has a personalised generator: carried, named, left aside, live."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylecodec import api
from stylecodec.bitstream import StreamFile, StreamWriter
from stylecodec.bitstream.attached import personalizations
from stylecodec.bitstream.delta import Personalization
from stylecodec.bitstream.live import LiveReceiver, bursts
from stylecodec.bitstream.live.transport import Packetizer
from stylecodec.cli.main import main
from stylecodec.decoding.decoder import Decoder
from stylecodec.decoding.known_people import IDENTITIES_VARIABLE, KnownPeople
from stylecodec.decoding.live import LiveDecoder
from stylecodec.decoding.options import DecodeOptions
from stylecodec.decoding.packets import PacketRenderer
from stylecodec.decoding.personal import TunedPack
from stylecodec.errors import DeltaNotFound, FormatError
from stylecodec.packs.store import ModelPack
from tests.decoding import streams
from tests.decoding.test_personal import delta_of

pytestmark = pytest.mark.usefixtures("in_float32")
SIZE = 32


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IDENTITIES_VARIABLE, str(tmp_path / "identities"))


def stream(pack: ModelPack, carried: bool = True, live: bool = False) -> bytes:
    """Six frames of a personalised identity, then four of another one without."""
    one = Personalization.carried(streams.identity(1).digest, delta_of(pack))
    writer, values = StreamWriter(streams.header(pack), live=live), streams.packets(10)
    data = writer.start() + writer.identity(streams.identity(1)) + writer.attach(one if carried else one.named)
    data += writer.group(values[:6])
    return data + writer.identity(streams.identity(2)) + writer.group(values[6:]) + writer.finish()


def expected(pack: ModelPack) -> np.ndarray:
    values = streams.packets(10)
    tuned = PacketRenderer(TunedPack(pack, delta_of(pack)), DecodeOptions(device="cpu", size=SIZE))
    plain = PacketRenderer(pack, DecodeOptions(device="cpu", size=SIZE))
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


def given(writer: StreamWriter, *several: Personalization) -> bytes:
    return b"".join(writer.attach(one) for one in several)


def six(writer: StreamWriter) -> bytes:
    return writer.group(streams.packets(10)[:6])


def live(pack: ModelPack, *several: Personalization, **options: object) -> tuple[LiveDecoder, StreamWriter]:
    """A decoder that was given these generators and then the first identity, and what wrote them."""
    decoder = Decoder.live(device="cpu", pack=pack, size=SIZE, as_numpy=True, **options)  # type: ignore[arg-type]
    writer = StreamWriter(streams.header(pack), live=True)
    decoder.feed(writer.start() + given(writer, *several) + writer.identity(streams.identity(1)))
    return decoder, writer


def far(frames: list[Any], pack: ModelPack) -> int:
    """How far the six frames are from those of the personalised generator."""
    assert len(frames) == 6
    return int(np.abs(np.stack(frames).astype(int) - expected(pack)[:6]).max())


def test_live_keeps_what_is_carried(tiny_pack: ModelPack) -> None:
    one = Personalization.carried(streams.identity(1).digest, delta_of(tiny_pack))
    for several in ((one, one.named), (one.named, one, one.named)):
        decoder, writer = live(tiny_pack, *several)
        assert far(decoder.feed(six(writer)), tiny_pack) <= 1


def test_live_keeps_no_more_generators_than_there_are_identities(tiny_pack: ModelPack) -> None:
    own = Personalization.carried(streams.identity(1).digest, delta_of(tiny_pack))
    strangers = [Personalization(hashlib.sha256(bytes([k % 256, k // 256])).digest(), bytes(32)) for k in range(400)]
    decoder, writer = live(tiny_pack, *strangers[:300], own)
    decoder.feed(given(writer, *strangers[300:]))
    assert len(decoder._personal) == 256
    assert far(decoder.feed(given(writer, *strangers) + six(writer)), tiny_pack) <= 1


def test_live_goes_on_when_the_person_becomes_known(tiny_pack: ModelPack) -> None:
    one = Personalization.carried(streams.identity(1).digest, delta_of(tiny_pack))
    decoder, writer = live(tiny_pack, one.named)
    with pytest.raises(DeltaNotFound, match="stylecodec identity import"):
        decoder.feed(six(writer) + given(writer, one))
    assert far(decoder.feed(six(writer)), tiny_pack) <= 1
    decoder, writer = live(tiny_pack, one.named)
    KnownPeople().add(delta_of(tiny_pack))
    assert far(decoder.feed(six(writer)), tiny_pack) <= 1


def test_live_avatars(tiny_pack: ModelPack) -> None:
    one = Personalization.carried(streams.identity(1).digest, delta_of(tiny_pack))
    decoder, writer = live(tiny_pack, one.named, one, avatar=True)
    assert far(decoder.feed(six(writer)), tiny_pack) > 10


def test_a_personalised_file_is_sent_live(tiny_pack: ModelPack) -> None:
    """Carried, by datagrams, every frame is rendered as from the file; named, by receivers who know the person."""
    with StreamFile.open(io.BytesIO(stream(tiny_pack))) as source:
        for send_delta in (True, False):
            packetizer, receiver = Packetizer(1), LiveReceiver(delay=0.0)
            decoder = Decoder.live(device="cpu", pack=tiny_pack, size=SIZE, as_numpy=True)
            frames: list[Any] = []
            for burst in bursts(source, 5, send_delta=send_delta):
                for datagram in packetizer.packets(burst.chunks, burst.seconds):
                    frames += decoder.feed(receiver.datagram(datagram, 0.0))
            assert np.abs(np.stack(frames).astype(int) - expected(tiny_pack)).max() <= 1
            KnownPeople().add(delta_of(tiny_pack))


def broken(pack: ModelPack, index: bool = True) -> bytes:
    """The stream with a bit flipped in the delta, and one in the index as well."""
    data = bytearray(stream(pack))
    data[bytes(data).index(delta_of(pack).data) + 100] ^= 1
    if not index:
        data[bytes(data).rindex(b"\xfd\x7e\xfc\x7f\x06")] ^= 1
    return bytes(data)


@pytest.mark.parametrize("index", [True, False])
def test_a_damaged_generator(tiny_pack: ModelPack, index: bool) -> None:
    avatars = opened(stream(tiny_pack), tiny_pack, avatar=True)
    data = broken(tiny_pack, index)
    with pytest.raises(FormatError, match=r"GENERATOR_DELTA|a personalised generator"):
        opened(data, tiny_pack)
    assert (opened(data, tiny_pack, avatar=True) == avatars).all()
    assert (opened(data, tiny_pack, partial=True) == avatars).all()
    with Decoder.open(io.BytesIO(data), device="cpu", pack=tiny_pack, size=SIZE, partial=True) as decoder:
        assert decoder.stream.report is not None
        assert "a personalised generator" in decoder.stream.report.missing


def test_a_damaged_generator_from_file_to_file(
    tiny_pack: ModelPack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, made = tmp_path / "me.stc", tmp_path / "out.mp4"
    source.write_bytes(broken(tiny_pack))
    how: dict[str, Any] = {"size": SIZE, "device": "cpu", "pack": tiny_pack.folder}
    for options in ({}, {"background": "render"}):
        with pytest.raises(FormatError, match=r"me\.stc.*GENERATOR_DELTA"):
            api.decode(source, made, **how, **options)
    for options in ({"avatar": True}, {"partial": True}, {"partial": True, "background": "render"}):
        report = api.decode(source, made, **how, **options)
        assert report.frames == 10
        assert report.missing == (["a personalised generator"] if "partial" in options else [])
    facts = api.probe(source)
    assert not facts["complete"]
    assert facts["missing"] == ["a personalised generator"]
    assert facts["personalized"] == []
    assert main(["info", str(source)]) == 0
    assert "a personalised generator" in capsys.readouterr().out


def test_what_a_file_holds(tiny_pack: ModelPack) -> None:
    with StreamFile.open(io.BytesIO(stream(tiny_pack))) as file:
        found = personalizations(file)
        account = file.byte_account()
    assert list(found) == [streams.identity(1).digest]
    assert found[streams.identity(1).digest].delta == delta_of(tiny_pack)
    assert account["personalization"] == 16 + 66 + len(delta_of(tiny_pack))
    assert account["total"] == sum(n for part, n in account.items() if part != "total")
