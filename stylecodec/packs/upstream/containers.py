"""The files that foreign networks come in, opened as data: torch's three formats, raw pickles, dlib's predictors.

    zip      torch since 1.6: NAME/data.pkl and one stored (not compressed) entry NAME/data/KEY per storage
    stream   torch 0.1.9 to 1.5: five pickles in a row, then the storages in the order of the last one
    tar      torch before that: members storages, tensors and pickle
    pickle   one object: NVIDIA's networks, whose tensors may be stream files inside it
    dlib     not a pickle: a shape predictor in dlib's own serialisation
    safetensors  not a pickle either: names, shapes and numbers

Which one it is shows in the first bytes, never in the file's name. A file is mapped, not read: tensors are views of it.
"""

from __future__ import annotations

import mmap
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...errors import ImportRefused
from .calls import CALLS
from .inert_pickle import Machine
from .stack_machine import Budget, StackMachine
from .values import Name, Storage, storage_dtype, view_of, whole_numbers

Form = Literal["zip", "stream", "tar", "pickle", "dlib", "safetensors"]

FORMS: dict[Form, str] = {
    "zip": "torch zip archive",
    "stream": "torch legacy stream",
    "tar": "torch tar archive",
    "pickle": "raw pickle",
    "dlib": "dlib serialisation",
    "safetensors": "safetensors",
}
STREAM_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a torch stream
STREAM_VERSION = 1001
LOAD_FROM_BYTES = Name("torch.storage", "_load_from_bytes")  # a stream file within a pickle
SPARE_BYTES = 1 << 24
BYTES_AS_TEXT = 6  # protocol 2 spells bytes as text: what one byte of such a file may take until it is bytes again
MAX_ENTRIES = 100_000  # storages of a file; the largest published one has some 3,000


@dataclass(frozen=True, eq=False)
class Container:
    """An opened file: its form, and its content as inert data (for dlib, the mapped bytes)."""

    path: Path
    form: Form
    content: Any
    size: int  # bytes


def open_container(path: str | os.PathLike[str]) -> Container:
    """Open a file of any form. Raises ImportRefused, in one sentence, for everything else."""
    file = Path(path)
    try:
        with file.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size < 16:
                raise ImportRefused(f"it has {size} bytes: no network is that small")
            # A private copy on write: torch and numpy insist on memory that they could write to.
            data = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY))
    except OSError as error:
        raise ImportRefused(f"it cannot be read: {error.strerror or error}") from error
    form = recognise_form(data)
    content: Any
    if form == "zip":
        content = _load_zip(file, data)
    elif form == "tar":
        content = _load_tar(data)
    elif form == "dlib":
        content = data
    elif form == "safetensors":
        content = _load_safetensors(file)
    else:
        form, content = _load_pickle(data, Budget(copied=SPARE_BYTES + BYTES_AS_TEXT * size))
    return Container(file, form, content, size)


def recognise_form(data: memoryview) -> Form:
    """Tell the form from the first bytes; ImportRefused, with a guess at what it is, when there is none."""
    head = bytes(data[:512])
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    if head.startswith(b"\x01\x01") and head[2] in range(0x81, 0x89):
        return "dlib"
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= len(data) - 8:
        return "safetensors"
    if head[0] == 0x80 or head[:1] in b"(c]}":
        return "pickle"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html")):
        raise ImportRefused("it is a web page, not a network: the download page was saved in place of the file")
    if text.startswith(b"version https://git-lfs"):
        raise ImportRefused("it is a Git LFS pointer, not the file that it points to: fetch it with `git lfs pull`")
    if head.startswith((b"BZh", b"\x1f\x8b", b"\xfd7zXZ")):
        raise ImportRefused("it is compressed: unpack it first (bunzip2, gunzip, unxz)")
    forms = "torch, NVIDIA pickle, dlib, safetensors"
    raise ImportRefused(f"it is none of the forms that networks are published in ({forms})")


# --- torch zip ------------------------------------------------------------------------------------------------


