"""Streams to pictures: random access to a file, and a feed for live bytes.

file  ──► StreamFile ──► packets, identity ──┐
bytes ──► StreamReader ──► groups, identity ─┴─► PacketRenderer ──► uint8 [n, H, W, 3]

Frames of an identity with a personalised generator are rendered by that one, unless avatars are asked for.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Literal, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream import Event, FrameGroup, Identity, StreamFile, StreamHeader, StreamReader, StreamReport
from ..bitstream.attached import admit, personalizations
from ..bitstream.attached import background as background_of
from ..bitstream.background import Background, Mode
from ..bitstream.delta import Personalization
from ..bitstream.file import Recall
from ..bitstream.layout import MAX_IDENTITIES
from ..errors import FormatError, MissingDependency, OptionError, PackMismatch
from ..packs.registry import pick_device
from ..packs.store import ModelPack, open_pack
from .backdrop import KEY_GREEN, Backdrop
from .latents import Anchor, LatentDecoder
from .personal import KnownPeople, TunedPack, resolve
from .render import Precision, Renderer

PoseMode = Literal["restore", "aligned"]
BackgroundChoice = Literal["stream", "render", "blur", "key"]
BACKGROUND_CHOICES: tuple[BackgroundChoice, ...] = ("stream", "render", "blur", "key")
PackChoice = ModelPack | str | os.PathLike[str] | None
Frame = Tensor | NDArray[np.uint8]  # uint8 [H, W, 3] RGB

CUDA_BATCH = 16  # frames rendered at once
CPU_BATCH_PIXELS = 4 * 256 * 256  # a CPU is quickest while a batch fits its caches: 4 frames of 256², 1 of 1024²
CPU_BATCH = 8
KEPT_ANCHORS = 8  # identities whose flow state is kept ready
KEPT_GENERATORS = 2  # personalised generators that are kept ready
NO_PICTURE = FormatError, MissingDependency  # with these a background is left out where one can go without


def matching_pack(header: StreamHeader, pack: PackChoice = None) -> ModelPack:
    """The pack that a stream was made with: `pack` where given, else found by the name in the header.

    Raises PackNotFound, or PackMismatch when its digest is not the stream's.
    """
    found = pack if isinstance(pack, ModelPack) else open_pack(header.pack_name if pack is None else pack)
    if found.digest != header.pack_digest:
        raise PackMismatch(
            f"the stream was made with pack {header.pack_name} {header.pack_digest.hex()[:12]}, "
            f"not with {found.name} {found.digest.hex()[:12]} in {found.folder}"
        )
    return found


def scene_of(stream: StreamFile | None, choice: BackgroundChoice = "stream") -> Background | None:
    """What is to be put behind the head, as far as is known before the stream has come (None).

    Raises OptionError for a choice that is not known, and FormatError where the stream's own is damaged.
    """
    if choice not in BACKGROUND_CHOICES:
        raise OptionError(f"the background must be one of {', '.join(BACKGROUND_CHOICES)}, not {choice!r}")
    if choice == "stream":
        return None if stream is None else background_of(stream)
    return {"render": None, "blur": Background(Mode.BLUR), "key": Background(Mode.KEY, KEY_GREEN)}[choice]


class PacketRenderer:
    """An identity and packets to pictures, in batches on one device.

    personal: the personalised generators by the digest of their identity; may grow while pictures are rendered.
    scene: what to put behind the head.
    """

    def __init__(
        self,
        pack: ModelPack,
        device: str | torch.device = "auto",
        size: int | None = None,
        pose: PoseMode = "restore",
        batch: int | None = None,
        precision: Precision = "auto",
        personal: Mapping[bytes, Personalization] | None = None,
        scene: Background | None = None,
    ) -> None:
        if pose not in ("restore", "aligned"):
            raise OptionError(f"pose must be restore or aligned, not {pose!r}")
        if batch is not None and batch < 1:
            raise OptionError(f"a batch has 1 frame or more, not {batch}")
        self.device = pick_device(device)
        self.pack, self.size, self.precision = pack, size, precision
        self.renderer = Renderer(pack, self.device, size, precision)
        self.latents = LatentDecoder(pack, self.device)
        self.pose = pose
        self.batch = batch or self._usual_batch()
        self.personal = {} if personal is None else personal
        self.stand_before(scene)
        self._anchors: dict[bytes, Anchor] = {}
        self._tuned: dict[bytes, tuple[LatentDecoder, Renderer]] = {}

    def stand_before(self, scene: Background | None) -> None:
        """Put `scene` behind the head from now on; CorruptChunk, MissingDependency where its picture cannot be had."""
        self.backdrop = None if scene is None else Backdrop(self.pack, self.device, scene)

    def render(self, identity: Identity, packets: NDArray[np.floating]) -> Iterator[Tensor]:
        """Pictures uint8 [<= batch, H, W, 3] of `packets` [n, 35], batch after batch.

        Raises DeltaNotFound or PackMismatch when the identity has a personalised generator that cannot be had.
        """
        for start in range(0, len(packets), self.batch):
            yield self._render(identity, packets[start : start + self.batch])

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        square = self.renderer.size
        return (square, square) if self.backdrop is None else self.backdrop.size(square)

    def _usual_batch(self) -> int:
        if self.device.type == "cuda":
            return CUDA_BATCH
        return min(max(CPU_BATCH_PIXELS // self.renderer.level**2, 1), CPU_BATCH)

    def _render(self, identity: Identity, packets: NDArray[np.floating]) -> Tensor:
        latents, renderer = self._networks(identity)
        with torch.inference_mode():
            packed = torch.from_numpy(np.array(packets, np.float32))
            values = packed.to(self.device, non_blocking=True)  # waits for no batch that is still being rendered
            styles = latents.styles(self._anchor(identity), values[:, :2], values[:, 3:])
            roll = packed[:, 2] if self.pose == "restore" else None
            if self.backdrop is not None:
                return self.backdrop.compose(renderer.pictures(styles), roll)
            return renderer.render(styles, roll)

    def _networks(self, identity: Identity) -> tuple[LatentDecoder, Renderer]:
        """What renders an identity: the pack's generator or its own."""
        found = self.personal.get(identity.digest)
        if found is None:
            return self.latents, self.renderer
        if found.digest not in self._tuned:
            pack = TunedPack(self.pack, resolve(found))
            if len(self._tuned) >= KEPT_GENERATORS:
                del self._tuned[next(iter(self._tuned))]
            networks = LatentDecoder(pack, self.device), Renderer(pack, self.device, self.size, self.precision)
            self._tuned[found.digest] = networks
        return self._tuned[found.digest]

    def _anchor(self, identity: Identity) -> Anchor:
        if identity.digest not in self._anchors:
            if len(self._anchors) >= KEPT_ANCHORS:
                del self._anchors[next(iter(self._anchors))]
            latent = torch.from_numpy(np.array(identity.latent, np.float32))
            self._anchors[identity.digest] = self.latents.anchor(latent[None])
        return self._anchors[identity.digest]


