"""Puppeteering: another identity, the same motion, times and sound."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest

from stylecodec.bitstream import AudioChunk, FrameGroup, StreamFile, StreamReader, check
from stylecodec.decoding.puppet import puppet, puppet_streams
from stylecodec.errors import PackMismatch
from stylecodec.packs.store import ModelPack

from . import streams


def open_bytes(data: bytes) -> StreamFile:
    return StreamFile.open(io.BytesIO(data))


def test_identity_of_one_motion_and_sound_of_the_other(tiny_pack: ModelPack) -> None:
    source = open_bytes(streams.stream(tiny_pack, identities=(3,), seed=9))
    driving = open_bytes(streams.stream(tiny_pack, identities=(1, 2), sound=True))
    data = b"".join(puppet_streams(source, driving))
    assert check(io.BytesIO(data)).complete
    made = open_bytes(data)
    assert [i.digest for i in made.identities] == [streams.identity(3).digest]
    assert np.array_equal(made.packets(0, 12), driving.packets(0, 12))
    assert made.header == driving.header
    assert made.audio_config == driving.audio_config
    assert list(made.audio_chunks()) == list(driving.audio_chunks())


def test_sound_and_picture_alternate(tiny_pack: ModelPack) -> None:
    driving = open_bytes(streams.stream(tiny_pack, count=30, group=5, sound=True))
    events = StreamReader().feed(b"".join(puppet(streams.identity(3), driving)))
    order = "".join("g" if isinstance(e, FrameGroup) else "a" for e in events if isinstance(e, FrameGroup | AudioChunk))
    # Groups of a second and chunks of half a second: what begins by a group's first frame precedes it.
    assert order == "agaagaaga"


def test_variable_times_are_kept(tiny_pack: ModelPack) -> None:
    pts = np.cumsum(np.array([7, *range(3000, 3011)], np.int64))
    driving = open_bytes(streams.stream(tiny_pack, pts=pts, time_scale=90_000, rate=Fraction(30)))
    made = open_bytes(b"".join(puppet(streams.identity(3), driving)))
    assert np.array_equal(made.pts(0, 12), driving.pts(0, 12))


def test_both_streams_must_name_one_pack(tiny_pack: ModelPack, other_pack: ModelPack) -> None:
    source, driving = open_bytes(streams.stream(other_pack)), open_bytes(streams.stream(tiny_pack))
    with pytest.raises(PackMismatch, match="source was made with pack tiny-1024"):
        puppet_streams(source, driving)


def test_a_live_stream_drives_a_file(tiny_pack: ModelPack) -> None:
    driving = open_bytes(streams.stream(tiny_pack, live=True))
    data = b"".join(puppet(streams.identity(3), driving))
    assert not open_bytes(data).header.live
    assert check(io.BytesIO(data)).complete
