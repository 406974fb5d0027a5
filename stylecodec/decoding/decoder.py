"""Pictures of any frames of a file: `Decoder`.

file ──► StreamFile ──► packets, identity ──► PacketRenderer ──► uint8 [n, H, W, 3]
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, BinaryIO, Self, overload

import torch
from torch import Tensor

from ..bitstream import Identity, StreamFile, StreamHeader
from ..bitstream.attached import personalizations
from ..bitstream.identities import Recall
from ..errors import OptionError
from ..nets.isolation import isolated
from .known_people import KnownPeople
from .live import LiveDecoder
from .options import DecodeOptions
from .packets import NO_PICTURE, Frame, PacketRenderer, as_frames, chosen_background, matching_pack


class Decoder:
    """The frames of an .stc file, rendered when asked for.

    >>> with Decoder.open("talk.stc") as decoder:
    ...     for frame in decoder: ...                # uint8 [H, W, 3] on the device
    ...     last, middle = decoder[-1], decoder.at(2.5)
    ...     second = decoder[25:50]                  # [25, H, W, 3]

    Frames are torch tensors that may be written to, or numpy arrays when opened with `as_numpy`. Memory holds one
    batch, whatever the length of the file. Several threads may use one decoder, and so may worker processes: forked
    ones (on a CPU) go on with it, others get a copy that opens the file again. What the program around has set in
    torch (default type and device, gradient and inference mode, random numbers) neither counts nor changes.
    """

    def __init__(self, stream: StreamFile, pictures: PacketRenderer, path: str | None = None) -> None:
        """`open` makes one; path: where the stream can be opened again by a copy in another process."""
        self.stream, self.pictures, self.options, self._path = stream, pictures, pictures.options, path

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | BinaryIO, options: DecodeOptions | None = None, **changes: Any
    ) -> Self:
        """Open a stream; single options may be given by keyword: `Decoder.open("talk.stc", device="cpu", size=512)`.

        Raises FormatError, PackNotFound, PackMismatch, OptionError, MissingDependency (a picture in AVIF); OSError when
        the file cannot be read. Frames raise DeltaNotFound where the stream only names a personalised generator, and
        FormatError where it only names an identity, that is not known here.
        """
        options = DecodeOptions.of(options, changes)
        stream = StreamFile.open(path, recall=KnownPeople().recall, partial=options.partial)
        try:
            pack = matching_pack(stream.header, options.pack)
            pictures = PacketRenderer(pack, options, {} if options.avatar else personalizations(stream))
            behind = chosen_background(options, stream)
            with suppress(*NO_PICTURE if options.partial else ()):
                pictures.put_behind(behind)
            return cls(stream, pictures, os.path.abspath(path) if isinstance(path, str | os.PathLike) else None)
        except BaseException:
            stream.close()
            raise

    @staticmethod
    def live(options: DecodeOptions | None = None, *, recall: Recall | None = None, **changes: Any) -> LiveDecoder:
        """A decoder that is fed bytes as they arrive; options as for `open`.

        recall: asked for the identity of a digest where the stream only refers to it; without it frames come from the
        moment on when the identity itself has come.
        """
        return LiveDecoder(DecodeOptions.of(options, changes), recall)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process opens the same file with the same pack."""
        if self._path is None:
            raise TypeError("a decoder of an open file object cannot be copied to another process; open it by its path")
        return type(self).open, (self._path, replace(self.options, pack=self.pictures.pack))

    @property
    def header(self) -> StreamHeader:
        """The stream's header: rate, size, pack."""
        return self.stream.header

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.stream.header.rate)

    @property
    def size(self) -> int:
        """Pixels per side of the rendered square."""
        return self.pictures.renderer.size

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the frames: both `size`, or those of the still that the stream puts behind the head."""
        return self.pictures.frame_size

    @property
    def device(self) -> torch.device:
        """Where the frames are."""
        return self.pictures.device

    def __len__(self) -> int:
        return self.stream.frame_count

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frame: ...
    def __getitem__(self, index: int | slice) -> Frame:
        """Frame [H, W, 3] of a number (negative ones count from the end), or frames [n, H, W, 3] of a slice."""
        if isinstance(index, slice):
            return self._gather(range(*index.indices(len(self))))
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"the stream has {len(self)} frames, no frame {index}")
        return next(self.frames(number, number + 1))

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames [H, W, 3] number start to stop-1 in order; numbers as in a slice."""
        for pictures in self.batches(start, stop):
            yield from as_frames(pictures, self.options)

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """The same frames as tensors [<= batch, H, W, 3]."""
        first, last, _ = slice(start, stop).indices(len(self))
        for begin in range(first, last, self.pictures.batch):
            end = min(begin + self.pictures.batch, last)
            packets = self.stream.packets(begin, end)
            for identity, a, b in self._same_identity(begin, end):
                yield from self.pictures.render(identity, packets[a - begin : b - begin])

    def at(self, seconds: float) -> Frame:
        """The frame that is shown at a time: the first before 0, the last after the end; OptionError for no number."""
        if not math.isfinite(seconds):
            raise OptionError(f"a time is a finite number of seconds, not {seconds}")
        return self[self.stream.frame_at(seconds)]

    def close(self) -> None:
        """Close the file."""
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _same_identity(self, start: int, stop: int) -> Iterator[tuple[Identity, int, int]]:
        """Runs (identity, first, last + 1) of frames that share an identity."""
        begin = start
        current = self.stream.identity_for(start)
        for number in range(start + 1, stop):
            identity = self.stream.identity_for(number)
            if identity.digest != current.digest:
                yield current, begin, number
                begin, current = number, identity
        yield current, begin, stop

    def _gather(self, numbers: range) -> Frame:
        if numbers.step == 1:
            pictures = list(self.batches(numbers.start, max(numbers.start, numbers.stop)))
        else:
            pictures = [batch for number in numbers for batch in self.batches(number, number + 1)]
        width, height = self.frame_size
        with isolated():
            empty = torch.empty(0, height, width, 3, dtype=torch.uint8, device=self.device)
            stacked = torch.cat([empty, *pictures])
        return stacked.cpu().numpy() if self.options.as_numpy else stacked
