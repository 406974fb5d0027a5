"""From what is asked for to the two sides of a call."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ..bitstream.live.udp import Outgoing, listen, parse_address
from ..decoding.known_people import KnownPeople
from ..decoding.live import warmed
from ..decoding.options import DecodeOptions
from ..encoding.identity.cards import read_card
from ..encoding.live.encoder import LiveEncoder, LiveFrontEnd, live_front_end
from ..encoding.live.options import LiveOptions
from ..errors import MediaError, OptionError, OutputError
from ..extras import need_extra
from ..files import check_output, reason
from ..media.capture import Item, camera, microphone, play, told_rate
from ..media.writer import FORMATS
from ..packs.abilities import require_preset
from ..packs.store import open_pack
from .feed import CAMERA, FILE, LOOP, MICROPHONE, PIPED, Feed, Mailbox, Say, SourceKind
from .incoming import Incoming
from .options import PIPE, PlayoutOptions, SourceOptions
from .outgoing import Sending
from .pace import FrameSkip
from .run import ReceivingSide, SendingSide
from .show import Browser, RawFrames, Show, VideoFile
from .sound import SoundCoder
from .stored import StoredStream
from .timings import Timings

STREAM = ".stc"


def source_kind(source: SourceOptions) -> SourceKind:
    """How a source is treated."""
    if source.play is None:
        return CAMERA
    if source.play == PIPE or _is_pipe(source.play):
        return PIPED
    return LOOP if source.loop else FILE


def source_opener(source: SourceOptions) -> Callable[[], Iterator[Item]]:
    """What opens the source of pictures."""
    if source.play is None:
        return partial(camera, source.camera, (source.width, source.height), source.rate)
    sound = source.sound and source.microphone is None
    if source.play == PIPE:
        return lambda: play(_stdin(), sound)
    return partial(play, source.play, sound)


def sending_side(
    address: str,
    source: SourceOptions,
    options: LiveOptions,
    identity: str | None = None,
    *,
    say: Say = lambda sentence: None,
    stop: threading.Event | None = None,
    front_end: LiveFrontEnd | None = None,
    timings: Timings | None = None,
    sent: Callable[[float, float], object] = lambda seconds, arrived: None,
) -> SendingSide:
    """Ready to start. identity: a card, or a stream whose identity is taken. front_end: in place of the pack's own.
    sent: as of Sending.

    Raises OptionError, MediaError, PackError, FormatError, MissingDependency.
    """
    need_extra("encode", "encoding")
    host, port = parse_address(address)
    stop, timings, pictures = stop or threading.Event(), timings or Timings(), Mailbox()
    kind = source_kind(source)
    if kind.paced and source.play is not None:
        rate = told_rate(source.play)
        options = options if rate is None else replace(options, rate=min(max(rate, Fraction(1)), Fraction(240)))
    pack = open_pack(options.pack)
    require_preset(pack.card, "fast")
    card = None if identity is None else read_card(identity, pack)
    heard = source.microphone is not None or (source.play is not None and source.sound)
    sound = SoundCoder(source.bitrate) if heard else None
    with ExitStack() as stack:
        background = stack.enter_context(ThreadPoolExecutor(1))
        found = front_end or live_front_end(pack, options)
        config = None if sound is None else sound.config
        encoder = LiveEncoder(pack, options, found, card, background, config, timings.add)
        outgoing = Outgoing(host, port)
        pace = FrameSkip(say)
        wire = outgoing.burst
        sending = Sending(encoder, pictures, wire, sound=sound, pace=pace, timings=timings, sent=sent, say=say)
        into = None if sound is None or source.microphone is not None else sound.heard
        feeds = [Feed(source_opener(source), kind, pictures, into, pace, say=say, stop=stop)]
        if source.microphone is not None and sound is not None:
            opened = partial(microphone, source.microphone or None)
            feeds.append(Feed(opened, MICROPHONE, Mailbox(), sound.heard, say=say, stop=stop))
        stack.pop_all()
        return SendingSide(feeds, pictures, sending, outgoing, pace, background)


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
    if _is_pipe(output):
        try:
            return RawFrames(open(output, "wb"), output)
        except OSError as error:
            raise OutputError(f"{output} cannot be written: {reason(error)}") from error
    if Path(output).suffix.lower() not in FORMATS:
        raise OptionError(f"{output}: a call is written to {STREAM}, {', '.join(FORMATS)}, a named pipe or -")
    need_extra("video", "writing a video")
    check_output(output)
    return VideoFile(output)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _stdin() -> BinaryIO:
    source: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if source is None:
        raise MediaError("stdin cannot be read: it is closed")
    return source
