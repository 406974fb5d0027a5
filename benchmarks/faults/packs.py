"""Model packs of others: the card, and the safetensors files beside it."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w
import torch

from stylecodec.errors import PackError
from stylecodec.nets.styleflow import HeadPoseFlow
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.card import CARD_FILE, PackCard, Pose
from stylecodec.packs.store import open_pack
from stylecodec.packs.upstream.importer import verify_pack
from stylecodec.packs.writing import NetworkSource, write_pack

from .checkpoints import folder
from .judging import MIB, Signature, Surface
from .mutating import LIMITS, Mutations, mutated, spoil

WIDTHS = {str(4 << k): 3 for k in range(4)}
GENERATOR = {"resolution": 32, "channels": WIDTHS, "mapping_layers": 1, "w_dim": 4, "z_dim": 4}
FLOW = {"dim": 4, "hidden": [4], "attributes": 2, "attribute_scale": [30.0, 20.0], "steps": 2}
INDICES = tuple((layer, channel) for layer in range(11) for channel in range(3))[:32]
BETWEEN = b"\0pack\0"  # card, generator, flow as one string of bytes


# --- a valid pack -----------------------------------------------------------------------------------------------


@cache
def parts() -> tuple[bytes, bytes, bytes]:
    """Card, generator and flow of a pack as small as it can be."""
    place = folder() / "seed"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "generator": NetworkSource(Generator(**GENERATOR), GENERATOR, licence="MIT"),  # type: ignore[arg-type]
            "flow": NetworkSource(HeadPoseFlow(**FLOW), FLOW),  # type: ignore[arg-type]
        }
    write_pack(place, networks, overwrite=True, name="fuzzed", resolution=32, indices=INDICES, pose=Pose(rows=8))
    pack = open_pack(place)
    files = [place / pack.card.networks[role].file for role in ("generator", "flow")]
    return (place / CARD_FILE).read_bytes(), files[0].read_bytes(), files[1].read_bytes()


def joined(card: bytes, generator: bytes, flow: bytes) -> bytes:
    return BETWEEN.join((card, generator, flow))


def signed(table: dict[str, Any], generator: bytes, flow: bytes) -> bytes:
    """A pack whose card has the digests of its files."""
    for role, data in (("generator", generator), ("flow", flow)):
        entry = table["networks"].get(role) if isinstance(table.get("networks"), dict) else None
        if isinstance(entry, dict) and "sha256" in entry:
            entry["sha256"] = hashlib.sha256(data).hexdigest()
    return joined(tomli_w.dumps(table).encode("utf-8", "surrogateescape"), generator, flow)


# --- damage that knows the format ---------------------------------------------------------------------------


def spoiled_cards(rng: random.Random) -> bytes:
    """Values of the card replaced, removed, doubled; the parameters of a network most of all."""
    _, generator, flow = parts()
    table = copy.deepcopy(_table())
    for _ in range(rng.randrange(1, 4)):
        role = rng.choice(("generator", "flow"))
        entry = table["networks"].get(role) if isinstance(table.get("networks"), dict) else None
        spoil(entry["params"] if rng.random() < 0.6 and isinstance(entry, dict) and "params" in entry else table, rng)
    return signed(table, generator, flow)


def parameters(rng: random.Random) -> bytes:
    """Counts, widths and sizes of a network at their limits."""
    _, generator, flow = parts()
    table = copy.deepcopy(_table())
    for _ in range(rng.randrange(1, 3)):
        params = table["networks"][rng.choice(("generator", "flow"))]["params"]
        key = rng.choice(list(params))
        value = rng.choice((*(v for v in LIMITS if v < 1 << 62), -1, 0, 1, 2, 3, 1000, 100_000))
        if isinstance(params[key], list):
            params[key] = rng.choice(([value], params[key] * 2, params[key] * 1000, [value] * 3, []))
        elif isinstance(params[key], dict):
            inner = rng.choice(list(params[key]) or ["4"])
            params[key][rng.choice((inner, str(value), "x", "4"))] = value
        else:
            params[key] = value
    return signed(table, generator, flow)


def tensors(rng: random.Random) -> bytes:
    """Names, types, shapes and places in a safetensors file's head replaced; the card has its digest."""
    files = list(parts()[1:])
    which = rng.randrange(2)
    data = files[which]
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    for _ in range(rng.randrange(1, 3)):
        name = rng.choice(list(head) or ["x"])
        entry = head.get(name)
        if isinstance(entry, dict) and "shape" in entry and rng.random() < 0.5:
            key = rng.choice(("shape", "data_offsets"))
            if isinstance(entry.get(key), list) and entry[key]:
                entry[key][rng.randrange(len(entry[key]))] = rng.choice((*LIMITS, 0, 1, -1, size, len(data)))
            entry["dtype"] = rng.choice(("F16", "F32", "BF16", "I64", "U8", "F8_E4M3", "BOOL", "X"))
        else:
            spoil(head, rng)
    text = json.dumps(head).encode()
    length = rng.choice((len(text), len(text), len(text), len(text) - 1, *LIMITS)) % (1 << 64)
    files[which] = length.to_bytes(8, "little") + text + data[8 + size :]
    if rng.random() < 0.3:
        files[which] = mutated(files[which], rng, most=3)
    return signed(copy.deepcopy(_table()), *files)


