"""Hyper-parameters of published networks, read off the shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, groupby
from typing import Any

from torch import Tensor

from ...errors import ImportRefused

State = Mapping[str, Tensor]


def body_params(state: State) -> dict[str, Any]:
    """widths, units and reduction of a residual body (nets.irse); a stage is a run of units of one width."""
    widths = []
    for index in count():
        weight = state.get(f"body.{index}.res_layer.1.weight")
        if weight is None:
            break
        widths.append(int(weight.shape[0]))
    if not widths:
        raise ImportRefused("it has no residual units")
    stages = [(width, len(list(run))) for width, run in groupby(widths)]
    squeezed = int(state["body.0.res_layer.5.fc1.weight"].shape[0])
    return {
        "widths": [width for width, _ in stages],
        "units": [units for _, units in stages],
        "reduction": widths[0] // squeezed,
    }


def identity_params(state: State) -> dict[str, Any]:
    """Of nets.identity.IdentityNet, with upstream's crop."""
    params = body_params(state)
    embedding, inputs = (int(n) for n in state["output_layer.3.weight"].shape)
    side = round((inputs / params["widths"][-1]) ** 0.5)
    return {**params, "embedding": embedding, "input_size": side * 2 ** len(params["widths"])}


def encoder_params(state: State, kind: str) -> dict[str, Any]:
    """Of nets.e4e.E4eEncoder or nets.restyle.RestyleEncoder; how often a head halves its map tells which it reads."""
    params = body_params(state)
    rows = len({name.split(".")[1] for name in state if name.startswith("styles.")})
    halvings = [_halvings(state, row) for row in range(rows)]
    params |= {
        "style_dim": int(state["styles.0.linear.weight"].shape[0]),
        "rows": rows,
        "head_width": int(state["styles.0.convs.0.weight"].shape[0]),
        "input_size": 16 * 2 ** min(halvings[0], 12),
    }
    if kind == "restyle":
        if len(set(halvings)) > 1:
            raise ImportRefused("its heads read maps of different sizes, which a ReStyle-e4e encoder's do not")
        return params
    middle = [n - halvings[0] for n in halvings]
    params |= {"coarse": middle.count(0), "middle": middle.count(1)}
    if middle != sorted(middle) or max(middle) > 2:
        raise ImportRefused("its heads are not in the order of an e4e encoder's")
    return params


def _halvings(state: State, row: int) -> int:
    found = sum(name.startswith(f"styles.{row}.convs.") and name.endswith(".weight") for name in state)
    if not found:
        raise ImportRefused(f"its style head {row} has no convolutions")
    return found


def parser_params(state: State) -> dict[str, Any]:
    """Of nets.parsing.BiSeNet."""
    resnet = "cp.resnet.layer{}.{}.conv1.weight"
    blocks = [next(n for n in count() if resnet.format(stage, n) not in state) for stage in range(1, 5)]
    return {
        "widths": [int(state[resnet.format(stage, 0)].shape[0]) for stage in range(1, 5)],
        "blocks": blocks,
        "context": int(state["cp.arm16.conv.conv.weight"].shape[0]),
        "fusion": int(state["ffm.convblk.conv.weight"].shape[0]),
        "classes": int(state["conv_out.conv_out.weight"].shape[0]),
    }
