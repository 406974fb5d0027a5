"""Sound that comes by another clock than the picture."""

from __future__ import annotations

import numpy as np
import pytest

from stylecodec.bitstream.audio import opus_samples
from stylecodec.call.sound import GAP, PRE_ROLL, WAITING_PACKETS, SoundCoder, SteadySound
from stylecodec.media.capture import Sound

BLOCK = 960


def blocks(seconds: float, ppm: float = 0.0, jitter: float = 0.0, begin: float = 0.0) -> list[Sound]:
    """20 ms blocks of a tone by a card whose clock is `ppm` fast, at the times of ours at which they come."""
    rng = np.random.default_rng(0)
    rate = 48_000 * (1 + ppm * 1e-6)
    found = []
    for first in range(0, int(seconds * rate), BLOCK):
        samples = np.sin(2 * np.pi * 440 / 48_000 * np.arange(first, first + BLOCK)).astype(np.float32)
        found.append(Sound(begin + first / rate + float(rng.uniform(0, jitter)), samples))
    return found


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_a_drifting_clock_stays_within_60_ms_over_10_minutes(ppm: float) -> None:
    steady, given, worst, unheard = SteadySound(), 0, 0.0, 0
    for sound in blocks(600, ppm, jitter=0.005):
        given += len(steady(sound))
        unheard += BLOCK
        worst = max(worst, abs(given / 48_000 - (sound.seconds + 0.02)))
    assert worst < 0.03
    assert (unheard - given) / 48_000 == pytest.approx(0.12 * np.sign(ppm), abs=0.03)  # what it would be away


def test_a_steady_clock_changes_nothing() -> None:
    steady = SteadySound()
    for sound in blocks(2):
        assert np.abs(steady(sound)[1:] - sound.samples[:-1]).max() < 0.06  # one sample later
    assert steady.begun == 0


def test_what_is_stretched_has_no_clicks() -> None:
    steady = SteadySound()
    out = np.concatenate([steady(sound) for sound in blocks(5, 1000)])
    usual = 2 * np.pi * 440 / 48_000
    assert np.abs(np.diff(out[1:])).max() < 1.1 * usual


def test_a_gap_is_filled_and_too_much_is_left_out() -> None:
    steady = SteadySound()
    block = np.ones(BLOCK, np.float32)
    assert len(steady(Sound(0.0, block))) == BLOCK
    assert len(steady(Sound(1.0, block))) == 48_000  # from 0.02 to 1.02 s
    assert len(steady(Sound(0.02, block))) == 0  # it was heard already
    assert len(steady(Sound(1.02, block))) == BLOCK
    assert GAP < 0.9


def test_chunks_have_the_times_of_the_picture() -> None:
    coder = SoundCoder(12_000)
    skip = coder.config.pre_skip
    assert coder.chunk(5.0) is None
    for sound in blocks(0.4, begin=5.1):
        coder.heard(sound)
    assert coder.chunk(None) is None  # no picture yet
    chunk = coder.chunk(5.0)
    assert chunk is not None
    assert chunk.first_packet_pts == 4800 - skip
    first_end = chunk.first_packet_pts + sum(map(opus_samples, chunk.packets))
    for sound in blocks(0.2, begin=5.5):
        coder.heard(sound)
    after = coder.chunk(5.0)
    assert after is not None
    assert after.first_packet_pts == first_end


def test_sound_that_nobody_takes_does_not_grow() -> None:
    coder = SoundCoder(12_000)
    for sound in blocks(30):
        coder.heard(sound)
    assert len(coder._packets) == WAITING_PACKETS
    chunk = coder.chunk(29.9)  # the picture begins now: what was before is not sent
    assert chunk is not None
    assert chunk.first_packet_pts >= -PRE_ROLL
    assert coder._encoder.taken() == []
