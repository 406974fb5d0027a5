"""Tell from a file's content which published network it is, and give its tensors our names.

Everything that differs between the forms ends here: containers, names, axes, widths (read off the shapes). What is not
known for certain is refused, never guessed: two encoders with the same tensor names compute different things.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import ImportRefused, PackCorrupt
from ...nets.i3d import CLASSES
from ...nets.lpips import CHANNELS
from ...nets.ops import fir_kernel
from ...nets.stylegan2 import MappingNetwork
from ..registry import build
from ..store import embedded_pack
from . import names as upstream_names
from .containers import Container
from .dlib_file import read_shape_predictor
from .flow_settings import flow_params
from .layouts import encoder_params, identity_params, parser_params
from .nvidia import from_persistent, from_tensorflow, is_tensorflow
from .values import NAMESPACE, PERSISTENT_OBJECT, Record, TensorView

FID_CLASSES = 1008  # of the FID's Inception
MEAN_SAMPLES = 10_000  # z whose mean w replaces one that is not in the file
PORT_KEYS = ("style.1.weight", "input.input", "conv1.conv.weight")


@dataclass(frozen=True)
class Part:
    """One network found in a file, in our names."""

    role: str
    kind: str
    origin: str  # key of published.PUBLISHED
    state: Mapping[str, Tensor]
    params: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_product: bool = False  # came along: fills a role only where nothing else does
    amends: bool = False  # replaces single tensors of the role's network


def recognise(container: Container) -> list[Part]:
    """The networks in an opened file, checked to fit their modules. Raises ImportRefused with the reason."""
    try:
        if container.form == "dlib":
            parts = [_predictor(container.content)]
        else:
            parts = _recognised(container.content, container.size)
        return [part if part.amends else fitted(part) for part in parts]
    except ImportRefused:
        raise
    except PackCorrupt as error:
        raise ImportRefused(str(error)) from error
    except (RuntimeError, IndexError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ImportRefused(f"its tensors do not fit together ({type(error).__name__})") from error


def fitted(part: Part) -> Part:
    """The part, if its tensors are exactly those of the module that it describes, and finite."""
    with torch.device("meta"):
        wanted = build(part.kind, part.params, part.origin).state_dict()
    state = dict(part.state)
    for name, value in wanted.items():
        if name.endswith("num_batches_tracked"):  # a counter of training, which old files lack
            state.setdefault(name, torch.zeros((), dtype=value.dtype))
    if missing := sorted(wanted.keys() - state.keys()):
        raise ImportRefused(f"it lacks {len(missing)} tensors of a {part.kind} network, the first being {missing[0]!r}")
    if surplus := sorted(state.keys() - wanted.keys()):
        raise ImportRefused(f"it has {len(surplus)} tensors that a {part.kind} network has not, such as {surplus[0]!r}")
    for name, value in wanted.items():
        if state[name].shape != value.shape:
            raise ImportRefused(f"its {name!r} is {list(state[name].shape)}, a {part.kind} needs {list(value.shape)}")
        if state[name].is_floating_point() and not bool(torch.isfinite(state[name]).all()):
            raise ImportRefused(f"its {name!r} holds values that are not finite")
    return Part(part.role, part.kind, part.origin, state, part.params, part.notes, part.by_product)


def _recognised(content: Any, size: int) -> list[Part]:
    if isinstance(content, TensorView):
        raise ImportRefused(
            f"it is a single tensor {list(content.shape)} (a latent, a pivot of PTI, a direction), not a network"
        )
    if isinstance(content, Record) and content.what == PERSISTENT_OBJECT:
        return [_nvidia(content, size, tuned=True)]
    if isinstance(content, tuple | list) and len(content) == 3 and is_tensorflow(content[2]):
        state, params = from_tensorflow(content[2], size)
        return [_generator(state, "stylegan2-tf", params)]
    if not isinstance(content, dict):
        raise ImportRefused("it holds no network that stylecodec knows")
    if isinstance(content.get("G_ema"), Record):
        return [_nvidia(content["G_ema"], size, tuned=False)]
    if isinstance(content.get("g_ema"), dict):
        return [_port(tensors(content["g_ema"], size), content.get("latent_avg"))]
    inner = content.get("state_dict")
    if isinstance(inner, dict) and any(isinstance(k, str) and k.startswith("encoder.") for k in inner):
        return _encoder_file(content, tensors(inner, size))
    return _bare(tensors(inner if isinstance(inner, dict) else content, size))


def tensors(table: Mapping[Any, Any], size: int) -> dict[str, Tensor]:
    """The tensors of a table, floats in single precision. Together they may not be much larger than the file."""
    kinds = TensorView | Tensor
    views = {name: view for name, view in table.items() if isinstance(name, str) and isinstance(view, kinds)}
    total = sum(math.prod(v.shape) * _dtype(v).itemsize for v in views.values())
    if total > 2 * size + (1 << 20):
        raise ImportRefused(f"its tensors claim {total:,} bytes, the file has {size:,}")
    return {name: _single(view) for name, view in views.items()}


def _dtype(view: TensorView | Tensor) -> torch.dtype:
    return view.dtype if isinstance(view, Tensor) else view.storage.dtype


def _single(view: TensorView | Tensor) -> Tensor:
    tensor = view if isinstance(view, Tensor) else view.tensor()
    return tensor.float() if tensor.is_floating_point() else tensor


# --- generators -----------------------------------------------------------------------------------------------


def _generator(state: Mapping[str, Tensor], origin: str, extra: Mapping[str, Any], **flags: Any) -> Part:
    """A generator in our names. A mean w that is missing is computed."""
    complete = dict(state)
    notes: tuple[str, ...] = ()
    settings = upstream_names.generator_settings(complete)
    if "mapping.w_avg" not in complete:
        complete["mapping.w_avg"] = mean_latent(complete, settings["z_dim"], settings["w_dim"])
        notes = (f"the file has no mean latent: computed from {MEAN_SAMPLES:,} samples",)
    channels = {str(size): width for size, width in settings["channels"].items()}
    params = {**settings, "channels": channels, **{k: v for k, v in extra.items() if v is not None}}
    return Part("generator", "stylegan2", origin, complete, params, notes, **flags)


def mean_latent(state: Mapping[str, Tensor], z_dim: int, w_dim: int) -> Tensor:
    """The mean w [w_dim] of normally distributed z, always of the same ones."""
    layers = sum(name.startswith("mapping.layers.") and name.endswith(".weight") for name in state)
    mapping = MappingNetwork(z_dim, w_dim, layers)
    own = {name.removeprefix("mapping."): t for name, t in state.items() if name.startswith("mapping.")}
    mapping.load_state_dict({**own, "w_avg": torch.zeros(w_dim)})
    z = torch.randn(MEAN_SAMPLES, z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean: Tensor = mapping(z).mean(dim=0)
    return mean


def _port(state: Mapping[str, Tensor], latent_avg: Any, **flags: Any) -> Part:
    _check_filters(state, "kernel", 4.0)
    mean = _single(latent_avg) if isinstance(latent_avg, TensorView) else None
    return _generator(upstream_names.generator_from_port(state, mean), "stylegan2-port", {}, **flags)


def _nvidia(record: Record, size: int, tuned: bool) -> Part:
    views, params = from_persistent(record)
    state = tensors(views, size)
    _check_filters(state, "resample_filter", 1.0)
    origin = "stylegan2-tuned" if tuned else "stylegan2-nvidia"
    return _generator(upstream_names.generator_from_nvidia(state), origin, params)


def _check_filters(state: Mapping[str, Tensor], ending: str, total: float) -> None:
    """Only the binomial filter is built in: a generator with another one would draw other pictures."""
    kernel = fir_kernel() * total
    for name, tensor in state.items():
        if name.endswith(ending) and (tensor.shape != kernel.shape or not torch.allclose(tensor, kernel, atol=1e-5)):
            raise ImportRefused(f"its resampling filter {name!r} is not the [1, 3, 3, 1] of the published networks")


# --- encoders -------------------------------------------------------------------------------------------------

ENCODERS = {"Encoder4Editing": "e4e", "ProgressiveBackboneEncoder": "restyle"}


def _options(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    options = content.get("opts")
    if isinstance(options, Record) and options.what == NAMESPACE:
        options = options.state
    return options if isinstance(options, dict) else {}


def _encoder_file(content: Mapping[Any, Any], state: Mapping[str, Tensor]) -> list[Part]:
    """e4e or ReStyle: an encoder, and the generator that it was trained with."""
    options = _options(content)
    name = options.get("encoder_type")
    kind = ENCODERS.get(name) if isinstance(name, str) else None
    if kind is None:
        said = f"says {name[:60]!r}" if isinstance(name, str) else "does not say"
        raise ImportRefused(
            f"it is an inversion encoder whose file {said} of which kind it is; e4e and ReStyle-e4e are supported, and "
            "pSp has the same tensors but another meaning"
        )
    stem = state.get("encoder.input_layer.0.weight")
    if stem is None or stem.dim() != 4 or stem.shape[1] != (6 if kind == "restyle" else 3):
        raise ImportRefused(f"its first layer is not that of a {kind} encoder")
    parts: list[Part] = []
    mean = content.get("latent_avg")
    latent_avg = _single(mean) if isinstance(mean, TensorView) else None
    decoder = upstream_names.under_prefix(state, "decoder.")
    if decoder:
        parts.append(_port(decoder, mean, by_product=True))
    notes: tuple[str, ...] = ()
    if latent_avg is None:
        if options.get("start_from_latent_avg") is False:
            latent_avg = torch.zeros(_style_dim(state))
        elif parts:
            latent_avg, notes = parts[0].state["mapping.w_avg"], parts[0].notes
        else:
            raise ImportRefused("it has neither a mean latent nor a generator to compute it with")
    encoder = upstream_names.encoder_from_e4e(state, latent_avg)
    encoder["latent_avg"] = encoder["latent_avg"].contiguous()
    return [Part("inversion", kind, kind, encoder, encoder_params(encoder, kind), notes), *parts]


def _style_dim(state: Mapping[str, Tensor]) -> int:
    return state["encoder.styles.0.linear.weight"].shape[0]


# --- bare state dicts -----------------------------------------------------------------------------------------


def _identity(state: Mapping[str, Tensor]) -> Part:
    return Part("identity", "irse", "irse", state, identity_params(state))


def _parser(state: Mapping[str, Tensor]) -> Part:
    return Part("parser", "bisenet", "bisenet", state, parser_params(state))


def _flow(state: Mapping[str, Tensor]) -> Part:
    ours = upstream_names.flow_from_styleflow(state)
    params, note = flow_params(ours)
    return Part("flow", "styleflow", "styleflow", ours, params, (note,))


def _trunk(state: Mapping[str, Tensor]) -> Part:
    """torchvision's AlexNet or VGG-16; the classifier behind the features is left out."""
    trunk = "alex" if state["features.0.weight"].shape[-1] == 11 else "vgg"
    kept = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    return _lpips(trunk, kept, embedded_pack().lpips_heads().of(trunk), ("with the published channel weights",))


