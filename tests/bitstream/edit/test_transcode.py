"""Transcode, and edits in the compact profile: levels stay, numbers stay within half a step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from stylecodec.bitstream import (
    Identity,
    Profile,
    StreamFile,
    StreamWriter,
    TimedGroup,
    compact_header,
    edit,
    mux,
    nearest_code,
    plain_quantiser,
)
from stylecodec.errors import StreamMismatch
from tests.bitstream.conftest import make_header, make_identity
from tests.bitstream.talks import heard, opened, talk


def head_motion(frames: int, seed: int = 1) -> npt.NDArray[np.float16]:
    """Packets that move as a head does."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.2, (frames, 35)), axis=0)
    return (walk * np.where(np.arange(35) < 3, 2.0, 0.3)).astype(np.float16)


def compact(frames: int = 60, time_scale: int = 0) -> StreamFile:
    source = opened(talk(frames, packets=head_motion(frames), time_scale=time_scale))
    return opened(edit.transcode(source, Profile.COMPACT))


@pytest.mark.parametrize("time_scale", [0, 90_000])
def test_there_and_back(time_scale: int) -> None:
    source = opened(talk(packets=head_motion(60), time_scale=time_scale))
    small = opened(edit.transcode(source, Profile.COMPACT))
    assert small.header.profile == Profile.COMPACT
    assert small.header.quantiser is not None
    assert heard(small) == heard(source)
    assert np.array_equal(small.pts(0, 60), source.pts(0, 60))
    assert small.identities == source.identities
    assert (np.abs(small.packets(0, 60) - source.packets(0, 60)) <= small.header.quantiser.steps / 2 + 1e-6).all()
    assert small.byte_account()["packets"] < source.byte_account()["packets"] / 2
    back = opened(edit.transcode(small, Profile.RAW))
    assert np.array_equal(back.packets(0, 60), small.packets(0, 60).astype(np.float16))
    assert back.header == source.header
    again = opened(edit.transcode(small, Profile.COMPACT))
    assert b"".join(edit.transcode(again, Profile.COMPACT)) == b"".join(edit.transcode(small, Profile.COMPACT))


def test_higher_quality_costs_more() -> None:
    source = opened(talk(packets=head_motion(60)))
    sizes = [opened(edit.transcode(source, Profile.COMPACT, q)).byte_account()["packets"] for q in (40, 50, 60)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_compact_identity_becomes_a_raw_one_with_the_same_numbers() -> None:
    header = compact_header(make_header(), plain_quantiser(head_motion(25), 25))
    identity = Identity(make_identity().latent, step_code=nearest_code(0.05))
    data = b"".join(mux(StreamWriter(header), identity, [TimedGroup(0.0, head_motion(25))]))
    raw = opened(edit.transcode(opened(data), Profile.RAW))
    assert raw.identities[0].step_code is None
    assert raw.identities[0].digest == identity.digest
    assert raw.byte_account()["identity"] == 18_482
    assert opened(edit.cut(opened(data), 3, 5)).identities == (identity,)


@pytest.mark.parametrize(("start", "stop"), [(0, 60), (1, 2), (13, 47)])
def test_a_compact_cut_keeps_the_levels(start: int, stop: int) -> None:
    source = compact()
    made = opened(edit.cut(source, start, stop))
    assert made.header == source.header
    levels = [np.concatenate([g.levels for g in s.groups() if g.levels is not None]) for s in (source, made)]
    assert np.array_equal(levels[1], levels[0][start:stop])


def test_compact_parts_are_joined_again() -> None:
    source = compact()
    parts = [opened(edit.cut(source, a, b)) for a, b in ((0, 19), (19, 60))]
    assert b"".join(edit.concat(parts)) == b"".join(edit.cut(source, 0, 60))
    with pytest.raises(StreamMismatch, match="differs from the first in the profile: raw and compact; transcode both"):
        edit.concat([opened(talk(5)), source])
    other = opened(edit.transcode(opened(talk(packets=head_motion(60, 2))), Profile.COMPACT))
    with pytest.raises(StreamMismatch, match="quantiser steps; transcode both to raw first"):
        edit.concat([source, other])
