"""Inputs chosen by the code that they reach: libFuzzer by way of atheris, where it is installed (the extra `fuzz`)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .judging import Case, Surface, Tally, attempt

MAX_BYTES = 1 << 16


def run(surface: Surface, seconds: int) -> int:
    """Fuzz a surface in this process, which libFuzzer ends: with 0 after the time, with 77 at the first fault.

    The seeds are the surface's. What found something lies in the folder that is named, as crash-….
    """
    try:
        import atheris
    except ImportError:
        print("coverage-guided inputs need atheris: pip install 'stylecodec[fuzz]'", file=sys.stderr)
        return 1
    corpus = Path(tempfile.mkdtemp(prefix="faults-corpus-"))
    for name, data in surface.seeds.items():
        (corpus / name.replace(" ", "-")).write_bytes(data)
    for number in range(0, 200_000, 2000):  # some of our own inputs, which know the format
        case = surface.case(number)
        if len(case.data) <= MAX_BYTES:
            (corpus / f"number-{number}").write_bytes(case.data)
    tallies = {reader: Tally(tried=1) for reader in surface.readers}

    def once(data: bytes) -> None:
        for reader in surface.readers:
            tallies[reader].tried += tallies[reader].tried % 50 == 49  # never traced: tracing is slow
            for fault in attempt(surface, reader, -1, Case(bytes(data), "guided"), tallies[reader]):
                raise AssertionError(fault.what)

    print(f"corpus: {corpus}", flush=True)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-rss_limit_mb=4096", "-timeout=60"]
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}/", str(corpus)], once)
    atheris.Fuzz()
    return 0