def _lpips(trunk: str, features: Mapping[str, Tensor], heads: list[Tensor], notes: tuple[str, ...] = ()) -> Part:
    ours = {**features, **{f"heads.{k}": head for k, head in enumerate(heads)}}
    return Part(f"lpips_{trunk}", "lpips", f"lpips-{trunk}", ours, {"trunk": trunk}, notes)


def _whole_lpips(state: Mapping[str, Tensor]) -> Part:
    """The state dict of the lpips package: trunk and weights."""
    features = {f"features.{n.split('.', 2)[2]}": t for n, t in state.items() if n.startswith("net.slice")}
    trunk = "alex" if features["features.0.weight"].shape[-1] == 11 else "vgg"
    return _lpips(trunk, features, _head_vectors(state))


def _head_vectors(state: Mapping[str, Tensor]) -> list[Tensor]:
    names = [name for name in state if name.startswith("lin") and not name.startswith("lins.")]
    return [state[f"lin{k}.model.1.weight"].reshape(-1).clone() for k in range(len(names))]


def _heads(state: Mapping[str, Tensor]) -> Part:
    heads = _head_vectors(state)
    trunk = next((name for name, widths in CHANNELS.items() if tuple(len(h) for h in heads) == widths), None)
    if trunk is None:
        raise ImportRefused("it holds LPIPS channel weights, but neither AlexNet's nor VGG-16's")
    ours = {f"heads.{k}": head for k, head in enumerate(heads)}
    return Part(f"lpips_{trunk}", "lpips", "lpips-heads", ours, {"trunk": trunk}, amends=True)


