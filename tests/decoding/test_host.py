"""The program around: what it has set in torch neither counts nor changes; its threads and workers share a decoder."""

from __future__ import annotations

import io
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.bitstream import StreamWriter
from stylecodec.bitstream.delta import Personalization
from stylecodec.decoding import packets
from stylecodec.decoding.decoder import Decoder
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack, open_pack
from tests.decoding import streams
from tests.decoding.test_personal import delta_of

SIZE = 32


@pytest.fixture(scope="module")
def path(tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of two identities, one of them with a personalised generator."""
    file = tmp_path_factory.mktemp("host") / "a.stc"
    one = Personalization.carried(streams.identity(1).digest, delta_of(tiny_pack))
    writer, values = StreamWriter(streams.header(tiny_pack)), streams.packets(12)
    data = writer.start() + writer.identity(streams.identity(1))
    data += writer.attach(one) + writer.group(values[:6])
    data += writer.identity(streams.identity(2)) + writer.group(values[6:]) + writer.finish()
    file.write_bytes(data)
    return file


def frames(path: Path, pack: ModelPack) -> list[np.ndarray]:
    """What a freshly opened pack makes of frames of both identities, as they are and before a blur."""
    found = []
    for background in ("render", "blur"):
        fresh = open_pack(pack.folder)  # its networks are built anew
        with Decoder.open(path, device="cpu", pack=fresh, size=SIZE, batch=1, background=background) as decoder:
            found += [np.asarray(frame) for frame in (decoder[2], decoder[8], decoder.at(0.1), decoder[5:7])]
    return found


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


HOSTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: default_device("meta"),
    "inference": torch.inference_mode,
    "gradients": torch.enable_grad,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.fixture(scope="module")
def expected(path: Path, tiny_pack: ModelPack) -> list[np.ndarray]:
    return frames(path, tiny_pack)


@pytest.mark.parametrize(
    "hosts",
    [
        ["float64", "autocast", "meta"],  # no two of them set the same thing
        ["bfloat16", "no gradients"],
        ["float16", "inference"],
        ["gradients"],
    ],
    ids=", ".join,
)
def test_settings_of_the_program_do_not_count(
    hosts: list[str], path: Path, tiny_pack: ModelPack, expected: list[np.ndarray]
) -> None:
    with ExitStack() as stack:
        for host in hosts:
            stack.enter_context(HOSTS[host]())
        found = frames(path, tiny_pack)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def test_random_numbers_are_left_alone(path: Path, tiny_pack: ModelPack, expected: list[np.ndarray]) -> None:
    torch.manual_seed(1234)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    found = frames(path, tiny_pack)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("host", [nullcontext, torch.inference_mode])
def test_frames_may_be_written_to(
    host: Callable[[], AbstractContextManager[object]], path: Path, tiny_pack: ModelPack
) -> None:
    with Decoder.open(path, device="cpu", pack=tiny_pack, size=SIZE) as decoder:
        with host():
            given = [decoder[3], decoder[2:4], *decoder.frames(3, 5)]
        clean = [frame.clone() for frame in given if isinstance(frame, torch.Tensor)]
        for frame in given:
            assert isinstance(frame, torch.Tensor)
            assert not frame.is_inference()
            frame[:8, :8] = 0
            frame += 1
        again = [decoder[3], decoder[2:4], *decoder.frames(3, 5)]
    assert all(torch.equal(a, b) for a, b in zip(again, clean, strict=True))  # type: ignore[arg-type]


def test_threads_share_a_decoder(path: Path, tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one identity and one personalised generator, so that they take each other's place."""
    monkeypatch.setattr(packets, "KEPT_ANCHORS", 1)
    monkeypatch.setattr(packets, "KEPT_GENERATORS", 1)
    with Decoder.open(path, device="cpu", pack=open_pack(tiny_pack.folder), size=SIZE, as_numpy=True) as decoder:
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda number: np.asarray(decoder[number]), [*range(12)] * 4))
        for number in range(12):
            assert all(np.array_equal(frame, decoder[number]) for frame in found[number::12])


def test_copies_open_the_file_again(
    path: Path, tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with Decoder.open(path.name, device="cpu", pack=tiny_pack, size=SIZE, pose="aligned", as_numpy=True) as decoder:
        packed, frame = pickle.dumps(decoder), decoder[4]
    monkeypatch.chdir(tmp_path)
    with pickle.loads(packed) as copy:
        assert copy.options.pose == "aligned"
        assert np.array_equal(copy[4], frame)
    with (
        Decoder.open(io.BytesIO(path.read_bytes()), device="cpu", pack=tiny_pack, size=SIZE) as decoder,
        pytest.raises(TypeError, match="open it by its path"),
    ):
        pickle.dumps(decoder)


WORKERS = """
import sys
import numpy as np, torch
from stylecodec import Decoder

class Frames(torch.utils.data.Dataset):
    def __init__(self, path, pack):
        self.decoder = Decoder.open(path, device="cpu", pack=pack, size=32, batch=1)
    def __len__(self):
        return 24
    def __getitem__(self, number):
        return self.decoder[number % 12], number % 12

if __name__ == "__main__":
    frames = Frames(*sys.argv[1:3])
    expected = [frames.decoder[number] for number in range(12)]
    for method in ("fork", "spawn"):
        loader = torch.utils.data.DataLoader(frames, batch_size=3, num_workers=2, multiprocessing_context=method)
        count = 0
        for pictures, numbers in loader:
            for picture, number in zip(pictures, numbers):
                assert torch.equal(picture, expected[int(number)]), (method, int(number))
                count += 1
        assert count == 24, method
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked there")
def test_workers_share_a_decoder(path: Path, tiny_pack: ModelPack, tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    subprocess.run([sys.executable, script, path, tiny_pack.folder], check=True, timeout=300)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf")])
def test_a_time_is_a_number(seconds: float, path: Path, tiny_pack: ModelPack) -> None:
    with (
        Decoder.open(path, device="cpu", pack=tiny_pack, size=SIZE) as decoder,
        pytest.raises(OptionError, match="a finite number of seconds"),
    ):
        decoder.at(seconds)