class Decoder:
    """The frames of an .stc file, rendered when asked for.

    >>> with Decoder.open("talk.stc") as decoder:
    ...     for frame in decoder: ...                # uint8 [H, W, 3] on the device
    ...     last, middle = decoder[-1], decoder.at(2.5)
    ...     second = decoder[25:50]                  # [25, H, W, 3]

    Frames are torch tensors, or numpy arrays when opened with `as_numpy`. Memory holds one batch, whatever the
    length of the file.
    """

    def __init__(self, stream: StreamFile, pictures: PacketRenderer, as_numpy: bool = False) -> None:
        self.stream, self.pictures, self.as_numpy = stream, pictures, as_numpy

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | BinaryIO,
        device: str | torch.device = "auto",
        pack: PackChoice = None,
        size: int | None = None,
        pose: PoseMode = "restore",
        as_numpy: bool = False,
        batch: int | None = None,
        precision: Precision = "auto",
        avatar: bool = False,
        background: BackgroundChoice = "stream",
        partial: bool = False,
    ) -> Self:
        """Open a stream.

        device: "auto", "cpu", "cuda", or a torch device. pack: a folder, a name or an opened pack; by default the
        one that the stream names. size: pixels per side, 16 to 1024 (the default). pose: "restore" gives the head
        the roll that the encoder removed, "aligned" leaves it upright. batch: frames rendered at once. precision: of
        the feature maps, see `Renderer`. avatar: leave personalised generators aside.
        background: "stream" as the stream says, "render" what the generator makes of it, "blur" or "key" (green).
        partial: go without a personalised generator or background that is damaged, as `stream.report` says, and without
        a background whose picture cannot be decoded; `pictures.backdrop` is None then.
        Raises FormatError, PackNotFound, PackMismatch, OptionError, MissingDependency (a picture in AVIF); OSError when
        the file cannot be read. Frames raise DeltaNotFound where the stream only names a personalised generator, and
        FormatError where it only names an identity, that is not known here.
        """
        stream = StreamFile.open(path, recall=KnownPeople().recall, partial=partial)
        try:
            model = matching_pack(stream.header, pack)
            personal = {} if avatar else personalizations(stream)
            scene = scene_of(stream, background)
            pictures = PacketRenderer(model, device, size, pose, batch, precision, personal)
            with suppress(*NO_PICTURE if partial else ()):
                pictures.stand_before(scene)
            return cls(stream, pictures, as_numpy)
        except BaseException:
            stream.close()
            raise

    @staticmethod
    def live(
        device: str | torch.device = "auto",
        pack: PackChoice = None,
        size: int | None = None,
        pose: PoseMode = "restore",
        as_numpy: bool = False,
        batch: int | None = None,
        precision: Precision = "auto",
        recall: Recall | None = None,
        avatar: bool = False,
        background: BackgroundChoice = "stream",
    ) -> LiveDecoder:
        """A decoder that is fed bytes as they arrive; the options are those of `open`.

        recall: asked for the identity of a digest where the stream only refers to it; without it frames come from the
        moment on when the identity itself has come.
        """
        return LiveDecoder(device, pack, size, pose, as_numpy, batch, precision, recall, avatar, background)

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
        """Width and height of the frames: both `size`, or those of the scene that the stream brings."""
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
            for picture in pictures:
                yield picture.cpu().numpy() if self.as_numpy else picture

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """The same frames as tensors [<= batch, H, W, 3]."""
        first, last, _ = slice(start, stop).indices(len(self))
        for begin in range(first, last, self.pictures.batch):
            end = min(begin + self.pictures.batch, last)
            packets = self.stream.packets(begin, end)
            for identity, a, b in self._same_identity(begin, end):
                yield from self.pictures.render(identity, packets[a - begin : b - begin])

    def at(self, seconds: float) -> Frame:
        """The frame that is shown at a time."""
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
        empty = torch.empty(0, height, width, 3, dtype=torch.uint8, device=self.device)
        stacked = torch.cat([empty, *pictures])
        return stacked.cpu().numpy() if self.as_numpy else stacked


