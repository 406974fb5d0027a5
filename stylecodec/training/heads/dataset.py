"""The training set: shards of renders with their truth, written so that a stopped run goes on where it was.

A folder holds meta.json and shard_00000.npz .. with, per render: images uint8 [N, S, S, 3], labels uint8 [N, S, S],
expression float32 [N, K + 2] (weights, gaze yaw and pitch in degrees), pose float32 [N, 2] (yaw, pitch in degrees),
landmarks float32 [N, 83, 2] in crop units, identity float32 [N, D], identity_id int64 [N].
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stylecodec.errors import OptionError, OutputError
from stylecodec.processes import leave_with
from stylecodec.training.heads.assets import load_assets
from stylecodec.training.heads.drawable import Picture
from stylecodec.training.heads.identities import FIELDS, SAMPLER_VERSION, SEED, SLICES, VECTOR_NAMES, sample_identity
from stylecodec.training.heads.model import HeadModel
from stylecodec.training.heads.renderer import Renderer
from stylecodec.training.heads.shaders import CLASS_NAMES
from stylecodec.training.heads.tracks import random_expression, random_gaze, random_pose

IDENTITIES_PER_SHARD = 12
AT_REST = 0.3  # share of pairs whose second face rests
EXPRESSION_STREAM = 5  # separates the random stream of expressions from that of identities
Arrays = dict[str, NDArray[Any]]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to render. Shard s holds identities first_identity + 12 s .. + 11, `renders` pictures each."""

    geometry: Path
    out: Path
    shards: int
    first_shard: int = 0
    size: int = 256
    renders: int = 9
    first_identity: int = 0
    supersampling: int = 2

    def __post_init__(self) -> None:
        if self.shards < 1 or self.first_shard < 0 or self.renders < 1 or self.first_identity < 0:
            raise OptionError("shards and renders are at least 1, the first shard and identity at least 0")

    def shard_path(self, shard: int) -> Path:
        return self.out / f"shard_{shard:05d}.npz"


def describe(model: HeadModel, plan: Plan) -> dict[str, Any]:
    """The contents of meta.json."""
    return {
        "sampler_version": SAMPLER_VERSION,
        "geometry_sha256": model.assets.digest,
        "size": plan.size,
        "renders_per_identity": plan.renders,
        "identities_per_shard": IDENTITIES_PER_SHARD,
        "first_identity": plan.first_identity,
        "expression_names": [*model.names, "gaze_yaw", "gaze_pitch"],
        "identity_names": list(VECTOR_NAMES),
        "identity_fields": {name: [SLICES[name].start, SLICES[name].stop] for name, _ in FIELDS},
        "class_names": list(CLASS_NAMES),
    }


def _renders(renderer: Renderer, identity_id: int, count: int) -> list[tuple[Picture, NDArray[np.float32]]]:
    """The pictures of one identity; the first is neutral, frontal and looks into the camera.

    The others come in pairs of one pose: what differs between the two is what their expressions do.
    """
    model = renderer.model
    identity = sample_identity(identity_id, model)
    rng = np.random.default_rng([SEED, EXPRESSION_STREAM, identity_id])
    pictures = []
    yaw, pitch = 0.0, 0.0
    with renderer.person(identity) as person:
        for k in range(count):
            if k == 0:
                picture = renderer.render(person, labels=True)
            else:
                weights, gaze = random_expression(rng, model.names), random_gaze(rng)
                if k % 2:
                    yaw, pitch = random_pose(rng)
                elif rng.random() < AT_REST:
                    weights = np.zeros_like(weights)
                picture = renderer.render(person, weights, gaze, yaw, pitch, labels=True)
            pictures.append((picture, identity.vector))
    return pictures


def make_shard(renderer: Renderer, plan: Plan, shard: int) -> Arrays:
    """The arrays of one shard, in identity order."""
    first = plan.first_identity + shard * IDENTITIES_PER_SHARD
    numbers = range(first, first + IDENTITIES_PER_SHARD)
    rows = [(i, *pair) for i in numbers for pair in _renders(renderer, i, plan.renders)]
    return {
        "images": np.stack([p.image for _, p, _ in rows]),
        "labels": np.stack([p.labels for _, p, _ in rows if p.labels is not None]),
        "expression": np.stack([np.r_[p.weights, p.gaze] for _, p, _ in rows]).astype(np.float32),
        "pose": np.array([[p.yaw, p.pitch] for _, p, _ in rows], np.float32),
        "landmarks": np.stack([p.landmarks for _, p, _ in rows]),
        "identity": np.stack([v for _, _, v in rows]),
        "identity_id": np.array([i for i, _, _ in rows], np.int64),
    }


def write_shard(path: Path, arrays: Arrays) -> None:
    """Uncompressed npz, whole or not at all; OutputError when the disk refuses."""
    content: dict[str, Any] = dict(arrays)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}") from error


def render_part(plan: Plan, part: int, parts: int, progress: Progress = print) -> int:
    """Renders shards part, part + parts, ... that are not there yet; returns how many."""
    todo = [
        s
        for s in range(plan.first_shard, plan.first_shard + plan.shards)
        if s % parts == part and not plan.shard_path(s).exists()
    ]
    if not todo:
        progress(f"process {part}: nothing left to do")
        return 0
    renderer = Renderer(HeadModel(load_assets(plan.geometry)), plan.size, plan.supersampling)
    began, images = time.monotonic(), 0
    for done, shard in enumerate(todo, 1):
        arrays = make_shard(renderer, plan, shard)
        write_shard(plan.shard_path(shard), arrays)
        images += len(arrays["images"])
        rate = images / (time.monotonic() - began)
        left = (len(todo) - done) * images / done / rate
        progress(f"process {part}: shard {shard}, {rate:.2f} images/s, {left / 60:.1f} min left")
    return len(todo)


def render_dataset(plan: Plan, processes: int = 1) -> None:
    """Renders the whole plan. Set LP_NUM_THREADS=1 when several processes share a software rasteriser."""
    if processes < 1:
        raise OptionError(f"{processes} processes make no pictures")
    model = HeadModel(load_assets(plan.geometry))
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(describe(model, plan), indent=1)
        (plan.out / "meta.json").write_text(text + "\n")
    except OSError as error:
        raise OutputError(f"cannot write to {plan.out}: {error}") from error
    if processes == 1:
        render_part(plan, 0, 1, _report)
        return
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_worker, args=(os.getpid(), plan, k, processes)) for k in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failed = [w.exitcode for w in workers if w.exitcode]
    if failed:
        raise OutputError(f"{len(failed)} of {processes} render processes failed; run again to go on")


def _worker(starter: int, plan: Plan, part: int, parts: int) -> None:
    leave_with(starter)
    render_part(plan, part, parts, _report)


def _report(line: str) -> None:
    print(line, flush=True)
