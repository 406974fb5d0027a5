"""Repair: what is whole is kept, gaps are held, and the result is a whole stream every time."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest

from stylecodec.bitstream import StreamFile, StreamWriter, layout
from stylecodec.bitstream.background import Background, Mode
from stylecodec.bitstream.delta import Personalization
from stylecodec.bitstream.edit import Repair
from stylecodec.errors import BadMagic, FormatError, Truncated
from tests.bitstream.conftest import make_header, make_identity, make_packets, make_stream
from tests.bitstream.talks import heard, opened, rows, talk

SYNC = layout.SYNC


def repaired(data: bytes, like: bytes | None = None) -> tuple[StreamFile, Repair]:
    repair = Repair(io.BytesIO(data), None if like is None else StreamFile.open(io.BytesIO(like)))
    made = opened(repair.portions())
    assert made.report is None  # it has an index
    assert repair.frames == made.frame_count
    return made, repair


def chunks(data: bytes, kind: int) -> list[int]:
    return [i for i in range(len(data)) if data.startswith(SYNC + bytes([kind]), i)]


def without(data: bytes, kind: int, number: int = 0) -> bytes:
    """The data less one chunk."""
    places = sorted(i for k in range(1, 8) for i in chunks(data, k))
    start = chunks(data, kind)[number]
    end = next((i for i in places if i > start), len(data))
    return data[:start] + data[end:]


def test_a_whole_stream_stays_as_it_is() -> None:
    data = talk()
    made, repair = repaired(data)
    assert b"".join(Repair(io.BytesIO(data)).portions()) == data
    assert (repair.held, repair.shifted, repair.lost) == (0, 0, [])
    assert repair.found.complete
    assert made.frame_count == 60


def test_lost_groups_are_held_and_the_audio_stays_in_step() -> None:
    data = talk(group=10)
    source = StreamFile.open(io.BytesIO(data))
    made, repair = repaired(without(data, 3, 2))
    packets = make_packets(60, 1)
    expected = np.concatenate([packets[:20], np.repeat(packets[19:20], 10, 0), packets[30:]])
    assert rows(made) == expected.tobytes()
    assert (repair.frames, repair.held) == (60, 10)
    assert heard(made) == heard(source)
    first, repair = repaired(without(data, 3, 0))
    assert rows(first) == np.concatenate([np.repeat(packets[10:11], 10, 0), packets[10:]]).tobytes()
    assert repair.held == 10
    assert repair.shifted == 0


def test_every_cut_gives_a_whole_stream_or_says_why() -> None:
    data = talk(30, group=5)
    packets = make_packets(30, 1)
    first_group = chunks(data, 3)[0] + 28 + 5 * 70
    for length in [*range(0, 400, 37), 18_800, first_group - 1, *range(first_group, len(data), 61)]:
        if length < first_group:
            with pytest.raises(FormatError):
                Repair(io.BytesIO(data[:length]))
            continue
        made, repair = repaired(data[:length])
        assert rows(made) == packets[: made.frame_count].tobytes()
        assert repair.held == 0


def test_presentation_times_need_no_filling() -> None:
    data = talk(group=10, time_scale=90_000)
    source = StreamFile.open(io.BytesIO(data))
    made, repair = repaired(without(data, 3, 2))
    keep = [*range(20), *range(30, 60)]
    assert np.allclose(made.pts(0, 50), source.pts(0, 60)[keep], rtol=0, atol=1e-9)
    assert repair.held == 0


@pytest.mark.parametrize("time_scale", [0, 90_000])
def test_a_recording_that_joined_late_begins_at_zero(time_scale: int) -> None:
    whole = talk(group=5, time_scale=time_scale)
    source = StreamFile.open(io.BytesIO(whole))
    writer = StreamWriter(make_header(time_scale=time_scale), source.audio_config, live=True)
    data = writer.start() + writer.identity(make_identity())
    data += b"".join(map(writer.audio, source.audio_chunks()))
    for group in source.groups():
        part = writer.group(group.packets, group.pts)
        data += part if group.first_frame >= 20 else b""
    made, repair = repaired(data)
    assert rows(made) == make_packets(60, 1)[20:].tobytes()
    assert (repair.shifted, repair.held) == (20, 0)
    assert made.pts(0, 1)[0] == 0
    begin = round(source.pts(repair.shifted, repair.shifted + 1)[0] * 48_000)
    assert {p.time + begin: p.data for p in heard(made)}.items() <= {p.time: p.data for p in heard(source)}.items()


def test_a_gap_of_a_billion_frames_is_not_filled() -> None:
    writer = StreamWriter(make_header())
    data = writer.start() + writer.identity(make_identity()) + writer.group(make_packets(2))
    writer.frame_count = 2**40 - 2
    data += writer.group(make_packets(2)) + writer.finish()
    with pytest.raises(FormatError, match="too many to fill"):
        b"".join(Repair(io.BytesIO(data)).portions())


def test_a_lost_beginning_comes_from_another_stream() -> None:
    data, other = talk(group=10), talk(3, seed=8)
    for broken in (without(data, 1), b"\x00" * 100 + data[100:], data[200:]):
        with pytest.raises(FormatError):
            Repair(io.BytesIO(broken))
        made, _ = repaired(broken, other)
        assert rows(made) == make_packets(60, 1).tobytes()
        assert made.header == make_header()
    # Only the first 16 bytes: nothing else is needed.
    made, _ = repaired(b"\x00" * 16 + data[16:])
    assert rows(made) == make_packets(60, 1).tobytes()


def test_a_lost_identity_comes_from_another_stream() -> None:
    data = without(talk(group=10), 2)
    with pytest.raises(Truncated, match="nothing can be saved"):
        Repair(io.BytesIO(data))
    made, _ = repaired(data, talk(3, identities=(4,)))
    assert [i.digest for i in made.identities] == [make_identity(4).digest]
    two = talk(group=10, identities=(0, 1))
    made, repair = repaired(without(two, 2, 1))
    assert repair.lost == ["the identity of slot 1, and its frames with it"]
    assert repair.held == 20  # the last group is at the end: nothing follows that would need it
    assert made.frame_count == 50


def test_audio_without_its_configuration() -> None:
    data = without(talk(group=10), 4)
    made, repair = repaired(data)
    assert made.audio_config is None
    assert repair.lost == ["the audio, as its configuration is lost"]
    made, repair = repaired(data, talk(3))
    assert heard(made) == heard(StreamFile.open(io.BytesIO(talk())))


def with_attached(damage: bool, times: int = 1) -> bytes:
    """Nine frames with a personalised generator and a background, given several times."""
    writer = StreamWriter(make_header())
    one = Personalization(make_identity().digest, bytes(32))
    data = writer.start() + writer.identity(make_identity())
    for k in range(times):
        for attachment in (one, Background(Mode.BLUR)):
            chunk = writer.attach(attachment)
            data += chunk[:-1] + bytes([chunk[-1] ^ damage])
        data += writer.group(make_packets(3, k))
    return data + writer.finish()


def test_what_is_lost_for_a_renderer_is_named() -> None:
    made, repair = repaired(with_attached(damage=True))
    assert repair.found.missing == ("a personalised generator", "the background")
    assert made.frame_count == 3
    assert list(made.extras()) == []
    assert repaired(with_attached(damage=False))[1].found.complete


def test_repetitions_for_a_renderer_are_not_stored() -> None:
    made, _ = repaired(with_attached(damage=False, times=3))
    assert made.frame_count == 9
    assert [(frame, type(extra)) for frame, extra in made.extras()] == [(0, Personalization), (0, Background)]


def test_foreign_files_are_refused() -> None:
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(300), random.Random(3).randbytes(5000)):
        with pytest.raises((BadMagic, FormatError)):
            Repair(io.BytesIO(data), StreamFile.open(io.BytesIO(make_stream())))


def test_random_damage_gives_a_whole_stream_or_a_format_error() -> None:
    data, rng = talk(30, group=3), random.Random(7)
    saved = 0
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(broken))
            broken[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        try:
            repaired(bytes(broken), data)
        except FormatError:
            continue
        saved += 1
    assert saved > 50