class LiveDecoder:
    """Frames from bytes that arrive in any portions; damaged parts are skipped.

    >>> decoder = Decoder.live(device="cpu", size=256)
    >>> for portion in network:
    ...     for frame in decoder.feed(portion): ...
    >>> report = decoder.close()
    """

    def __init__(
        self,
        device: str | torch.device = "auto",
        pack: PackChoice = None,
        size: int | None = None,
        pose: PoseMode = "restore",
        as_numpy: bool = False,
        batch: int | None = None,
        precision: Precision = "auto",
        recall: Recall | None = None,
        avatar: bool = False,
        background: BackgroundChoice = "stream",
    ) -> None:
        self.device = pick_device(device)
        self.header: StreamHeader | None = None
        self.as_numpy = as_numpy
        self._pack, self._size, self._pose = pack, size, pose
        self._batch, self._precision = batch, precision
        self._reader = StreamReader(strict=False, recall=recall)
        self._pictures: PacketRenderer | None = None
        self._events: deque[Event] = deque()  # those that `feed` has not come to
        self._identities: dict[int, Identity] = {}
        self._personal: dict[bytes, Personalization] = {}
        self._avatar, self._scene = avatar, scene_of(None, background)
        self._takes_scene = background == "stream"

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; the frames [H, W, 3] of every group that they complete.

        Raises PackNotFound or PackMismatch when the stream's header arrives, and DeltaNotFound or PackMismatch for a
        group whose personalised generator has not come and is not known here, or is of another pack. Frames that come
        before such a group are returned first, and the next call tries it again. A group that has raised is left out;
        what follows is left for the next call.
        """
        frames: list[Frame] = []
        self._events.extend(self._reader.feed(data))
        while self._events:
            event = self._events.popleft()
            try:
                frames += self._take(event)
            except Exception:
                if not frames:
                    raise
                self._events.appendleft(event)
                break
        return frames

    def close(self) -> StreamReport:
        """End of the bytes: what was received and what is missing."""
        return self._reader.close()

    def _take(self, event: Event) -> list[Frame]:
        """Do what an event asks for; its frames, all of them or none."""
        if isinstance(event, StreamHeader):
            self._start(event)
        elif isinstance(event, Identity):
            self._identities[event.slot] = event
        elif isinstance(event, Personalization | Background):
            self._attach(event)
        elif isinstance(event, FrameGroup):
            return list(self._render(event))
        return []

    def _start(self, header: StreamHeader) -> None:
        if self._pictures is None:
            pack = matching_pack(header, self._pack)
            options = self._size, self._pose, self._batch, self._precision
            self._pictures = PacketRenderer(pack, self.device, *options, self._personal, self._scene)
            self.header = header

    def _attach(self, found: Personalization | Background) -> None:
        if isinstance(found, Personalization):
            if not self._avatar:
                admit(self._personal, found)
            if len(self._personal) > MAX_IDENTITIES:  # one of them is of no identity of the stream
                known = {given.digest for given in (self._reader.references | self._reader.identities).values()}
                del self._personal[next(digest for digest in self._personal if digest not in known)]
        elif self._takes_scene and self._pictures is not None and self._pictures.backdrop is None:
            with suppress(*NO_PICTURE):
                self._pictures.stand_before(found)

    def _render(self, group: FrameGroup) -> Iterator[Frame]:
        identity = self._identities.get(group.identity)
        if self._pictures is None or identity is None:
            return  # its header or identity was lost; the report counts the frames
        for pictures in self._pictures.render(identity, group.packets):
            for picture in pictures:
                yield picture.cpu().numpy() if self.as_numpy else picture
