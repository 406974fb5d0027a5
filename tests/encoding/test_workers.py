"""Losses side by side: the same sum, whoever computes it."""

from __future__ import annotations

import pytest
import torch

from stylecodec.encoding.workers import Workers

CPU = torch.device("cpu")


@pytest.mark.parametrize("threads", [1, 2, 6])
def test_gradients_add_up_whatever_the_threads(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, y, z = (torch.linspace(0, k, 5, requires_grad=True) for k in (1, 2, 3))
        losses = [lambda: x.square().sum(), lambda: (x * y).sum(), lambda: 3 * y.sum()]
        with Workers(CPU) as workers, torch.no_grad():
            assert workers.count == min(threads, 4)
            by_x, by_y, by_z = workers.gradients(losses, [x, y, z])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(by_x, 2 * x.detach() + y.detach())
    torch.testing.assert_close(by_y, x.detach() + 3)
    assert not by_z.any()
    assert x.grad is None


def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    x = torch.ones(1, requires_grad=True)

    def broken() -> torch.Tensor:
        raise ValueError("no picture")

    with Workers(CPU) as workers, pytest.raises(ValueError, match="no picture"):
        workers.gradients([lambda: x.sum(), broken], [x])
