"""Streams as training data: arrays, sound, frames; in order, shuffled, in worker processes."""

from __future__ import annotations

import multiprocessing
import pickle
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import stylecodec
from stylecodec import datasets
from stylecodec.datasets import Sample
from stylecodec.errors import FormatError, MediaError, OptionError
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.decoding import streams
from tests.tiny import FixedFace, write_clip

COUNTS = {"a": 12, "b": 7, "c": 20}  # frames; a group has 5


@pytest.fixture(autouse=True)
def _packs(monkeypatch: pytest.MonkeyPatch, tiny_pack: ModelPack) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))


@pytest.fixture(scope="module")
def folder(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streams in a folder, one of them in a tar."""
    place = tmp_path_factory.mktemp("datasets")
    for seed, (name, count) in enumerate(COUNTS.items()):
        (place / f"{name}.stc").write_bytes(streams.stream(tiny_pack, count, identities=(1, 2), seed=seed))
    with tarfile.open(place / "z.tar", "w") as tar:
        tar.add(place / "c.stc", "sub/c.stc")
        tar.add(place / "c.stc", "sub/c.txt")
    (place / "c.stc").unlink()
    return place


def all_windows(window: int, hop: int | None = None) -> list[tuple[str, int]]:
    names = {"a": "a", "b": "b", "c": "sub/c"}
    return [(names[n], start) for n, count in COUNTS.items() for start in range(0, count - window + 1, hop or window)]


def test_whole_streams(folder: Path) -> None:
    clips = stylecodec.datasets.StreamDataset(folder)
    assert [(sample.name, len(sample)) for sample in clips] == [("a", 12), ("b", 7), ("sub/c", 20)]
    one = clips[-1]
    assert one.motion.dtype == torch.float32
    assert np.array_equal(one.motion.numpy(), streams.packets(20, seed=2).astype(np.float32).T)
    assert np.array_equal(one.identity.numpy(), streams.identity(1).latent.astype(np.float32))
    with pytest.raises(IndexError):
        clips[3]


def test_windows(folder: Path) -> None:
    clips = datasets.StreamDataset(folder, window=5, hop=3)
    assert [(sample.name, sample.start) for sample in clips] == all_windows(5, 3)
    sample = clips[2]
    assert np.array_equal(sample.motion.numpy(), streams.packets(12, seed=0)[6:11].astype(np.float32).T)
    assert np.array_equal(sample.identity.numpy(), streams.identity(2).latent.astype(np.float32))  # of its first frame


def test_frames_are_rendered_when_they_are_asked_for(folder: Path) -> None:
    exact: dict[str, Any] = {"size": 32, "device": "cpu", "precision": "float32"}
    clips = datasets.StreamDataset(folder, window=5, **exact)
    frames = clips[2].frames
    assert len(frames) == 5
    with stylecodec.Decoder.open(folder / "b.stc", **exact) as decoder:
        expected = decoder[0:5]
    assert torch.equal(frames.tensor(), expected)
    assert torch.equal(frames[2], expected[2])
    assert torch.equal(frames[1:3], expected[1:3])
    assert torch.equal(torch.stack(list(frames)), expected)
    assert frames[5:].shape == (0, 32, 32, 3)
    with pytest.raises(IndexError):
        frames[5]
    assert torch.equal(pickle.loads(pickle.dumps(frames))[0], expected[0])


def test_collate_fills_up(folder: Path) -> None:
    batch = datasets.collate(list(datasets.StreamDataset(folder)))
    assert batch.motion.shape == (3, 35, 20)
    assert batch.lengths.tolist() == [12, 7, 20]
    assert batch.mask.sum(dim=1).tolist() == [12, 7, 20]
    assert not batch.motion[1, :, 7:].any()
    assert batch.identity.shape == (3, 18, 512)
    assert torch.equal(batch.to("cpu").motion, batch.motion)
    with pytest.raises(ValueError, match="one sample"):
        datasets.collate([])


def test_groups_are_shuffled_and_their_samples_stay_near(folder: Path) -> None:
    clips = datasets.StreamDataset(folder, window=1)
    assert sorted(number for group in clips.groups() for number in group) == list(range(len(clips)))
    assert [len(group) for group in clips.groups()] == [5, 5, 2, 5, 2, 5, 5, 5, 5]
    sampler = datasets.GroupSampler(clips, seed=1, mixed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(len(clips)))
    assert first != second
    sampler.epoch = 0
    assert list(sampler) == first
    of = {number: k for k, group in enumerate(clips.groups()) for number in group}
    changes = sum(of[a] != of[b] for a, b in pairwise(first))
    assert changes == len(clips.groups()) - 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine of one core
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_worker_processes_see_every_sample_once(folder: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    clips = datasets.StreamDataset(folder, window=3)
    expected = {(sample.name, sample.start): sample.motion for sample in clips}  # opened here, and again there
    stream = datasets.StreamIterable(folder, window=3, mixed=4)
    for source, sampler in ((clips, datasets.GroupSampler(clips)), (stream, None)):
        loader = DataLoader(
            source, 4, sampler=sampler, collate_fn=datasets.collate, num_workers=2, multiprocessing_context=method
        )
        found = {}
        for batch in loader:
            for name, start, motion in zip(batch.names, batch.starts.tolist(), batch.motion, strict=True):
                assert (name, start) not in found
                found[name, start] = motion
        assert set(found) == set(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_an_iterable_comes_in_another_order_each_time(folder: Path) -> None:
    stream = datasets.StreamIterable(folder, window=2, mixed=4, seed=3)

    def names(samples: Iterator[Sample]) -> list[tuple[str, int]]:
        return [(sample.name, sample.start) for sample in samples]

    first, second = names(iter(stream)), names(iter(stream))
    assert first != second
    assert sorted(first) == sorted(second) == sorted(all_windows(2))
    assert names(iter(datasets.StreamIterable(folder, window=2, mixed=4, seed=3))) == first
    assert names(iter(datasets.StreamIterable(folder, window=2, shuffle=False))) == all_windows(2)


def test_sound(tiny_pack: ModelPack, tmp_path: Path) -> None:
    """A tone of 440 Hz comes back as one, in step; a stream without sound is silent."""
    options = stylecodec.EncodeOptions(
        pack=tiny_pack.folder,
        device="cpu",
        likeness="off",
        profile="raw",
        audio_bitrate=32_000,
        fit=stylecodec.FitOptions(False),
        landmark_correction=stylecodec.LandmarkCorrectionOptions(enabled=False),
    )
    stylecodec.encode(write_clip(tmp_path / "a.mp4", 10), tmp_path / "a.stc", options, front_end=FixedFace())
    one = datasets.StreamDataset(tmp_path / "a.stc", window=5, sound=True)[1]
    assert one.sound.shape == (5 * one.sound_rate // 25,)
    spectrum = torch.fft.rfft(one.sound).abs()
    assert int(spectrum.argmax()) * one.sound_rate / len(one.sound) == pytest.approx(440, abs=5)
    (tmp_path / "b.stc").write_bytes(streams.stream(tiny_pack, 10))
    silent = datasets.StreamDataset(tmp_path / "b.stc", sound=True)[0]
    assert len(silent.sound) == silent.sound_rate
    assert not silent.sound.any()


def test_sources_that_hold_no_stream(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no stream in"):
        datasets.find_streams(tmp_path)
    with pytest.raises(OptionError, match="no file or folder"):
        datasets.find_streams(tmp_path / "none")
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(MediaError, match="uncompressed tar"):
        datasets.find_streams(tmp_path)
    (tmp_path / "a.tar").write_bytes((folder / "z.tar").read_bytes()[:4000])
    with pytest.raises(MediaError):
        datasets.find_streams(tmp_path)
    (tmp_path / "a.tar").unlink()
    (tmp_path / "a.stc").write_bytes(b"no stream")
    with pytest.raises(FormatError, match=r"a\.stc"):
        datasets.StreamDataset(tmp_path)


@pytest.mark.parametrize("changes", [{"window": 0}, {"hop": 2}, {"window": 2, "hop": 0}, {"size": 3}])
def test_options_that_make_no_sense(folder: Path, changes: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        datasets.StreamDataset(folder, **changes)  # type: ignore[arg-type]
