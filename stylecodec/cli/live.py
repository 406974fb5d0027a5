"""`stylecodec send` and `receive`: a live stream over UDP."""

from __future__ import annotations

import argparse
import sys
import tempfile
from typing import BinaryIO

from ..bitstream.edit import Repair
from ..bitstream.layout import MAX_GROUP_FRAMES
from ..bitstream.live import (
    ATTACHED_SECONDS,
    LATENT_SECONDS,
    REPEAT_SECONDS,
    IdentityCache,
    LiveReceiver,
    bursts,
    needs,
)
from ..bitstream.live.transport import MTU
from ..bitstream.live.udp import listen, parse_address, receive, send
from ..errors import MediaError, OptionError
from ..files import blaming, check_output, place_of
from .arguments import CommandParser, add_json, add_stream_input
from .output import DONE, print_json
from .pipes import PIPE, data_output, piped
from .stream_files import opened, report, write, written

SEND_EXAMPLES = """
stylecodec send talk.stc 192.0.2.7:5004                    # each frame on its own, in real time
stylecodec send talk.stc 192.0.2.7:5004 --group 5          # 0.2 s later at 25 per second, fewer bytes
stylecodec send talk.stc 192.0.2.7:5004 --no-latent        # the receiver holds the identity already
stylecodec send me.stc 192.0.2.7:5004 --no-delta           # and its personalised generator

RTP over UDP, unencrypted: for anything but a trusted network put it into a tunnel."""

RECEIVE_EXAMPLES = """
stylecodec receive :5004 call.stc                          # until the sender says goodbye, or Ctrl-C
stylecodec receive :5004 call.stc --known talk.stc         # the identity of talk.stc may be named only
stylecodec receive :5004 - | my-player                     # the live stream itself, as it arrives"""


def _send_arguments(parser: CommandParser) -> None:
    parser.end_with(SEND_EXAMPLES)
    add_stream_input(parser)
    parser.add_argument("address", metavar="HOST:PORT", help="to whom")
    parser.add_argument(
        "--group", type=int, default=1, metavar="N", help="frames sent together; N frames of delay (default: 1)"
    )
    parser.add_argument(
        "--repeat", type=float, default=REPEAT_SECONDS, metavar="S", help="repeat the header after S (%(default)s)"
    )
    parser.add_argument(
        "--latent-repeat",
        type=float,
        default=LATENT_SECONDS,
        metavar="S",
        help="repeat the identity, 6 to 18 KB, after S; 0: never (default: %(default)s)",
    )
    parser.add_argument("--no-latent", action="store_true", help="name the identity only; the receiver must hold it")
    parser.add_argument(
        "--attached-repeat",
        type=float,
        default=ATTACHED_SECONDS,
        metavar="S",
        help="repeat personalised generator and background after S; 0: never (default: %(default)s)",
    )
    parser.add_argument(
        "--no-delta", action="store_true", help="name a personalised generator only; the receiver must know the person"
    )
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="X times as fast as it plays")
    parser.add_argument("--mtu", type=int, default=MTU, metavar="N", help="bytes of a datagram (default: %(default)s)")
    add_json(parser)
    parser.set_defaults(run=_send)


def _receive_arguments(parser: CommandParser) -> None:
    parser.end_with(RECEIVE_EXAMPLES)
    parser.add_argument("address", metavar="[HOST]:PORT", help="where to listen")
    parser.add_argument("output", metavar="OUT.stc", help="file, or - for the live bytes on stdout")
    parser.add_argument("--known", action="append", default=[], metavar="FILE.stc", help="identities held already")
    parser.add_argument(
        "--delay", type=float, default=0.1, metavar="S", help="wait for a late datagram (default: %(default)s)"
    )
    parser.add_argument("--wait", type=float, metavar="S", help="give up when nothing comes within S")
    parser.add_argument(
        "--idle", type=float, default=5.0, metavar="S", help="end when nothing more comes for S (default: %(default)s)"
    )
    parser.add_argument("--duration", type=float, metavar="S", help="end after S")
    add_json(parser)
    parser.set_defaults(run=_receive)


def _send(arguments: argparse.Namespace) -> int:
    host, port = parse_address(arguments.address)
    if not 1 <= arguments.group <= MAX_GROUP_FRAMES:
        raise OptionError(f"--group takes 1 to {MAX_GROUP_FRAMES}, not {arguments.group}")
    with piped([arguments.input]) as ((source,), _), opened(source) as stream:
        for sentence in needs(stream, not arguments.no_delta):
            print(f"stylecodec: {sentence}", file=sys.stderr)
        live = bursts(
            stream,
            arguments.group,
            repeat=arguments.repeat,
            latent_repeat=arguments.latent_repeat or None,
            send_latent=not arguments.no_latent,
            attached_repeat=arguments.attached_repeat or None,
            send_delta=not arguments.no_delta,
        )
        sent = send(live, host, port, speed=arguments.speed, mtu=arguments.mtu)
        frames = stream.frame_count
    kbps = sent.wire_bytes * 8 / 1000 / max(sent.seconds, 1e-9)
    facts = {"frames": frames, "seconds": round(sent.seconds, 3), "datagrams": sent.datagrams}
    facts |= {"wire_bytes": sent.wire_bytes, "kbps": round(kbps, 3)}
    if arguments.json:
        return print_json(facts)
    print(f"{frames:,} frames in {sent.datagrams:,} datagrams, {sent.wire_bytes:,} bytes, {kbps:.1f} kbps on the wire")
    return DONE


def _receive(arguments: argparse.Namespace) -> int:
    known = IdentityCache()
    for path in arguments.known:
        with opened(path) as stream:
            for identity in stream.identities:
                known.add(identity)
    receiver = LiveReceiver(arguments.delay)
    if arguments.output == PIPE:
        _take(arguments, receiver, data_output())
        return DONE
    check_output(arguments.output, *arguments.known)
    with tempfile.TemporaryFile(dir=place_of(arguments.output).parent) as stored:
        with blaming(arguments.output):
            _take(arguments, receiver, stored)
        if not stored.tell():
            raise MediaError(f"no stream arrived on {arguments.address}")
        repair = Repair(stored, recall=known.recall)
        write(arguments.output, repair.portions())
    jitter = receiver.jitter
    sentences = [f"{jitter.received:,} datagrams, {jitter.lost:,} lost, {jitter.late:,} too late"]
    if repair.held:
        sentences.append(f"{repair.held:,} frames were lost and repeat the one before")
    facts = written(arguments.output, arguments.output)
    facts |= {"datagrams": jitter.received, "lost": jitter.lost, "late": jitter.late, "frames_held": repair.held}
    facts |= {"frames_shifted": repair.shifted, "not_saved": repair.lost}
    return report(arguments, facts, sentences)


def _take(arguments: argparse.Namespace, receiver: LiveReceiver, out: BinaryIO) -> None:
    """Write the live stream as it arrives, until it ends or somebody interrupts."""
    limits = {"wait": arguments.wait, "idle": arguments.idle, "duration": arguments.duration}
    with listen(*parse_address(arguments.address)) as server:
        try:
            for portion in receive(server, receiver, **limits):
                out.write(portion)
                if portion:
                    out.flush()
        except KeyboardInterrupt:  # the usual end of a recording
            out.write(receiver.flush())


COMMANDS = {"send": _send_arguments, "receive": _receive_arguments}
