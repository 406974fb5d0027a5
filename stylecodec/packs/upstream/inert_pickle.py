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

import struct
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import ImportRefused
from .foreign import SAFE_NAMES, Name, Record

MAX_STEPS = 1_000_000  # opcodes; the largest published file needs some 100,000
MAX_LINE = 4096  # bytes of an argument in text
MAX_WHOLE = 128  # bytes of a whole number; storage keys and torch's magic number have 10 at most
LONG_BYTES = 4096  # from here on bytes stay where they are in the file
MAX_PROTOCOL = 5

_MARK = object()


@dataclass
class Budget:
    """What one file may cost, nested pickles included."""

    steps: int = MAX_STEPS
    copied: int = 1 << 24  # bytes that values may take besides the file's own
    depth: int = 3  # pickles in pickles

    def spend(self, copied: int) -> None:
        """Account for `copied` new bytes; ImportRefused when they are too many."""
        self.copied -= copied
        if self.copied < 0:
            raise ImportRefused("the pickle repeats its data to fill the memory")


Persistent = Callable[[Any], Any]
Call = Callable[["Machine", tuple[Any, ...]], Any]


def _no_references(reference: Any) -> Any:
    raise ImportRefused("the pickle refers to data outside itself, and there is none")


@dataclass
class Machine:
    """Reads one pickle from `data` at `position`; `load` returns its value and leaves the position behind it.

    calls: what takes the place of a function or class of that name when the file calls it, given its arguments;
    persistent: gives the value of a reference to data outside the pickle (a tensor's storage).
    """

    data: memoryview
    calls: Mapping[Name, Call]
    persistent: Persistent = _no_references
    position: int = 0
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The value of the pickle. Raises ImportRefused for whatever is not plain data, whole and bounded."""
        self.stack, self.memo = [], {}
        while True:
            self.budget.steps -= 1
            if self.budget.steps < 0:
                raise ImportRefused(f"the pickle has more than {MAX_STEPS:,} steps")
            code = self.take(1)[0]
            if code == _STOP:
                return self.pop()
            step = _STEPS.get(code)
            if step is None:
                raise ImportRefused(f"the pickle has the opcode {code:#04x}, which no published checkpoint uses")
            step(self)

    # --- bytes ---------------------------------------------------------------------------------------------

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if not 0 <= count <= len(self.data) - self.position:
            raise ImportRefused(f"the pickle ends within a value of {count:,} bytes: it is cut off or damaged")
        part = self.data[self.position : self.position + count]
        self.position += count
        return part

    def number(self, form: str) -> Any:
        """The next bytes as a number of `struct` form."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def number_list(self, count: int) -> list[int]:
        """`count` whole numbers of eight bytes."""
        return [self.number("<q") for _ in range(count)]

    def line(self) -> str:
        """The next line of text, without its end."""
        window = bytes(self.data[self.position : self.position + MAX_LINE])
        length = window.find(b"\n")
        if length < 0:
            raise ImportRefused("the pickle has a line of text without an end")
        self.position += length + 1
        return window[:length].decode("latin-1")

    # --- the stack -----------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop() if self.stack else _MARK
        if value is _MARK:
            raise ImportRefused("the pickle takes a value that it never made")
        return value

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ImportRefused("the pickle takes a value that it never made")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        """Take off everything above the last mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise ImportRefused("the pickle ends a group that it never began")

    # --- names and calls -----------------------------------------------------------------------------------

    def name(self, module: Any, name: Any) -> Name:
        """The name of a class or function, if it is one that stands for data."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ImportRefused("the pickle names a function by something that is not text")
        found = Name(module, name)
        if found in self.calls or found in SAFE_NAMES:
            return found
        shown = f"{module[:60]}.{name[:60]}"
        raise ImportRefused(f"the pickle asks for {shown!r}, which is not data of a known network; nothing was run")

    def call(self, what: Any, arguments: Any) -> Any:
        """What stands for calling `what`: a value of ours, or an inert record."""
        if not isinstance(what, Name) or not isinstance(arguments, tuple):
            raise ImportRefused("the pickle calls something that is not a function")
        build = self.calls.get(what)
        return Record(what, arguments) if build is None else build(self, arguments)

    def set_items(self, target: Any, flat: list[Any]) -> None:
        """Put keys and values, in turn, into a dict or a record."""
        items = target.items if isinstance(target, Record) else target
        if not isinstance(items, dict) or len(flat) % 2:
            raise ImportRefused("the pickle puts items into something that is no table")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            items[_key(key)] = value

    def extend(self, target: Any, values: list[Any]) -> None:
        """Put values at the end of a list or a record's list."""
        items = target.values if isinstance(target, Record) else target
        if not isinstance(items, list):
            raise ImportRefused("the pickle puts values into something that is no list")
        items.extend(values)

    def build(self, target: Any, state: Any) -> None:
        """Give an object its state. A dict's state (torch notes versions there) says nothing about its content."""
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):
            raise ImportRefused("the pickle gives a state to something that is no object")

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise ImportRefused("the pickle recalls a value that it never kept")
        self.push(self.memo[index])


