"""The card of a model pack: `pack.toml`, parsed, validated and written.

    name = "avatar-1024"                 at most 64 bytes of UTF-8: it travels in every stream
    version, licence, source             free text
    resolution = 1024                    pixels per side of the generator
    [alignment] scale, lift              how the FFHQ square is resized and moved for this pack (see geometry)
    [pose] rows, yaw, pitch              W+ rows 0 .. rows-1 take the flow's edit; ranges in degrees
    [stylespace] indices                 32 pairs (layer, channel): where the offsets of a packet are added
    [networks.<role>]                    kind, file, sha256, licence, source; params, handed to the builder ("none"
                                         stands for None); zeros: tensors that are all zero and not in the file
    [calibration.<name>]                 source, and values: numbers by name that were measured with this pack
    [training], [figures]                free tables: how it was made and what it reaches

A card can be read without torch.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

import tomli_w

from ..errors import PackCorrupt
from ..geometry import FFHQ_ALIGNMENT, Alignment

CARD_FILE = "pack.toml"
DEFAULT_PACK = "nobody-1024"  # comes with stylecodec
DRAWN_PACK = "avatar-1024"  # so does this one, of drawn heads alone, which that one went on from
CARD_FORMAT = 1  # raised when an older reader would misread the card
MAX_CARD_BYTES = 1 << 20
MAX_NAME_BYTES = 64  # the stream header's limit
NO_VALUE = "none"  # TOML has no null: how a parameter that is None is written
ALPHA_COUNT = 32  # the packet's number of offsets
MAX_LAYER, MAX_CHANNEL = 63, 8191  # what the stream header can name

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "generator": "stylegan2",
        "flow": "styleflow",
        "feedforward": "hybrid",
        "inversion": "e4e",
        "identity": "irse",
        "parser": "bisenet",
        "landmarks": "landmarks",
        "expression": "blendshapes",
    }
)
"""What each role's network is called in the registry: the networks that stylecodec trains."""

USER_ROLES: Mapping[str, str] = MappingProxyType(
    {
        "predictor": "shape_predictor",
        "lpips_alex": "lpips",
        "lpips_vgg": "lpips",
        "dists_heads": "dists_heads",
        "inception": "inception",
        "i3d": "i3d",
    }
)
"""Roles that only networks of others fill: stylecodec trains none for them."""

SHIPPED_ROLES: Mapping[str, str] = MappingProxyType({"face_mesh": "face_mesh", "lpips_heads": "lpips_heads"})
"""Networks of others that come with stylecodec in its own pack, whose are used where another pack has none."""

OTHER_KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType({"inversion": ("restyle",)})
"""What else may fill a role besides its usual kind."""

STREAM_ROLES = ("generator", "flow")  # what a stream depends on; a pack may be partial and lack them

REPEATS = frozenset({"mapping_layers", "units", "blocks", "rows"})
"""Parameters that say how often a part of a network is repeated."""

MAX_REPEATS, MAX_PARAM = 64, 1 << 16
MAX_PARAM_ITEMS, MAX_PARAM_DEPTH = 128, 4

Table = Mapping[str, Any]


@dataclass(frozen=True)
class NetworkEntry:
    """One network of a pack: a safetensors file beside the card, and what builds its module."""

    kind: str
    file: str
    sha256: str  # lower-case hex of the file
    licence: str = ""
    source: str = ""
    params: Table = field(default_factory=dict)
    zeros: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pose:
    """The flow's reach: rows of W+ that it edits, and the angles in degrees that it was trained on."""

    rows: int = 9
    yaw: tuple[float, float] = (-45.0, 45.0)
    pitch: tuple[float, float] = (-25.0, 25.0)


@dataclass(frozen=True)
class Calibration:
    """Numbers by name that were measured with a pack, and what measured them."""

    values: Mapping[str, float]
    source: str = ""


