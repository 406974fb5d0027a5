"""Read a pickle as data: a stack machine for pickle's opcodes that calls nothing the file names.

A pickle is a program. Python's own reader runs it: it imports what the file names and calls it. This one keeps a
table of the names that published checkpoints use and builds plain values for them; a name that is not in the table
ends the reading. Nothing is imported, no code in the file is looked at, and every length is checked against the bytes
that are there before anything is allocated.

What comes out: None, numbers, text, bytes (memoryview where long), lists, tuples, dicts with text or whole numbers as
keys, `Name` for a class or function, `Record` for an object, `TensorView` for a tensor.

Source: the description of the opcodes in CPython's pickletools (protocols 0 to 5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ImportRefused
from .stack_machine import MARK, MAX_STEPS, StackMachine

MAX_WHOLE = 128  # bytes of a whole number; storage keys and torch's magic number have 10 at most
LONG_BYTES = 4096  # from here on bytes stay where they are in the file
MAX_PROTOCOL = 5


class Machine(StackMachine):
    """Reads one pickle from `data` at `position`; `load` returns its value and leaves the position behind it."""

    def load(self) -> Any:
        """The value of the pickle. Raises ImportRefused for whatever is not plain data, whole and bounded."""
        self.stack, self.memo = [], {}
        while (code := self.opcode()) != _STOP:
            self.budget.steps -= 1
            if self.budget.steps < 0:
                raise ImportRefused(f"the pickle has more than {MAX_STEPS:,} steps")
            step = _STEPS.get(code)
            if step is None:
                raise ImportRefused(f"the pickle has the opcode {code:#04x}, which no published checkpoint uses")
            step(self)
        return self.pop()


def _long(view: memoryview) -> bytes | memoryview:
    return view if len(view) >= LONG_BYTES else bytes(view)


def _bytes(form: str) -> Callable[[StackMachine], None]:
    """Bytes after their length."""
    return lambda m: m.push(_long(m.take(m.number(form))))


def _string(form: str) -> Callable[[StackMachine], None]:
    """A string of Python 2 after its length: text, or bytes where it is long."""

    def step(m: StackMachine) -> None:
        view = m.take(m.number(form))
        m.push(bytes(view).decode("latin-1") if len(view) < LONG_BYTES else view)

    return step


def _text(form: str) -> Callable[[StackMachine], None]:
    """UTF-8 after its length."""

    def step(m: StackMachine) -> None:
        view = m.take(m.number(form))
        if len(view) >= LONG_BYTES:
            m.budget.spend(4 * len(view))
        try:
            m.push(str(view, "utf-8"))
        except UnicodeDecodeError:
            raise ImportRefused("the pickle has a text that is not UTF-8") from None

    return step


def _whole(form: str) -> Callable[[StackMachine], None]:
    """A whole number of any length, little-endian, after its length in bytes."""

    def step(m: StackMachine) -> None:
        length = m.number(form)
        if not 0 <= length <= MAX_WHOLE:
            raise ImportRefused(f"the pickle has a whole number of {length:,} bytes")
        m.push(int.from_bytes(m.take(length), "little", signed=True))

    return step


def _in_text(read: Callable[[str], Any]) -> Callable[[StackMachine], None]:
    """A value in text up to the end of the line."""

    def step(m: StackMachine) -> None:
        line = m.line()
        try:
            m.push(read(line))
        except ValueError:
            raise ImportRefused("the pickle has a number that is none") from None

    return step


def _short_whole(text: str) -> int | bool:
    if text in ("00", "01"):
        return text == "01"
    if len(text) > MAX_WHOLE:
        raise ValueError(text[:10])
    return int(text.removesuffix("L"))


def _tuple(count: int) -> Callable[[StackMachine], None]:
    def step(m: StackMachine) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)))

    return step


def _keep(m: StackMachine, index: int) -> None:
    m.memo[index] = m.top()


def _new(m: StackMachine) -> None:
    arguments, what = m.pop(), m.pop()
    m.push(m.call(what, arguments))


def _new_with_keywords(m: StackMachine) -> None:
    keywords = m.pop()
    if not isinstance(keywords, dict) or keywords:
        raise ImportRefused("the pickle makes an object with keywords, which no published checkpoint does")
    _new(m)


def _new_from_mark(m: StackMachine) -> None:
    values = m.since_mark()
    m.push(m.call(values[0] if values else None, tuple(values[1:])))


def _instance(m: StackMachine) -> None:
    what = m.name(m.line(), m.line())
    m.push(m.call(what, tuple(m.since_mark())))


def _stack_name(m: StackMachine) -> None:
    name, module = m.pop(), m.pop()
    m.push(m.name(module, name))


def _two(act: Callable[[StackMachine, Any, Any], None]) -> Callable[[StackMachine], None]:
    """An act on the value below the top with the top, which goes."""

    def step(m: StackMachine) -> None:
        value = m.pop()
        act(m, m.top(), value)

    return step


def _group(act: Callable[[StackMachine, Any, list[Any]], None]) -> Callable[[StackMachine], None]:
    """An act on the value below the last mark with everything above it, which goes."""

    def step(m: StackMachine) -> None:
        values = m.since_mark()
        act(m, m.top(), values)

    return step


def _set_item(m: StackMachine) -> None:
    value, key = m.pop(), m.pop()
    m.set_items(m.top(), [key, value])


def _table(m: StackMachine) -> None:
    values = m.since_mark()
    table: dict[Any, Any] = {}
    m.set_items(table, values)
    m.push(table)


def _protocol(m: StackMachine) -> None:
    if (version := m.number("<B")) > MAX_PROTOCOL:
        raise ImportRefused(f"the pickle is of protocol {version}, the newest is {MAX_PROTOCOL}")


def _extension(m: StackMachine) -> None:
    raise ImportRefused("the pickle names a function by a registered number, which no published checkpoint does")


_STOP = ord(".")
_STEPS: dict[int, Callable[[StackMachine], None]] = {
    0x80: _protocol,
    0x95: lambda m: (m.number("<Q"), None)[1],  # FRAME: a hint for buffering
    ord("("): lambda m: m.push(MARK),
    ord("0"): lambda m: m.stack.pop() if m.stack else m.pop(),
    ord("1"): lambda m: (m.since_mark(), None)[1],
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): _in_text(_short_whole),
    ord("L"): _in_text(_short_whole),
    ord("F"): _in_text(float),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("G"): lambda m: m.push(m.number(">d")),
    0x8A: _whole("<B"),
    0x8B: _whole("<i"),
    ord("S"): _in_text(lambda text: text[1:-1]),
    ord("V"): _in_text(str),
    ord("T"): _string("<i"),
    ord("U"): _string("<B"),
    ord("X"): _text("<I"),
    0x8C: _text("<B"),
    0x8D: _text("<Q"),
    ord("B"): _bytes("<I"),
    ord("C"): _bytes("<B"),
    0x8E: _bytes("<Q"),
    0x96: _bytes("<Q"),
    ord("]"): lambda m: m.push([]),
    ord("a"): _two(lambda m, target, value: m.extend(target, [value])),
    ord("e"): _group(lambda m, target, values: m.extend(target, values)),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("}"): lambda m: m.push({}),
    ord("d"): _table,
    ord("s"): _set_item,
    ord("u"): _group(lambda m, target, values: m.set_items(target, values)),
    0x8F: lambda m: m.push([]),  # a set is a list here: its members need not be hashed
    0x90: _group(lambda m, target, values: m.extend(target, values)),
    0x91: lambda m: m.push(m.since_mark()),
    ord("g"): lambda m: m.recall(_index(m.line())),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("p"): lambda m: _keep(m, _index(m.line())),
    ord("q"): lambda m: _keep(m, m.number("<B")),
    ord("r"): lambda m: _keep(m, m.number("<I")),
    0x94: lambda m: _keep(m, len(m.memo)),
    ord("c"): lambda m: m.push(m.name(m.line(), m.line())),
    0x93: _stack_name,
    ord("R"): _new,
    0x81: _new,
    0x92: _new_with_keywords,
    ord("o"): _new_from_mark,
    ord("i"): _instance,
    ord("b"): _two(lambda m, target, value: m.build(target, value)),
    ord("P"): lambda m: m.push(m.persistent(m.line())),
    ord("Q"): lambda m: m.push(m.persistent(m.pop())),
    0x82: _extension,
    0x83: _extension,
    0x84: _extension,
}


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise ImportRefused("the pickle keeps a value under something that is no number")
    return int(text)
