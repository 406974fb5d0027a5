"""How a published flow is run: its layout, its neutral attributes, and solver steps enough for its own field."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor

from ...errors import ImportRefused
from ...nets.styleflow import NEUTRAL_ATTRIBUTES, PUBLISHED_POSE, PUBLISHED_SIGNS, HeadPoseFlow

STEPS = (8, 16, 32, 64, 128)
ENOUGH = 1e-5  # relative change that halving the steps may still make, a tenth of the parity limit
TURNED = 30.0  # degrees, the largest pose that is tried


def flow_params(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], str]:
    """Parameters of a HeadPoseFlow for tensors in our names, and a note on its solver."""
    layers = "field.layers.{}._layer.weight"
    depth = next(n for n in count() if layers.format(n) not in state)
    if not depth:
        raise ImportRefused("the flow has no layers")
    attributes = int(state["field.layers.0._hyper_gate.weight"].shape[1]) - 1
    if attributes != len(NEUTRAL_ATTRIBUTES):
        raise ImportRefused(f"the flow takes {attributes} attributes; StyleFlow's takes {len(NEUTRAL_ATTRIBUTES)}")
    params: dict[str, Any] = {
        "dim": int(state[layers.format(0)].shape[1]),
        "hidden": [int(state[layers.format(n)].shape[0]) for n in range(depth - 1)],
        "attributes": attributes,
        "neutral": list(NEUTRAL_ATTRIBUTES),
        "pose": list(PUBLISHED_POSE),
        "signs": list(PUBLISHED_SIGNS),
    }
    steps, change = solver_steps(state, params)
    if change > ENOUGH:
        note = f"even with {steps} solver steps the flow is only accurate to {change:.0e}"
    else:
        note = f"{steps} solver steps; twice as many would change {change:.0e} of a row"
    return {**params, "steps": steps}, note


@torch.no_grad()
def solver_steps(state: Mapping[str, Tensor], params: Mapping[str, Any]) -> tuple[int, float]:
    """The fewest of STEPS that are enough for this flow, and the relative change that twice as many would make.

    Upstream's solver chooses its steps while it runs; chosen once and written on the card, they are the same on every
    machine. Tried on rows of W's usual spread, from frontal to turned and back, in double precision.
    """
    flow = HeadPoseFlow(**params)
    flow.load_state_dict(state)
    flow = flow.double()
    random = torch.Generator().manual_seed(0)
    w = torch.randn(1, 8, params["dim"], generator=random, dtype=torch.float64) * 0.5
    poses = torch.tensor([[0.0, 0.0], [TURNED, TURNED], [-TURNED, -TURNED]], dtype=torch.float64)
    attributes = flow.attributes_at(poses)

    def solved(steps: int) -> Tensor:
        flow.steps = steps
        z = flow(w, attributes[:1])
        turned = [flow.reverse(z, attributes[k : k + 1]) for k in (1, 2)]
        return torch.cat([z, *turned])

    before, change = solved(STEPS[0]), float("inf")
    for steps in STEPS:
        after = solved(2 * steps)
        change = float((after - before).norm() / after.norm())
        if change <= ENOUGH:
            return steps, change
        before = after
    return STEPS[-1], change
