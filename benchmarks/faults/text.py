"""Text that becomes a stream: the JSON lines of `undump`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

from stylecodec.bitstream.edit import Dumper, undump
from stylecodec.errors import FormatError

from . import streams
from .judging import MIB, Signature, Surface
from .mutating import Mutations, spoil


@cache
def seeds() -> dict[str, bytes]:
    """The seeds' streams as text; the one with a whole latent has 100 KB of it."""
    found = {}
    for name, data in streams.sources().items():
        if name != "raw":
            dumper = Dumper()
            found[name] = "\n".join(dumper.feed(data)).encode()
    return found


def _lines(rng: random.Random) -> list[str]:
    names = list(seeds())
    name = rng.choices(names, [0.02 if name == "compact identity" else 1 for name in names])[0]
    return seeds()[name].decode().split("\n")


def spoiled(rng: random.Random) -> bytes:
    """Values replaced by ones that no writer gives, removed or doubled; still JSON."""
    lines = _lines(rng)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(lines))
        table: Any = json.loads(lines[at])
        for _ in range(rng.randrange(1, 3)):
            spoil(table, rng)
        lines[at] = json.dumps(table)
    return "\n".join(lines).encode()


def reordered(rng: random.Random) -> bytes:
    """Lines of one or two streams lost, doubled and in other places."""
    lines = _lines(rng)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(lines))
        lines.insert(rng.randrange(len(lines)), rng.choice(rng.choice((lines, _lines(rng)))))
        if rng.random() < 0.5:
            del lines[at]
    return "\n".join(lines).encode()


def deep(rng: random.Random) -> bytes:
    """Lists or tables within each other, as a line or as a value."""
    depth = rng.choice((10, 63, 65, 500, 990, 1100, 20_000, 100_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ("[[],", "]")))
    text = opening * depth + "1" + closing * rng.choice((depth, depth, 0))
    lines = _lines(rng)
    at = rng.randrange(len(lines))
    if rng.random() < 0.5:
        key = rng.choice(list(json.loads(lines[at])))
        text = lines[at].rstrip("}") + f', "{key}": {text}}}'
    return "\n".join([*lines[:at], text, *lines[at + 1 :]]).encode()


def read_undump(data: bytes) -> Iterator[Signature]:
    made = b"".join(undump(data.decode("utf-8", "replace").split("\n")))
    try:
        for _ in streams.read_strict(made):  # whatever a text says, its stream is read or refused
            pass
    except FormatError:
        pass
    yield "stream", made


def surface() -> Surface:
    special = {"spoiled": spoiled, "reordered": reordered, "deep": deep}
    weights = {"compact identity": 0.02}
    mutations = Mutations(seeds(), special, weights=weights)
    # An empty list of three characters has 64 bytes in Python.
    return Surface("undump", {"undump": read_undump}, mutations, seeds(), factor=64, fixed=8 * MIB)
