"""Packets to pictures: latents, generator, roll, what is behind the head, in batches on one device.

    identity, packets [n, 35] ──► LatentDecoder ──► styles ──► Renderer ──► (Compositor) ──► uint8 [n, H, W, 3]

Frames of an identity with a personalised generator are rendered by that one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream import Identity, StreamFile, StreamHeader
from ..bitstream.attached import background as background_of
from ..bitstream.background import Background, Mode
from ..bitstream.delta import Personalization
from ..errors import FormatError, MissingDependency, PackMismatch
from ..nets.isolation import isolated
from ..packs.registry import pick_device
from ..packs.store import ModelPack, open_pack
from .background import KEY_GREEN, Compositor
from .known_people import resolve
from .latents import Anchor, LatentDecoder
from .options import DecodeOptions
from .personal import TunedPack
from .render import Renderer

PackChoice = ModelPack | str | os.PathLike[str] | None
Frame = Tensor | NDArray[np.uint8]  # uint8 [H, W, 3] RGB
T = TypeVar("T")

CUDA_BATCH = 16  # frames rendered at once
CPU_BATCH = 4  # frames whose coarse maps a CPU computes together, see nets.stylegan2
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


def chosen_background(options: DecodeOptions, stream: StreamFile | None = None) -> Background | None:
    """What goes behind the head by `options.background`; None for what the generator makes of it.

    stream: whose own background is taken where the options leave it to the stream; FormatError where it is damaged.
    """
    if options.background == "stream":
        return None if stream is None else background_of(stream)
    fixed = {"render": None, "blur": Background(Mode.BLUR), "key": Background(Mode.KEY, KEY_GREEN)}
    return fixed[options.background]


def as_frames(pictures: Tensor, options: DecodeOptions) -> Iterator[Frame]:
    """The frames [H, W, 3] of a batch [n, H, W, 3], in the kind that the options ask for."""
    for picture in pictures:
        yield picture.cpu().numpy() if options.as_numpy else picture


class PacketRenderer:
    """An identity and packets to pictures, in batches on one device. Several threads may share one.

    options: device, size, pose, batch and precision are of use here.
    personal: the personalised generators by the digest of their identity; may grow while pictures are rendered.
    background: what to put behind the head, None for what the generator makes of it.
    """

    def __init__(
        self,
        pack: ModelPack,
        options: DecodeOptions | None = None,
        personal: Mapping[bytes, Personalization] | None = None,
        background: Background | None = None,
    ) -> None:
        options = options or DecodeOptions()
        self.device = pick_device(options.device)
        self.pack, self.options = pack, options
        self.renderer = Renderer(pack, self.device, options.size, options.precision)
        self.latents = LatentDecoder(pack, self.device)
        self.batch = options.batch or self._usual_batch()
        self.personal = {} if personal is None else personal
        self.put_behind(background)
        self._anchors: dict[bytes, Anchor] = {}
        self._tuned: dict[bytes, tuple[LatentDecoder, Renderer]] = {}

    def put_behind(self, background: Background | None) -> None:
        """Put `background` behind the head from now on.

        Raises CorruptChunk or MissingDependency where its picture cannot be had.
        """
        with isolated():
            self.compositor = None if background is None else Compositor(self.pack, self.device, background)

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
        return (square, square) if self.compositor is None else self.compositor.size(square)

    def _usual_batch(self) -> int:
        return CPU_BATCH if self.device.type == "cpu" else CUDA_BATCH

    def _render(self, identity: Identity, packets: NDArray[np.floating]) -> Tensor:
        with isolated(), torch.no_grad():
            latents, renderer = self._networks(identity)
            packed = torch.from_numpy(np.array(packets, np.float32))
            values = packed.to(self.device, non_blocking=True)  # waits for no batch that is still being rendered
            anchor = _kept(self._anchors, identity.digest, KEPT_ANCHORS, lambda: self._anchor(identity))
            styles = latents.styles(anchor, values[:, :2], values[:, 3:])
            roll = packed[:, 2] if self.options.pose == "restore" else None
            if self.compositor is not None:
                return self.compositor.compose(renderer.pictures(styles), roll)
            return renderer.render(styles, roll)

    def _networks(self, identity: Identity) -> tuple[LatentDecoder, Renderer]:
        """What renders an identity: the pack's generator or its own."""
        found = self.personal.get(identity.digest)
        if found is None:
            return self.latents, self.renderer
        return _kept(self._tuned, found.digest, KEPT_GENERATORS, lambda: self._tuned_networks(found))

    def _tuned_networks(self, found: Personalization) -> tuple[LatentDecoder, Renderer]:
        pack = TunedPack(self.pack, resolve(found))
        renderer = Renderer(pack, self.device, self.options.size, self.options.precision)
        return LatentDecoder(pack, self.device), renderer

    def _anchor(self, identity: Identity) -> Anchor:
        return self.latents.anchor(torch.from_numpy(np.array(identity.latent, np.float32))[None])


def _kept(store: dict[bytes, T], key: bytes, most: int, make: Callable[[], T]) -> T:
    """What `store` has for `key`, else what `make` gives, which it keeps in place of the oldest of `most`.

    Threads that ask for the same at the same time may each make it; every step on the store is a single one.
    """
    found = store.get(key)
    if found is None:
        found = make()
        for old in list(store)[: max(len(store) + 1 - most, 0)]:
            store.pop(old, None)
        store[key] = found
    return found
