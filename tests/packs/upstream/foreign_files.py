"""Files in the forms that networks are published in, written by the libraries that write them where there are any.

Stand-ins with the names of NVIDIA's modules exist while a file is pickled, so that the file names them.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import tarfile
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.nets import seeded_weights as seeded

State = dict[str, Tensor]


def narrow(shapes: seeded.Shapes, width: int = 8, dim: int = 16) -> seeded.Shapes:
    """The same tensors with `width` channels at every resolution and W of `dim`."""
    out = {}
    for name, shape in shapes.items():
        sides = [width if n >= 32 else n for n in shape]
        if name.startswith("noises") or name.endswith("noise_const"):
            sides = list(shape)
        elif "style." in name or "mapping." in name or name == "latent_avg":
            sides = [dim] * len(shape)
        elif name.endswith(("modulation.weight", "affine.weight")):
            sides = [width, dim]
        out[name] = tuple(sides)
    return out


def narrow_port(resolution: int = 32) -> State:
    return seeded.state(narrow(seeded.port_generator_shapes(resolution)))


def nvidia_of(port: State, latent_avg: Tensor) -> State:
    """The same numbers in NVIDIA's naming."""
    out: State = {"mapping.w_avg": latent_avg}
    for name, tensor in port.items():
        if (ours := _nvidia_name(name)) is not None:
            shape = tensor.shape
            if name.endswith("noise.weight"):
                tensor = tensor.reshape(())
            elif name.startswith("noises"):
                tensor = tensor[0, 0]
            elif name == "input.input" or name.endswith("conv.weight"):
                tensor = tensor[0]
            elif name.endswith(".bias") and len(shape) == 4:
                tensor = tensor.reshape(-1)
            out[ours] = tensor
    for size in {name.split(".")[1] for name in out if name.startswith("synthesis.")}:
        out[f"synthesis.{size}.resample_filter"] = seeded.draw("resample_filter", (4, 4))
    return out


def _nvidia_name(name: str) -> str | None:
    head, _, tail = name.partition(".")
    tails = {
        "conv.weight": "weight",
        "conv.modulation.weight": "affine.weight",
        "conv.modulation.bias": "affine.bias",
        "noise.weight": "noise_strength",
        "activate.bias": "bias",
        "bias": "bias",
    }
    if name.endswith("kernel"):
        return None
    if head == "style":
        number, leaf = tail.split(".")
        return f"mapping.fc{int(number) - 1}.{leaf}"
    if head == "input":
        return "synthesis.b4.const"
    if head == "noises":
        number = int(tail.removeprefix("noise_"))
        place = "b4.conv1" if number == 0 else f"b{8 << (number - 1) // 2}.conv{(number - 1) % 2}"
        return f"synthesis.{place}.noise_const"
    if head == "conv1":
        return f"synthesis.b4.conv1.{tails[tail]}"
    if head == "to_rgb1":
        return f"synthesis.b4.torgb.{tails[tail]}"
    number_text, _, tail = tail.partition(".")
    number = int(number_text)
    if head == "to_rgbs":
        return f"synthesis.b{8 << number}.torgb.{tails[tail]}"
    return f"synthesis.b{8 << number // 2}.conv{number % 2}.{tails[tail]}"


# --- NVIDIA PyTorch -------------------------------------------------------------------------------------------


@contextmanager
def stand_ins() -> Iterator[types.SimpleNamespace]:
    """Modules with NVIDIA's names, gone again afterwards."""
    names = ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util", "dnnlib.tflib", "dnnlib.tflib.network")
    modules = {name: types.ModuleType(name) for name in names}

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("the file was executed")

    class EasyDict(dict[str, Any]):
        pass

    class Network:
        pass

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    EasyDict.__module__, Network.__module__ = "dnnlib.util", "dnnlib.tflib.network"
    for made, place in ((_reconstruct_persistent_obj, names[1]), (EasyDict, names[3]), (Network, names[5])):
        made.__qualname__ = made.__name__
        setattr(modules[place], made.__name__, made)
    sys.modules.update(modules)
    try:
        yield types.SimpleNamespace(reconstruct=_reconstruct_persistent_obj, EasyDict=EasyDict, Network=Network)
    finally:
        for name in names:
            del sys.modules[name]