def weights(rng: random.Random) -> bytes:
    """Files damaged anywhere; the card has their digests."""
    _, generator, flow = parts()
    if rng.random() < 0.5:
        return signed(copy.deepcopy(_table()), mutated(generator, rng, near=rng.random() < 0.5), flow)
    return signed(copy.deepcopy(_table()), generator, mutated(flow, rng, near=rng.random() < 0.5))


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(parts()[0].decode())


def deep(rng: random.Random) -> bytes:
    """Lists and tables within each other, numbers and names without an end."""
    depth = rng.choice((10, 200, 990, 5000, 100_000))
    value = rng.choice(
        ("[" * depth + "]" * depth, "{a=" * depth + "1" + "}" * depth, "9" * depth, "1e" + "9" * min(depth, 990))
    )
    key = rng.choice(("x", "resolution", "name", ".".join("a" * min(depth, 990)), "a" * depth))
    return f"{key} = {value}\n".encode() + rng.choice((b"", parts()[0]))


# --- the readers ------------------------------------------------------------------------------------------------


def read_pack(data: bytes) -> Iterator[Signature]:
    """Opened, its digest told, every network built, its files verified."""
    place: Path = folder() / "pack"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    card, *files = data.split(BETWEEN)
    (place / CARD_FILE).write_bytes(card)
    for name, content in zip(("generator", "flow"), files, strict=False):
        (place / f"{name}.safetensors").write_bytes(content)
    pack = open_pack(place)
    yield "card", pack.name.encode()
    for role in pack.card.networks:
        try:
            pack.network(role, "cpu")
            yield "network", role.encode()
        except PackError:
            continue
    verify_pack(pack)
    yield "digest", pack.digest
    if pack.has("generator"):
        pack.generator("cpu")


def read_card(data: bytes) -> Iterator[Signature]:
    """The text alone, and written again."""
    card = PackCard.parse(data.split(BETWEEN)[0].decode("utf-8", "replace"))
    again = PackCard.parse(card.to_toml())
    yield "card", again.name.encode()


def surface() -> Surface:
    seeds = {"pack": joined(*parts())}
    special = {"cards": spoiled_cards, "parameters": parameters, "tensors": tensors, "weights": weights}
    readers = {"pack": read_pack}
    return Surface("pack", readers, Mutations(seeds, special), seeds, (PackError,), factor=64, fixed=64 * MIB)


def card_surface() -> Surface:
    """The card alone, which is read more quickly."""
    seeds = {"card": parts()[0]}
    special = {"cards": spoiled_cards, "parameters": parameters, "deep": deep}
    readers = {"card": read_card}
    return Surface("pack card", readers, Mutations(seeds, special), seeds, (PackError,), factor=96, fixed=8 * MIB)
