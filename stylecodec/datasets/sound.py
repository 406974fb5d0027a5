"""A stream's sound as samples."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream import StreamFile
from ..extras import need_extra

SOUND_RATE = 16_000  # samples per second that training gets

_decoded: WeakKeyDictionary[StreamFile, NDArray[np.float32]] = WeakKeyDictionary()


def waveform(stream: StreamFile, begin: float, end: float) -> Tensor:
    """float32 [n]: mono, SOUND_RATE per second, of these seconds of a stream; silence where it has no sound."""
    if stream not in _decoded:
        _decoded.clear()
        _decoded[stream] = _whole(stream)
    first, last = round(begin * SOUND_RATE), round(end * SOUND_RATE)
    found = _decoded[stream][first:last]
    return torch.from_numpy(np.pad(found, (0, last - first - len(found))))


def _whole(stream: StreamFile) -> NDArray[np.float32]:
    need_extra("video", "the sound of a stream")
    from ..media.opus_decoder import decode_opus
    from ..opus_chunks import opus_track

    track = opus_track(stream)
    return np.zeros(0, np.float32) if track is None else decode_opus(track, SOUND_RATE)
