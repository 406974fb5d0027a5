"""Bytes of a stream file at any offset, for several threads and forked processes at once.

A file on disk is read with `os.pread`, which uses no file position that threads and forked processes would share. Any
other seekable object is read under a lock. What cannot seek (a pipe, stdin) is copied into a temporary file first.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import LimitExceeded, OptionError, Truncated

BLOCK_BYTES = 1 << 16  # read at once where all of a file is read
MAX_SPOOLED_BYTES = 1 << 30  # copied from an input that cannot seek

Source = str | os.PathLike[str] | BinaryIO
"""The path of a file, or a binary file that stays the caller's to close."""


class ByteSource:
    """A seekable file, read by offset.

    size: bytes of the file when it was opened. path: absolute, None for a file object and for a pipe.
    """

    def __init__(self, file: BinaryIO, path: str | None = None, *, close_file: bool = False) -> None:
        self.path = path
        self._file, self._close_file = file, close_file
        self.size = file.seek(0, os.SEEK_END)
        self._raw = _raw_file(file)
        self._lock = threading.Lock()
        if self._raw is None:
            _LOCKED.add(self)

    @classmethod
    def open(cls, source: Source) -> ByteSource:
        """Open a path or take a file object.

        An input that cannot seek is read to its end into a temporary file, up to 1 GiB (LimitExceeded beyond).
        Raises OSError, and OptionError for a file in text mode.
        """
        file, path = _binary(source)
        owned = path is not None
        try:
            if file.seekable():
                return cls(file, path, close_file=owned)
            spool = _spooled(file)
        except BaseException:
            if owned:
                file.close()
            raise
        if owned:
            file.close()
        return cls(spool, close_file=True)

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on; Truncated if the file has fewer."""
        if offset > sys.maxsize - count:  # a place that no system can ask for
            raise Truncated("the file ends early", self.size)
        data = self._some(offset, count)
        while 0 < len(data) < count:
            more = self._some(offset + len(data), count - len(data))
            if not more:
                break
            data += more
        if len(data) < count:
            raise Truncated("the file ends early", offset + len(data))
        return data

    def blocks(self) -> Iterator[bytes]:
        """The whole file in order, in blocks of 64 KiB; several iterations may be under way at a time."""
        for offset in range(0, self.size, BLOCK_BYTES):
            yield self.read(offset, min(BLOCK_BYTES, self.size - offset))

    def close(self) -> None:
        """Close the file, unless it is the caller's."""
        if self._close_file:
            self._file.close()

    def _some(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset` on, none at the end of the file."""
        if self._raw is not None:
            return os.pread(self._raw.fileno(), count, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)


def read_blocks(source: Source) -> Iterator[bytes]:
    """All bytes of a path or file object in order, in portions of at most 64 KiB.

    A file that can seek is read from its beginning, a pipe from where it is, without a copy.
    Raises OSError, and OptionError for a file in text mode.
    """
    file, path = _binary(source)
    try:
        if file.seekable():
            file.seek(0)
        while block := file.read(BLOCK_BYTES):
            yield block
    finally:
        if path is not None:
            file.close()


def _binary(source: Source) -> tuple[BinaryIO, str | None]:
    """A binary file, and its absolute path where it was opened here."""
    if isinstance(source, str | os.PathLike):
        file = open(source, "rb")  # noqa: SIM115 (it stays open)
        path = os.fspath(source)
        # Not os.path.abspath: it would resolve ".." without following links.
        return file, path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    if isinstance(source, io.TextIOBase):
        raise OptionError("a stream is bytes: open the file in binary mode")
    return source, None


def _raw_file(file: BinaryIO) -> io.FileIO | None:
    """The file of the operating system behind a plain file object, None for any other object.

    Subclasses and wrappers (gzip, sockets, archives) may have a descriptor too, but with other bytes behind it.
    """
    if not hasattr(os, "pread"):
        return None
    if isinstance(file, io.BufferedRandom):
        file.flush()
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file  # type: ignore[attr-defined]
    return raw if type(raw) is io.FileIO else None


def _spooled(file: BinaryIO) -> BinaryIO:
    """A temporary file with all bytes that `file` still gives; LimitExceeded above MAX_SPOOLED_BYTES."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 (it stays open)
    try:
        total = 0
        while block := file.read(BLOCK_BYTES):
            total += len(block)
            if total > MAX_SPOOLED_BYTES:
                raise LimitExceeded(
                    f"a stream from a pipe may have {MAX_SPOOLED_BYTES:,} bytes; store a longer one in a file first"
                )
            spool.write(block)
    except BaseException:
        spool.close()
        raise
    return spool


#: Sources that are read under a lock. A forked process gets new locks: another thread may have held the old ones.
_LOCKED: weakref.WeakSet[ByteSource] = weakref.WeakSet()


def _renew_locks() -> None:
    for source in _LOCKED:
        source._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
