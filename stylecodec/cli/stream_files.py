"""Streams that commands read and write."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..bitstream.file import StreamFile
from ..files import atomic_write, reading
from .output import print_json, report_to


@contextmanager
def opened(path: str) -> Iterator[StreamFile]:
    """A stream, its path named in what goes wrong with it."""
    with reading(path), StreamFile.open(path) as stream:
        yield stream


def write(path: str, portions: Iterable[bytes]) -> None:
    """A file that appears under its name when it is whole."""
    with atomic_write(path) as file:
        for portion in portions:
            file.write(portion)


def written(path: str, name: str) -> dict[str, Any]:
    """What a stream is that was written to `path`, which the user called `name`."""
    with opened(path) as made:
        known = {"output": name, "frames": made.frame_count, "seconds": round(made.duration_seconds, 6)}
        return known | {
            "bytes": made.size,
            "identities": len(made.identities),
            "sound": made.audio_config is not None,
        }


def report(arguments: argparse.Namespace, facts: dict[str, Any], sentences: Iterable[str] = ()) -> int:
    """Say what was written; returns DONE. facts: of `written`, and more for programs; sentences: more for people."""
    to = report_to(arguments.output)
    if arguments.json:
        return print_json(facts, to)
    for sentence in sentences:
        print(sentence, file=to)
    sound = "with sound" if facts["sound"] else "without sound"
    print(
        f"{facts['output']}: {facts['frames']:,} frames, {facts['seconds']:.2f} s, {sound}, {facts['bytes']:,} bytes",
        file=to,
    )
    return 0
