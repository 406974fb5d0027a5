"""Personalisation shared out among processes of one machine, where the device is a CPU."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.multiprocessing import get_context

from ... import distributed
from ...nets.isolation import isolated
from ...packs.store import ModelPack, open_pack
from ...progress import Progress, ProgressCallback, silent
from ..frames import Crop, FrameCodes
from ..options import TuneOptions
from .checkpoint import Checkpoint
from .tuning import Personalized, Personalizer, progress_event


def personalize(
    pack: ModelPack,
    crops: Sequence[Crop],
    codes: FrameCodes,
    latent: NDArray[np.float16],
    options: TuneOptions,
    device: torch.device,
    checkpoint: Checkpoint,
    progress: ProgressCallback = silent,
) -> Personalized:
    """Tune the pack's generator, in `options.processes` processes where the device is a CPU; see Personalizer."""
    begun, processes = time.time(), min(options.processes, len(crops))
    if processes == 1 or device.type != "cpu":
        return Personalizer(pack, crops, codes, latent, options, device, checkpoint, progress).run()
    checkpoint.load()  # refuses one of other work before anything is begun
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint.path is None:
            checkpoint = Checkpoint(Path(folder) / "checkpoint", checkpoint.work)
        np.save(Path(folder) / "crops.npy", np.stack(crops))
        state = get_context("spawn").Array("d", [0.0, math.nan])
        given = (pack.folder, Path(folder) / "crops.npy", codes, latent, options, checkpoint, state, begun)
        distributed.run(partial(_work, *given), processes, lambda: progress(progress_event(*state[:])))
        return Personalizer(pack, crops, codes, latent, options, device, checkpoint, progress).finish()


def _work(
    folder: Path,
    crops: Path,
    codes: FrameCodes,
    latent: NDArray[np.float16],
    options: TuneOptions,
    checkpoint: Checkpoint,
    state: Any,
    begun: float,
) -> None:
    """What one worker does; the first one writes the budget spent and the PSNR into `state`."""

    def tell(event: Progress) -> None:
        if not distributed.rank():
            state[:] = (event.done / 100, personalizer.at.psnr)

    pictures, device = list(np.load(crops, mmap_mode="r")), torch.device("cpu")
    with isolated(draws=True):
        model = open_pack(folder)
        personalizer = Personalizer(model, pictures, codes, latent, options, device, checkpoint, tell, begun)
        personalizer.tune()
