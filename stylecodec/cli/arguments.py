"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

EXIT_CODES = "exit codes: 0 done; 1 it failed; 2 wrong usage; 130 interrupted."


class CommandParser(argparse.ArgumentParser):
    """A parser that gets its arguments when it is first used, so that only the command that runs is imported.

    fill: adds the arguments, and what to `run`: a function of the parsed arguments that returns the exit code.
    """

    def __init__(self, *, fill: Callable[[CommandParser], None] | None = None, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)
        self._fill = fill

    def parse_known_args(  # type: ignore[override]  # the overloads for other namespaces are not used
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As of argparse, with the arguments that `fill` adds."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return super().parse_known_args(args, namespace)

    def end_with(self, examples: str, exit_codes: str = EXIT_CODES) -> None:
        """What --help shows after the arguments. examples: command lines, one a line; after an empty line, prose."""
        lines, gap, prose = examples.strip().partition("\n\n")
        indented = "\n".join(f"  {line}" for line in lines.splitlines())
        self.epilog = f"examples:\n{indented}{gap}{prose}\n\n{exit_codes}"


def add_command(commands: Any, name: str, what: str, fill: Callable[[CommandParser], None]) -> None:
    """Add a command to the subparsers of a program. what: one line for the list of commands."""
    commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", fill=fill)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Whether the report is for a program."""
    parser.add_argument("--json", action="store_true", help="report as JSON on stdout")


def add_stream_input(parser: argparse.ArgumentParser) -> None:
    """One stream that is read."""
    parser.add_argument("input", metavar="IN.stc", help="a stream, or - for stdin")


def add_stream_output(parser: argparse.ArgumentParser) -> None:
    """One stream that is written, and how that is reported."""
    parser.add_argument("output", metavar="OUT.stc", help="the stream to write, or - for stdout")
    add_json(parser)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Where networks run, and how that is told."""
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or mps (default: auto, CUDA where there is one)"
    )
    add_json(parser)
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, help="progress on stderr (default: on a terminal)"
    )


def add_pack_of_stream(parser: argparse.ArgumentParser) -> None:
    """The pack where a stream names one."""
    parser.add_argument("--pack", metavar="NAME|DIR", help="the model pack (default: the one the stream names)")