@dataclass(frozen=True)
class PackCard:
    """A validated card; `parse` and `to_toml` are inverse to each other."""

    name: str
    resolution: int
    indices: tuple[tuple[int, int], ...]
    networks: Mapping[str, NetworkEntry]
    version: str = "0"
    licence: str = ""
    source: str = ""
    alignment: Alignment = FFHQ_ALIGNMENT
    pose: Pose = Pose()
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    training: Table = field(default_factory=dict)
    figures: Table = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def parse(cls, text: str, where: str = CARD_FILE) -> Self:
        """Read a card; PackCorrupt, naming `where` and the key, when it is not a valid one."""
        if len(text) > MAX_CARD_BYTES:  # a reader of TOML takes seconds over megabytes
            raise PackCorrupt(f"{where} is larger than {MAX_CARD_BYTES:,} bytes")
        try:
            table = tomllib.loads(text)
        except RecursionError as error:
            raise PackCorrupt(f"{where} is not valid TOML: it nests too deeply") from error
        except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
            raise PackCorrupt(f"{where} is not valid TOML: {error}") from error
        try:
            return cls._from_table(table)
        except PackCorrupt as error:
            raise PackCorrupt(f"{where}: {error}") from error

    @classmethod
    def _from_table(cls, table: dict[str, Any]) -> Self:
        top = _Reader(table, "")
        if (found := top.take("format", int, CARD_FORMAT)) != CARD_FORMAT:
            raise PackCorrupt(f"card format {found} is newer than this program reads ({CARD_FORMAT})")
        alignment = _Reader(top.take("alignment", dict, {}), "alignment.")
        pose = _Reader(top.take("pose", dict, {}), "pose.")
        stylespace = _Reader(top.take("stylespace", dict), "stylespace.")
        networks = {role: _network(role, entry) for role, entry in top.take("networks", dict).items()}
        usual = Pose()
        return cls(
            name=top.take("name", str),
            version=top.take("version", str, "0"),
            licence=top.take("licence", str, ""),
            source=top.take("source", str, ""),
            resolution=top.take("resolution", int),
            alignment=Alignment(alignment.number("scale", 1.0), alignment.number("lift", 0.0)),
            pose=Pose(
                rows=pose.take("rows", int, usual.rows),
                yaw=pose.span("yaw", usual.yaw),
                pitch=pose.span("pitch", usual.pitch),
            ),
            indices=_pairs(stylespace.take("indices", list)),
            networks=networks,
            calibration={name: _calibration(name, one) for name, one in top.take("calibration", dict, {}).items()},
            training=top.take("training", dict, {}),
            figures=top.take("figures", dict, {}),
        )

    def to_toml(self) -> str:
        """The text of `pack.toml`."""
        head: dict[str, Any] = {
            "format": CARD_FORMAT,
            "name": self.name,
            "version": self.version,
            "licence": self.licence,
            "source": self.source,
            "resolution": self.resolution,
            "alignment": {"scale": self.alignment.scale, "lift": self.alignment.lift},
            "pose": {"rows": self.pose.rows, "yaw": list(self.pose.yaw), "pitch": list(self.pose.pitch)},
            "stylespace": {"indices": [list(pair) for pair in self.indices]},
            "networks": {
                role: {
                    "kind": entry.kind,
                    "file": entry.file,
                    "sha256": entry.sha256,
                    "licence": entry.licence,
                    "source": entry.source,
                    **({"zeros": list(entry.zeros)} if entry.zeros else {}),
                    "params": dict(entry.params),
                }
                for role, entry in self.networks.items()
            },
            "calibration": {
                name: {"source": one.source, "values": dict(one.values)} for name, one in self.calibration.items()
            },
            "training": self.training,
            "figures": self.figures,
        }
        return tomli_w.dumps(head)


class _Reader:
    """Typed access to one TOML table, with the key's full name in every complaint."""

    def __init__(self, table: dict[str, Any], prefix: str) -> None:
        self.table, self.prefix = table, prefix

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.table.get(key, default)
        if value is None:
            raise PackCorrupt(f"{self.prefix}{key} is missing")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise PackCorrupt(f"{self.prefix}{key} must be of type {kind.__name__}, not {told(value)}")
        return value

    def number(self, key: str, default: float = 0.0) -> float:
        value = self.table.get(key, default)
        if not _is_number(value):
            raise PackCorrupt(f"{self.prefix}{key} must be a number, not {told(value)}")
        return float(value)

    def names(self, key: str) -> tuple[str, ...]:
        value = self.take(key, list, [])
        if not all(isinstance(name, str) for name in value):
            raise PackCorrupt(f"{self.prefix}{key} must be a list of names, not {told(value)}")
        return tuple(value)

    def span(self, key: str, default: tuple[float, float]) -> tuple[float, float]:
        value = self.take(key, list, list(default))
        if len(value) != 2 or not all(map(_is_number, value)):
            raise PackCorrupt(f"{self.prefix}{key} must be two numbers, lowest and highest, not {told(value)}")
        return float(value[0]), float(value[1])


def told(value: Any) -> str:
    """A value as a message can hold it."""
    try:
        return repr(value)[:200]
    except (ValueError, RecursionError):  # a number of thousands of digits, tables in tables
        return "something too long to be shown"


