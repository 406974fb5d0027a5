"""Foreign checkpoints on their way into a pack: torch's three containers, raw pickles, dlib's predictors."""

from __future__ import annotations

import io
import pickle
import pickletools
import random
import shutil
import struct
import tarfile
import tempfile
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylecodec.errors import ImportRefused, OutputError, PackError
from stylecodec.packs.upstream.calls import CALLS
from stylecodec.packs.upstream.importer import import_files
from stylecodec.packs.upstream.values import SAFE_NAMES

from .judging import MIB, Signature, Surface
from .mutating import LIMITS, Mutations, mutated

NAMES = sorted({(name.module, name.name) for name in (*SAFE_NAMES, *CALLS)})
HEADS = {"alex": (64, 192, 384, 256, 256)}  # channels whose weights LPIPS has: the smallest file that is taken


# --- valid files ----------------------------------------------------------------------------------------------


def _heads() -> dict[str, Any]:
    random_state = torch.Generator().manual_seed(0)
    state = {
        f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1, generator=random_state)
        for k, width in enumerate(HEADS["alex"])
    }
    return OrderedDict(state)


def _encoder() -> dict[str, Any]:
    """The beginning of an e4e file: enough to be taken for one."""
    state = OrderedDict({"encoder.input_layer.0.weight": torch.zeros(4, 3, 3, 3)})
    state["encoder.body.0.res_layer.1.weight"] = torch.zeros(4, 4, 3, 3)
    state["encoder.styles.0.linear.weight"] = torch.zeros(8, 8)
    options = Namespace(encoder_type="Encoder4Editing", start_from_latent_avg=True)
    return {"state_dict": state, "latent_avg": torch.zeros(18, 8), "opts": options}


def _generator() -> dict[str, Any]:
    state = OrderedDict({"style.1.weight": torch.zeros(4, 4), "input.input": torch.zeros(1, 4, 4, 4)})
    state |= {"conv1.conv.weight": torch.zeros(1, 4, 4, 3, 3), "conv1.blur.kernel": torch.ones(4, 4)}
    return {"g_ema": state, "latent_avg": torch.zeros(4)}


def saved(content: Any, as_zip: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=as_zip)
    return file.getvalue()


def _raw_pickle(protocol: int) -> bytes:
    """Arrays, numbers and texts as NVIDIA's pickles hold them."""
    content = {"G_ema": None, "array": np.arange(6, dtype=np.float32).reshape(2, 3), "rate": np.float64(0.01)}
    return pickle.dumps({**content, "args": OrderedDict(a=[1, 2.5, "x"], b=(None, True, b"bytes"))}, protocol)


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _tar_members() -> dict[str, bytes]:
    """One tensor as torch wrote it before 0.1.9."""
    storages = pickle.dumps(1, 2) + pickle.dumps((0, "cpu", torch.FloatStorage), 2)
    storages += struct.pack("<q", 4) + bytes(16) + pickle.dumps([], 2)
    tensors = pickle.dumps(1, 2) + pickle.dumps((1000, 0, torch.FloatTensor), 2)
    tensors += struct.pack("<iiqqqqq", 2, 0, 2, 2, 2, 1, 0)
    content = b"\x80\x02}q\x00(X\x06\x00\x00\x00weightq\x01X\x04\x00\x00\x001000Qu."
    return {"storages": storages, "tensors": tensors, "pickle": content}


def number(value: int) -> bytes:
    """A whole number as dlib writes it."""
    magnitude = abs(value)
    size = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(size, "little")


def _predictor() -> list[int]:
    """Numbers of a shape predictor: 2 points, 1 cascade of 2 trees of depth 1, 3 pixels."""
    points, row = 2, [1, -4, -1]
    row += [8, -4] * (2 * points)  # mean shape: mantissa and exponent
    leaf = [-4, -1] + [1, -1] * (2 * points)
    tree = [1, 0, 1, 5, -3, 2, *leaf, *leaf]
    row += [1, 2, *tree, *tree]
    row += [1, 3, 0, 1, 0]
    return [*row, 1, 3, *([3, -2] * 6)]


def predictor(numbers: list[int]) -> bytes:
    return b"".join(map(number, numbers))


@cache
def seeds() -> dict[str, bytes]:
    return {
        "zip": saved(_heads(), True),
        "zip of encoder": saved(_encoder(), True),
        "zip of generator": saved(_generator(), True),
        "stream": saved(_heads(), False),
        "stream of encoder": saved(_encoder(), False),
        "tar": tar(_tar_members()),
        "pickle 2": _raw_pickle(2),
        "pickle 4": _raw_pickle(4),
        "pickle 5": _raw_pickle(5),
        "dlib": predictor(_predictor()),
    }


