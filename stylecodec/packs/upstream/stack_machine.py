"""The stack of a pickle's machine: bytes taken with checked lengths, values pushed and popped, names and calls.

`inert_pickle.Machine` adds the opcodes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from struct import Struct
from typing import Any

from ...errors import ImportRefused
from .values import SAFE_NAMES, Name, Record

MAX_STEPS = 250_000  # opcodes; the largest published file needs some 100,000
MAX_LINE = 4096  # bytes of an argument in text
USUAL_LINE = 64
MARK = object()


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
Call = Callable[["StackMachine", tuple[Any, ...]], Any]


def _no_references(reference: Any) -> Any:
    raise ImportRefused("the pickle refers to data outside itself, and there is none")


@dataclass
class StackMachine:
    """Holds one pickle's `data`, the `position` of its reader, the stack and the values kept for later.

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
        self.size = len(self.data)
        self._names: dict[tuple[str, str], Name] = {}  # that were asked for

    # --- bytes ---------------------------------------------------------------------------------------------

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if not 0 <= count <= self.size - self.position:
            raise ImportRefused(f"the pickle ends within a value of {count:,} bytes: it is cut off or damaged")
        part = self.data[self.position : self.position + count]
        self.position += count
        return part

    def number(self, form: str) -> Any:
        """The next bytes as a number of `struct` form."""
        coding = _coding(form)
        return coding.unpack(self.take(coding.size))[0]

    def opcode(self) -> int:
        """The next byte."""
        if self.position >= self.size:
            raise ImportRefused("the pickle ends before its last step: it is cut off or damaged")
        self.position += 1
        return self.data[self.position - 1]

    def number_list(self, count: int) -> list[int]:
        """`count` whole numbers of eight bytes."""
        return [self.number("<q") for _ in range(count)]

    def line(self) -> str:
        """The next line of text, without its end."""
        for most in (USUAL_LINE, MAX_LINE):
            window = bytes(self.data[self.position : self.position + most])
            length = window.find(b"\n")
            if length >= 0:
                break
        else:
            raise ImportRefused("the pickle has a line of text without an end")
        self.position += length + 1
        return window[:length].decode("latin-1")

    # --- the stack -----------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop() if self.stack else MARK
        if value is MARK:
            raise ImportRefused("the pickle takes a value that it never made")
        return value

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise ImportRefused("the pickle takes a value that it never made")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        """Take off everything above the last mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise ImportRefused("the pickle ends a group that it never began")

    # --- names and calls -----------------------------------------------------------------------------------

    def name(self, module: Any, name: Any) -> Name:
        """The name of a class or function, if it is one that stands for data."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ImportRefused("the pickle names a function by something that is not text")
        asked = self._names.get((module, name))
        if asked is not None:
            return asked
        found = Name(module, name)
        if found in self.calls or found in SAFE_NAMES:
            self._names[module, name] = found
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


@cache
def _coding(form: str) -> Struct:
    return Struct(form)


def _key(key: Any) -> Hashable:
    """A key of a table. Tuples are no keys: hashing one that is nested deeply enough would crash Python."""
    if isinstance(key, str | int | float | bytes | Name) or key is None:
        return key
    raise ImportRefused("the pickle has a table whose keys are not text or numbers")
