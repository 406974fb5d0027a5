"""The host program's torch settings: without effect inside, untouched outside."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stylecodec.nets.isolation import isolated


@pytest.fixture(params=[torch.float64, torch.bfloat16, torch.float16])
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def test_new_tensors_are_float32_whatever_the_default(dtype: torch.dtype) -> None:
    whole = torch.arange(4)
    with isolated():
        made = [
            torch.zeros(2),
            torch.eye(2),
            torch.linspace(0, 1, 3),
            torch.tensor([0.5]),
            torch.full((2,), 0.5),
            torch.arange(0.0, 2.0),
            torch.rand(2, generator=torch.Generator()),
            whole / 3,
            (whole + 0.5) / 3,
            whole * 0.5,
            torch.stack([whole, whole]) / 7,
            nn.Linear(2, 2).weight,
        ]
        assert [value.dtype for value in made] == [torch.float32] * len(made)
        assert torch.equal(whole / 3, (whole.to(torch.float32) / 3))
    assert torch.zeros(1).dtype == dtype


def test_what_says_its_dtype_keeps_it(dtype: torch.dtype) -> None:
    with isolated():
        assert torch.zeros(2, dtype=dtype).dtype == dtype
        assert torch.arange(3).to(dtype).dtype == dtype
        assert torch.as_tensor(torch.ones(2, dtype=dtype)).dtype == dtype
        assert torch.ones(2, dtype=dtype).add(1).dtype == dtype
        assert torch.full((2,), 3).dtype == torch.int64
        assert torch.tensor([1]).dtype == torch.int64


def test_the_default_device_is_the_cpu() -> None:
    with torch.device("meta"), isolated():
        assert torch.zeros(1).device.type == "cpu"
        assert torch.tensor([1.0]).device.type == "cpu"


def test_gradients_are_possible_inside_inference_mode() -> None:
    with torch.inference_mode():
        with isolated():
            x = torch.ones(2, requires_grad=True)
            (x * 2).sum().backward()
            assert torch.equal(x.grad, torch.full((2,), 2.0))
        assert torch.is_inference_mode_enabled()
    with torch.no_grad(), isolated():
        assert torch.is_grad_enabled()


def test_autocast_is_off() -> None:
    x = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert F.linear(x, x).dtype == torch.bfloat16
        with isolated():
            assert F.linear(x, x).dtype == torch.float32


def test_building_networks_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    with isolated(draws=True):
        one = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(2, 2, 3), nn.Embedding(3, 2), nn.MultiheadAttention(4, 2))
        torch.randn(3), torch.rand(2), torch.randperm(4), torch.randint(3, (2,))
        nn.init.normal_(torch.empty(3))
    assert torch.equal(before, torch.get_rng_state())
    with isolated(draws=True):
        other = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(2, 2, 3), nn.Embedding(3, 2), nn.MultiheadAttention(4, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert float(one[0].weight.detach().std()) > 0.05


def test_other_threads_keep_the_hosts_settings(dtype: torch.dtype) -> None:
    seen: list[torch.dtype] = []
    with isolated(draws=True):
        thread = Thread(target=lambda: seen.append(torch.zeros(1).dtype))
        thread.start()
        thread.join()
    assert seen == [dtype]
