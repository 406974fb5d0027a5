"""Sound of a cut stream, decoded: after its pre-roll it is the sound of the whole one at the same time."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stylecodec.bitstream import (
    AudioChunk,
    AudioConfig,
    Identity,
    Profile,
    StreamFile,
    StreamHeader,
    StreamWriter,
    TimedGroup,
    edit,
    mux,
)
from stylecodec.media.audio import encode_opus

CLIP = Path(__file__).parents[2] / "examples/talk.mp4"


def decoded(stream: StreamFile) -> NDArray[np.float32]:
    """What is heard from time 0 on, mono at 48 kHz; the rule for overlaps of SPEC 5.5 included."""
    config = stream.audio_config
    assert config is not None
    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate, codec.layout = 48_000, "mono"  # type: ignore[attr-defined]
    heard = np.zeros(int(stream.duration_seconds * 48_000) + 4800, np.float32)
    end, skip = -(1 << 40), config.pre_skip
    for chunk in stream.audio_chunks():
        time = chunk.first_packet_pts
        for data in chunk.packets:
            for frame in codec.decode(av.Packet(data)):  # type: ignore[attr-defined]
                samples = frame.to_ndarray().reshape(-1).astype(np.float32)
                begin = max(0, end - time, skip)
                skip = max(0, skip - len(samples))
                place = time + begin
                assert place >= 0
                count = min(len(samples) - begin, len(heard) - place)
                if count > 0:
                    heard[place : place + count] = samples[begin : begin + count]
                time += len(samples)
                end = max(end, time)
    return heard


@pytest.fixture(scope="module")
def stream() -> StreamFile:
    """Four seconds of speech as the encoder lays it."""
    track = encode_opus(CLIP, 12_000)
    assert track is not None
    header = StreamHeader(
        Fraction(25), 1024, 1024, Profile.RAW, "pack", bytes(32), tuple((0, k) for k in range(32))
    )
    sound = [
        AudioChunk(part[0].pts - track.pre_skip, tuple(p.data for p in part))
        for part in (track.packets[k : k + 50] for k in range(0, len(track.packets), 50))
    ]
    groups = [TimedGroup(k, np.zeros((25, 35)), None) for k in range(4)]
    identity = Identity(np.zeros((18, 512), np.float16))
    data = b"".join(mux(StreamWriter(header, AudioConfig(pre_skip=track.pre_skip)), identity, groups, sound))
    return StreamFile.open(io.BytesIO(data))


def test_a_cut_sounds_as_the_whole_did(stream: StreamFile) -> None:
    whole = decoded(stream)
    assert float(np.sqrt(np.mean(whole**2))) > 300  # of 32,768
    for start, stop in ((10, 40), (37, 95), (61, 63), (26, 30)):
        part = StreamFile.open(io.BytesIO(b"".join(edit.cut(stream, start, stop))))
        heard = decoded(part)[: (stop - start) * 1920]
        error = heard - whole[start * 1920 : stop * 1920]
        assert float(np.sqrt(np.mean(error**2))) < 0.02 * float(np.sqrt(np.mean(whole**2)))


def test_joined_parts_of_other_streams_sound_in_step(stream: StreamFile) -> None:
    whole = decoded(stream)
    parts = [StreamFile.open(io.BytesIO(b"".join(edit.cut(stream, a, b)))) for a, b in ((50, 77), (11, 40))]
    made = StreamFile.open(io.BytesIO(b"".join(edit.concat(parts))))
    heard = decoded(made)
    joint = 27 * 1920
    for begin, end, place in ((50 * 1920, 77 * 1920, 0), (11 * 1920 + 960, 40 * 1920, joint + 960)):
        error = heard[place : place + end - begin] - whole[begin:end]
        assert float(np.sqrt(np.mean(error**2))) < 0.02 * float(np.sqrt(np.mean(whole**2)))
