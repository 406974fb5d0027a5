"""stdin and stdout in place of files, and standard streams that are closed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import BinaryIO

from ..errors import MediaError, OptionError, OutputError, StylecodecError
from ..files import reason

PIPE = "-"  # as the name of a file: stdin where it is read, stdout where it is written
_STDIN, _STDOUT = "stdin", "stdout"
_BLOCK_BYTES = 1 << 20


@contextmanager
def piped(inputs: Sequence[str], output: str | None = None) -> Iterator[tuple[list[str], str]]:
    """Paths in place of names of which some may be `-`: (paths of the inputs, path to write).

    What stdin holds is kept in a temporary file meanwhile. What is to go to stdout is written to a temporary file and
    copied when the block ends well, so that a failure writes nothing. Errors call them stdin and stdout.
    Raises OptionError (stdin twice, a terminal), MediaError (stdin is closed or cannot be read), OutputError.
    """
    if PIPE not in (*inputs, output):
        yield list(inputs), output or ""
        return
    if inputs.count(PIPE) > 1:
        raise OptionError("stdin can be read once: only one input may be -")
    from tempfile import TemporaryDirectory  # which takes a fifth of the time of --help

    sink = data_output() if output == PIPE else None
    with TemporaryDirectory(prefix="stylecodec-") as folder:
        source, target = Path(folder, _STDIN), Path(folder, _STDOUT)
        if PIPE in inputs:
            _keep_stdin(source)
        try:
            yield [str(source) if path == PIPE else path for path in inputs], str(target) if sink else output or ""
        except StylecodecError as error:
            sentence = str(error).replace(str(source), _STDIN).replace(str(target), _STDOUT)
            error.args = (sentence, *error.args[1:])
            raise
        if sink is not None:
            _copy_to_stdout(target, sink)


def data_output() -> BinaryIO:
    """stdout as a binary file; OutputError where it is closed, OptionError where a person would see the bytes."""
    sink: BinaryIO | None = getattr(sys.stdout, "buffer", None)
    if sink is None:
        raise OutputError("stdout cannot be written: it is closed")
    if sys.stdout.isatty():
        raise OptionError("stdout is a terminal: send it to a file or a program, or name a file")
    return sink


def _keep_stdin(place: Path) -> None:
    source: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if source is None:
        raise MediaError("stdin cannot be read: it is closed")
    if sys.stdin.isatty():
        raise OptionError("stdin is a terminal: send a file into it, or name one")
    try:
        with place.open("xb") as kept:
            while block := _read(source):
                kept.write(block)
    except OSError as error:
        raise OutputError(f"stdin cannot be kept in {place.parent.parent}: {reason(error)}") from error


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_BLOCK_BYTES)
    except OSError as error:
        raise MediaError(f"stdin cannot be read: {reason(error)}") from error


def _copy_to_stdout(place: Path, sink: BinaryIO) -> None:
    with place.open("rb") as file, _writing_stdout():
        while block := file.read(_BLOCK_BYTES):
            sink.write(block)
        sink.flush()


class _Stdout(io.TextIOWrapper):
    """stdout whose failures are OutputError, told from those of files; BrokenPipeError where the reader has enough.

    File names that are no text, and signs that the terminal's encoding has not, are written as escapes.
    """

    def write(self, text: str, /) -> int:
        with _writing_stdout():
            return super().write(text)

    def flush(self) -> None:
        with _writing_stdout():
            super().flush()


@contextmanager
def _writing_stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"stdout cannot be written: {reason(error)}") from error


class _Closed(io.TextIOBase):
    """Stands in for a standard stream that is closed: takes everything, has no `buffer`."""

    def write(self, text: str, /) -> int:
        return len(text)


@contextmanager
def open_streams() -> Iterator[None]:
    """Within, stdout and stderr can be printed to, even where they are closed (None)."""
    with ExitStack() as stack:
        if sys.stdout is None:
            stack.enter_context(redirect_stdout(_Closed()))
        if sys.stderr is None:
            stack.enter_context(redirect_stderr(_Closed()))
        yield


def own_streams() -> None:
    """Prepare the standard streams of a process that is ours alone.

    The null device takes the place of descriptors 0 to 2 that are closed: a file opened next would get one of them and
    be written to by whatever prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding, lines = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _Stdout(sys.stdout.detach(), encoding, "backslashreplace", line_buffering=lines)


def drop_stdout() -> None:
    """Let what stdout still holds go nowhere, or Python complains of it again when the process ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
