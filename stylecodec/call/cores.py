"""How a call shares the cores of its machine."""

from __future__ import annotations

import os

from ..processes import cores


def share_cores() -> None:
    """Let torch, if it is loaded after this, calculate on half the cores, unless OMP_NUM_THREADS says otherwise.

    Both directions run at once, each on pictures so small that more threads would wait for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // 2)))