def _is_number(value: Any) -> bool:
    """An int or a float, no bool, and within the range of floats."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 1000)


def _pairs(rows: list[Any]) -> tuple[tuple[int, int], ...]:
    for row in rows:
        if not (isinstance(row, list) and len(row) == 2 and all(type(value) is int for value in row)):
            raise PackCorrupt(f"stylespace.indices must be pairs (layer, channel), not {told(row)}")
    return tuple((row[0], row[1]) for row in rows)


def _network(role: str, table: Any) -> NetworkEntry:
    if not isinstance(table, dict):
        raise PackCorrupt(f"networks.{role} must be a table")
    reader = _Reader(table, f"networks.{role}.")
    return NetworkEntry(
        kind=reader.take("kind", str),
        file=reader.take("file", str),
        sha256=reader.take("sha256", str),
        licence=reader.take("licence", str, ""),
        source=reader.take("source", str, ""),
        params=reader.take("params", dict, {}),
        zeros=reader.names("zeros"),
    )


def _calibration(name: str, table: Any) -> Calibration:
    if not isinstance(table, dict):
        raise PackCorrupt(f"calibration.{name} must be a table")
    reader = _Reader(table, f"calibration.{name}.")
    numbers = _Reader(reader.take("values", dict), f"calibration.{name}.values.")
    return Calibration({key: numbers.number(key) for key in numbers.table}, reader.take("source", str, ""))


def _check(card: PackCard) -> None:
    if not card.name or len(card.name.encode()) > MAX_NAME_BYTES or not card.name.isprintable():
        raise PackCorrupt(f"name must be 1 to {MAX_NAME_BYTES} bytes of printable text, not {card.name!r}")
    size = card.resolution
    if not (8 <= size <= 4096 and size & (size - 1) == 0):
        raise PackCorrupt(f"resolution must be a power of two from 8 to 4096, not {size}")
    if not (0.25 <= card.alignment.scale <= 4.0 and -1.0 <= card.alignment.lift <= 1.0):
        raise PackCorrupt(f"alignment is out of range: {card.alignment}")
    if not 0 < card.pose.rows <= 2 * size.bit_length() - 4:  # log2(size) = bit_length - 1; rows = 2 log2 - 2
        raise PackCorrupt(f"pose.rows is {card.pose.rows}; the generator has {2 * size.bit_length() - 4} rows")
    for name, (low, high) in (("yaw", card.pose.yaw), ("pitch", card.pose.pitch)):
        if not -90.0 <= low < high <= 90.0:
            raise PackCorrupt(f"pose.{name} must be a range within -90 to 90 degrees, not {low} to {high}")
    if len(card.indices) != ALPHA_COUNT or len(set(card.indices)) != ALPHA_COUNT:
        raise PackCorrupt(
            f"stylespace.indices must be {ALPHA_COUNT} different pairs, "
            f"not {len(card.indices)} of which {len(set(card.indices))} differ"
        )
    if any(not (0 <= layer <= MAX_LAYER and 0 <= channel <= MAX_CHANNEL) for layer, channel in card.indices):
        raise PackCorrupt(f"stylespace.indices must have layers up to {MAX_LAYER} and channels up to {MAX_CHANNEL}")
    if not card.networks:
        raise PackCorrupt("networks is empty: the pack holds nothing")
    for role, entry in card.networks.items():
        _check_network(role, entry)


def _check_network(role: str, entry: NetworkEntry) -> None:
    if (usual := usual_kind(role)) is None:
        known = ", ".join([*ROLES, *USER_ROLES, *SHIPPED_ROLES])
        raise PackCorrupt(f"networks.{role} is no role; the roles are {known}")
    if entry.kind not in (usual, *OTHER_KINDS.get(role, ())):
        raise PackCorrupt(f"networks.{role}.kind must be {usual!r}, not {entry.kind!r}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors", entry.file):
        raise PackCorrupt(
            f"networks.{role}.file must be the plain name of a .safetensors file beside the card, not {entry.file!r}"
        )
    if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256):
        raise PackCorrupt(f"networks.{role}.sha256 must be 64 lower-case hexadecimal digits")
    _check_param(f"networks.{role}.params", "", entry.params)


def _check_param(where: str, key: str, value: Any, depth: int = 0) -> None:
    """Parameters are plain values within bounds, as modules are built of them before their tensors are looked at."""
    if isinstance(value, Mapping | list | tuple) and depth < MAX_PARAM_DEPTH and len(value) <= MAX_PARAM_ITEMS:
        for name, one in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_param(f"{where}.{name}", str(name) if isinstance(value, Mapping) else key, one, depth + 1)
        return
    most = MAX_REPEATS if key in REPEATS else MAX_PARAM
    plain = value is None or isinstance(value, bool | float | str)
    if not (plain or (isinstance(value, int) and abs(value) <= most)):
        raise PackCorrupt(f"{where[:200]} is no parameter: plain values, numbers up to {most:,}, not {told(value)}")


def usual_kind(role: str) -> str | None:
    """The kind of network that a role is usually filled with, None when there is no such role."""
    return ROLES.get(role) or USER_ROLES.get(role) or SHIPPED_ROLES.get(role)
