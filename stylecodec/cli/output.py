"""What commands print: reports on stdout, sentences on stderr, and exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from .pipes import PIPE

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def report_to(output: str) -> TextIO:
    """Where the report of a command goes that writes `output`: nothing but the data goes to stdout."""
    return sys.stderr if output == PIPE else sys.stdout


def print_json(facts: dict[str, Any], to: TextIO | None = None) -> int:
    """Print a report for a program; returns DONE. to: stdout unless given."""
    out = to or sys.stdout
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(out, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # a terminal of another encoding, or a file name that is no text
        text = json.dumps(facts, indent=2)
    print(text, file=out)
    return DONE


def print_notes(sentences: Iterable[str]) -> None:
    """What a user should know of the source, on stderr."""
    for sentence in sentences:
        print(f"stylecodec: note: {sentence}", file=sys.stderr)


def rate(frames: int, seconds: float) -> str:
    """How long the work took and how fast it was, in words."""
    return f"{seconds:.1f} s, {frames / max(seconds, 1e-3):.1f} frames per second"
