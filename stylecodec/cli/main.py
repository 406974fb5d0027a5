"""The program: argv in, exit code out.

Exit codes: 0 done; 1 it failed, or `verify` found damage; 2 the command line makes no sense; 130 interrupted; 128 + n
ended by signal n. Failures are one sentence on stderr; STYLECODEC_DEBUG=1 shows the traceback as well.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from .. import __version__
from ..errors import OptionError, OutputError, StylecodecError
from .arguments import CommandParser, add_command
from .output import DONE, FAILED, INTERRUPTED, USAGE
from .pipes import drop_stdout, open_streams, own_streams

DEBUG_VARIABLE = "STYLECODEC_DEBUG"
# OpenMP reads it when torch is loaded. By default its threads spin while they wait for one another, which beside a busy
# process takes from that one, and so from each other, the time to get done.
WAITING_THREADS = ("OMP_WAIT_POLICY", "passive")

# Command: (the module of its family, what it does). The module is imported when the command is used.
COMMANDS: dict[str, tuple[str, str]] = {
    "encode": ("encode", "encode a video into an .stc file"),
    "decode": ("decode", "render an .stc file into a video"),
    "puppet": ("decode", "give a stream another identity"),
    "info": ("inspection", "say what an .stc file holds, or which streams a video has"),
    "verify": ("inspection", "read every byte of an .stc file and report damage"),
    "identity": ("identity", "cards of known people: export, import, list, remove, clear"),
    "cut": ("streams", "cut a stretch out of a stream, sound in step"),
    "concat": ("streams", "join streams, one after the other"),
    "strip": ("streams", "take parts out of a stream"),
    "transcode": ("streams", "write a stream in another profile"),
    "repair": ("streams", "save what is whole of a damaged or cut-off stream"),
    "dump": ("inspection", "list what a stream is made of"),
    "undump": ("streams", "make a stream of what dump --json wrote"),
    "send": ("live", "send a stream live over UDP"),
    "receive": ("live", "receive a live stream over UDP and store it"),
    "call": ("call", "a live call: out of a camera, into a browser"),
    "corpus": ("corpus", "encode many clips: encode, stats, verify, export"),
    "evaluate": ("evaluate", "score videos or streams against a reference: pixels, likeness, motion"),
    "rd": ("rd", "measure rate and distortion beside ordinary codecs: curves, BD-rate, break-even lengths"),
    "models": ("models", "model packs: import published networks, list, show, verify, remove"),
    "train": ("train", "train the networks of a model pack"),
}

EXAMPLES = """
stylecodec encode talk.mp4 talk.stc
stylecodec decode talk.stc avatar.mp4 --size 512
stylecodec info talk.stc --json
stylecodec puppet portrait.jpg talk.stc puppet.stc && stylecodec decode puppet.stc puppet.mp4
stylecodec verify talk.stc
stylecodec evaluate talk.mp4 talk.stc
stylecodec call --send-to 192.0.2.7:5004 --listen 5004 --show
stylecodec rd talk.mp4 --out curves/ --sizes 256
stylecodec models import stylegan2-ffhq-config-f.pkl modellarge10k.pt
stylecodec cut talk.stc part.stc --start 2 --duration 3 && stylecodec concat part.stc talk.stc both.stc
stylecodec dump talk.stc --json > talk.jsonl && stylecodec undump talk.jsonl same.stc
ffmpeg -i talk.avi -f matroska - | stylecodec encode - - | stylecodec info -

- in place of a stream, or of the video that encode reads, is stdin or stdout."""

EXITS = f"""exit codes: 0 done; 1 it failed, or verify found damage; 2 wrong usage; 130 interrupted.
STYLECODEC_PACKS names folders to search for model packs, STYLECODEC_IDENTITIES the folder in which people are known;
{DEBUG_VARIABLE}=1 shows tracebacks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    argv: its words; when left out, those of the process, which is then taken to be ours alone. While the command runs,
    SIGTERM and SIGHUP raise SystemExit where they would end the process, so that no half-written file stays.
    """
    if argv is None:
        own_streams()
        os.environ.setdefault(*WAITING_THREADS)
    with open_streams(), _ending_by_exception():
        code = _run_guarded(list(sys.argv[1:] if argv is None else argv))
        return _flush(code, ours=argv is None)


def _run_guarded(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever reads our output has enough of it
        return DONE
    except StylecodecError as error:
        for sentence in getattr(error, "__notes__", ()):  # of the source
            _complain(f"note: {sentence}", FAILED)
        return _complain(f"error: {error}", USAGE if isinstance(error, OptionError) else FAILED)
    except Exception as error:  # a fault of ours, or the machine's: a sentence all the same
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _complain(f"error: unexpected {what} ({DEBUG_VARIABLE}=1 shows where)", FAILED)


def _run(arguments: list[str]) -> int:
    try:
        parsed = _parser().parse_args(arguments)
    except SystemExit as error:  # argparse has said what it had to say
        return error.code if isinstance(error.code, int) else DONE
    code: int = parsed.run(parsed)
    return code


def _parser() -> CommandParser:
    top = CommandParser(
        prog="stylecodec", description="A talking-head video codec: one identity latent and 35 numbers per frame."
    )
    top.end_with(EXAMPLES, EXITS)
    top.add_argument("--version", action="version", version=f"stylecodec {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (family, what) in COMMANDS.items():
        add_command(commands, name, what, _filler(family, name))
    return top


def _filler(family: str, name: str) -> Callable[[CommandParser], None]:
    def fill(parser: CommandParser) -> None:
        importlib.import_module(f".{family}", __package__).COMMANDS[name](parser)

    return fill


def _complain(sentence: str, code: int) -> int:
    with suppress(OSError):  # stderr may be a terminal that is gone
        if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
            traceback.print_exc()
        print(f"stylecodec: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def _flush(code: int, ours: bool) -> int:
    """Write out what stdout holds; the exit code. ours: the process ends now."""
    try:
        sys.stdout.flush()
    except (OSError, OutputError) as error:
        if ours:
            drop_stdout()
        if code == DONE and not isinstance(error, BrokenPipeError):  # else the failure has been told
            return _complain(f"error: {error}", FAILED)
    return code


@contextmanager
def _ending_by_exception() -> Iterator[None]:
    """Within, signals that would end the process raise SystemExit. Handlers of the host program stay as they are."""
    names = ("SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may set handlers
    replaced = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
