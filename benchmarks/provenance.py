"""Where a figure comes from: every results file carries it, and `benchmarks.report` holds it against what is here now.

A provenance is a table that goes into JSON:

    commit      of the working tree that measured, 40 hex digits; `modified` says whether the package differed from it
    code        {room: digest} of the package's rooms that the figure depends on; comments and docstrings do not count
    pack        {"name", "digest"}; the digest covers what a stream depends on
    networks    {role: sha256} of all networks of the pack, those that it borrows too, and of its calibrated constants
    options     what the benchmark was told
    inputs      {file name: sha256}
    machine, versions, date, command

What is not known is null. Files that were measured before provenance was written have `committed_in`, the commit that
brought the figures, in place of `commit`. A provenance is written once, by the run that measured; nothing renews it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import machine, versions
from stylecodec.files import file_digest
from stylecodec.packs.card import DEFAULT_PACK, SHIPPED_ROLES
from stylecodec.packs.store import ModelPack, embedded_pack, open_pack

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "stylecodec"
BETWEEN = "api"  # api.py and clip_source.py, where rooms meet; counted as a room
ROOMS = ("bitstream", "decoding", "encoding", "face", "media", "metrics", "nets", "packs", BETWEEN)
"""Rooms of the package whose code a figure may depend on."""
CORPUS = "corpus"  # a room that figures of whole corpora depend on, and no others
CALL = "call"  # likewise of live calls
EDIT = "bitstream/edit"  # a room within another: nothing is encoded or decoded by it

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Today:
    """What is here now: {room: digest} of the code, {role: sha256} of the networks."""

    code: Mapping[str, str]
    networks: Mapping[str, str]


def today(pack: ModelPack | None = None) -> Today:
    """The code of this checkout, and the networks of a pack (by default the one that comes with stylecodec)."""
    return Today(code_digests((*ROOMS, CORPUS, CALL, EDIT)), networks(pack or open_pack(DEFAULT_PACK)))


def provenance(
    pack: ModelPack | None,
    options: Any = None,
    inputs: Iterable[Path] = (),
    rooms: Iterable[str] = ROOMS,
    gpu: str | None = None,
) -> dict[str, Any]:
    """Of a run of this process, begun now.

    pack: None for a benchmark without networks. options: a table or dataclass. rooms: of ROOMS, those that the figures
    depend on. gpu: its name when the networks run on one.
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--", "stylecodec")),
        "code": code_digests(rooms),
        "pack": None if pack is None else {"name": pack.name, "digest": pack.digest.hex()},
        "networks": {} if pack is None else networks(pack),
        "options": plain(options or {}),
        "inputs": {path.name: file_digest(path) for path in inputs},
        "machine": machine(gpu),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": command(sys.argv),
    }


def networks(pack: ModelPack) -> dict[str, str]:
    """{role: sha256} of all networks that a pack uses, those that it borrows of the embedded one too; and of its
    calibrated constants, under "calibration"."""
    borrowed = {role: pack.provider(role).card for role in SHIPPED_ROLES}
    cards = dict.fromkeys(pack.card.networks, pack.card) | borrowed
    found = {role: card.networks[role].sha256 for role, card in cards.items() if role in card.networks}
    constants = dict(embedded_pack().card.calibration) | dict(pack.card.calibration)
    text = json.dumps({name: dict(one.values) for name, one in constants.items()}, sort_keys=True)
    return found | {"calibration": hashlib.sha256(text.encode()).hexdigest()}


def code_digests(rooms: Iterable[str]) -> dict[str, str]:
    """{room: digest} of the Python code in the package's rooms, 16 hex digits; comments and docstrings do not count.

    What is in EDIT counts for that room alone.
    """
    found = {}
    for room in rooms:
        digest = hashlib.sha256()
        paths = [PACKAGE / "api.py", PACKAGE / "clip_source.py"] if room == BETWEEN else (PACKAGE / room).rglob("*.py")
        for path in sorted(paths):
            name = path.relative_to(PACKAGE).as_posix()
            if room == EDIT or not name.startswith(f"{EDIT}/"):
                digest.update(f"{name}\n{bare(path.read_text())}\n".encode())
        found[room] = digest.hexdigest()[:16]
    return found


def bare(source: str) -> str:
    """Python source without its comments, docstrings and formatting."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_text(item)] or [ast.Pass()]
    return ast.unparse(tree)


def reasons(found: Table | None, now: Today) -> list[str]:
    """Why figures are stale, as phrases; none when they came from the networks and the code of today."""
    if not found:
        return ["nothing is known of where they come from"]
    out = []
    if found.get("networks") is None:
        out.append("networks not recorded")
    else:
        other = [role for role, digest in found["networks"].items() if now.networks.get(role) != digest]
        out += [f"other networks than today's ({', '.join(other)})"] if other else []
    if found.get("code") is None:
        out.append("code not recorded")
    else:
        other = [room for room, digest in found["code"].items() if now.code.get(room) != digest]
        out += [f"code has changed since ({', '.join(other)})"] if other else []
    return out


def origin(found: Table | None) -> str:
    """The commit of figures, in words."""
    found = found or {}
    if found.get("commit"):
        return f"commit {found['commit'][:7]}{' with changes' if found.get('modified') else ''}"
    return f"measured before commit {found['committed_in'][:7]}" if found.get("committed_in") else "commit unknown"


def command(argv: Iterable[str]) -> str:
    """The command line; of paths outside the working folder only the last part, as they say nothing to others."""
    script, *rest = argv
    path = Path(script)
    path = path.parent if path.name == "__main__.py" else path
    name = f"-m benchmarks.{path.stem}" if path.parent.name == "benchmarks" else path.name
    return " ".join(["python", name, *(_short(part) for part in rest)])


def plain(value: Any) -> Any:
    """Options as JSON has them: dataclasses as tables, paths by their last part."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path | str):
        return _short(str(value))
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def as_comment(now: Today) -> str:
    """What figures were held against, as a comment that `from_comment` reads."""
    return f"<!-- held against: {json.dumps(asdict(now), sort_keys=True)} -->"


def from_comment(text: str) -> Today:
    """The first `as_comment` of a text; ValueError where there is none."""
    for line in text.splitlines():
        if line.startswith("<!-- held against: "):
            return Today(**json.loads(line.removeprefix("<!-- held against: ").removesuffix(" -->")))
    raise ValueError("the text does not say what its figures were held against")


def _short(text: str) -> str:
    return Path(text).name if text.startswith(("/", "~", "..")) else text


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _git(*arguments: str) -> str | None:
    """What git says of this checkout, None where it is none."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
