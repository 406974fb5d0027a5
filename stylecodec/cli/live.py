"""The commands send and receive: a live stream over UDP."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

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
from ..files import check_output
from .streams import add_command, opened, report, write

SEND_EXAMPLES = """examples:
  stylecodec send talk.stc 192.0.2.7:5004                    # each frame on its own, in real time
  stylecodec send talk.stc 192.0.2.7:5004 --group 5          # 0.2 s later at 25 per second, fewer bytes
  stylecodec send talk.stc 192.0.2.7:5004 --no-latent        # the receiver holds the identity already
  stylecodec send me.stc 192.0.2.7:5004 --no-delta           # and its personalised generator

RTP over UDP, unencrypted: for anything but a trusted network put it into a tunnel."""

RECEIVE_EXAMPLES = """examples:
  stylecodec receive :5004 call.stc                          # until the sender says goodbye, or Ctrl-C
  stylecodec receive :5004 call.stc --known talk.stc         # the identity of talk.stc may be named only
  stylecodec receive :5004 - | my-player                     # the live stream itself, as it arrives"""


def register(commands: Any) -> None:
    """Add the commands to the subparsers of the program."""
    sender = add_command(commands, "send", "send a stream live over UDP", SEND_EXAMPLES)
    sender.add_argument("input", metavar="IN.stc")
    sender.add_argument("address", metavar="HOST:PORT")
    sender.add_argument(
        "--group", type=int, default=1, metavar="N", help="frames sent together; N frames of delay (default: 1)"
    )
    sender.add_argument(
        "--repeat", type=float, default=REPEAT_SECONDS, metavar="S", help="repeat the header after S (%(default)s)"
    )
    sender.add_argument(
        "--latent-repeat",
        type=float,
        default=LATENT_SECONDS,
        metavar="S",
        help="repeat the identity, 6 to 18 KB, after S; 0: never (default: %(default)s)",
    )
    sender.add_argument("--no-latent", action="store_true", help="name the identity only; the receiver must hold it")
    sender.add_argument(
        "--attached-repeat",
        type=float,
        default=ATTACHED_SECONDS,
        metavar="S",
        help="repeat personalised generator and background after S; 0: never (default: %(default)s)",
    )
    sender.add_argument(
        "--no-delta", action="store_true", help="name a personalised generator only; the receiver must know the person"
    )
    sender.add_argument("--speed", type=float, default=1.0, metavar="X", help="X times as fast as it plays")
    sender.add_argument("--mtu", type=int, default=MTU, metavar="N", help="bytes of a datagram (default: %(default)s)")
    sender.add_argument("--json", action="store_true", help="report as JSON on stdout")
    sender.set_defaults(run=_send)

    receiver = add_command(commands, "receive", "receive a live stream over UDP and store it", RECEIVE_EXAMPLES)
    receiver.add_argument("address", metavar="[HOST]:PORT", help="where to listen")
    receiver.add_argument("output", metavar="OUT.stc", help="file, or - for the live bytes on stdout")
    receiver.add_argument("--known", action="append", default=[], metavar="FILE.stc", help="identities held already")
    receiver.add_argument(
        "--delay", type=float, default=0.1, metavar="S", help="wait for a late datagram (default: %(default)s)"
    )
    receiver.add_argument("--wait", type=float, metavar="S", help="give up when nothing comes within S")
    receiver.add_argument(
        "--idle", type=float, default=5.0, metavar="S", help="end when nothing more comes for S (default: %(default)s)"
    )
    receiver.add_argument("--duration", type=float, metavar="S", help="end after S")
    receiver.add_argument("--json", action="store_true", help="report as JSON on stdout")
    receiver.set_defaults(run=_receive)


def _send(arguments: argparse.Namespace) -> int:
    host, port = parse_address(arguments.address)
    if not 1 <= arguments.group <= MAX_GROUP_FRAMES:
        raise OptionError(f"--group takes 1 to {MAX_GROUP_FRAMES}, not {arguments.group}")
    with opened(arguments.input) as stream:
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
        print(json.dumps(facts, indent=2))
    else:
        print(
            f"{frames:,} frames in {sent.datagrams:,} datagrams, {sent.wire_bytes:,} bytes, "
            f"{kbps:.1f} kbps on the wire"
        )
    return 0


def _receive(arguments: argparse.Namespace) -> int:
    host, port = parse_address(arguments.address)
    known = IdentityCache()
    for path in arguments.known:
        with opened(path) as stream:
            for identity in stream.identities:
                known.add(identity)
    receiver = LiveReceiver(arguments.delay)
    limits = {"wait": arguments.wait, "idle": arguments.idle, "duration": arguments.duration}
    to_stdout = arguments.output == "-"
    if not to_stdout:
        check_output(arguments.output, *arguments.known)
    folder = None if to_stdout else Path(arguments.output).parent
    with listen(host, port) as server, tempfile.TemporaryFile(dir=folder) as stored:
        out = sys.stdout.buffer if to_stdout else stored
        try:
            for portion in receive(server, receiver, **limits):
                out.write(portion)
                if to_stdout and portion:
                    out.flush()
        except KeyboardInterrupt:  # the usual end of a recording
            out.write(receiver.flush())
        if to_stdout:
            return 0
        if not stored.tell():
            raise MediaError(f"no stream arrived on {arguments.address}")
        repair = Repair(stored, recall=known.recall)
        write(arguments.output, repair.portions())
    jitter = receiver.jitter
    facts = {"datagrams": jitter.received, "lost": jitter.lost, "late": jitter.late, "frames_held": repair.held}
    if not arguments.json:
        print(f"{jitter.received:,} datagrams, {jitter.lost:,} lost, {jitter.late:,} too late")
        if repair.held:
            print(f"{repair.held:,} frames were lost and repeat the one before")
    return report(arguments, facts | {"frames_shifted": repair.shifted, "not_saved": repair.lost})


