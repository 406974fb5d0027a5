"""One StreamFile for many threads and forked processes, pickled, from pipes, and from file objects of any kind."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from stylecodec.bitstream import Identity, StreamFile, StreamWriter, check, edit, source
from stylecodec.bitstream.source import ByteSource
from stylecodec.errors import BadMagic, LimitExceeded, OptionError, Truncated
from tests.bitstream.conftest import make_header, make_identity, make_packets, make_stream

GROUPS = (5,) * 60  # far more than are cached
WANTED = make_packets(sum(GROUPS)).astype(np.float32)
needs_pread = pytest.mark.skipif(not hasattr(os, "pread"), reason="this system has no pread")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def long_stream() -> bytes:
    """300 frames in 60 groups, with audio."""
    return make_stream(GROUPS)


@pytest.fixture(scope="module")
def path(long_stream: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("streams") / "long.stc"
    file.write_bytes(long_stream)
    return file


def read_at_random(stream: StreamFile, seed: int, count: int = 400) -> None:
    """Read frames in random order; AssertionError where one is not the right one."""
    for frame in np.random.default_rng(seed).integers(0, len(WANTED), count).tolist():
        assert np.array_equal(stream.packets(frame, frame + 1)[0], WANTED[frame])
        assert stream.identity_for(frame) == make_identity()


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "file", "unbuffered", "memory"])
def test_threads_share_a_stream(kind: str, path: Path, long_stream: bytes) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with opened(kind, path, long_stream) as stream, ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(read_at_random, stream, seed) for seed in range(8)]:
                done.result()
    finally:
        sys.setswitchinterval(before)


def opened(kind: str, path: Path, data: bytes) -> StreamFile:
    files = {"file": lambda: path.open("rb"), "unbuffered": lambda: path.open("rb", buffering=0)}
    if kind == "path":
        return StreamFile.open(path)
    if kind == "memory":
        return StreamFile.open(io.BytesIO(data))
    file = files[kind]()
    stream = StreamFile.open(file)
    stream.close = file.close  # type: ignore[method-assign]
    return stream


@needs_pread
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_of_the_callers_keeps_its_position(buffering: int, path: Path) -> None:
    with path.open("rb", buffering=buffering) as file:
        stream = StreamFile.open(file)
        file.seek(17)
        stream.packets(0, 300)
        assert file.tell() == 17
        stream.close()
        assert not file.closed


def test_a_closed_stream_is_an_error(path: Path) -> None:
    stream = StreamFile.open(path)
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.packets(0, 1)


# --- forked processes -------------------------------------------------------------------------------------------------

FORKS = """
import io, os, signal, sys
import numpy as np
from stylecodec.bitstream import StreamFile

path, kind, wanted = sys.argv[1], sys.argv[2], np.load(sys.argv[3])
stream = StreamFile.open(path if kind == "path" else io.BytesIO(open(path, "rb").read()))
if kind == "locked":
    stream._source._lock.acquire()  # as another thread of the parent may at the moment of the fork
children = []
for seed in range(4):
    child = os.fork()
    if not child:
        signal.alarm(60)
        for frame in np.random.default_rng(seed).integers(0, len(wanted), 1000).tolist():
            if not np.array_equal(stream.packets(frame, frame + 1)[0], wanted[frame]):
                os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255 for child in children))