def _dists_heads(state: Mapping[str, Tensor]) -> Part:
    ours = {name: state[name].reshape(-1).clone() for name in ("alpha", "beta")}
    return Part("dists_heads", "dists_heads", "dists-heads", ours)


def _inception(state: Mapping[str, Tensor]) -> Part:
    """Of the FID; its classifier has 1008 classes, torchvision's 1000."""
    if "AuxLogits.fc.weight" in state or ("fc.weight" in state and state["fc.weight"].shape[0] != FID_CLASSES):
        raise ImportRefused(
            "it is torchvision's Inception, with which no FID is measured: that is defined by TensorFlow's of 2015"
        )
    ours = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    return Part("inception", "inception", "inception", ours)


def _i3d(state: Mapping[str, Tensor]) -> Part:
    """DeepMind's RGB network, whole or wrapped by torch's DataParallel."""
    ours = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if (inputs := ours["Conv3d_1a_7x7.conv3d.weight"].shape[1]) != 3:
        raise ImportRefused(f"it is an I3D that looks at {inputs} channels (optical flow?): FVD takes the RGB one")
    if (classes := ours["logits.conv3d.weight"].shape[0]) != CLASSES:
        raise ImportRefused(f"it is an I3D of {classes} classes: FVD takes the one of Kinetics-{CLASSES}")
    return Part("i3d", "i3d", "i3d", ours)


