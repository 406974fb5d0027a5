"""Which presets a pack can do, and which files to bring for the others."""

from __future__ import annotations

import dataclasses

import pytest

from stylecodec.errors import PackNotFound
from stylecodec.packs.abilities import abilities, require_preset
from stylecodec.packs.card import PackCard
from stylecodec.packs.store import ModelPack, embedded_pack
from tests.packs.test_card import CARD


def card(*roles: str, resolution: int = 1024) -> PackCard:
    """A card with these networks."""
    entry = CARD.networks["generator"]
    networks = {role: dataclasses.replace(entry, kind=kind) for role, kind in KINDS.items() if role in roles}
    return dataclasses.replace(CARD, networks=networks, resolution=resolution)


KINDS = {
    "generator": "stylegan2",
    "flow": "styleflow",
    "inversion": "e4e",
    "parser": "bisenet",
    "lpips_alex": "lpips",
    "feedforward": "hybrid",
}


def works(of: PackCard) -> dict[str, bool]:
    return {one.what: one.works for one in abilities(of)}


def test_presets_are_named(tiny_pack: ModelPack) -> None:
    assert [name for name, there in works(tiny_pack.card).items() if there and "preset" in name] == [
        "encode --preset fast",
        "encode --preset balanced",
    ]
    assert all(there for name, there in works(embedded_pack().card).items() if "preset" in name)


@pytest.mark.parametrize("eyes", ["parser", "lpips_alex"])
def test_either_network_compares_for_the_paper(eyes: str) -> None:
    assert works(card("generator", "flow", "inversion", eyes))["encode --preset paper"]


@pytest.mark.parametrize(
    ("roles", "preset", "sentence"),
    [
        (("generator",), "paper", r"no flow and no inversion .*modellarge10k\.pt.*e4e_ffhq_encode\.pt or restyle"),
        (("generator", "flow", "inversion"), "paper", r"lpips_alex: alexnet-owt-7be5be79\.pth"),
        (("generator", "flow", "inversion", "parser"), "fast", r"train encoder --pack NAME.*it can do --preset paper"),
    ],
)
def test_what_is_missing_is_named_by_file(roles: tuple[str, ...], preset: str, sentence: str) -> None:
    with pytest.raises(PackNotFound, match=sentence):
        require_preset(card(*roles), preset)


def test_small_generators_make_no_streams() -> None:
    small = card("generator", "flow", "feedforward", resolution=512)
    with pytest.raises(PackNotFound, match="a generator of 1024 pixels"):
        require_preset(dataclasses.replace(small, indices=CARD.indices), "fast")
