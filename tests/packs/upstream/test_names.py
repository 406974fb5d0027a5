"""Renaming of published generators: every tensor finds its place, and foreign ones are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylecodec.errors import PackCorrupt
from stylecodec.nets.stylegan2 import Generator, config_f_channels
from stylecodec.packs.upstream import names as upstream_names
from tests.nets import seeded_weights as seeded


def tiny(name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of the right axes and next to no size: every width of 32 or more becomes 4."""
    return torch.zeros([4 if n >= 32 and not name.startswith("noises") else n for n in shape])


def port_state(resolution: int = 16) -> dict[str, Tensor]:
    return {name: tiny(name, shape) for name, shape in seeded.port_generator_shapes(resolution).items()}


@pytest.mark.parametrize("resolution", [8, 256, 1024])
def test_both_namings_give_the_same_names_and_shapes(resolution: int) -> None:
    with torch.device("meta"):
        port = {k: torch.empty(s) for k, s in seeded.port_generator_shapes(resolution).items()}
        nvidia = {k: torch.empty(s) for k, s in seeded.nvidia_generator_shapes(resolution).items()}
        wanted = Generator(resolution).state_dict()
        ours = upstream_names.generator_from_port(port, torch.empty(18, 512))
        theirs = upstream_names.generator_from_nvidia(nvidia)
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    assert {name: tensor.shape for name, tensor in ours.items()} == shapes
    assert {name: tensor.shape for name, tensor in theirs.items()} == shapes
    settings = upstream_names.generator_settings(ours)
    assert settings["channels"] == config_f_channels(resolution)
    assert (settings["resolution"], settings["mapping_layers"], settings["z_dim"]) == (resolution, 8, 512)


def test_missing_noise_maps_become_zeros() -> None:
    state = {k: v for k, v in port_state().items() if not k.startswith("noises")}
    ours = upstream_names.generator_from_port(state)
    assert ours["blocks.2.convs.1.noise"].shape == (16, 16)
    assert not ours["blocks.2.convs.1.noise"].any()
    assert "mapping.w_avg" not in ours


def test_foreign_tensors_are_refused() -> None:
    with pytest.raises(PackCorrupt, match=r"convs\.0\.extra"):
        upstream_names.generator_from_port(port_state() | {"convs.0.extra": torch.zeros(1)})
    with pytest.raises(PackCorrupt, match="constant"):
        upstream_names.generator_from_nvidia({"mapping.w_avg": torch.zeros(4)})
    with pytest.raises(PackCorrupt, match="style heads"):
        upstream_names.encoder_from_e4e({"decoder.x": torch.zeros(1)}, torch.zeros(4))