class Persistent:
    """Pickles itself as NVIDIA's persistent modules do: by a call with its source text and attributes."""

    def __init__(self, reconstruct: Any, name: str, attributes: dict[str, Any]) -> None:
        self.reconstruct, self.name, self.attributes = reconstruct, name, attributes

    def __reduce__(self) -> Any:
        source = "raise SystemExit('the source text was executed')\n"
        meta = {
            "type": "class",
            "version": 6,
            "module_src": source,
            "class_name": self.name,
            "state": self.attributes,
        }
        return self.reconstruct, (meta,)


def persistent_generator(fakes: Any, state: State, clamp: float | None, era: str) -> Persistent:
    """A generator of NVIDIA's as its pickles hold it; era "ada" nests its arguments, "sg3" lays them flat."""
    tree: dict[str, Any] = {}
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = tensor
    synthesis = {"channel_base": 32768, "channel_max": 512, "num_fp16_res": 4, "conv_clamp": clamp}
    if era == "ada":
        arguments = fakes.EasyDict(mapping_kwargs=fakes.EasyDict(), synthesis_kwargs=fakes.EasyDict(synthesis))
    else:
        arguments = fakes.EasyDict(**synthesis, fused_modconv_default="inference_only", mapping_kwargs={})
    module = _persistent(fakes, "Generator", tree, clamp)
    module.attributes |= {"_init_args": (), "_init_kwargs": arguments, "z_dim": 512, "c_dim": 0}
    return module


def _persistent(fakes: Any, name: str, tree: Mapping[str, Any], clamp: float | None) -> Persistent:
    tensors = {key: value for key, value in tree.items() if isinstance(value, Tensor)}
    buffers = ("w_avg", "noise_const", "resample_filter")
    attributes: dict[str, Any] = {
        "training": False,
        "_parameters": OrderedDict((k, torch.nn.Parameter(v)) for k, v in tensors.items() if k not in buffers),
        "_buffers": OrderedDict((k, v) for k, v in tensors.items() if k in buffers),
        "_modules": OrderedDict(
            (key, _persistent(fakes, key, value, clamp)) for key, value in tree.items() if isinstance(value, dict)
        ),
        "_backward_hooks": OrderedDict(),
        "_non_persistent_buffers_set": set(),
    }
    if name.startswith(("conv", "torgb")):
        attributes |= {"conv_clamp": clamp, "use_fp16": False}
    if name.startswith("fc"):
        attributes |= {"activation": "lrelu", "bias_gain": 0.01, "weight_gain": np.float64(0.01 / 512**0.5)}
    return Persistent(fakes.reconstruct, name, attributes)


def write_nvidia(path: Path, state: State, clamp: float | None = None, era: str = "ada") -> Path:
    """A raw pickle as in the ADA and StyleGAN3 repositories."""
    with stand_ins() as fakes:
        generator = persistent_generator(fakes, state, clamp, era)
        content = {
            "G": None,
            "D": None,
            "G_ema": generator,
            "training_set_kwargs": fakes.EasyDict(path="ffhq.zip", resolution=1024, use_labels=False),
            "augment_pipe": None,
        }
        with path.open("wb") as file:
            pickle.dump(content, file, protocol=4 if era == "ada" else 5)
    return path


