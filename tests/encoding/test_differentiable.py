"""Units of the codes, and Adam on the rows of a table."""

from __future__ import annotations

import pytest
import torch

from stylecodec.encoding.differentiable import EVENNESS, CodeUnits, RowAdam, at_side, cosine_decay, even_steps, shuffled
from stylecodec.packs.store import ModelPack


def test_units_there_and_back(tiny_pack: ModelPack) -> None:
    units = CodeUnits(tiny_pack, "cpu")
    pose, alpha = torch.tensor([[12.0, -3.0], [39.0, 21.0]]), torch.randn(2, 32)
    again = units.split(units.units(pose, alpha))
    assert torch.allclose(again[0], pose, atol=1e-4)
    assert torch.allclose(again[1], alpha, atol=1e-5)


def test_angles_stay_within_the_packs_reach(tiny_pack: ModelPack) -> None:
    units = CodeUnits(tiny_pack, "cpu")
    codes = units.units(torch.tensor([[90.0, -90.0]]), torch.zeros(1, 32))
    assert units.split(codes)[0].tolist()[0] == [40.0, -22.0]
    assert torch.allclose(units.split(units.bound_(codes))[0], torch.tensor([[40.0, -22.0]]))


def test_row_adam_is_adam_on_the_rows_that_are_drawn() -> None:
    start, target = torch.zeros(6, 3), torch.arange(18.0).view(6, 3)
    table = RowAdam(start)
    reference = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([reference], lr=0.1, betas=(0.9, 0.99), eps=1e-12)
    rows = torch.arange(6)
    for _ in range(20):
        values = table.take(rows)
        (gradient,) = torch.autograd.grad((values - target).square().sum(), values)
        table.step(rows, gradient, 0.1)
        adam.zero_grad()
        (reference - target).square().sum().backward()
        adam.step()
    assert torch.allclose(table.values, reference, atol=1e-4)


def test_rows_that_are_not_drawn_stay() -> None:
    table = RowAdam(torch.zeros(4, 2))
    table.step(torch.tensor([1, 3]), torch.ones(2, 2), 0.1)
    table.step(torch.tensor([1]), torch.zeros(1, 2), 0.1)
    assert not table.values[[0, 2]].any()
    assert torch.allclose(table.values[3], torch.tensor([-0.1, -0.1]))
    again = RowAdam(torch.zeros(4, 2))
    again.load({name: value.clone() for name, value in table.state().items()})
    assert torch.equal(again.values, table.values)
    assert again.count.tolist() == [0, 2, 0, 1]


def test_every_row_comes_before_any_comes_again() -> None:
    batches = shuffled(10, 5, torch.Generator().manual_seed(0))
    draws = iter(batches)
    for _ in range(3):
        assert sorted(torch.cat([next(draws), next(draws)]).tolist()) == list(range(10))
    assert len(next(iter(shuffled(3, 8, torch.Generator())))) == 3


def test_even_steps_undo_the_response_but_for_what_hardly_shows() -> None:
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    metric = turn @ torch.diag(torch.tensor([9.0, 1.0, 0.1, 0.0])) @ turn.T
    steps = even_steps(metric)
    shown = torch.linalg.eigvalsh(steps.T @ metric @ steps)
    mean = float(metric.diagonal().mean())
    expected = torch.tensor([value * mean / (value + EVENNESS * mean) for value in (0.0, 0.1, 1.0, 9.0)])
    assert torch.allclose(shown, expected, atol=1e-4)
    assert torch.isfinite(even_steps(torch.zeros(4, 4))).all()


def test_the_step_size_falls_to_a_tenth() -> None:
    assert cosine_decay(0) == 1
    assert cosine_decay(0.5) == pytest.approx(0.55)
    assert cosine_decay(1) == cosine_decay(2) == pytest.approx(0.1)


def test_pictures_at_another_side() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    assert torch.allclose(at_side(ramp, 16)[0, 0, 0], torch.arange(1.5, 64, 4))
    assert at_side(ramp, 64) is ramp
    assert at_side(ramp, 128).shape == (1, 1, 128, 128)
