"""Who is seen, while they are seen: a first guess after a second, and a fitted one when the background has made it."""

from __future__ import annotations

from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...bitstream import Identity
from ...nets.isolation import isolated
from ...packs.store import ModelPack
from ...progress import Progress
from ..frames import Crop, FrameCodes
from ..identity.fitting import fit_to_candidates
from ..identity.selection import Candidate, CandidatePool
from ..options import EncodeOptions
from ..rate.compaction import compact_identity, plainly_rounded
from .motion import packet_of
from .options import LiveOptions


@dataclass(frozen=True)
class NewIdentity:
    """An identity to send from now on. fitted: it is no first guess."""

    identity: Identity
    fitted: bool


class IdentityFinder:
    """Takes the frames of one face and says when there is an identity, and when there is a better one.

    executor: where the identity is fitted; without one it stays the first guess. Near-frontal frames spread over the
    time seen are kept in bounded memory, as for a clip. In the compact profile a fitted identity is rounded as a clip's
    is; the first guess, which must not wait for that, is rounded plainly.
    """

    def __init__(
        self, pack: ModelPack, device: torch.device, options: LiveOptions, executor: Executor | None = None
    ) -> None:
        self._pack, self._device, self._options, self._executor = pack, device, options, executor
        self._choice = EncodeOptions(pack=options.pack, device=options.device, fit=options.fit)
        self._pool: CandidatePool | None = CandidatePool(self._choice)
        self._frames = 0
        self._begun: float | None = None
        self._guess: NDArray[np.float16] | None = None
        self._fitting: Future[Identity] | None = None
        self.failure: str | None = None  # why the fit did not end
        self._stopped = False
        self._compact = options.profile == "compact"

    def frame(self, seconds: float, crop: Crop, codes: FrameCodes) -> NewIdentity | None:
        """A frame that shows the face, and its codes [1, …]; the identity to send from now on, if it is another."""
        if self._pool is not None:
            self._pool.offer([self._frames], [crop], codes)
        self._frames += 1
        self._begun = seconds if self._begun is None else self._begun
        seen = seconds - self._begun
        if self._guess is None:
            return self._guessed() if seen >= self._options.guess_seconds else None
        if self._fitting is not None:
            return self._fitted()
        wanted = self._options.fit_seconds
        if self._executor is not None and self._pool is not None and wanted is not None and seen >= wanted:
            self._fitting = self._executor.submit(self._fit, self._guess, tuple(self._pool.kept()))
            self._pool = None  # its crops are not needed any more
        return None

    def _guessed(self) -> NewIdentity:
        """The mean of the codes of the most frontal frames so far."""
        assert self._pool is not None
        best = sorted(self._pool.candidates(), key=lambda one: one.turn)[: self._choice.identity_average]
        mean = np.mean([one.w_id.astype(np.float32) for one in best], axis=0)
        self._guess = np.asarray(mean, np.float16)
        if self._executor is None or self._options.fit_seconds is None:
            self._pool = None
        return NewIdentity(plainly_rounded(self._guess) if self._compact else Identity(self._guess), False)

    def _fit(self, guess: NDArray[np.float16], frames: tuple[Candidate, ...]) -> Identity:
        with isolated(draws=True):
            fitted = fit_to_candidates(guess, frames, self._pack, self._device, self._options.fit, self._step)
            identity = Identity(fitted.latent)
            if not self._compact:
                return identity
            packets = np.stack([packet_of(one.pose, 0.0, one.alpha) for one in frames])
            return compact_identity(identity, packets, self._pack, self._device, self._options.quality, self._step)

    def stop(self) -> None:
        """Let a fit end with its next step: nobody waits for it any more."""
        self._stopped = True

    def _step(self, progress: Progress) -> None:
        if self._stopped:
            raise CancelledError

    def _fitted(self) -> NewIdentity | None:
        if self._fitting is None or not self._fitting.done():
            return None
        done, self._fitting, self._executor = self._fitting, None, None
        try:
            return NewIdentity(done.result(), True)
        except Exception as error:  # in the background: the call goes on with the first guess
            self.failure = f"{type(error).__name__}: {error}"
            return None
