"""Damage to bytes: cut, changed, inserted, removed, copied, spliced; numbers set to their limits; values of JSON."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from .judging import Case, Signature

EDGES = (0, 1, 0x7F, 0x80, 0xFF)
LIMITS = tuple((1 << bits) + more for bits in (7, 8, 15, 16, 20, 24, 31, 32, 40, 62, 63, 64) for more in (-1, 0, 1))
PLACES = 1500  # of a seed that are cut and changed one by one; every byte of a shorter one

Special = Callable[[random.Random], bytes]
Known = Mapping[str, frozenset[Signature]]


class Mutations:
    """Hostile inputs by number, made from valid ones.

    First every seed cut off after every byte (of long ones PLACES of them) and with every byte changed, then without
    end: bytes mutated at random, two seeds spliced, and `special` damage, which knows the format. exact: names of
    special damage that leaves nothing behind that could pass for something else. weights: of seeds, 1 where not given.
    """

    def __init__(
        self,
        seeds: Mapping[str, bytes],
        special: Mapping[str, Special] | None = None,
        known: frozenset[Signature] | None = None,
        exact: tuple[str, ...] = (),
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.seeds, self.special, self.known, self.exact = seeds, dict(special or {}), known, exact
        self._weights = [(weights or {}).get(name, 1.0) for name in seeds]
        self._places = [
            (name, at) for name, data in seeds.items() for at in range(0, len(data), max(1, len(data) // PLACES))
        ]

    def __call__(self, number: int) -> Case:
        rng = random.Random(number)
        if number < 2 * len(self._places):
            name, at = self._places[number // 2]
            data = self.seeds[name]
            if number % 2:
                return Case(data[:at], "cut", self.known)
            changed = data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :]
            return Case(changed, "one byte", self.known)
        if self.special and rng.random() < 0.7:
            label = rng.choice(list(self.special))
            with suppress(OverflowError, RecursionError, TypeError, ValueError):  # nothing that the format could say
                return Case(self.special[label](rng), label, self.known if label in self.exact else None)
        first = self.pick(rng)
        if rng.random() < 0.2:
            second = self.pick(rng)
            return Case(first[: place(first, rng)] + second[place(second, rng) :], "spliced", self.known)
        return Case(mutated(first, rng), "mutated", self.known)

    def pick(self, rng: random.Random) -> bytes:
        """One of the seeds."""
        return rng.choices(list(self.seeds.values()), self._weights)[0]


def place(data: bytes, rng: random.Random) -> int:
    return rng.randrange(len(data) + 1)


def mutated(data: bytes, rng: random.Random, most: int = 8, near: bool = False) -> bytes:
    """One to `most` changes. near: within the first 64 bytes, where the numbers are that others depend on."""
    broken = bytearray(data)
    for _ in range(rng.randrange(1, most + 1)):
        mutate(broken, rng, near)
    return bytes(broken)


def mutate(data: bytearray, rng: random.Random, near: bool = False) -> None:
    """One change in place."""
    at = rng.randrange(min(len(data), 64) if near else len(data)) if data else 0
    size = rng.choice((1, 1, 1, 2, 4, 8, 30))
    match rng.randrange(7):
        case 0 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 1 if data:
            data[at] = rng.choice(EDGES)
        case 2:
            data[at : at + size] = rng.randbytes(size)
        case 3:
            data[at:at] = rng.randbytes(size)
        case 4:
            del data[at : at + size]
        case 5:
            width = rng.choice((2, 3, 4, 8))
            data[at : at + width] = limit(rng, len(data), width)
        case _:
            start = rng.randrange(len(data) + 1)
            data[at : at + size] = data[start : start + size]


def limit(rng: random.Random, length: int, width: int) -> bytes:
    """A number at a limit, or near the length of the data, in so many bytes of either order."""
    value = rng.choice((*LIMITS, 0, 1, -1, length + rng.randrange(-4, 5)))
    return (value % (1 << 8 * width)).to_bytes(width, rng.choice(("little", "big")))


# --- JSON and the like ------------------------------------------------------------------------------------

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 1e-320, float("inf"), float("nan"), "", "x", "none", "\ud800"),
    *(255, 256, 65_535, 65_536, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30, -(2**63), -(10**30), 10**400),
    *("1/0", "1e999999999", "-1/25", "25", "1e-999999999", "nan", "0x7", "0xFFFFFFFFF", "é" * 100, "0" * 64, "zz"),
    *([], {}, [[]], [None] * 33, [0] * 35, {"": None}, [[[[[[[[1]]]]]]]], [1e400] * 3, "A" * 70),
)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """(table or list, key) of every value inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from places_in(inner)


def spoil(value: Any, rng: random.Random) -> None:
    """Replace, remove or double one value somewhere inside a table."""
    where = list(places_in(value))
    if not where:
        return
    # Lists of numbers have many places: half of the time a name of a table is taken.
    named = [one for one in where if isinstance(one[0], dict)]
    inside, key = rng.choice(named if named and rng.random() < 0.5 else where)
    other_inside, other = rng.choice(where)
    match rng.randrange(8):
        case 0:
            del inside[key]
        case 1:
            inside[key] = copy.deepcopy(other_inside[other])
        case 2 if isinstance(inside, list):
            inside.insert(key, rng.choice(VALUES))
        case 3 if isinstance(inside[key], int | float):
            grown, more = inside[key] * rng.choice((-1, 2, 1000, 2**32)), rng.choice((0, 1, 0.5))
            inside[key] = grown + more if abs(grown) < 1 << 1000 else grown  # no float has as many digits
        case 4 if isinstance(inside[key], list):
            inside[key] = inside[key] * rng.choice((0, 2, 40))
        case _:
            inside[key] = rng.choice(VALUES)

