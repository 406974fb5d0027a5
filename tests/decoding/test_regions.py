"""Weights, heads and parts of one pass of the parser are those of a pass each."""

from __future__ import annotations

import torch

from stylecodec.decoding.regions import Regions
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack


def _pictures() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1


def _agree(regions: Regions) -> None:
    weights, head = regions.weights_and_head(_pictures())
    torch.testing.assert_close(weights, regions.weights(_pictures()))
    torch.testing.assert_close(head, regions.head(_pictures()))
    assert weights.shape == head.shape == (2, 1, 64, 64)
    assert not torch.equal(weights, head)


def test_weights_and_head_of_one_pass() -> None:
    _agree(Regions(open_pack(DEFAULT_PACK), "cpu"))


def test_weights_and_head_without_a_parser(tiny_pack: ModelPack) -> None:
    assert not tiny_pack.has("parser")
    _agree(Regions(tiny_pack, "cpu"))
