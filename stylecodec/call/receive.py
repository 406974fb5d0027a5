"""From what is asked for to the receiving side of a call. Needs no dlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ..bitstream.live.udp import listen, parse_address
from ..decoding.known_people import KnownPeople
from ..decoding.live import warmed
from ..decoding.options import DecodeOptions
from ..errors import OptionError, OutputError
from ..files import check_output, reason
from ..media.capture import is_pipe
from ..media.writer import FORMATS
from .feed import Say
from .incoming import Incoming
from .options import PIPE, PlayoutOptions
from .run import ReceivingSide
from .show import Browser, RawFrames, Show, VideoFile
from .stored import StoredStream

STREAM = ".stc"


def receiving_side(
    address: str,
    outputs: Sequence[str] = (),
    show_port: int | None = None,
    options: DecodeOptions | None = None,
    *,
    playout: PlayoutOptions | None = None,
    say: Say = lambda sentence: None,
    stdout: Callable[[], BinaryIO] | None = None,
    shown: Callable[[float, float], object] = lambda seconds, now: None,
) -> ReceivingSide:
    """Ready to be run. outputs: OUT.stc, a video file, a named pipe, or - for raw frames on `stdout`. show_port: for
    browsers, 0 for any free one. shown: as of ReceivingSide.

    Raises OptionError, MediaError, OutputError, MissingDependency.
    """
    host, port = parse_address(address)
    options, playout = replace(options or DecodeOptions(), as_numpy=True), playout or PlayoutOptions()
    recall = KnownPeople().recall
    with ExitStack() as stack:
        shows: list[Show] = []
        stored: list[StoredStream] = []
        for output in outputs:
            if Path(output).suffix.lower() == STREAM:
                stored.append(StoredStream(output, recall))
            else:
                shows.append(_show(output, stdout))
        if show_port is not None:
            browser = Browser(show_port)
            shows.append(browser)
            say(f"the picture is at {browser.address}")
        keep = stored[0].stored if stored else None
        ready = warmed(options) if shows else None
        server = stack.enter_context(listen(host, port))
        waits = {"delay": playout.delay, "jitter": playout.jitter}
        incoming = Incoming(options, **waits, recall=recall, ready=ready, stored=keep, say=say)
        say(f"calls are taken on {host or '*'}:{server.getsockname()[1]}")
        stack.pop_all()
        return ReceivingSide(server, incoming, shows, shown=shown, kept=stored)


def _show(output: str, stdout: Callable[[], BinaryIO] | None) -> Show:
    """Where pictures go by the name of an output."""
    if output == PIPE:
        if stdout is None:
            raise OptionError("there is no stdout to write frames to")
        return RawFrames(stdout(), "stdout")
    if is_pipe(output):
        try:
            return RawFrames(open(output, "wb"), output)
        except OSError as error:
            raise OutputError(f"{output} cannot be written: {reason(error)}") from error
    if Path(output).suffix.lower() not in FORMATS:
        raise OptionError(f"{output}: a call is written to {STREAM}, {', '.join(FORMATS)}, a named pipe or -")
    check_output(output)
    return VideoFile(output)