def write_tuned(path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A generator tuned by PTI: the whole module in a torch archive, saved from a GPU."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    with stand_ins() as fakes:
        torch.save(persistent_generator(fakes, state, 256.0, "ada"), path)
    return path


# --- NVIDIA TensorFlow ------------------------------------------------------------------------------------------


def tensorflow_variables(nvidia: State) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """The variables of `synthesis` and `mapping` for a state in NVIDIA's PyTorch naming."""
    synthesis: list[tuple[str, Any]] = [("lod", np.float32(0))]
    mapping: list[tuple[str, Any]] = []
    leaves = {"affine.weight": "mod_weight", "affine.bias": "mod_bias"}
    for name, tensor in nvidia.items():
        part, _, rest = name.partition(".")
        array = tensor.numpy()
        if part == "mapping":
            layer, leaf = rest.split(".") if "." in rest else (rest, "")
            if leaf:
                variable = f"Dense{layer.removeprefix('fc')}/{leaf}"
                mapping.append((variable, np.array(array.T if leaf == "weight" else array, order="C")))
            continue
        block, _, rest = rest.partition(".")
        size = int(block[1:])
        layer, _, leaf = rest.partition(".")
        place = {"conv0": "Conv0_up", "conv1": "Conv" if size == 4 else "Conv1", "torgb": "ToRGB"}.get(layer, "")
        if rest == "const":
            synthesis.append(("4x4/Const/const", array[None]))
        elif leaf == "noise_const":
            number = 0 if size == 4 else 2 * size.bit_length() - 7 + int(layer[-1])
            synthesis.append((f"noise{number}", array[None, None]))
        elif leaf:
            if leaf == "weight":
                array = array.transpose(2, 3, 1, 0)
                array = array[::-1, ::-1] if layer == "conv0" else array
            elif leaf == "affine.weight":
                array = array.T
            elif leaf == "affine.bias":
                array = array - 1
            synthesis.append((f"{size}x{size}/{place}/{leaves.get(leaf, leaf)}", np.array(array, order="C")))
    return synthesis, mapping


def write_tensorflow(path: Path, nvidia: State, protocol: int = 4) -> Path:
    """A raw pickle of (G, D, Gs) as in NVIDIA's TensorFlow repository."""
    synthesis, mapping = tensorflow_variables(nvidia)

    with stand_ins() as fakes:

        def network(name: str, variables: list[tuple[str, Any]], components: dict[str, Any]) -> Any:
            made = fakes.Network()
            made.version, made.name = 4, name
            made.static_kwargs = fakes.EasyDict(num_channels=3, resolution=1024)
            made.components = fakes.EasyDict(components)
            made.build_module_src = "raise SystemExit('the source text was executed')\n"
            made.build_func_name = "G_main"
            made.variables = variables
            return made

        parts = {
            "synthesis": network("G_synthesis", synthesis, {}),
            "mapping": network("G_mapping", mapping, {}),
        }
        own = [("lod", np.float32(0)), ("dlatent_avg", nvidia["mapping.w_avg"].numpy())]
        networks = (network("G", [], {}), network("D", [], {}), network("Gs", own, parts))
        with path.open("wb") as file:
            pickle.dump(networks, file, protocol=protocol)
    return path


# --- torch's oldest form ----------------------------------------------------------------------------------------


def write_tar(path: Path, state: State) -> Path:
    """A torch archive as versions before 0.1.9 wrote it: one storage per tensor."""
    tensors = list(state.values())
    numbers = {id(tensor): number for number, tensor in enumerate(tensors)}

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: Any) -> str | None:
            return str(1000 + numbers[id(thing)]) if isinstance(thing, Tensor) else None

    storages, shapes, content = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pickle.dump(len(tensors), storages, protocol=2)
    pickle.dump(len(tensors), shapes, protocol=2)
    for number, tensor in enumerate(tensors):
        pickle.dump((number, "cpu", torch.FloatStorage), storages, protocol=2)
        storages.write(struct.pack("<q", tensor.numel()) + tensor.contiguous().numpy().tobytes())
        pickle.dump((1000 + number, number, torch.FloatTensor), shapes, protocol=2)
        steps = tensor.contiguous().stride()
        shapes.write(struct.pack(f"<ii{2 * tensor.dim()}qq", tensor.dim(), 0, *tensor.shape, *steps, 0))
    pickle.dump([], storages, protocol=2)
    Pickler(content, protocol=2).dump(OrderedDict(state))
    with tarfile.open(path, "w") as archive:
        for name, file in (("storages", storages), ("tensors", shapes), ("pickle", content)):
            info = tarfile.TarInfo(name)
            info.size = len(file.getvalue())
            archive.addfile(info, io.BytesIO(file.getvalue()))
    return path


# --- dlib -------------------------------------------------------------------------------------------------------


def picture(number: int, height: int = 100, width: int = 120) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 [H, W, 3]."""
    pixels = seeded.picture(f"input.dlib.{number}", (1, 3, height, width))[0]
    return ((pixels + 1) * 127.5).floor().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def write_dlib(path: Path, points: int) -> Path:
    """A small shape predictor that dlib has trained on noise."""
    random = np.random.default_rng(points)
    pictures = [picture(number) for number in range(4)]
    faces = []
    for _ in pictures:
        left, top = (int(v) for v in random.integers(5, 30, 2))
        box = dlib.rectangle(left, top, left + 60, top + 55)
        places = random.integers(0, 60, (points, 2))
        faces.append([dlib.full_object_detection(box, [dlib.point(int(left + x), int(top + y)) for x, y in places])])
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.tree_depth, options.num_trees_per_cascade_level = 2, 3, 5
    options.feature_pool_size, options.oversampling_amount, options.num_test_splits = 30, 2, 4
    options.num_threads, options.be_verbose = 1, False
    dlib.train_shape_predictor(pictures, faces, options).save(str(path))
    return path