# --- damage that knows the format ---------------------------------------------------------------------------


@cache
def _zip_entries() -> tuple[dict[str, bytes], ...]:
    found = []
    for name in ("zip", "zip of encoder", "zip of generator"):
        with zipfile.ZipFile(io.BytesIO(seeds()[name])) as archive:
            found.append({one: archive.read(one) for one in archive.namelist()})
    return tuple(found)


def packed(entries: dict[str, bytes]) -> bytes:
    """A zip archive as torch writes it, checksums included."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def zipped_pickles(rng: random.Random) -> bytes:
    """The program of an archive changed, opcode by opcode; the archive around it is whole."""
    entries = dict(rng.choice(_zip_entries()))
    name = next(one for one in entries if one.endswith("data.pkl"))
    entries[name] = reprogrammed(entries[name], rng)
    if rng.random() < 0.1:
        entries.pop(rng.choice(list(entries)))
    if rng.random() < 0.1:
        other = rng.choice(list(entries))
        entries[other] = entries[other] * rng.choice((0, 2)) or mutated(entries[other], rng)
    return packed(entries)


def zip_heads(rng: random.Random) -> bytes:
    """Sizes, offsets and counts of an archive's directory at their limits."""
    data = bytearray(seeds()[rng.choice(("zip", "zip of encoder", "zip of generator"))])
    marks = [b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\3\4"]
    for _ in range(rng.randrange(1, 4)):
        mark = rng.choice(marks)
        found = [at for at in range(len(data)) if data.startswith(mark, at)] if mark in data else []
        if found:
            at, width = rng.choice(found) + rng.randrange(4, 46), rng.choice((1, 2, 4, 8))
            value = rng.choice((*LIMITS, 0, len(data), len(data) - 1)) % (1 << 8 * width)
            data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data)


def programs(rng: random.Random) -> bytes:
    """Raw pickles and torch streams with other opcodes."""
    return reprogrammed(seeds()[rng.choice(("pickle 2", "pickle 4", "pickle 5", "stream", "stream of encoder"))], rng)


def tar_members(rng: random.Random) -> bytes:
    """Members damaged; the archive around them is whole."""
    members = _tar_members()
    for _ in range(rng.randrange(1, 3)):
        name = rng.choice(list(members))
        members[name] = mutated(members[name], rng, most=3)
    if rng.random() < 0.1:
        del members[rng.choice(list(members))]
    return tar(members)


def tar_heads(rng: random.Random) -> bytes:
    """Heads of members with other sizes and kinds, their checksums made to fit, and many of them in a row."""
    data = bytearray(seeds()["tar"])
    for _ in range(rng.randrange(1, 3)):
        at = 512 * rng.randrange(len(data) // 512)
        head = data[at : at + 512]
        match rng.randrange(4):
            case 0:
                head[156] = rng.choice(b"0123456789LKxgSDVMN\0X")
            case 1:
                size = rng.choice((0, 1, 511, 512, 8**11 - 1, rng.randrange(8**11)))
                head[124:136] = f"{size:011o}".encode() + b"\0"
            case 2:  # a size in base 256, negative ones among them
                value = rng.choice((bytes(11), b"\xff" * 11, rng.randbytes(11)))
                head[124:136] = rng.choice((b"\x80", b"\xff")) + value
            case _:
                head = bytearray(mutated(bytes(head), rng, most=2)[:512].ljust(512, b"\0"))
        head[257:262] = b"ustar"
        head[148:156] = b" " * 8
        head[148:156] = f"{sum(head):06o}\0 ".encode()
        data[at : at + 512] = head * rng.choice((1, 1, 1, 3, 400, 2000))
    return bytes(data)


def dlib_numbers(rng: random.Random) -> bytes:
    """Numbers of a predictor at their limits, left out or doubled."""
    numbers = _predictor()
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(numbers))
        match rng.randrange(5):
            case 0:
                del numbers[at]
            case 1:
                numbers.insert(at, numbers[at])
            case _:
                value = rng.choice((*LIMITS, 0, 1, 2, 3, len(numbers), numbers[at] + 1, numbers[at] - 1))
                numbers[at] = rng.choice((1, -1)) * (value % (1 << rng.choice((8, 24, 62, 64))))
    return predictor(numbers)


# --- programs of pickle -----------------------------------------------------------------------------------------


@cache
def _operations(program: bytes) -> tuple[bytes, ...]:
    """The opcodes of the first pickle in some bytes, each with its argument; the rest as the last one."""
    places = [at for _, _, at in pickletools.genops(program) if at is not None]
    places.append(places[-1] + 1)  # behind STOP
    parts = [program[a:b] for a, b in pairwise(places)]
    return (*parts, program[places[-1] :])