def _bare_port(state: Mapping[str, Tensor]) -> Part:
    return _port(state, None)


def _bare_nvidia(state: Mapping[str, Tensor]) -> Part:
    _check_filters(state, "resample_filter", 1.0)
    part = _generator(upstream_names.generator_from_nvidia(state), "stylegan2-nvidia", {})
    note = "a bare state dict says nothing of conv_clamp: taken as none"
    return Part(part.role, part.kind, part.origin, part.state, part.params, (*part.notes, note))


# Tensors that only one kind of bare state dict has, all of them, and what reads it.
_BARE: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Tensor]], Part]], ...] = (
    (PORT_KEYS, _bare_port),
    (("synthesis.b4.const", "mapping.fc0.weight"), _bare_nvidia),
    (("chain.0.running_mean", "chain.1.sqrt_end_time"), _flow),
    (("input_layer.0.weight", "output_layer.3.weight"), _identity),
    (("cp.resnet.conv1.weight", "conv_out.conv_out.weight"), _parser),
    (("net.slice1.0.weight", "lin0.model.1.weight"), _whole_lpips),
    (("features.0.weight", "features.10.weight"), _trunk),
    (("lin0.model.1.weight",), _heads),
    (("alpha", "beta"), _dists_heads),
    (("Conv2d_1a_3x3.conv.weight", "Mixed_7c.branch_pool.conv.weight"), _inception),
    (("Conv3d_1a_7x7.conv3d.weight", "logits.conv3d.weight"), _i3d),
    (("module.Conv3d_1a_7x7.conv3d.weight", "module.logits.conv3d.weight"), _i3d),
)


def _bare(state: Mapping[str, Tensor]) -> list[Part]:
    for keys, read in _BARE:
        if all(key in state for key in keys):
            return [read(state)]
    if "cp.arm16.conv.conv.weight" in state or "cp.resnet.layer1.0.conv1.weight" in state:
        raise ImportRefused("it is a face parser in other names than 79999_iter.pth has (facexlib's?)")
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        raise ImportRefused("it is a plain ResNet: a starting point for training others, not a network of a pack")
    some = ", ".join(repr(name[:40]) for name in list(state)[:3])
    raise ImportRefused(f"no network that stylecodec knows has its tensors ({some or 'there are none'})")


def _predictor(data: memoryview) -> Part:
    params, state = read_shape_predictor(data)
    origin = {68: "dlib68", 81: "dlib81"}.get(params["points"], "dlib")
    return Part("predictor", "shape_predictor", origin, state, params)
