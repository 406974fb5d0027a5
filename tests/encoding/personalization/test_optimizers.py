"""The optimiser of a generator's tensors: which of its two halves moves what, and that it can be taken up again."""

from __future__ import annotations

import torch
from torch import nn

from stylecodec.encoding.personalization.optimizers import GeneratorOptimizer, is_filter_bank, orthogonal


def some() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    shapes = {
        "convs.0.weight": (8, 6, 3, 3),
        "convs.0.bias": (8,),
        "to_rgb.weight": (3, 8, 1, 1),
        "affine.weight": (6, 12),
    }
    return {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}


def give_gradients(parameters: dict[str, nn.Parameter], seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in parameters.values():
        parameter.grad = torch.randn_like(parameter)


def test_filters_are_convolutions_of_more_than_a_pixel() -> None:
    assert [name for name, p in some().items() if is_filter_bank(p)] == ["convs.0.weight"]


def test_filters_move_along_every_direction_alike() -> None:
    parameters = some()
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer = GeneratorOptimizer(parameters, 0.01, 0.02)
    # A gradient of two directions, one a hundred times the other: both are gone along as far.
    left, right = torch.linalg.qr(torch.randn(8, 2))[0], torch.linalg.qr(torch.randn(54, 2))[0]
    gradient = left @ torch.diag(torch.tensor([100.0, 1.0])) @ right.T
    give_gradients(parameters, 1)
    parameters["convs.0.weight"].grad = gradient.reshape(8, 6, 3, 3)
    optimizer.step(0.5)
    moved = {name: before[name] - p.detach() for name, p in parameters.items()}
    along = (left.T @ moved["convs.0.weight"].reshape(8, 54) @ right).diagonal() / (0.5 * 0.02 * 0.2 * 54**0.5)
    assert along.min() > 0.6
    assert along.max() < 1.3
    for name in ("convs.0.bias", "to_rgb.weight", "affine.weight"):  # Adam: the first step is the sign
        assert torch.allclose(moved[name], 0.005 * parameters[name].grad.sign(), atol=1e-5)  # type: ignore[union-attr]


def test_what_has_no_gradient_stays() -> None:
    parameters = some()
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer = GeneratorOptimizer(parameters, 0.01, 0.02)
    give_gradients(parameters, 1)
    optimizer.step(1.0)
    between = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer.clear()
    optimizer.step(1.0)
    for name, parameter in parameters.items():
        assert not torch.equal(before[name], between[name])
        assert torch.equal(between[name], parameter.detach())


def test_it_goes_on_from_its_state() -> None:
    whole, first = some(), some()
    straight, begun = GeneratorOptimizer(whole, 0.01, 0.02), GeneratorOptimizer(first, 0.01, 0.02)
    for step in range(3):
        for parameters, optimizer in ((whole, straight), (first, begun)):
            give_gradients(parameters, step)
            optimizer.step(1.0)
    rest = {name: nn.Parameter(p.detach().clone()) for name, p in first.items()}
    again = GeneratorOptimizer(rest, 0.01, 0.02)
    again.load(begun.state())
    for parameters, optimizer in ((whole, straight), (rest, again)):
        give_gradients(parameters, 9)
        optimizer.step(1.0)
    for name in whole:
        assert torch.equal(whole[name], rest[name]), name


def test_orthogonal_keeps_directions() -> None:
    torch.manual_seed(0)
    for shape in ((6, 40), (40, 6)):
        matrix = torch.randn(shape)
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
        assert float((orthogonal(matrix) * matrix).sum()) > 0


def test_the_optimizer_finds_a_filter_and_resumes() -> None:
    torch.manual_seed(0)
    wanted, x = torch.randn(4, 3, 3, 3), torch.randn(8, 3, 8, 8)
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3))
    bias = torch.nn.Parameter(torch.ones(4))
    optimizer = GeneratorOptimizer({"weight": weight, "bias": bias}, 0.05, 0.4)

    def loss() -> torch.Tensor:
        target = torch.nn.functional.conv2d(x, wanted)
        return (torch.nn.functional.conv2d(x, weight, bias) - target).square().mean()

    first = float(loss().detach())
    for step in range(120):
        optimizer.clear()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step(1 - step / 120)
    assert float(loss().detach()) < 0.05 * first
    other = GeneratorOptimizer({"weight": weight, "bias": bias}, 0.05, 0.05)
    other.load(optimizer.state())
    assert {k: v.tolist() for k, v in other.state().items()} == {k: v.tolist() for k, v in optimizer.state().items()}