@cache
def _vocabulary() -> tuple[bytes, ...]:
    """Opcodes of all seeds, and ones that lie about sizes or build on themselves."""
    found = [one for name in ("pickle 2", "pickle 4", "pickle 5") for one in _operations(seeds()[name])[:-1]]
    zipped = [data for entries in _zip_entries() for name, data in entries.items() if name.endswith("data.pkl")]
    found += [one for data in zipped for one in _operations(data)[:-1]]
    found += [bytes([code]) for code in range(256)]
    found += [f"c{module}\n{name}\n".encode() for module, name in NAMES]
    numbers = [value for value in LIMITS if value < 1 << 64]
    found += [b"\x8a" + bytes([len(raw)]) + raw for v in numbers if (raw := v.to_bytes(9, "little"))]
    found += [opcode + struct.pack("<I", v & 0xFFFFFFFF) for opcode in (b"B", b"X", b"T", b"j", b"r") for v in numbers]
    found += [opcode + struct.pack("<Q", v) for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95") for v in numbers]
    found += [b"I" + b"9" * 500 + b"\n", b"F1e999\n", b"Fnan\n", b"L1_0L\n", b"g-1\n", b"V" + b"x" * 5000 + b"\n"]
    return tuple(found)


def reprogrammed(program: bytes, rng: random.Random) -> bytes:
    """Opcodes left out, doubled, moved, replaced, repeated thousands of times."""
    *steps, rest = _operations(program)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(steps))
        match rng.randrange(7):
            case 0 if len(steps) > 2:
                del steps[at]
            case 1:
                steps.insert(at, rng.choice(steps))
            case 2:
                steps.insert(rng.randrange(len(steps)), steps.pop(at))
            case 3:
                steps[at] = rng.choice(_vocabulary())
            case 4:
                steps.insert(at, rng.choice(_vocabulary()))
            case 5 if rng.random() < 0.2:
                few = [rng.choice(_vocabulary()) for _ in range(rng.randrange(1, 4))]
                steps[at:at] = few * rng.choice((10, 1000, 20_000))
            case _:
                steps[at] = mutated(steps[at], rng, most=1)
    return b"".join(steps) + rest


def bombs(rng: random.Random) -> bytes:
    """One value made, then copied, nested or called upon again and again by a few opcodes each time."""
    size, count = rng.choice((100, 4000, 5000, 65_000, 66_000)), rng.choice((*(100,) * 6, *(5000,) * 3, 60_000))
    text = b"X" + struct.pack("<I", size) + b"x" * size
    table = b"}(" + b"".join(b"J" + struct.pack("<i", k) + b"N" for k in range(size // 10)) + b"u"
    values = b"](" + b"N" * size + b"e"
    value = rng.choice((text, table, values))
    module, name = rng.choice(NAMES)
    called = f"c{module}\n{name}\n".encode()
    latin = b"X\6\0\0\0latin1"
    calls = (b"h\1h\0h\2\x86R", b"h\1h\0\x85R", b"h\1h\0h\0\x86R")
    step = rng.choice((*calls, b"]h\0a", b"h\0\x85", b"(h\0l", b"h\0h\0a"))
    after = rng.choice((b"", b"0"))
    program = b"\x80\2" + value + b"q\0" + called + b"q\1" + latin + b"q\2" + (step + after) * count + b"."
    return program if rng.random() < 0.5 else packed({"a/data.pkl": program, "a/version": b"3"})


# --- the readers ------------------------------------------------------------------------------------------------


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="faults-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def read_import(data: bytes) -> Iterator[Signature]:
    """The whole way into a pack, which is gone again afterwards."""
    path = folder() / "checkpoint"
    path.write_bytes(data)
    try:
        report = import_files([path], "fuzzed", folder())
        yield "taken", " ".join(report.files[0].roles).encode()
    finally:
        shutil.rmtree(folder() / "fuzzed", ignore_errors=True)


def surface() -> Surface:
    special: dict[str, Callable[[random.Random], bytes]] = {
        "zipped pickles": zipped_pickles,
        "zip heads": zip_heads,
        "programs": programs,
        "bombs": bombs,
        "tar members": tar_members,
        "tar heads": tar_heads,
        "dlib numbers": dlib_numbers,
    }
    # 16 MiB are the pickle machine's own budget for copies.
    allowed = (ImportRefused, OutputError, PackError)
    return Surface(
        "checkpoint", {"import": read_import}, Mutations(seeds(), special), seeds(), allowed, factor=64, fixed=32 * MIB
    )
