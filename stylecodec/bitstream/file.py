"""StreamFile: any frame of a file by number or time, reading little else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ..errors import CorruptChunk, FormatError, Truncated
from . import layout
from .account import byte_account
from .audio import AudioChunk, AudioConfig
from .checks import check_time
from .chunks import Prologue
from .events import Extra, UnknownChunk, parse_attachment
from .groups import FrameGroup
from .header import StreamHeader
from .identities import IdentityTable, Recall
from .identity import Identity, IdentityReference
from .layout import ChunkType
from .reader import StreamReport
from .scan import scan_table
from .source import ByteSource, Source
from .table import ChunkFile, load_table

_CACHED_GROUPS = 4


class StreamFile:
    """Random access to one stream file; a context manager.

    Opening reads the header and the index. Where the index is missing or damaged (a live, cut or broken file) the whole
    file is scanned and every intact group is there; `complete` is then False unless the stream is live, and `report`
    names what is missing. Damage inside a group is found when the group is read.

    One StreamFile serves several threads and forked processes at once. One that was opened by its path can be pickled;
    unpickling opens the file again, whatever the current folder is then.

    >>> with StreamFile.open("clip.stc") as stream: packets = stream.packets(0, stream.frame_count)
    """

    def __init__(self, source: ByteSource, recall: Recall | None = None, partial: bool = False) -> None:
        self._source = source
        self._recall, self._partial = recall, partial
        # Replaced as a whole, never changed: threads need no lock.
        self._recent: tuple[tuple[int, FrameGroup], ...] = ()
        self._chunks = ChunkFile(source)
        self.size = source.size
        prologue = Prologue.parse(source.read(0, min(layout.PROLOGUE_BYTES, self.size)))
        try:
            self._table = load_table(self._chunks)
            if partial:
                for _ in self.extras(layout.ATTACHMENT_TYPES.__contains__):
                    pass  # a damaged one raises
        except FormatError:
            self._table = scan_table(self._chunks, recall)
        self.header = self._load_header()
        self._identities = IdentityTable(self._chunks, self._table, prologue.minor, recall)
        groups = self._table.of(ChunkType.GROUP)
        self._group_offsets = groups["offset"].astype(np.int64)
        self._group_counts = groups["count"].astype(np.int64)
        self._group_slots = groups["slot"]
        self._first_frames = self._table.first_frames

    @classmethod
    def open(cls, source: Source, *, recall: Recall | None = None, partial: bool = False) -> StreamFile:
        """Open a path, or a binary file object that stays the caller's to close.

        An input that cannot seek (stdin, a pipe) is first read to its end into a temporary file, 1 GiB at most.

        recall: called with the digest of an identity that the file only refers to. partial: leave out personalised
        generators and a background that are damaged, after a scan of the whole file.
        Raises FormatError when not even the stream header can be read, OSError, OptionError for a file in text mode.
        """
        opened = ByteSource.open(source)
        try:
            return cls(opened, recall, partial)
        except BaseException:
            opened.close()
            raise

    def __reduce__(self) -> tuple[object, ...]:
        """What pickle stores. Raises TypeError where there is no path by which to open the file again."""
        if self._source.path is None:
            raise TypeError("a StreamFile can be pickled only if it was opened by the path of a file")
        return _reopen, (type(self), self._source.path, self._recall, self._partial)

    def __enter__(self) -> StreamFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if `open` opened it."""
        self._source.close()

    # --- what the stream is ---------------------------------------------------------------------------

    @property
    def report(self) -> StreamReport | None:
        """What the scan found, or None when the index of the file was used."""
        return self._table.report

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing."""
        return self._table.report is None or self._table.report.complete

    @property
    def frame_count(self) -> int:
        """Frames from 0 to the last one in the file; a damaged file may lack some between."""
        if not len(self._first_frames):
            return 0
        return int(self._first_frames[-1] + self._group_counts[-1])

    @property
    def group_count(self) -> int:
        """Groups of frames that are in the file."""
        return len(self._first_frames)

    @property
    def duration_seconds(self) -> float:
        """Time at which the last frame ends, a nominal frame after it begins."""
        if not self.frame_count:
            return 0.0
        if self.header.variable_rate:
            last = self.group(self.group_count - 1).pts
            assert last is not None
            return int(last[-1]) / self.header.time_scale + float(1 / self.header.rate)
        return float(self.frame_count / self.header.rate)

    @property
    def predicts(self) -> bool:
        """Whether identities may be predicted from others: the stream has minor version 1 or a later one."""
        return self._identities.predicts

    @property
    def references(self) -> tuple[IdentityReference, ...]:
        """Identities that the file names by their digest, by slot; it may contain them as well."""
        return self._identities.references

    @property
    def identity_digests(self) -> frozenset[bytes]:
        """SHA-256 of the latents that the file contains or names, without damaged chunks; no latent is decoded."""
        return self._identities.digests

    @cached_property
    def identities(self) -> tuple[Identity, ...]:
        """The different identities that the file contains, by slot."""
        return tuple(self._identities.of_slot(slot) for slot in self._identities.slots)

    def identity_sizes(self) -> Iterator[tuple[Identity, int]]:
        """The identities that the file contains, each with the bytes of the first chunk that gives it."""
        return self._identities.sizes()

    @cached_property
    def audio_config(self) -> AudioConfig | None:
        """How to decode the audio, None without audio."""
        entries = self._table.of(ChunkType.AUDIO_CONFIG)
        if not len(entries):
            return None
        chunk = self._chunks.chunk(int(entries["offset"][0]), ChunkType.AUDIO_CONFIG)
        return AudioConfig.parse(chunk.payload, chunk.payload_offset)

    def byte_account(self) -> dict[str, int]:
        """Bytes by purpose; all but "total" add up to the size of the file.

        "header" includes the prologue, "index" the END chunk. "other" is private, unknown, damaged and incomplete
        chunks: 0 in a whole stream of this version without private chunks.
        """
        types = self._table.entries["type"]
        sizes = {int(kind): int(self._table.sizes[types == kind].sum()) for kind in sorted(set(types.tolist()))}
        sizes[ChunkType.INDEX], sizes[ChunkType.END] = self._table.index_bytes, 0
        return byte_account(sizes, self.size)

    # --- frames ---------------------------------------------------------------------------------------

    def group(self, number: int) -> FrameGroup:
        """The group of that number, counted from 0. Raises FormatError if it is damaged."""
        for known, group in self._recent:
            if known == number:
                return group
        chunk = self._chunks.chunk(int(self._group_offsets[number]), ChunkType.GROUP)
        group = FrameGroup.parse(chunk.payload, chunk.payload_offset, self.header.quantiser)
        expected = (self._first_frames[number], self._group_counts[number], self._group_slots[number])
        if (group.first_frame, len(group), group.identity) != expected:
            raise CorruptChunk("a group and the index disagree", chunk.payload_offset)
        if (group.pts is not None) != self.header.variable_rate:
            raise CorruptChunk("a group and the stream header disagree about times", chunk.payload_offset + 11)
        self._recent = (*self._recent[1 - _CACHED_GROUPS :], (number, group))
        return group

    def groups(self) -> Iterator[FrameGroup]:
        """All groups in order."""
        for number in range(self.group_count):
            yield self.group(number)

    def packets(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Frames start..stop-1 as float32 [stop - start, 35]: yaw, pitch, roll in degrees, alpha 0..31.

        Raises IndexError outside 0..frame_count, CorruptChunk for frames missing from a damaged file.
        """
        self._check_size(start, stop)
        packets = np.empty((stop - start, layout.PARAMS_PER_FRAME), np.float32)
        for group, inside in self.parts(start, stop):
            packets[_outside(group, inside, start)] = group.packets[inside]
        return packets

    def pts(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Presentation times of frames start..stop-1, in seconds, float64 [stop - start].

        Raises as `packets` does.
        """
        self._check_size(start, stop)
        if not self.header.variable_rate:
            rate = self.header.rate
            return np.arange(start, stop, dtype=np.float64) * rate.denominator / rate.numerator
        times = np.empty(stop - start, np.float64)
        for group, inside in self.parts(start, stop):
            assert group.pts is not None
            times[_outside(group, inside, start)] = group.pts[inside] / self.header.time_scale
        return times

    def frame_at(self, seconds: float) -> int:
        """The frame on screen at a time in seconds: the last one presented by then.

        Before the first frame it is the first, after the end the last. Raises OptionError for a time that is negative
        or not finite, IndexError without frames.
        """
        check_time(seconds)
        if not self.frame_count:
            raise IndexError("the stream has no frames")
        if not self.header.variable_rate:
            # A millionth of a frame covers the rounding of seconds = frame / rate.
            return int(min(seconds * float(self.header.rate) + 1e-6, self.frame_count - 1))
        ticks = int(min(seconds * self.header.time_scale + 1e-3, layout.MAX_TICKS))
        low, high = 0, self.group_count - 1
        while low < high:  # the last group that begins by then; reads about log2(groups) of them
            middle = (low + high + 1) // 2
            pts = self.group(middle).pts
            assert pts is not None
            if pts[0] <= ticks:
                low = middle
            else:
                high = middle - 1
        group = self.group(low)
        assert group.pts is not None
        return group.first_frame + max(int(np.searchsorted(group.pts, ticks, "right")) - 1, 0)

    def identity_for(self, frame: int) -> Identity:
        """The identity of a frame; CorruptChunk if it is missing, FormatError if it is only named and not known."""
        return self._identities.of_slot(self._slot_of(frame))

    def named_identity_for(self, frame: int) -> Identity | IdentityReference:
        """The identity of a frame, or the reference where the file contains no more than that."""
        return self._identities.named(self._slot_of(frame))

    def identities_of(self, start: int, stop: int) -> Iterator[Identity | IdentityReference]:
        """What `named_identity_for` gives for frames start..stop-1, each once, in the order of their first frames."""
        first = max(int(np.searchsorted(self._first_frames, start, "right")) - 1, 0)
        last = int(np.searchsorted(self._first_frames, stop, "left"))
        for slot in dict.fromkeys(self._group_slots[first:last].tolist()):
            yield self._identities.named(slot)

    def audio_chunks(self, after: int | None = None) -> Iterator[AudioChunk]:
        """The audio in order, one chunk in memory at a time.

        after: begin with the last chunk whose time, in 1/48000 s, is not above this; few others are read.
        """
        offsets = self._table.of(ChunkType.AUDIO)["offset"]
        low, high = 0, len(offsets) - 1
        while after is not None and low < high:
            middle = (low + high + 1) // 2
            if self._audio_chunk(int(offsets[middle])).first_packet_pts <= after:
                low = middle
            else:
                high = middle - 1
        for offset in offsets[low:]:
            yield self._audio_chunk(int(offset))

    def extras(self, wanted: Callable[[int], bool] = lambda kind: True) -> Iterator[tuple[int, Extra]]:
        """Personalised generators, backgrounds and unknown chunks, each with the number of the frame it precedes.

        wanted: called with a chunk type; chunks of others are not read. Raises FormatError for a damaged chunk and,
        unless the file was opened as `partial`, for a personalised generator or background that is missing.
        """
        if self.report is not None and not self._partial:
            for kind in filter(wanted, sorted(self.report.lost_types)):
                raise CorruptChunk(f"missing from this file: {layout.ATTACHMENT_NAMES[kind]}")
        entries, frames = self._table.entries, self._table.frames_before()
        extra_types = set(entries["type"].tolist()) - layout.DEFINED_TYPES | layout.ATTACHMENT_TYPES
        for row in np.flatnonzero(np.isin(entries["type"], [kind for kind in extra_types if wanted(kind)])):
            yield int(frames[row]), self._extra(int(entries["offset"][row]), int(entries["type"][row]))

    # --- inside ---------------------------------------------------------------------------------------

    def _check_range(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.frame_count:
            raise IndexError(f"frames {start}..{stop} are outside 0..{self.frame_count}")

    def _check_size(self, start: int, stop: int) -> None:
        """Raise, before memory is allocated, where more frames are asked for than the file contains."""
        self._check_range(start, stop)
        count = int(self._group_counts.sum())
        if stop - start > count:  # a damaged file may jump to frame 2^40
            raise CorruptChunk(f"missing from this file: {stop - start - count:,} of {stop - start:,} frames")

    def parts(self, start: int, stop: int) -> Iterator[tuple[FrameGroup, slice]]:
        """The groups with frames start..stop-1, each with the slice of its own frames that is asked for.

        Raises as `packets` does.
        """
        self._check_range(start, stop)
        frame = start
        while frame < stop:
            number = int(np.searchsorted(self._first_frames, frame, "right")) - 1
            end = -1 if number < 0 else int(self._first_frames[number] + self._group_counts[number])
            if frame >= end:
                until = int(self._first_frames[number + 1])
                raise CorruptChunk(f"missing from this file: {layout.frame_range(frame, until - 1)}")
            group = self.group(number)
            last = min(end, stop)
            yield group, slice(frame - group.first_frame, last - group.first_frame)
            frame = last

    def _slot_of(self, frame: int) -> int:
        """The identity slot of a frame; CorruptChunk where the frame is missing."""
        self._check_range(frame, frame + 1)
        number = int(np.searchsorted(self._first_frames, frame, "right")) - 1
        if number < 0 or frame >= self._first_frames[number] + self._group_counts[number]:
            raise CorruptChunk(f"frame {frame} is missing from this file")
        return int(self._group_slots[number])

    def _extra(self, offset: int, kind: int) -> Extra:
        chunk = self._chunks.chunk(offset, kind)
        if kind in layout.ATTACHMENT_TYPES:
            return parse_attachment(kind, chunk.payload, chunk.payload_offset)
        return UnknownChunk(kind, chunk.payload, offset)

    def _audio_chunk(self, offset: int) -> AudioChunk:
        chunk = self._chunks.chunk(offset, ChunkType.AUDIO)
        return AudioChunk.parse(chunk.payload, chunk.payload_offset)

    def _load_header(self) -> StreamHeader:
        """The first intact header; without one, the error that explains it."""
        entries = self._table.of(ChunkType.HEADER)
        if len(entries):
            chunk = self._chunks.chunk(int(entries["offset"][0]), ChunkType.HEADER)
            return StreamHeader.parse(chunk.payload, chunk.payload_offset)
        if (report := self._table.report) is not None and report.damage:
            raise report.damage[0].error
        raise Truncated("the file ends before the stream header does", self.size)


def _outside(group: FrameGroup, inside: slice, start: int) -> slice:
    """Where frames of a group lie in an array that begins with frame `start`."""
    return slice(group.first_frame + inside.start - start, group.first_frame + inside.stop - start)


def _reopen(kind: type[StreamFile], path: str, recall: Recall | None, partial: bool) -> StreamFile:
    """A StreamFile that was pickled."""
    return kind.open(path, recall=recall, partial=partial)