"""


@needs_fork
@pytest.mark.parametrize("kind", ["path", "memory", "locked"])
def test_forked_processes_share_a_stream(kind: str, path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wanted.npy", WANTED)
    arguments = [str(path), kind, str(tmp_path / "wanted.npy")]
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", FORKS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


# --- pickle, the current folder, the hash seed ------------------------------------------------------------------------


class Known:
    """Recalls one identity."""

    def recall(self, digest: bytes) -> Identity | None:
        return make_identity() if digest == make_identity().digest else None


def test_a_pickled_stream_opens_its_file_again(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(path.parent)
    with StreamFile.open(path.name) as stream:
        monkeypatch.chdir(tmp_path)
        read_at_random(stream, 0, 20)
        with pickle.loads(pickle.dumps(stream)) as again:
            assert again.header == stream.header
            read_at_random(again, 1, 20)
    with pickle.loads(pickle.dumps(stream)) as again:  # closed or not
        read_at_random(again, 2, 20)


def test_a_pickled_stream_keeps_its_options(tmp_path: Path) -> None:
    writer = StreamWriter(make_header())
    data = writer.start() + writer.reference(make_identity(), mandatory=True) + writer.group(make_packets(2))
    file = tmp_path / "named.stc"
    file.write_bytes(data + writer.finish())
    with (
        StreamFile.open(file, recall=Known().recall, partial=True) as stream,
        pickle.loads(pickle.dumps(stream)) as again,
    ):
        assert again.identity_for(1) == stream.identity_for(1) == make_identity()
        assert again._partial


def test_a_stream_without_a_path_cannot_be_pickled(path: Path, long_stream: bytes) -> None:
    with path.open("rb") as file:
        for given in (file, io.BytesIO(long_stream)):
            with pytest.raises(TypeError, match="only if it was opened by the path"):
                pickle.dumps(StreamFile.open(given))


def test_a_path_through_a_link_stays_what_it_is(tmp_path: Path, long_stream: bytes) -> None:
    """"link/../x" is beside the folder that the link leads to, not beside the link."""
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "far" / "x.stc").write_bytes(long_stream)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    with StreamFile.open(tmp_path / "link" / ".." / "x.stc") as stream, pickle.loads(pickle.dumps(stream)) as again:
        assert again.size == len(long_stream)


def test_the_hash_seed_does_not_matter(path: Path) -> None:
    code = (
        "import sys; from hashlib import sha256; from stylecodec.bitstream import StreamFile, Profile, edit\n"
        "with StreamFile.open(sys.argv[1]) as stream:\n"
        "    parts = edit.cut(stream, 3, 250), edit.concat([stream, stream]), edit.transcode(stream, Profile.COMPACT)\n"
        "    print([sha256(b''.join(part)).hexdigest() for part in parts])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1


# --- pipes and other inputs -------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(long_stream: bytes) -> Iterator[BinaryIO]:
    """The reading end of a pipe into which the stream flows."""
    reading, writing = os.pipe()
    yield from flowing(long_stream, reading, writing)


def flowing(data: bytes, reading: int, writing: int) -> Iterator[BinaryIO]:
    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            try:
                file.write(data)
                file.flush()
            except BrokenPipeError:  # the reader has seen enough
                file.detach()
                os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as file:
        yield file
    thread.join()


def test_a_pipe_is_a_stream_too(pipe: BinaryIO, long_stream: bytes) -> None:
    with StreamFile.open(pipe) as stream:
        assert stream.size == len(long_stream)
        assert stream.complete
        read_at_random(stream, 0, 50)
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(read_at_random, stream, seed, 50) for seed in range(4)]:
                done.result()
        assert len(b"".join(edit.cut(stream, 10, 20))) > 18_432
        with pytest.raises(TypeError, match="only if it was opened by the path"):
            pickle.dumps(stream)
    assert not pipe.closed


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="this system has no /dev/fd")
def test_the_path_of_a_pipe(pipe: BinaryIO) -> None:
    with StreamFile.open(f"/dev/fd/{pipe.fileno()}") as stream:
        read_at_random(stream, 0, 50)
        with pytest.raises(TypeError, match="only if it was opened by the path"):
            pickle.dumps(stream)


def test_a_pipe_is_checked_as_it_comes(pipe: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_SPOOLED_BYTES", 0)  # no copy is made
    report = check(pipe)
    assert report.complete
    assert report.frames == 300


def test_a_pipe_is_repaired(long_stream: bytes) -> None:
    broken = bytearray(long_stream[:-30])
    broken[len(broken) // 2] ^= 1
    reading, writing = os.pipe()
    for file in flowing(bytes(broken), reading, writing):
        with edit.Repair(file) as repair:
            made = b"".join(repair.portions())
    assert (repair.frames, repair.held, repair.found.complete) == (300, 5, False)
    assert check(io.BytesIO(made)).complete


def test_a_path_is_repaired(path: Path) -> None:
    with edit.Repair(path) as repair:
        assert check(io.BytesIO(b"".join(repair.portions()))).frames == 300


def test_a_pipe_has_a_limit(pipe: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_SPOOLED_BYTES", 20_000)
    with pytest.raises(LimitExceeded, match=r"from a pipe may have 20,000 bytes.*in a file"):
        StreamFile.open(pipe)


def test_other_bytes_from_a_pipe() -> None:
    for data, error in ((b"not a stream at all", BadMagic), (b"", Truncated)):
        for file in flowing(data, *os.pipe()):
            with pytest.raises(error):
                StreamFile.open(file)


def test_stdin(path: Path) -> None:
    code = "import sys\nfrom stylecodec.bitstream import StreamFile as F\nprint(F.open(sys.stdin.buffer).frame_count)"
    command = [sys.executable, "-c", code]
    piped = subprocess.run(command, capture_output=True, check=True, input=path.read_bytes())
    with path.open("rb") as file:
        redirected = subprocess.run(command, capture_output=True, check=True, stdin=file)
    assert piped.stdout.split() == redirected.stdout.split() == [b"300"]


def test_a_file_with_other_bytes_behind_it(path: Path, tmp_path: Path, long_stream: bytes) -> None:
    """A gzip file has the descriptor of its compressed file."""
    packed = tmp_path / "long.stc.gz"
    packed.write_bytes(gzip.compress(long_stream))
    with gzip.open(packed) as file, StreamFile.open(file) as stream:  # type: ignore[arg-type]
        read_at_random(stream, 0, 20)


def test_a_temporary_file_that_was_just_written(long_stream: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(long_stream)  # some of it is still in the buffer
        read_at_random(StreamFile.open(file), 0, 50)
        assert edit.Repair(file).found.complete


def test_a_file_in_text_mode(path: Path) -> None:
    with path.open(encoding="latin-1") as file:
        for read in (StreamFile.open, check, edit.Repair):
            with pytest.raises(OptionError, match="binary mode"):
                read(file)  # type: ignore[operator]


def test_a_file_that_gives_little_at_a_time(long_stream: bytes) -> None:
    class Sparing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 100) if size != -1 else -1)

    with StreamFile.open(Sparing(long_stream)) as stream:
        read_at_random(stream, 0, 20)
    with pytest.raises(Truncated) as caught:
        ByteSource(Sparing(long_stream)).read(len(long_stream) - 5, 9)
    assert caught.value.offset == len(long_stream)
