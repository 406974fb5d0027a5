"""Landmark correction of one frame after another: what landmark_correction.py does for a clip, with running medians.

The Jacobian is measured once for an identity, at the median pose and expression of the first frames. What is missing is
set against the medians of the last seconds; the last row of that window is the frame's own correction.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...decoding.render import pick_dtype
from ...metrics.landmark_features import noise_floor
from ...nets.isolation import isolated
from ...packs.store import ModelPack
from ..differentiable import DifferentiableRenderer
from ..frames import Crop, FrameCodes, to_input
from ..motion.landmark_correction import FARTHEST, RenderedFeatures, above_noise, half_open, residual, solved
from ..options import LandmarkCorrectionOptions

LEARNT_FRAMES = 25  # before anything is corrected
WINDOW_FRAMES = 250  # of the running medians


class CausalCorrection:
    """Codes of one identity, corrected by the face mesh; it renders every frame.

    executor: where the Jacobian is measured, which takes seconds; None: at once. Until it is there, and for the first
    LEARNT_FRAMES, codes come back as they are.
    """

    def __init__(
        self,
        latent: NDArray[np.float16],
        pack: ModelPack,
        device: torch.device,
        options: LandmarkCorrectionOptions,
        executor: Executor | None = None,
    ) -> None:
        self._options, self._device, self._executor = options, device, executor
        self._renderer = DifferentiableRenderer(pack, device, pick_dtype(options.precision, device))
        identity = torch.from_numpy(latent.astype(np.float32)).to(device)
        self._rendered = RenderedFeatures(self._renderer, identity, min(options.side, pack.card.resolution))
        self._floor = noise_floor(pack)
        self._wanted: deque[Tensor] = deque(maxlen=WINDOW_FRAMES)  # [17] each
        self._missing: deque[Tensor] = deque(maxlen=WINDOW_FRAMES)
        self._codes: deque[Tensor] = deque(maxlen=LEARNT_FRAMES)  # [34] in units
        self._jacobian: Future[Tensor] | None = None

    @torch.no_grad()
    def __call__(self, crop: Crop, codes: FrameCodes) -> FrameCodes:
        """The codes of one frame [1, …] and its crop; the same with pose and α corrected."""
        units = self._renderer.units.units(torch.from_numpy(codes.pose), torch.from_numpy(codes.alpha))
        wanted = self._rendered.reader(to_input([crop], self._device))[0]
        self._wanted.append(wanted)
        self._missing.append(wanted - self._rendered(units)[0])
        self._codes.append(units[0])
        if len(self._wanted) < LEARNT_FRAMES:
            return codes
        if self._jacobian is None:
            self._jacobian = self._measure()
        if not self._jacobian.done():
            return codes
        wanted_all, missing = torch.stack(list(self._wanted)), torch.stack(list(self._missing))
        missing = above_noise(residual(missing, torch.zeros_like(missing)), self._floor)
        about = wanted_all - wanted_all.median(dim=0).values
        change = solved(self._jacobian.result(), missing, about, self._options)[-1:].clamp(-FARTHEST, FARTHEST)
        pose, alpha = (value.cpu().numpy() for value in self._renderer.units.split(units + change))
        return FrameCodes(codes.w_id, pose, alpha)

    def _measure(self) -> Future[Tensor]:
        lips = torch.stack(list(self._wanted))[-len(self._codes) :, 0]
        middle = torch.stack(list(self._codes))[half_open(lips, self._options.frames)]
        if self._executor is not None:
            return self._executor.submit(self._jacobian_at, middle)
        found: Future[Tensor] = Future()
        found.set_result(self._jacobian_at(middle))
        return found

    def _jacobian_at(self, codes: Tensor) -> Tensor:
        with isolated():
            return self._rendered.jacobian(codes, self._options.step)
