"""The reader of foreign pickles: data comes out as it went in, everything else is refused and never run."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylecodec.errors import ImportRefused
from stylecodec.packs.upstream.containers import open_container
from stylecodec.packs.upstream.importer import import_files
from stylecodec.packs.upstream.recognition import recognise
from stylecodec.packs.upstream.values import Record, array_of
from tests.packs.upstream.foreign_files import Persistent, stand_ins, write_nvidia

CANARY = "executed"


def refused(path: Path, data: bytes) -> str:
    """Write `data` and have it refused; the sentence."""
    path.write_bytes(data)
    with pytest.raises(ImportRefused) as caught:
        recognise(open_container(path))
    return str(caught.value)


def pad(data: bytes) -> bytes:
    """At least as long as any network file."""
    return data + bytes(max(0, 32 - len(data)))


# --- what is data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**40, -(2**70), 1.5, True, False, None],
        "text": ("a", "ü" * 300, "", "x" * 5000),
        "bytes": [b"", b"abc", bytes(range(256))],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "nested": OrderedDict(a={"b": [[]]}),
        3: "three",
    }
    path = tmp_path / "plain"
    path.write_bytes(pickle.dumps(value, protocol))
    assert open_container(path).content == value


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_and_numbers_of_numpy(tmp_path: Path, protocol: int) -> None:
    arrays = [np.arange(12, dtype="<f4").reshape(3, 4), np.asfortranarray(np.eye(3)), np.arange(3, dtype=">i2")]
    path = tmp_path / "arrays"
    path.write_bytes(pickle.dumps([arrays, np.float32(2.5), np.int64(7)], protocol))
    found, number, whole = open_container(path).content
    for record, array in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(array_of(record), array)
    assert (number, whole) == (2.5, 7)


def test_old_names_of_numpy(tmp_path: Path) -> None:
    data = pickle.dumps([np.arange(5.0)], protocol=2)
    path = tmp_path / "old"
    path.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    np.testing.assert_array_equal(array_of(open_container(path).content[0]), np.arange(5.0))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_tensors_are_views_of_the_file(tmp_path: Path, zipped: bool) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "whole": whole,
        "turned": whole.t(),
        "part": whole[1:3, ::2],
        "half": torch.ones(3).half(),
        "count": torch.tensor(7),
        "none": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }
    torch.save(tensors, tmp_path / "t", _use_new_zipfile_serialization=zipped)
    found = open_container(tmp_path / "t").content
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name].tensor(), tensor.detach(), rtol=0, atol=0)


def test_objects_are_inert_records(tmp_path: Path) -> None:
    with stand_ins() as fakes:
        data = pickle.dumps(Persistent(fakes.reconstruct, "Generator", {"x": 1}))
    path = tmp_path / "object"
    path.write_bytes(data)
    content = open_container(path).content
    assert isinstance(content, Record)
    assert content.arguments[0]["state"] == {"x": 1}


# --- what is not --------------------------------------------------------------------------------------------------

SHELL = f"touch {CANARY}".encode()
TEXT = b"X" + struct.pack("<I", len(SHELL)) + SHELL
SHORT = b"\x8c" + bytes([len(SHELL)]) + SHELL


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


class Shell:
    """What its unpickling would run."""

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {CANARY}",)


def nested_in_a_tensor() -> bytes:
    """os.system within the bytes that torch.storage._load_from_bytes is given."""
    inner = pickle.dumps(Shell())
    return b"\x80\x02ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(inner)) + inner + b"tR."


def nested_deeply() -> bytes:
    """Pickles in pickles in pickles."""
    data = b"\x80\x02K\x01."
    for _ in range(20):
        data = b"\x80\x02ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(data)) + data + b"tR."
    return data


def as_zip(data: bytes, name: str = "archive/data.pkl", compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, data)
    return file.getvalue()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "global": (b"\x80\x02cposix\nsystem\n" + TEXT + b"\x85R.", r"posix\.system"),
    "global in protocol 0": (b"cos\nsystem\n(S'touch executed'\ntR." + b" " * 8, r"os\.system"),
    "stack_global": (b"\x80\x04" + short("os") + short("system") + b"\x93" + SHORT + b"\x85R.", r"os\.system"),
    "inst": (b"\x80\x02(" + TEXT + b"ios\nsystem\n.", r"os\.system"),
    "obj": (b"\x80\x02(cos\nsystem\n" + TEXT + b"o.", r"os\.system"),
    "newobj": (b"\x80\x02csubprocess\nPopen\n" + TEXT + b"\x85\x81.", r"subprocess\.Popen"),
    "newobj_ex": (b"\x80\x04csubprocess\nPopen\n" + TEXT + b"\x85}\x92.", r"subprocess\.Popen"),
    "keywords": (b"\x80\x04ccollections\nOrderedDict\n)}" + short("a") + b"K\x01s\x92.", "keywords"),
    "eval": (b"\x80\x02cbuiltins\neval\n" + TEXT + b"\x85R.", r"builtins\.eval"),
    "getattr": (b"\x80\x02c__builtin__\ngetattr\n)R" + bytes(8) + b".", r"getattr"),
    "torch's own loader": (b"\x80\x02ctorch\nload\n" + TEXT + b"\x85R.", r"torch\.load"),
    "download": (b"\x80\x02ctorch.hub\nload_state_dict_from_url\n" + TEXT + b"\x85R.", "hub"),
    "call by name": (b"\x80\x02cdnnlib.util\ncall_func_by_name\n" + TEXT + b"\x85R.", "call_func_by_name"),
    "dotted name": (b"\x80\x04" + short("torch") + short("serialization.os.system") + b"\x93)R.", "serialization"),
    "system as an argument": (pickle.dumps({"state_dict": {"a": [Shell()]}}), r"\.system"),
    "system in a tensor's bytes": (nested_in_a_tensor(), r"\.system"),
    "system in a zip": (as_zip(pickle.dumps(Shell())), r"\.system"),
    "pickles in pickles": (nested_deeply(), "pickles in pickles"),
    "extension": (b"\x80\x02\x82\x01" + bytes(16), "registered number"),
    "extension of four bytes": (b"\x80\x02\x84\x01\x00\x00\x00" + bytes(16), "registered number"),
    "persistent reference": (b"\x80\x02" + TEXT + b"Q." + bytes(8), "outside itself"),
    "reference in text": (b"\x80\x02Pstorage\n." + bytes(8), "outside itself"),
    "reference within a reference": (as_zip(b"\x80\x02" + TEXT + b"Q\x85Q."), "no tensor"),
    "huge bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + bytes(16), "cut off"),
    "huge text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + bytes(16), "cut off"),
    "huge bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 63) + bytes(16), "cut off"),
    "huge number": (b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + bytes(16), "whole number"),
    "number of negative length": (b"\x80\x02\x8b" + struct.pack("<i", -8) + bytes(16), "whole number"),
    "string of negative length": (b"\x80\x02T" + struct.pack("<i", -8) + bytes(16), "cut off"),
    "decimal without end": (b"\x80\x02L" + b"9" * 5000 + b"L\n.", "without an end"),
    "long decimal": (b"\x80\x02L" + b"9" * 3000 + b"L\n.", "number that is none"),
    "out-of-band buffer": (b"\x80\x05\x97." + bytes(16), "opcode 0x97"),
    "unknown opcode": (b"\x80\x02\xff." + bytes(16), "opcode 0xff"),
    "protocol of the future": (b"\x80\x7f." + bytes(16), "protocol 127"),
    "empty stack": (b"\x80\x020." + bytes(16), "never made"),
    "unknown memo": (b"\x80\x02h\x07." + bytes(16), "never kept"),
    "no mark": (b"\x80\x02K\x01t." + bytes(16), "never began"),
    "calling data": (b"\x80\x02K\x01)R." + bytes(16), "not a function"),
    "items of a number": (b"\x80\x02K\x01K\x01K\x01s." + bytes(16), "no table"),
    "values of a number": (b"\x80\x02K\x01K\x01a." + bytes(16), "no list"),
    "state of a number": (b"\x80\x02K\x01K\x01b." + bytes(16), "no object"),
    "list as a key": (b"\x80\x02}]K\x01s." + bytes(16), "keys"),
    "tuple as a key": (b"\x80\x02})K\x01s." + bytes(16), "keys"),
    "mark as a value": (b"\x80\x02(." + bytes(16), "never made"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_not_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    data, words = HOSTILE[name]
    assert re.search(words, refused(tmp_path / "in" / "hostile.pt", pad(data)))
    with pytest.raises(ImportRefused, match=r"hostile\.pt is not imported"):
        import_files(["in/hostile.pt"], "mine", tmp_path / "packs")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["hostile.pt", "in"]


def test_memory_is_not_filled_by_repetition(tmp_path: Path) -> None:
    """One long text turned into bytes again and again; and marks, memo places and lists without end."""
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20)
    again = b"c_codecs\nencode\nh\x00" + short("latin1") + b"\x86R0"
    assert "fill the memory" in refused(tmp_path / "a", b"\x80\x04" + text + b"q\x000" + again * 64 + b"N.")
    assert "steps" in refused(tmp_path / "b", b"\x80\x02" + b"N0" * 510_000 + b"N.")
    path = tmp_path / "c"
    path.write_bytes(b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b"." + bytes(16))  # a far memo place costs nothing
    assert open_container(path).content is None


TEXT = b"X" + struct.pack("<I", 65_000) + b"x" * 65_000
TABLE = b"}(" + b"".join(b"J" + struct.pack("<i", k) + b"N" for k in range(5000)) + b"u"
PAIRS = b"](" + b"".join(b"J" + struct.pack("<i", k) + b"N\x86" for k in range(5000)) + b"e"


@pytest.mark.parametrize(
    ("value", "call", "step"),
    [
        (TEXT, b"c_codecs\nencode\n", b"h\1h\0h\2\x86R"),  # 4 GB of bytes
        (TABLE, b"ccollections\nOrderedDict\n", b"h\1h\0\x85R"),
        (PAIRS, b"ccollections\nOrderedDict\n", b"h\1h\0\x85R"),
        (PAIRS, b"ccollections\nOrderedDict\n", b"h\1h\0\x85R0"),  # time instead of memory
    ],
    ids=["texts", "tables", "pairs", "pairs thrown away"],
)
def test_a_call_repeated_does_not_fill_the_memory(tmp_path: Path, value: bytes, call: bytes, step: bytes) -> None:
    program = b"\x80\2" + value + b"q\0" + call + b"q\1X\6\0\0\0latin1q\2" + step * 60_000 + b"."
    assert "repeats its data" in refused(tmp_path / "a", program)


def test_more_steps_than_any_network_has_are_refused(tmp_path: Path) -> None:
    """A short text encoded 60,000 times is 480 kB and took more than a second."""
    encode = b"X\1\0\0\0aq\0c_codecs\nencode\nq\1X\6\0\0\0latin1q\2" + b"h\1h\0h\2\x86R" * 60_000 + b"."
    assert "more than 250,000 steps" in refused(tmp_path / "a", b"\x80\2" + encode)
    assert "more than 250,000 steps" in refused(tmp_path / "b", b"\x80\2" + b"N" * 250_001 + b".")
    (tmp_path / "c").write_bytes(b"\x80\2" + b"N" * 249_000 + b".")
    assert open_container(tmp_path / "c").content is None


def test_values_within_themselves(tmp_path: Path) -> None:
    """Memo cycles and deep nesting end in a sentence, not in a crash."""
    tables = {
        "g_ema within itself": b"\x80\x02}q\x00" + short("g_ema") + b"h\x00s.",
        "state_dict within itself": b"\x80\x02}q\x00" + short("state_dict") + b"h\x00s.",
        "lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    }
    for name, data in tables.items():
        assert refused(tmp_path / name, pad(data))
    # a module that is its own child
    with stand_ins() as fakes:
        module = Persistent(fakes.reconstruct, "Generator", {"_parameters": {}, "_buffers": {}})
        module.attributes["_modules"] = {"a": "@"}
        data = pickle.dumps({"G_ema": module}, protocol=2)
    kept = [index for index, _, _ in _memo_of_dict(data)]
    for index in kept:
        cyclic = data.replace(b"X\x01\x00\x00\x00@", b"h" + bytes([index]))
        assert refused(tmp_path / "module", cyclic)


def _memo_of_dict(data: bytes) -> list[tuple[int, str, int]]:
    """Memo places of a pickle of protocol 2 below 100."""
    places = [op for op in pickletools.genops(data) if op[0].name == "BINPUT"]
    return [(int(argument), opcode.name, position or 0) for opcode, argument, position in places if argument < 100]


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [((4, 4), (4, 1), 0), ((2,), (1,), 7), ((2,), (-1,), 1), ((1 << 20, 1 << 20), (0, 0), 0), ((2,), (1 << 62,), 0)],
)
def test_tensors_beyond_their_storage(
    tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    def number(n: int) -> bytes:
        return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(" + short("storage") + b"ctorch\nFloatStorage\n" + short("0") + short("cpu") + b"K\x08tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape) + numbers(stride)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + tensor + b"\x89NtR.")
        archive.writestr("a/data/0", bytes(32))
    assert "tensor" in refused(tmp_path / "t.pt", file.getvalue())


def test_archives_that_torch_does_not_write(tmp_path: Path) -> None:
    bomb = as_zip(b"\x80\x02]" + b"N" * 50_000_000 + b".", compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "compressed" in refused(tmp_path / "bomb", bomb)
    assert "not one that torch has written" in refused(tmp_path / "zip", as_zip(b"x" * 40, "a.txt"))
    torch.save({"a": torch.ones(100)}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    assert "big-endian" in refused(tmp_path / "order", whole.replace(b"little", b"giant!"))
    with zipfile.ZipFile(tmp_path / "script", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        archive.writestr("a/constants.pkl", b"\x80\x02N.")
    assert "TorchScript" in refused(tmp_path / "s", (tmp_path / "script").read_bytes())


def test_files_that_are_something_else(tmp_path: Path) -> None:
    assert "web page" in refused(tmp_path / "a", b"<!DOCTYPE html><html><head><title>Google Drive</title>")
    assert "LFS" in refused(tmp_path / "b", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert "unpack" in refused(tmp_path / "c", b"BZh91AY&SY" + bytes(40))
    assert "that small" in refused(tmp_path / "d", b"")
    assert "none of the forms" in refused(tmp_path / "e", bytes(range(100, 200)))
    with pytest.raises(ImportRefused, match="cannot be read"):
        open_container(tmp_path / "nothing")
    with pytest.raises(ImportRefused, match="cannot be read"):
        open_container(tmp_path)


def test_cut_off_and_damaged_files_are_refused(tmp_path: Path) -> None:
    """Whatever bytes are missing or wrong: a sentence, or a file that is still data."""
    random = np.random.default_rng(0)
    states = {"a": torch.randn(3, 4), "n": OrderedDict(b=torch.arange(4))}
    torch.save(states, tmp_path / "zip")
    torch.save(states, tmp_path / "stream", _use_new_zipfile_serialization=False)
    write_nvidia(tmp_path / "pickle", {"mapping.w_avg": torch.zeros(4), "synthesis.b4.const": torch.zeros(2, 4, 4)})
    for form in ("zip", "stream", "pickle"):
        data = (tmp_path / form).read_bytes()
        for length in random.integers(0, len(data), 40):
            refused(tmp_path / "cut", data[:length])
        for _ in range(80):
            bytes_ = bytearray(data)
            bytes_[random.integers(len(data))] ^= 1 << random.integers(8)
            (tmp_path / "damaged").write_bytes(bytes_)
            with pytest.raises(ImportRefused):  # even undamaged it holds no network
                recognise(open_container(tmp_path / "damaged"))
