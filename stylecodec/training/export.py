"""Put trained networks into a model pack."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import StylecodecError
from ..geometry import AVATAR_ALIGNMENT
from ..nets.e4e import E4eEncoder
from ..nets.feedforward import HybridEncoder
from ..nets.identity import IdentityNet
from ..nets.landmarks import LandmarkNet
from ..nets.parsing import BiSeNet
from ..nets.stylegan2 import StyledConv
from ..packs.card import DRAWN_PACK, SHIPPED_ROLES, Pose
from ..packs.store import ModelPack, embedded_pack, open_pack
from ..packs.writing import NetworkSource, write_pack
from . import avatar, encoder, identity, inversion, parser
from .avatar import ALPHA_INDICES, FLOW_SETTINGS, POSE_ROWS, RENDERER_RUNS, AvatarModel
from .checkpoint import checkpoint_of
from .datasets import extent
from .generator import EXPRESSION_NAMES
from .loop import TrainOptions, average_of, load_average, weights_of

LICENCE = "MIT"
SOURCE = "trained by stylecodec on its own synthetic heads (geometry: ICT-FaceKit, MIT, (c) 2020 USC ICT)"
FIGURES = "figures.json"


def note(options: TrainOptions, name: str, figures: dict[str, float], processes: int) -> None:
    """Add a run's held-out figures, its data and what computed it to `work/figures.json`, from where the card has them.

    `core_minutes` (on a GPU `gpu_minutes`) are those of the run and of all that the pack it went on from had.
    """
    path = options.work / FIGURES
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    on_gpu = options.device.type == "cuda"
    unit, count = ("gpu_minutes", 1) if on_gpu else ("core_minutes", processes * torch.get_num_threads())
    before = runs_of(open_pack(options.start)).get(name, {}) if options.start is not None else {}
    people, renders = extent(options.data)
    known[name] = {
        "minutes": round(options.minutes, 1),
        "device": torch.cuda.get_device_name(options.device) if on_gpu else f"{count} cores, {platform.machine()}",
        unit: round(options.minutes * count + before.get(unit, 0.0), 1),
        "people": people,
        "renders": renders,
        **{key: round(value, 4) for key, value in figures.items()},
    }
    path.write_text(json.dumps(known, indent=2) + "\n")


def runs_of(pack: ModelPack) -> dict[str, dict[str, Any]]:
    """What a pack's card says of its training runs, by name."""
    return dict(pack.card.training.get("runs", {}))


def _avatar(work: Path) -> AvatarModel:
    for name in ("upper", *RENDERER_RUNS, "generator"):
        path = checkpoint_of(work, name)
        if path.is_file():
            state = average_of(path, "avatar")
            model = AvatarModel(len(state["identity_mean"]))
            model.load_state_dict(state)
            return model.eval()
    raise StylecodecError(f"{work} holds no trained renderer")


def _source(module: nn.Module, **params: Any) -> NetworkSource:
    return NetworkSource(module.eval(), params=params, licence=LICENCE, source=SOURCE)


def networks(work: Path, blend: Path | None = None) -> dict[str, NetworkSource]:
    """Every trained network in `work` by its role; the renderer must be there.

    blend: a pack with whose feed-forward encoder the one in `work`, which was trained on from it, is averaged, weight
    by weight (2109.01903): on pictures unlike the training's the mean follows better than either.
    """
    model = _avatar(work)
    generator = model.generator
    for layer in generator.modulated():
        if isinstance(layer, StyledConv):
            layer.noise.zero_()  # this generator draws no noise: its strength was never trained
    with torch.no_grad():
        generator.mapping.w_avg.copy_(model.latent(model.identity_mean[None])[0])
    found = {
        "generator": _source(
            generator,
            resolution=generator.resolution,
            channels={str(r): c for r, c in avatar.CHANNELS.items()},
            z_dim=generator.mapping.z_dim,
            mapping_layers=len(generator.mapping.layers),
            normalize_z=False,
            mapping_lr=0.1,
        ),
        "flow": _source(model.flow, **FLOW_SETTINGS),
        "expression": _source(model.expression),
    }
    others: dict[str, tuple[str, str, nn.Module, dict[str, Any]]] = {
        "feedforward": ("encoder", "hybrid", HybridEncoder(**encoder.SETTINGS), encoder.SETTINGS),  # type: ignore[arg-type]
        "landmarks": ("landmarks", "landmarks", LandmarkNet(), {}),
        "identity": ("identity", "identity", IdentityNet(**identity.SETTINGS), identity.SETTINGS),  # type: ignore[arg-type]
        "parser": ("parser", "parser", BiSeNet(**parser.SETTINGS), parser.SETTINGS),  # type: ignore[arg-type]
        "inversion": ("inversion", "inversion", E4eEncoder(**inversion.SETTINGS), inversion.SETTINGS),  # type: ignore[arg-type]
    }
    for role, (run, key, module, params) in others.items():
        path = checkpoint_of(work, run)
        if path.is_file():
            load_average(module, path, key)
            if role == "feedforward" and blend is not None:
                _average(module, weights_of(open_pack(blend), role, module))
            found[role] = _source(module, **params)
    return found


def _average(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give `module` the mean of its own weights and those of `state`."""
    for name, value in module.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(state[name], 0.5)


def _expression_names(work: Path) -> list[str]:
    path = work / EXPRESSION_NAMES
    return [str(name) for name in json.loads(path.read_text())] if path.is_file() else []


def export(
    work: Path,
    folder: Path,
    name: str = DRAWN_PACK,
    version: str = "1",
    blend: Path | None = None,
    base: Path | None = None,
) -> ModelPack:
    """Write the pack into `folder` (replacing a pack that is there) and open it; `blend` as for `networks`.

    base: a pack that gives what was not trained in `work`: networks, and what its card says of their training.
    Networks of others (SHIPPED_ROLES) and calibrated numbers are those of `base`, else of the embedded pack.
    """
    figures = work / FIGURES
    runs: dict[str, Any] = json.loads(figures.read_text()) if figures.is_file() else {}
    found, expression_names = networks(work, blend), _expression_names(work)
    pack = embedded_pack() if base is None else open_pack(base)
    for role in SHIPPED_ROLES if base is None else (*pack.card.networks, *SHIPPED_ROLES):
        found.setdefault(role, NetworkSource.of(pack.provider(role), role))
    if base is not None:
        runs = {**runs_of(pack), **runs}
        expression_names = expression_names or list(pack.card.training.get("expression_inputs", []))
    return write_pack(
        folder,
        found,
        overwrite=True,
        name=name,
        version=version,
        licence=LICENCE,
        source=SOURCE,
        resolution=max(avatar.CHANNELS),
        indices=ALPHA_INDICES,
        alignment=AVATAR_ALIGNMENT,  # the crop that the heads are rendered in
        pose=Pose(rows=POSE_ROWS, yaw=(-40.0, 40.0), pitch=(-22.0, 22.0)),
        calibration={**embedded_pack().card.calibration, **pack.card.calibration},
        training={
            "expression_inputs": expression_names,
            "torch": torch.__version__,
            "runs": runs,
        },
    )
