"""Cut, concat, puppet, strip: frames byte for byte, audio in step, no decoder needed."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    FrameGroup,
    Identity,
    StreamFile,
    StreamReader,
    StreamWriter,
    TimedGroup,
    UnknownChunk,
    audio_timeline,
    edit,
    layout,
    mux,
)
from stylecodec.bitstream.attached import personalizations
from stylecodec.bitstream.background import Background, Mode
from stylecodec.bitstream.delta import Personalization
from stylecodec.errors import (
    CorruptChunk,
    FormatError,
    OptionError,
    PackMismatch,
    StreamMismatch,
    Truncated,
    UnsupportedVersion,
)
from tests.bitstream.conftest import make_header, make_identity, make_packets, make_stream
from tests.bitstream.talks import PRE_SKIP, RATE, heard, opened, opus, rows, talk

# --- cut ------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 59), st.integers(1, 60), st.sampled_from([1, 7, 25]))
def test_a_cut_has_exactly_its_frames_and_their_audio(start: int, count: int, group: int) -> None:
    stop = min(start + count, 60)
    source = opened(talk(group=group, identities=(0, 1)))
    made = opened(edit.cut(source, start, stop))
    assert rows(made) == make_packets(60, 1)[start:stop].tobytes()
    for frame in range(start, stop):
        assert made.identity_for(frame - start).digest == source.identity_for(frame).digest
    packets, begin = heard(made), start * 1920
    config = made.audio_config
    assert config is not None
    # What is heard at time t of the cut is what was heard at start + t: the same packets, shifted.
    shifted = {p.time + begin: p.data for p in packets}
    assert shifted.items() <= {p.time: p.data for p in heard(source)}.items()
    assert all(a.end == b.time for a, b in pairwise(packets))
    assert packets[0].time == -config.pre_skip
    assert config.pre_skip >= min(audio_timeline.PRE_ROLL, begin + PRE_SKIP)
    assert config.pre_skip <= audio_timeline.PRE_ROLL + 960 or config.pre_skip == begin + PRE_SKIP
    end = (stop - start) * 1920
    assert packets[-1].end >= end
    if stop < 60:
        assert packets[-1].time < end


def test_a_cut_of_everything_is_the_stream() -> None:
    data = talk()
    assert b"".join(edit.cut(opened(data), 0, 60)) == data


def test_a_cut_at_variable_rate_begins_at_time_zero() -> None:
    source = opened(talk(time_scale=90_000))
    made = opened(edit.cut(source, 17, 41))
    times = source.pts(17, 41)
    assert np.allclose(made.pts(0, 24), times - times[0], rtol=0, atol=1e-9)
    packets = heard(made)
    shift = round(times[0] * 48_000)
    assert {p.time + shift: p.data for p in packets}.items() <= {p.time: p.data for p in heard(source)}.items()
    whole = opened(edit.cut(source, 0, 60))
    assert np.array_equal(whole.pts(0, 60), source.pts(0, 60))


def test_a_cut_reads_little() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    file = Counting(talk(25 * 120))
    stream = StreamFile.open(file)
    file.count = 0
    opened(edit.cut(stream, 2000, 2010))
    assert file.count < 18_482 + 3 * 1_800 + 10 * 1_000


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (9, 5), (0, 61)])
def test_a_cut_outside_the_stream(start: int, stop: int) -> None:
    with pytest.raises(IndexError, match=r"are not inside 0\.\.60"):
        edit.cut(opened(talk()), start, stop)


def test_frames_by_time() -> None:
    stream = opened(talk())
    assert [edit.first_frame_from(stream, t) for t in (0, 0.04, 0.041, 1.0, 2.36, 2.361, 99)] == [
        0, 1, 2, 25, 59, 60, 60,
    ]  # fmt: skip
    for time in (-1e-9, -1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="a time is 0 seconds or more"):
            edit.first_frame_from(stream, time)
    variable = opened(talk(time_scale=90_000))
    assert [edit.first_frame_from(variable, t) for t in variable.pts(0, 60)] == list(range(60))


# --- concat ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [RATE, Fraction(30000, 1001)])
@pytest.mark.parametrize("joints", [(30,), (1, 2, 59), (13, 14, 15, 40)])
def test_what_was_cut_can_be_joined_again(joints: tuple[int, ...], rate: Fraction) -> None:
    data = talk(rate=rate, group=round(rate))
    source = opened(data)
    edges = (0, *joints, 60)
    parts = [opened(edit.cut(source, a, b)) for a, b in pairwise(edges)]
    made = opened(edit.concat(parts))
    assert rows(made) == rows(source)
    assert heard(made) == heard(source)
    assert b"".join(edit.concat(parts)) == data


def test_parts_at_variable_rate_are_joined_a_nominal_frame_apart() -> None:
    source = opened(talk(time_scale=90_000))
    made = opened(edit.concat([opened(edit.cut(source, a, b)) for a, b in ((0, 30), (30, 60))]))
    assert rows(made) == rows(source)
    times, joined = source.pts(0, 60), made.pts(0, 60)
    assert np.allclose(joined[:30], times[:30], rtol=0, atol=1e-9)
    assert np.allclose(joined[30:] - joined[30], times[30:] - times[30], rtol=0, atol=1e-9)
    assert joined[30] == pytest.approx(times[29] + 0.04)


def test_two_streams_keep_their_audio_in_step() -> None:
    one, two = opened(talk(31, voice=1)), opened(talk(40, seed=2, voice=2, identities=(5,)))
    made = opened(edit.concat([one, two]))
    assert rows(made) == rows(one) + rows(two)
    assert made.header == one.header
    assert [made.identity_for(f).digest == make_identity(5).digest for f in (30, 31)] == [False, True]
    joint, packets = 31 * 1920, heard(made)
    first = [p for p in packets if int.from_bytes(p.data[1:5], "little") < 200_000]
    assert [p.data for p in first] == [p.data for p in heard(one) if p.time < joint]
    second = packets[len(first) :]
    assert [p.data for p in second] == [p.data for p in heard(two)]
    assert [p.time - joint for p in second] == [p.time for p in heard(two)]
    assert first[-1].end >= joint  # what of the second lies before it is pre-roll, not heard


def test_pre_roll_is_left_out_where_it_would_be_heard() -> None:
    silent = opened(b"".join(edit.strip(opened(talk(30)), audio=True)))
    part = opened(edit.cut(opened(talk()), 20, 50))
    short = [*edit.concat([opened(talk(20)), silent, part])]
    packets = heard(opened(b"".join(short)))
    joint = 50 * 1920
    second = [p for p in packets if p.time > 30 * 1920]
    assert joint - 960 < second[0].time <= joint
    only = opened(edit.concat([silent, part]))
    assert only.audio_config == part.audio_config
    assert heard(only)[0].time == 30 * 1920 + heard(part)[0].time


def test_other_rates_give_presentation_times() -> None:
    one, two = opened(talk(25)), opened(talk(30, rate=Fraction(30000, 1001)))
    made = opened(edit.concat([one, two]))
    assert made.header.time_scale == 30_000
    expected = [n / 25 for n in range(25)] + [1 + n * 1001 / 30_000 for n in range(30)]
    assert np.allclose(made.pts(0, 55), expected, rtol=0, atol=1e-9)
    third = opened(edit.concat([made, opened(talk(5, time_scale=1000))]))
    assert np.allclose(third.pts(0, 55), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "error", "what"),
    [
        ({"pack_digest": bytes(32)}, PackMismatch, "one stream was made with pack avatar-1024 000102030405"),
        ({"width": 512}, StreamMismatch, r"stream 2 differs from the first in the picture size: \(1024, 1024\)"),
        ({"indices": tuple((1, i) for i in range(32))}, StreamMismatch, "StyleSpace indices"),
        ({"rate": Fraction(997, 4294967)}, StreamMismatch, "no common clock"),
    ],
)
def test_streams_that_do_not_go_together(changes: dict[str, object], error: type[Exception], what: str) -> None:
    first = talk(5, rate=Fraction(60_000, 1001)) if "rate" in changes else talk(5)
    if "rate" in changes:
        changes = {"time_scale": 4_294_967_291}
    with pytest.raises(error, match=what):
        edit.concat([opened(first), opened(talk(5, **changes))])


def test_channels_must_agree() -> None:
    header = make_header()
    stereo = StreamWriter(header, AudioConfig(channels=2))
    group = TimedGroup(0.0, make_packets(5))
    data = b"".join(mux(stereo, make_identity(), [group], [AudioChunk(0, (opus(1),))]))
    with pytest.raises(StreamMismatch, match="channels"):
        edit.concat([opened(talk(5)), opened(data)])


def test_nothing_to_join() -> None:
    with pytest.raises(StreamMismatch, match="no stream"):
        edit.concat([])


# --- puppet, strip --------------------------------------------------------------------------------------------------


def test_a_puppet_has_one_identity_and_the_others_motion_and_audio() -> None:
    driving = opened(talk(identities=(0, 1)))
    made = opened(edit.puppet(make_identity(9), driving))
    assert [i.digest for i in made.identities] == [make_identity(9).digest]
    assert rows(made) == rows(driving)
    assert made.header == driving.header
    assert made.audio_config == driving.audio_config
    assert heard(made) == heard(driving)


def test_audio_and_picture_alternate() -> None:
    events = StreamReader().feed(b"".join(edit.puppet(make_identity(3), opened(talk(75, group=5)))))
    order = "".join("g" if isinstance(e, FrameGroup) else "a" for e in events if isinstance(e, FrameGroup | AudioChunk))
    assert order == "agagag"


def test_a_live_recording_becomes_a_file() -> None:
    made = opened(edit.puppet(make_identity(3), opened(make_stream((1,) * 30, live=True))))
    assert not made.header.live
    assert made.report is None  # it has an index
    assert made.group_count == 2


def test_no_identity_to_lend() -> None:
    writer = StreamWriter(make_header())
    with pytest.raises(FormatError, match="holds no identity"):
        edit.first_identity(opened(writer.start() + writer.finish()))


def tuned(name: bytes = b"tuned", who: Identity | None = None) -> Personalization:
    """A generator of make_identity() that is named only."""
    return Personalization((who or make_identity()).digest, hashlib.sha256(name).digest())


def private_stream() -> bytes:
    writer = StreamWriter(make_header(), AudioConfig())
    data = writer.start() + writer.identity(make_identity())
    data += writer.attach(tuned())
    data += writer.group(make_packets(25)) + writer.extra(0x90, b"caption") + writer.group(make_packets(25))
    return data + writer.audio(AudioChunk(0, (opus(0),))) + writer.extra(0x91, b"") + writer.finish()


def contents(stream: StreamFile) -> list[tuple[int, int]]:
    """Frame before which it stands and type, of every chunk but header, identities, groups, audio and index."""
    return [(frame, e.type if isinstance(e, UnknownChunk) else e.chunk_type) for frame, e in stream.extras()]


def test_what_is_stripped_and_what_stays() -> None:
    source = opened(private_stream())
    everything = [(0, 0x10), (25, 0x90), (50, 0x91)]
    assert contents(source) == everything
    plain = opened(edit.strip(source))
    assert (contents(plain), rows(plain), heard(plain)) == (everything, rows(source), heard(source))
    mute = opened(edit.strip(source, audio=True))
    assert (contents(mute), mute.audio_config, heard(mute)) == (everything, None, [])
    assert mute.byte_account()["audio"] == 0
    assert contents(opened(edit.strip(source, personalization=True))) == everything[1:]
    assert contents(opened(edit.strip(source, private=True))) == everything[:1]
    assert contents(opened(edit.puppet(make_identity(2), source))) == everything[1:]
    assert contents(opened(edit.cut(source, 10, 40))) == everything[:1]
    assert contents(opened(edit.concat([source, source]))) == everything[:1]
    assert contents(opened(edit.concat([source, opened(talk(5))]))) == everything[:1]


def test_each_identity_keeps_its_generator() -> None:
    source = opened(private_stream())
    other = tuned(b"other", make_identity(2))
    puppet = opened(edit.puppet(make_identity(2), source, other))
    assert personalizations(puppet) == {make_identity(2).digest: other}
    both = opened(edit.concat([source, puppet]))
    assert personalizations(both) == {make_identity().digest: tuned(), make_identity(2).digest: other}
    again = opened(edit.puppet(make_identity(), source, tuned(b"another")))
    with pytest.raises(StreamMismatch, match="personalised"):
        edit.concat([source, again])


def coloured(red: int) -> bytes:
    """A stream with a background of that colour."""
    writer = StreamWriter(make_header())
    data = writer.start() + writer.identity(make_identity()) + writer.attach(Background(Mode.KEY, (red, 0, 0)))
    return data + writer.group(make_packets(25)) + writer.finish()


def test_a_background_stays_where_it_is_shared() -> None:
    green, red = opened(coloured(1)), opened(coloured(2))
    kind = layout.ChunkType.BACKGROUND
    assert contents(opened(edit.cut(green, 5, 9))) == [(0, kind)]
    assert contents(opened(edit.concat([green, green]))) == [(0, kind)]
    assert contents(opened(edit.concat([green, red]))) == []
    assert contents(opened(edit.strip(green, private=True))) == [(0, kind)]
    assert contents(opened(edit.strip(green, background=True))) == []
    assert green.byte_account()["background"] == 16 + 22


def test_motion_relative_to_a_face_at_rest() -> None:
    source = opened(talk(30))
    rest = edit.neutral(source)
    packets = source.packets(0, 30)
    assert any(np.array_equal(rest, packet) for packet in packets)
    moved = opened(edit.puppet(make_identity(2), source, shift=-rest))
    np.testing.assert_allclose(moved.packets(0, 30), packets - rest, atol=0.05)


def test_the_neutral_frame_of_one_who_mostly_speaks() -> None:
    packets = 0.05 * make_packets(40, 3)
    packets[:, 2] += 10  # the head is held askew all the time
    packets[4:, 5:9] += np.linspace(1, 2, 36)[:, None].astype(np.float16)  # the mouth is shut in four frames only
    packets[2, 3:] = 0
    packets[2, :3] = 0, 0, np.median(packets[:, 2])
    np.testing.assert_array_equal(edit.neutral(opened(talk(40, packets=packets))), packets[2])


def test_a_chunk_that_must_be_known_stops_every_edit() -> None:
    writer = StreamWriter(make_header())
    data = writer.start() + writer.identity(make_identity()) + writer.group(make_packets(5))
    data += writer.extra(0x90, b"", mandatory=True) + writer.finish()
    with pytest.raises(UnsupportedVersion):
        StreamFile.open(io.BytesIO(data))


# --- sources that are not whole ---------------------------------------------------------------------------------------


def test_a_cut_off_stream_is_to_be_repaired_first() -> None:
    stream = StreamFile.open(io.BytesIO(make_stream()[:-300]))
    with pytest.raises(Truncated, match="repair it first"):
        edit.require_complete(stream)
    writer = StreamWriter(make_header())
    with pytest.raises(FormatError, match="no frames"):
        edit.require_complete(opened(writer.start() + writer.finish()))


def test_damage_met_on_the_way_is_an_error() -> None:
    data = bytearray(talk())
    data[data.index(make_packets(60)[40].tobytes())] ^= 1
    with pytest.raises(FormatError) as caught:
        b"".join(edit.cut(StreamFile.open(io.BytesIO(bytes(data))), 0, 60))
    assert caught.value.offset is not None
    with StreamFile.open(io.BytesIO(bytes(data))) as stream:
        assert opened(edit.cut(stream, 0, 25)).frame_count == 25


def test_identities_beyond_the_limit_are_refused() -> None:
    streams = [opened(talk(1, identities=(seed,))) for seed in range(257)]
    with pytest.raises((FormatError, CorruptChunk), match="slot 256"):
        b"".join(edit.concat(streams))
