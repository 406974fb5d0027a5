"""Pictures from bytes that arrive: `LiveDecoder`.

bytes ──► StreamReader ──► groups, identity, personalised generator, background ──► PacketRenderer ──► frames
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ..bitstream import (
    IDENTITY_DIM,
    IDENTITY_ROWS,
    PARAMS_PER_FRAME,
    Event,
    FrameGroup,
    Identity,
    StreamHeader,
    StreamReader,
    StreamReport,
)
from ..bitstream.attached import admit
from ..bitstream.background import Background
from ..bitstream.delta import Personalization
from ..bitstream.identities import Recall
from ..bitstream.layout import MAX_IDENTITIES
from ..packs.card import DEFAULT_PACK
from ..packs.registry import pick_device
from ..packs.store import ModelPack, open_pack
from .options import DecodeOptions
from .packets import NO_PICTURE, Frame, PacketRenderer, as_frames, chosen_background, matching_pack


def warmed(options: DecodeOptions) -> ModelPack:
    """The pack that the options name, else the usual one, with its networks read and run once: the first frame of a
    call then takes no longer than the others. Raises PackNotFound and PackCorrupt.
    """
    given = options.pack
    pack = given if isinstance(given, ModelPack) else open_pack(DEFAULT_PACK if given is None else given)
    nobody = Identity(np.zeros((IDENTITY_ROWS, IDENTITY_DIM), np.float16))
    for _ in PacketRenderer(pack, options).render(nobody, np.zeros((1, PARAMS_PER_FRAME), np.float32)):
        pass
    return pack


class LiveDecoder:
    """Frames from bytes that arrive in any portions; damaged parts are skipped.

    >>> decoder = Decoder.live(device="cpu", size=256)
    >>> for portion in network:
    ...     for frame in decoder.feed(portion): ...
    >>> report = decoder.close()

    One thread at a time may feed it. recall: see `Decoder.live`. ready: a pack that is taken where the stream was made
    with it and the options name none (see `warmed`).
    """

    def __init__(
        self, options: DecodeOptions | None = None, recall: Recall | None = None, ready: ModelPack | None = None
    ) -> None:
        self.options = options or DecodeOptions()
        self._ready = ready
        self.device = pick_device(self.options.device)
        self.header: StreamHeader | None = None
        self._reader = StreamReader(strict=False, recall=recall)
        self._pictures: PacketRenderer | None = None
        self._events: deque[Event] = deque()  # those that `feed` has not come to
        self._identities: dict[int, Identity] = {}
        self._personal: dict[bytes, Personalization] = {}

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

    def groups(self, data: bytes) -> list[FrameGroup]:
        """Take bytes; the groups that they complete, not rendered: for players that `picture` only what is due.

        Raises PackNotFound or PackMismatch when the stream's header arrives.
        """
        groups = []
        self._events.extend(self._reader.feed(data))
        while self._events:
            event = self._events.popleft()
            if isinstance(event, FrameGroup):
                groups.append(event)
            else:
                self._take(event)
        return groups

    def picture(self, packet: NDArray[np.floating], slot: int) -> Frame | None:
        """The frame [H, W, 3] of a packet [35] of the identity of this slot; None where that has not come.

        Raises DeltaNotFound or PackMismatch as `feed` does.
        """
        identity = self._identities.get(slot)
        if self._pictures is None or identity is None:
            return None
        rendered = next(self._pictures.render(identity, packet[None]))
        return next(as_frames(rendered, self.options))

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
            ready = self._ready
            known = self.options.pack is None and ready is not None and ready.digest == header.pack_digest
            pack = matching_pack(header, ready if known else self.options.pack)
            behind = chosen_background(self.options)
            self._pictures = PacketRenderer(pack, self.options, self._personal, behind)
            self.header = header

    def _attach(self, found: Personalization | Background) -> None:
        if isinstance(found, Personalization):
            if not self.options.avatar:
                admit(self._personal, found)
            if len(self._personal) > MAX_IDENTITIES:  # one of them is of no identity of the stream
                known = {given.digest for given in (self._reader.references | self._reader.identities).values()}
                del self._personal[next(digest for digest in self._personal if digest not in known)]
        elif self.options.background == "stream" and self._pictures is not None and self._pictures.compositor is None:
            with suppress(*NO_PICTURE):
                self._pictures.put_behind(found)

    def _render(self, group: FrameGroup) -> Iterator[Frame]:
        identity = self._identities.get(group.identity)
        if self._pictures is None or identity is None:
            return  # its header or identity was lost; the report counts the frames
        for pictures in self._pictures.render(identity, group.packets):
            yield from as_frames(pictures, self.options)
