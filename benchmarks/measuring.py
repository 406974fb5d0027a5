"""What the scripts share: the machine's description, a stopwatch, tables, results as JSON. Torch is not needed here."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from stylecodec.processes import cores

RESULTS = Path(__file__).parent / "results"
BUSY = 0.5  # processes waiting per core from which timings are not to be trusted


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.is_file() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def installed(package: str) -> str:
    """The version of a package, "" when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def machine(gpu: str | None = None) -> dict[str, Any]:
    """What a benchmark runs on. gpu: its name when the networks run on one."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "device": gpu or processor(),
        "kind": "cuda" if gpu else "cpu",
        "processor": processor(),
        "cores": cores(),
        "memory_gib": memory_gib(),
        "load_at_start": None if load is None else round(load, 2),
        "system": f"{platform.system()} {platform.machine()}",
    }


def memory_gib() -> float | None:
    """The machine's memory, None where the system does not tell."""
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not hasattr(os, "sysconf") or any(name not in os.sysconf_names for name in names):
        return None
    page, pages = (os.sysconf(name) for name in names)
    return round(page * pages / 2**30, 1)


def versions() -> dict[str, str]:
    """Of Python and of the libraries that figures depend on; "" for what is not installed."""
    return {"python": platform.python_version(), **{name: installed(name) for name in ("torch", "numpy", "av")}}


def busy(facts: Mapping[str, Any]) -> str | None:
    """A sentence of warning when others were using the machine, else None."""
    load = facts["load_at_start"]
    if load is None or load <= BUSY * facts["cores"]:
        return None
    return f"The machine was busy (load {load:g} on {facts['cores']} cores): these timings are too slow."


def slug(text: str) -> str:
    """A name for a file: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def machine_name(facts: Mapping[str, Any]) -> str:
    """The machine in the name of a result file."""
    device = slug(facts["device"])
    return device if facts["kind"] == "cuda" else f"{device}-{facts['cores']}-cores"


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median and the best of so many runs."""

    median: float
    best: float
    runs: int

    def per_second(self, count: float = 1.0) -> float:
        """How many a second when one call does `count`, by the median."""
        return count / self.median


def time_call(
    call: Callable[[], object],
    budget: float = 2.0,
    least: int = 3,
    warm: int = 1,
    wait: Callable[[], object] | None = None,
) -> Timing:
    """Run `call` for about `budget` seconds, at least `least` times after `warm` that do not count.

    wait: called before the clock is read (a GPU's synchronisation).
    """
    wait = wait or (lambda: None)
    for _ in range(warm):
        call()
    wait()
    taken: list[float] = []
    while len(taken) < least or sum(taken) < budget:
        begun = perf_counter()
        call()
        wait()
        taken.append(perf_counter() - begun)
    return Timing(statistics.median(taken), min(taken), len(taken))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as aligned text: words to the left, numbers to the right with four significant digits."""
    rows = list(rows)
    names = list(columns) if columns else list(dict.fromkeys(name for row in rows for name in row))
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    widths = [max([len(name), *(len(line[k]) for line in cells)]) for k, name in enumerate(names)]
    numeric = [all(not isinstance(row.get(name), str) for row in rows) for name in names]

    def line(texts: Sequence[str]) -> str:
        aligned = (t.rjust(w) if n else t.ljust(w) for t, w, n in zip(texts, widths, numeric, strict=True))
        return "  ".join(aligned).rstrip()

    return "\n".join([line(names), line(["-" * w for w in widths]), *(line(row) for row in cells)])


def cell(value: Any) -> str:
    """One value of a table."""
    if value is None or value != value:  # NaN differs from itself
        return "–"
    if isinstance(value, float):
        if value == 0:
            return "0"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def save(path: Path, provenance: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write a result and where it comes from (benchmarks.provenance) as JSON (`as_json`), and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json({"provenance": provenance, **content}) + "\n")
    print(f"\nwritten: {path}", file=sys.stderr)


def as_json(content: Mapping[str, Any]) -> str:
    """A result as JSON; floats keep six significant digits, and what is not a number becomes null."""
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    return value