def _load_zip(path: Path, data: memoryview) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise ImportRefused(f"it is a damaged or cut-off zip archive ({error})") from error
    if len(entries) > MAX_ENTRIES:
        raise ImportRefused(f"the archive has {len(entries):,} entries, more than any network")
    pickles = [name for name in entries if name.endswith("data.pkl") and name.count("/") <= 1]
    if len(pickles) != 1:
        raise ImportRefused("it is a zip archive, but not one that torch has written")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in entries:
        raise ImportRefused(
            "it is a TorchScript program, which can only be read by running it: bring the network's weights as a state "
            "dict or safetensors file"
        )
    order = entries.get(f"{prefix}byteorder")
    if order is not None and bytes(_stored(data, order)) != b"little":
        raise ImportRefused("its numbers are big-endian, as no published network's are")
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Any:
        kind, key, count = _storage_reference(reference)
        if key not in storages:
            entry = entries.get(f"{prefix}data/{key}")
            if entry is None:
                raise ImportRefused(f"the archive lacks the storage {key[:40]!r}")
            storages[key] = _filled(kind, count, _stored(data, entry))
        return storages[key]

    return Machine(_stored(data, entries[pickles[0]]), CALLS, persistent).load()


def _stored(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an entry that is stored as it is."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
        raise ImportRefused(f"the archive's entry {entry.filename[:60]!r} is compressed, which torch never does")
    start = entry.header_offset
    head = bytes(data[start : start + 30])
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise ImportRefused("it is a damaged zip archive")
    begin = start + 30 + sum(struct.unpack("<HH", head[26:30]))
    if begin + entry.file_size > len(data):
        raise ImportRefused("the archive ends within an entry: it is cut off or damaged")
    return data[begin : begin + entry.file_size]


def _storage_reference(reference: Any) -> tuple[Any, str, int]:
    """('storage', type, key, where, count, ...) -> type, key, count; where it was saved (cuda:0) does not matter."""
    if (
        isinstance(reference, tuple)
        and len(reference) >= 5
        and reference[0] == "storage"
        and isinstance(reference[2], str)
        and len(reference[2]) < 64
    ):
        (count,) = whole_numbers((reference[4],))
        return reference[1], reference[2], count
    raise ImportRefused("the pickle refers to something that is no tensor")


def _filled(kind: Any, count: int, data: memoryview) -> Storage:
    dtype = storage_dtype(kind)
    if count * dtype.itemsize > len(data):
        raise ImportRefused(f"a storage should have {count:,} values, but only {len(data):,} bytes are there")
    return Storage(dtype, count, data)


# --- safetensors ----------------------------------------------------------------------------------------------


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ImportRefused(f"it is a damaged safetensors file ({error})") from error


# --- torch stream, and pickles of NVIDIA's ----------------------------------------------------------------------


def _load_pickle(data: memoryview, budget: Budget) -> tuple[Form, Any]:
    """A raw pickle, or a torch stream, which begins with one that holds a magic number."""

    def nested(machine: StackMachine, arguments: tuple[Any, ...]) -> Any:
        inner = arguments[0] if len(arguments) == 1 else None
        if isinstance(inner, bytes):
            inner = memoryview(inner)
        if not isinstance(inner, memoryview):
            raise ImportRefused("the pickle holds a tensor without bytes")
        budget.depth -= 1
        if budget.depth < 0:
            raise ImportRefused("the pickle holds pickles in pickles in pickles")
        form, content = _load_pickle(inner, budget)
        budget.depth += 1
        if form != "stream":
            raise ImportRefused("the pickle holds another one where a tensor belongs")
        return content

    machine = Machine(data, {**CALLS, LOAD_FROM_BYTES: nested}, budget=budget)
    content = machine.load()
    if content != STREAM_MAGIC:
        return "pickle", content
    return "stream", _load_stream(machine)


def _load_stream(machine: Machine) -> Any:
    """What follows a stream's magic number."""
    if machine.load() != STREAM_VERSION:
        raise ImportRefused("the torch stream is of an unknown version")
    machine.load()  # facts about the machine that wrote it
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Any:
        kind, key, count = _storage_reference(reference)
        if len(reference) > 5 and reference[5] is not None:
            raise ImportRefused("the torch stream has storages within storages, as no published network has")
        return storages.setdefault(key, Storage(storage_dtype(kind), count))

    inner = Machine(machine.data, machine.calls, persistent, machine.position, machine.budget)
    content = inner.load()
    keys = inner.load()
    if not isinstance(keys, list) or len(keys) > MAX_ENTRIES:
        raise ImportRefused("the torch stream has no list of its storages")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise ImportRefused("the torch stream lists a storage that no tensor has")
        _read_counted(inner, storage)
    return content


def _read_counted(machine: Machine, storage: Storage) -> None:
    """Bytes of a storage, after their number of values."""
    count = machine.number("<q")
    if count != storage.count:
        raise ImportRefused(f"a storage should have {storage.count:,} values, not {count:,}")
    storage.data = machine.take(count * storage.dtype.itemsize)


# --- torch tar --------------------------------------------------------------------------------------------------


def _load_tar(data: memoryview) -> Any:
    members = _members(data)
    machine = Machine(members("storages"), CALLS)
    storages: dict[Any, Storage] = {}
    for _ in range(_count(machine.load())):
        entry = machine.load()
        if not isinstance(entry, tuple) or len(entry) != 3 or not isinstance(entry[0], int):
            raise ImportRefused("the tar archive has a storage without a key")
        storage = Storage(storage_dtype(entry[2]), machine.number("<q"))
        storage.data = machine.take(storage.count * storage.dtype.itemsize)
        storages[entry[0]] = storage
    if machine.load():
        raise ImportRefused("the tar archive has storages within storages, as no published network has")
    machine = Machine(members("tensors"), CALLS)
    tensors: dict[str, Any] = {}
    for _ in range(_count(machine.load())):
        entry = machine.load()
        if not isinstance(entry, tuple) or len(entry) != 3 or not all(isinstance(v, int) for v in entry[:2]):
            raise ImportRefused("the tar archive has a tensor without a key")
        (axes,) = whole_numbers((machine.number("<i"),))
        machine.take(4)  # the number of axes was once written with eight bytes
        shape, stride = machine.number_list(axes), machine.number_list(axes)
        tensors[str(entry[0])] = view_of(storages.get(entry[1]), machine.number("<q"), shape, stride)

    def persistent(reference: Any) -> Any:
        if isinstance(reference, str | int) and str(reference) in tensors:
            return tensors[str(reference)]
        raise ImportRefused("the pickle refers to something that is no tensor")

    return Machine(members("pickle"), CALLS, persistent).load()


def _members(data: memoryview) -> Callable[[str], memoryview]:
    """Gives the bytes of plain members by name."""
    try:
        with tarfile.open(fileobj=_Reader(data), mode="r:") as archive:  # type: ignore[call-overload]
            found = {member.name: member for member in archive if member.isreg() and not member.issparse()}
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise ImportRefused(f"it is a damaged tar archive ({error})") from error

    def member(name: str) -> memoryview:
        if name not in found:
            raise ImportRefused("it is a tar archive, but not one that torch has written")
        begin, size = found[name].offset_data, found[name].size
        if not 0 <= size <= len(data) - begin:
            raise ImportRefused("the archive ends within a member: it is cut off or damaged")
        return data[begin : begin + size]

    return member


class _Reader:
    """The little of a file that tarfile asks for."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0

    def read(self, count: int = -1) -> bytes:
        end = len(self.data) if count < 0 else min(self.position + count, len(self.data))
        part = bytes(self.data[self.position : end])
        self.position = max(end, self.position)
        return part

    def seek(self, position: int, whence: int = 0) -> int:
        self.position = max(0, position + (0, self.position, len(self.data))[whence])
        return self.position

    def tell(self) -> int:
        return self.position


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_ENTRIES:
        raise ImportRefused("the tar archive has an impossible number of tensors")
    return value
