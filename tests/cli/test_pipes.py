"""The ends of the pipe: stdin and stdout in place of files, closed streams, signals, names, places without room."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylecodec.bitstream import StreamFile
from stylecodec.cli import main as cli
from stylecodec.errors import OutputError
from stylecodec.files import atomic_write, check_output, part_of
from stylecodec.packs.store import PACKS_VARIABLE, ModelPack
from tests.bitstream.conftest import make_packets
from tests.bitstream.edit.test_operations import opened, rows, talk
from tests.decoding import streams
from tests.tiny import FixedFace

ROOT = Path(__file__).parents[2]
Run = pytest.CaptureFixture[str]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, shells and limits")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the current one, with talk.stc: 60 frames with sound; temporary files go to `tmp` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.stc").write_bytes(talk())
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def run(words: str, data: bytes = b"", code: int = 0) -> bytes:
    """Run a command with `data` on stdin; what it wrote to stdout."""
    with pytest.MonkeyPatch.context() as patch:
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
        patch.setattr("sys.stdout", out)
        assert cli.main(words.split()) == code
        return out.buffer.getvalue()  # type: ignore[attr-defined, no-any-return]


def program(*words: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    """A command as a program of its own."""
    command = [sys.executable, "-m", "stylecodec", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, env=environment, **options)  # type: ignore[call-overload, no-any-return]


# --- stdin and stdout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["info {}", "verify {}", "dump {}", "dump {} --json"])
def test_stdin_reads_as_the_file(words: str, here: Path) -> None:
    named, piped = run(words.format("talk.stc")), run(words.format("-"), talk())
    assert piped.splitlines()[1:] == named.splitlines()[1:]
    assert len(named) > 40
    assert list((here / "tmp").iterdir()) == []


def test_json_names_stdin_as_it_was_named(here: Path) -> None:
    facts = json.loads(run("info - --json", talk()))
    assert facts == {**json.loads(run("info talk.stc --json")), "file": "-"}
    assert json.loads(run("verify - --json", talk()))["complete"] is True


@pytest.mark.parametrize(
    "words",
    [
        "cut {} {} --frames 10:20",
        "concat {} talk.stc {}",
        "strip {} {} --audio",
        "transcode {} {} --profile compact",
        "repair {} {}",
        "puppet {} talk.stc {}",
        "puppet talk.stc {} {}",
    ],
)
def test_a_pipe_carries_what_the_file_would(words: str, here: Path, capsys: Run) -> None:
    run(words.format("talk.stc", "named.stc"))
    said = capsys.readouterr()
    assert said.err == ""
    assert run(words.format("-", "-"), talk()) == Path("named.stc").read_bytes()
    assert capsys.readouterr().err.count("\n") >= 1  # the report
    assert sorted(path.name for path in here.iterdir()) == ["named.stc", "talk.stc", "tmp"]
    assert list((here / "tmp").iterdir()) == []


def test_reports_for_programs_leave_stdout_to_the_data(here: Path, capsys: Run) -> None:
    data = run("cut talk.stc - --frames 7:9 --json")
    assert rows(opened(data)) == make_packets(60, 1)[7:9].tobytes()
    facts = json.loads(capsys.readouterr().err)
    assert (facts["output"], facts["frames"], facts["bytes"]) == ("-", 2, len(data))


def test_dump_and_undump_in_a_pipe(here: Path) -> None:
    lines = run("dump - --json", talk())
    assert run("undump - -", lines) == talk()


def test_encode_and_decode(clip: Path, tiny_pack: ModelPack, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKS_VARIABLE, str(tiny_pack.folder.parent))
    monkeypatch.setattr("stylecodec.encoding.front_end.front_end_for", lambda pack, options: FixedFace())
    options = "--pack tiny-1024 --device cpu --identity-steps 1 --no-landmark-correction --duration 0.2 --profile raw"
    options += " --likeness off"
    run(f"encode {clip} named.stc {options}")
    assert run(f"encode - - {options}", clip.read_bytes()) == Path("named.stc").read_bytes()
    run("decode - piped.mp4 --size 32 --device cpu", Path("named.stc").read_bytes())
    assert Path("piped.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "data", "code", "sentence"),
    [
        ("info -", b"neither", 1, "stdin: not a stylecodec stream"),
        ("cut - a.stc --frames :3", talk()[:-40], 1, "stdin: the file is not whole"),
        ("encode - a.stc", b"no video", 1, "stdin is not a video that can be read"),
        ("undump - a.stc", b"{", 1, "stdin: line 1"),
        ("decode talk.stc -", b"", 2, "a video is not written to stdout: name a file, .mp4, .mkv or .webm"),
        ("concat - - a.stc", talk(), 2, "stdin can be read once"),
        ("encode talk.mp4 a.stc --checkpoint - --personalize", b"", 2, "a checkpoint and an identity card are files"),
    ],
)
def test_errors_name_the_ends(words: str, data: bytes, code: int, sentence: str, here: Path, capsys: Run) -> None:
    assert run(words, data, code) == b""
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert sentence in error
    assert str(here) not in error
    assert sorted(path.name for path in here.iterdir()) == ["talk.stc", "tmp"]
    assert list((here / "tmp").iterdir()) == []


def test_a_failure_sends_nothing(here: Path) -> None:
    whole = talk(group=10)
    broken = bytearray(whole)
    broken[broken.index(make_packets(60, 1)[55].tobytes())] ^= 1
    assert run("cut - - --frames 40:60", bytes(broken), 1) == b""
    assert len(run("cut - - --frames 40:60", whole)) > 20 * 70


class Terminal(io.TextIOWrapper):
    """A stream at which a person sits."""

    def isatty(self) -> bool:
        return True


def test_terminals_are_neither_read_nor_written(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO()))
    assert cli.main(["info", "-"]) == 2
    assert "stdin is a terminal" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdout", Terminal(io.BytesIO()))
    assert cli.main(["strip", "talk.stc", "-", "--audio"]) == 2
    assert "stdout is a terminal" in capsys.readouterr().err


# --- streams that are closed --------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_nothing(closed: str, here: Path) -> None:
    command = f'"{sys.executable}" -m stylecodec cut talk.stc part.stc --frames 10:20 {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, b"")
    with StreamFile.open("part.stc") as part:  # nothing that was printed got into it
        assert part.frame_count == 10
        assert part.complete


def test_a_host_without_streams(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):  # as under pythonw
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["strip", "talk.stc", "mute.stc", "--audio"]) == 0
    assert cli.main(["dump", "talk.stc"]) == 0
    assert cli.main(["info", "-"]) == 1
    assert cli.main(["strip", "talk.stc", "-", "--audio"]) == 1
    assert cli.main(["no-command"]) == 2
    assert (sys.stdout, sys.stderr) == (None, None)


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", ["info talk.stc", "cut talk.stc -"])
def test_a_full_stdout_is_said(words: str, here: Path) -> None:
    command = f'"{sys.executable}" -m stylecodec {words} > /dev/full'
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert done.stderr == b"stylecodec: error: stdout cannot be written: no space left on device\n"


@posix
def test_a_reader_that_leaves_a_pipe_of_data(here: Path) -> None:
    command = f'"{sys.executable}" -m stylecodec cut talk.stc - | head -c 1'
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout == talk()[:1]
    assert b"Error" not in done.stderr


@posix
def test_names_that_are_no_text(here: Path) -> None:
    name = os.fsdecode(b"caf\xe9.stc")
    done = program("cut", "talk.stc", name, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["output"] == name
    assert Path(name).read_bytes() == talk()
    assert program("info", name).returncode == 0


# --- signals ------------------------------------------------------------------------------------------------


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_by_exception(name: str, here: Path, handlers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(signal, name)
    signal.signal(number, signal.SIG_DFL)

    def portions(*arguments: object) -> Iterator[bytes]:
        yield b"half"
        os.kill(os.getpid(), number)
        yield b"the rest"

    monkeypatch.setattr("stylecodec.bitstream.edit.cut", portions)
    with pytest.raises(SystemExit) as ended:
        cli.main(["cut", "talk.stc", "part.stc"])
    assert ended.value.code == 128 + number
    assert sorted(path.name for path in here.iterdir()) == ["talk.stc", "tmp"]
    assert signal.getsignal(number) is signal.SIG_DFL


@posix
def test_the_hosts_handlers_stay(here: Path, handlers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup

    def portions(*arguments: object) -> Iterator[bytes]:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        yield talk()

    monkeypatch.setattr("stylecodec.bitstream.edit.cut", portions)
    assert cli.main(["cut", "talk.stc", "part.stc"]) == 0
    assert heard == [signal.SIGTERM]
    assert Path("part.stc").read_bytes() == talk()


def test_a_thread_of_a_host_may_run_commands(here: Path) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["strip", "talk.stc", "mute.stc", "--audio"])))
    thread.start()
    thread.join()
    assert codes == [0]


@posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_stopping_a_program_leaves_no_file(tiny_pack: ModelPack, here: Path, name: str, code: int) -> None:
    number = getattr(signal, name)
    Path("long.stc").write_bytes(streams.stream(tiny_pack, count=20_000, group=1000))
    out = here / "out"
    out.mkdir()
    command = [sys.executable, "-m", "stylecodec", "decode", "long.stc", str(out / "a.mp4"), "--device", "cpu"]
    command += ["--size", "64"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), PACKS_VARIABLE: str(tiny_pack.folder.parent)}

    def heed_signals() -> None:  # a shell's background jobs ignore SIGINT, and their children would with them
        signal.signal(number, signal.SIG_DFL)

    options = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": heed_signals, "env": environment}
    with subprocess.Popen(command, **options) as running:  # type: ignore[call-overload]
        deadline = time.monotonic() + 300
        while not any(out.iterdir()) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert any(out.iterdir()), running.stderr.read()
        running.send_signal(number)
        try:
            _, error = running.communicate(timeout=300)
        finally:
            running.kill()
    assert running.returncode == code
    assert "Traceback" not in error
    assert list(out.iterdir()) == []


# --- names and places -----------------------------------------------------------------------------------------


@posix
def test_the_longest_names_are_written(here: Path) -> None:
    longest = "y" * 251 + ".stc"
    assert cli.main(["cut", "talk.stc", longest, "--frames", ":9"]) == 0
    with StreamFile.open(longest) as stream:
        assert stream.frame_count == 9
    assert len(part_of(Path("a")).name) < 32


@posix
@pytest.mark.parametrize("command", ["encode CLIP OUT", "decode talk.stc OUT", "cut talk.stc OUT", "dump talk.stc OUT"])
@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("y" * 252 + ".mp4", "cannot be written: file name too long"),
        ("no/where.mp4", "cannot be written: there is no folder no"),
        ("talk.stc/a.mp4", "cannot be written: there is no folder talk.stc"),
        ("/proc/a.mp4", "/proc/a.mp4 cannot be written: "),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    command: str, output: str, sentence: str, clip: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run
) -> None:
    if output.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no /proc")
    for name in ("stylecodec.media.video.VideoReader.__init__", "stylecodec.decoding.decoder.Decoder.open"):
        monkeypatch.setattr(name, lambda *arguments, **options: pytest.fail("the work began"))
    monkeypatch.setattr("stylecodec.bitstream.edit.cut", lambda *arguments: pytest.fail("the work began"))
    words = {"OUT": output, "CLIP": str(clip)}
    assert cli.main([words.get(word, word) for word in command.split()]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "talk.stc cannot be read" not in error
    assert error.count("\n") == 1
    assert len(error) < 400
    assert sorted(path.name for path in here.iterdir()) == ["talk.stc", "tmp"]


LIMITED = """
import resource, sys
from stylecodec.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
sys.exit(main(sys.argv[2:]))
"""


@posix
@pytest.mark.parametrize("most", [100, 5000])
def test_a_full_disk_is_the_outputs_fault(most: int, here: Path) -> None:
    """100 bytes: found before the work; 5000: while it is written."""
    Path("big.stc").write_bytes(talk(200))
    command = [sys.executable, "-c", LIMITED, str(most), "concat", "big.stc", "big.stc", "out.stc"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert done.stderr == "stylecodec: error: out.stc cannot be written: file too large\n"
    assert sorted(path.name for path in here.iterdir()) == ["big.stc", "talk.stc", "tmp"]


def test_a_failing_input_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "out") as file:
            file.write(b"half")
            file.write(tmp_path.read_bytes())

    with pytest.raises(IsADirectoryError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_check_output_leaves_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="no file has a name like that"):
        check_output(tmp_path / "a\0b")


def test_stdin_that_fails(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Run) -> None:
    class Torn(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Torn()))
    assert cli.main(["info", "-"]) == 1
    assert "stdin cannot be read: input/output error" in capsys.readouterr().err
