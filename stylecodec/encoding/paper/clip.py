"""The `paper` preset's stages in their order (Fig. 2 of 2203.14512).

    frames ─► inversions L_t ─► [PTI] ─► L_ID (Eq. 1) ─► [fit] ─► per chunk of frames: pose (Eq. 2), α (Algorithm 1)

The clip is read once to invert it and once more to encode it; what grows with it is a latent per frame and 35 numbers.
With a checkpoint the second reading goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...bitstream import PARAMS_PER_FRAME
from ...decoding.personal import TunedPack
from ...errors import FaceNotFound
from ...packs.registry import pick_device
from ...packs.store import ModelPack
from ...progress import Progress, ProgressCallback, silent
from ..frames import ALPHA, POSE, ROLL, AlignedFrame, Crop, FrameCodes, Motion, evenly_spaced, to_input
from ..identity.fitting import fit_identity
from ..identity.selection import IdentityChoice
from ..options import FULL, EncodeOptions
from ..personalization.checkpoint import Checkpoint
from ..personalization.clip import TunedClip
from ..write import EncodedClip
from .analysis import Chunk, ChunkSearch
from .inversion import Inverter
from .pivotal import rounded, tune, with_latent
from .progress_file import Resumed, work_of
from .report import PaperReport
from .selection import choose
from .settings import AUTO, FRAME, INVERSION
from .survey import FAITHFUL, Survey, survey

ENCODING = "encoding"  # the stage's name in reports of progress
FITTED = 8  # frames that the identity is fitted to


def encode_paper(
    frames: Iterable[AlignedFrame],
    pack: ModelPack,
    options: EncodeOptions,
    rate: Fraction,
    source_size: tuple[int, int] | None = None,
    total: int | None = None,
    progress: ProgressCallback = silent,
) -> EncodedClip:
    """The stages from aligned frames to packets, not compacted; arguments and errors as of pipeline.encode_frames."""
    device = pick_device(options.device)
    found = survey(frames, pack, device, options, total, progress)
    work = _Work(pack, device, options, found, progress)
    target = work.target()
    if options.wanted_likeness == FULL:
        work.personalize(frames)
    choice = work.choose()
    search = ChunkSearch(work.pack, work.inverter, choice.latent, target, options.paper)
    steps = 0
    if options.paper.fit and options.fit.enabled:
        choice, steps = work.fitted(choice, search)
        search = ChunkSearch(work.pack, work.inverter, choice.latent, target, options.paper)
    motion, failed = work.encode(frames, search)
    held = len(motion) - len(motion.faces)
    crop = found.squares.geometry(source_size)
    report = PaperReport.of(search, found, work.inverter, failed, options.paper)
    tuned = None if work.tuned is None else with_latent(work.tuned, choice.latent)
    return EncodedClip(
        motion.filled().packets, found.seconds, rate, held, choice, steps, crop, work.pack, tuned, paper=report
    )


class _Work:
    """One clip on its way through the stages; pack: the one to render with, tuned in the end."""

    def __init__(
        self, pack: ModelPack, device: torch.device, options: EncodeOptions, found: Survey, progress: ProgressCallback
    ) -> None:
        self.pack, self.device, self.options, self.found, self.progress = pack, device, options, found, progress
        self.inverter = Inverter(pack, device, options.paper.side_for(pack.indices))
        self.tuned: TunedClip | None = None

    def target(self) -> str:
        """What renderings are compared with: asked for, or what inversions are good for."""
        asked = self.options.paper.target
        if asked != AUTO:
            return asked
        return INVERSION if self.found.faithful >= FAITHFUL else FRAME

    def choose(self) -> IdentityChoice:
        """Eq. 1, by the generator as it is now."""
        return choose(self.found.frontal, self.inverter)

    def personalize(self, frames: Iterable[AlignedFrame]) -> None:
        """PTI on the inversions; from now on everything is rendered by the tuned generator."""
        paper = self.options.paper
        there = self.found.faces
        rows = there[evenly_spaced(len(there), paper.tuning_frames)]
        wanted = set(rows.tolist())
        crops = [frame.crop for number, frame in enumerate(frames) if number in wanted and frame.crop is not None]
        tuned = tune(self.pack, crops, self.found.latents[rows], self.device, paper, self.progress)
        exact = TunedPack(self.pack, generator=tuned.generator)
        self.inverter = Inverter(exact, self.device, paper.side_for(exact.indices))
        latent = self.choose().latent
        search = ChunkSearch(exact, self.inverter, latent, FRAME, paper)
        poses = search.poses(search.prepared(self.chunk(rows, crops)))
        found = np.asarray(poses.cpu().numpy(), np.float32)
        self.tuned = rounded(tuned, self.pack, latent, found, rows, self.device, self.options)
        self.pack = self.tuned.pack

    def chunk(self, rows: NDArray[np.intp], crops: list[Crop]) -> Chunk:
        """Frames `rows` [n], ready to be searched."""
        latents = torch.from_numpy(self.found.latents[rows].astype(np.float32)).to(self.device)
        shut = torch.from_numpy(self.found.blinks[rows]).to(self.device)
        return Chunk(to_input(crops, self.device), latents, ~shut, self.found.pose[rows])

    def fitted(self, choice: IdentityChoice, search: ChunkSearch) -> tuple[IdentityChoice, int]:
        """The latent that Eq. 1 chose, fitted to frames spread over the clip with the codes that it gives them."""
        kept = self.found.kept
        some = [kept[k] for k in evenly_spaced(len(kept), FITTED)]
        rows, crops = np.array([one.frame for one in some]), [one.crop for one in some]
        pose, alpha = search(self.chunk(rows, crops))
        codes = FrameCodes(np.zeros((len(rows), 0, 0), np.float16), _floats(pose), _floats(alpha))
        search.restart()
        made = fit_identity(choice.latent, crops, codes, self.pack, self.device, self.options.fit, self.progress)
        return replace(choice, latent=made.latent), made.steps

    def encode(self, frames: Iterable[AlignedFrame], search: ChunkSearch) -> tuple[Motion, int]:
        """Pose and α of every frame; how many were held because their inversion failed."""
        found, options = self.found, self.options
        packets = np.full((len(found.seconds), PARAMS_PER_FRAME), np.nan, np.float16)
        failed = 0
        size = options.batch or search.chunk_size
        checkpoint = Checkpoint(options.checkpoint, work_of(self.pack, found, options))
        resumed = Resumed.load(checkpoint, packets, search)
        rows: list[int] = []
        crops: list[Crop] = []

        def flush() -> None:
            if rows:
                pose, alpha = search(self.chunk(np.array(rows), crops))
                packets[rows, POSE], packets[rows, ALPHA] = _floats(pose), _floats(alpha)
                packets[rows, ROLL] = found.roll[rows]
                Resumed(rows[-1] + 1, search.last).store(checkpoint, packets, search)
                rows.clear()
                crops.clear()

        for number, frame in zip(range(len(packets)), frames, strict=False):
            if frame.crop is not None and self._failed(number, search.target):
                failed += 1
            elif frame.crop is not None and number >= resumed.done:
                rows.append(number)
                crops.append(frame.crop)
            if len(rows) >= size:
                flush()
            self.progress(Progress(ENCODING, number + 1, len(packets)))
        flush()
        if np.isnan(packets[:, 0]).all():
            raise FaceNotFound(
                f"{self.inverter.name} inverts no frame of the clip into a picture of the same person (identity "
                f"distance above {options.paper.worst_inversion}); compare with the frames (--target frame)"
            )
        return Motion(packets), failed

    def _failed(self, number: int, target: str) -> bool:
        """Whether a frame's inversion shows somebody else; of no matter where frames are compared with themselves."""
        if target != INVERSION or self.tuned is not None:
            return False
        return bool(1 - self.found.similarity[number] > self.options.paper.worst_inversion)


def _floats(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.detach().cpu().numpy(), np.float32)
