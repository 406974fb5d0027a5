"""A team of two processes averages what each has found."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from stylecodec.nets import team


def work(folder: Path) -> None:
    """Gradients of 1 and 3 in the two processes; one parameter has none in the second."""
    a, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    me = team.rank()
    loss = a.sum() * (1 + 2 * me)
    if me == 0:
        loss = loss + b.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    team.average_gradients([a, b])
    assert a.grad is not None
    assert b.grad is not None
    agreed = team.agree(7.0 + me)
    table = torch.full((3,), 4.0 + me)
    team.gather_rows(table)
    np.save(folder / f"{me}.npy", [*a.grad.tolist(), *b.grad.tolist(), agreed, *table.tolist()])


def test_two_processes(tmp_path: Path) -> None:
    looks: list[None] = []
    team.run(partial(work, tmp_path), 2, lambda: looks.append(None))
    for me in (0, 1):
        assert np.load(tmp_path / f"{me}.npy").tolist() == [2.0, 2.0, 0.5, 0.5, 0.5, 7.0, 4.0, 5.0, 4.0]
    assert looks


def test_alone(tmp_path: Path) -> None:
    team.run(partial(work, tmp_path), 1)
    assert np.load(tmp_path / "0.npy").tolist() == [1.0, 1.0, 1.0, 1.0, 1.0, 7.0, 4.0, 4.0, 4.0]
