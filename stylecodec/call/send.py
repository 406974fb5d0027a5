"""From what is asked for to the sending side of a call."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import BinaryIO

from ..bitstream.live.udp import Outgoing, parse_address
from ..encoding.identity.cards import read_card
from ..encoding.live.encoder import LiveEncoder, LiveFrontEnd, live_front_end
from ..encoding.live.options import LiveOptions
from ..errors import MediaError
from ..media.capture import Item, camera, is_pipe, microphone, play, told_rate
from ..packs.abilities import require_preset
from ..packs.store import open_pack
from .feed import CAMERA, FILE, LOOP, MICROPHONE, PIPED, Feed, Mailbox, Say, SourceKind
from .options import PIPE, SourceOptions
from .outgoing import Sending
from .pace import FrameSkip
from .run import SendingSide
from .sound import SoundCoder
from .timings import Timings


def source_kind(source: SourceOptions) -> SourceKind:
    """How a source is treated."""
    if source.play is None:
        return CAMERA
    if source.play == PIPE or is_pipe(source.play):
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
    host, port = parse_address(address)
    stop, timings, pictures = stop or threading.Event(), timings or Timings(), Mailbox()
    kind = source_kind(source)
    if kind in (FILE, LOOP) and source.play is not None:
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
            feeds.append(Feed(opened, MICROPHONE, Mailbox(), sound.heard, beside=feeds[0], say=say, stop=stop))
        stack.pop_all()
        return SendingSide(feeds, pictures, sending, outgoing, pace, background)


def _stdin() -> BinaryIO:
    source: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if source is None:
        raise MediaError("stdin cannot be read: it is closed")
    return source