def _key(key: Any) -> Hashable:
    """A key of a table. Tuples are no keys: hashing one that is nested deeply enough would crash Python."""
    if isinstance(key, str | int | float | bytes | Name) or key is None:
        return key
    raise ImportRefused("the pickle has a table whose keys are not text or numbers")


def _long(view: memoryview) -> bytes | memoryview:
    return view if len(view) >= LONG_BYTES else bytes(view)


def _bytes(form: str) -> Callable[[Machine], None]:
    """Bytes after their length."""
    return lambda m: m.push(_long(m.take(m.number(form))))


def _string(form: str) -> Callable[[Machine], None]:
    """A string of Python 2 after its length: text, or bytes where it is long."""

    def step(m: Machine) -> None:
        view = m.take(m.number(form))
        m.push(bytes(view).decode("latin-1") if len(view) < LONG_BYTES else view)

    return step


def _text(form: str) -> Callable[[Machine], None]:
    """UTF-8 after its length."""

    def step(m: Machine) -> None:
        view = m.take(m.number(form))
        if len(view) >= LONG_BYTES:
            m.budget.spend(4 * len(view))
        try:
            m.push(str(view, "utf-8"))
        except UnicodeDecodeError:
            raise ImportRefused("the pickle has a text that is not UTF-8") from None

    return step


def _whole(form: str) -> Callable[[Machine], None]:
    """A whole number of any length, little-endian, after its length in bytes."""

    def step(m: Machine) -> None:
        length = m.number(form)
        if not 0 <= length <= MAX_WHOLE:
            raise ImportRefused(f"the pickle has a whole number of {length:,} bytes")
        m.push(int.from_bytes(m.take(length), "little", signed=True))

    return step


def _in_text(read: Callable[[str], Any]) -> Callable[[Machine], None]:
    """A value in text up to the end of the line."""

    def step(m: Machine) -> None:
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


def _tuple(count: int) -> Callable[[Machine], None]:
    def step(m: Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)))

    return step


def _keep(m: Machine, index: int) -> None:
    m.memo[index] = m.top()


def _new(m: Machine) -> None:
    arguments, what = m.pop(), m.pop()
    m.push(m.call(what, arguments))


def _new_with_keywords(m: Machine) -> None:
    keywords = m.pop()
    if not isinstance(keywords, dict) or keywords:
        raise ImportRefused("the pickle makes an object with keywords, which no published checkpoint does")
    _new(m)


def _new_from_mark(m: Machine) -> None:
    values = m.since_mark()
    m.push(m.call(values[0] if values else None, tuple(values[1:])))


def _instance(m: Machine) -> None:
    what = m.name(m.line(), m.line())
    m.push(m.call(what, tuple(m.since_mark())))


def _stack_name(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.push(m.name(module, name))


def _two(act: Callable[[Machine, Any, Any], None]) -> Callable[[Machine], None]:
    """An act on the value below the top with the top, which goes."""

    def step(m: Machine) -> None:
        value = m.pop()
        act(m, m.top(), value)

    return step


def _group(act: Callable[[Machine, Any, list[Any]], None]) -> Callable[[Machine], None]:
    """An act on the value below the last mark with everything above it, which goes."""

    def step(m: Machine) -> None:
        values = m.since_mark()
        act(m, m.top(), values)

    return step


def _set_item(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.set_items(m.top(), [key, value])


def _table(m: Machine) -> None:
    values = m.since_mark()
    table: dict[Any, Any] = {}
    m.set_items(table, values)
    m.push(table)


def _protocol(m: Machine) -> None:
    if (version := m.number("<B")) > MAX_PROTOCOL:
        raise ImportRefused(f"the pickle is of protocol {version}, the newest is {MAX_PROTOCOL}")


def _extension(m: Machine) -> None:
    raise ImportRefused("the pickle names a function by a registered number, which no published checkpoint does")


_STOP = ord(".")
_STEPS: dict[int, Callable[[Machine], None]] = {
    0x80: _protocol,
    0x95: lambda m: (m.number("<Q"), None)[1],  # FRAME: a hint for buffering
    ord("("): lambda m: m.push(_MARK),
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
