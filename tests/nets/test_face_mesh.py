"""The face mesh gives the points that MediaPipe gives, and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylecodec.nets.face_mesh import LEFT_EYE, LIPS, MESH, POINTS, RIGHT_EYE, FaceMesh
from stylecodec.packs.store import embedded_pack

CPU = torch.device("cpu")
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.png"
REFERENCE = Path(__file__).parent / "vectors" / "face_mesh_portrait.npy"


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    """The example portrait, averaged down to 256² and rounded: [1, 3, 256, 256] in [-1, 1]."""
    with Image.open(PORTRAIT) as file:
        pixels = np.asarray(file.convert("RGB"), np.float64)
    small = pixels.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3)).round()
    return torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_points_are_mediapipes(portrait: torch.Tensor) -> None:
    points = embedded_pack().face_mesh(CPU)(portrait)[0].numpy()
    assert points.shape == (POINTS, 2)
    apart = np.abs(points - np.load(REFERENCE)) * 256
    assert apart.mean() < 0.15
    assert apart.max() < 0.5


@pytest.mark.parametrize(("name", "part"), [("lips", LIPS), ("left eye", LEFT_EYE), ("right eye", RIGHT_EYE)])
def test_the_second_look_is_needed(portrait: torch.Tensor, name: str, part: tuple[int, ...]) -> None:
    mesh = embedded_pack().face_mesh(CPU)
    features = mesh.stem(mesh.first(torch.nn.functional.pad(mesh._cut(portrait), (0, 1, 0, 1))))
    first = mesh.face(features).reshape(MESH, 3)[list(part), :2].numpy() / 192 * 0.9 + np.array([0.05, 0.10])
    reference = np.load(REFERENCE)[list(part)]
    second = mesh(portrait)[0, list(part)].numpy()
    assert np.abs(second - reference).mean() < np.abs(first - reference).mean() / 3, name


def test_a_moved_picture_moves_its_points(portrait: torch.Tensor) -> None:
    mesh = embedded_pack().face_mesh(CPU)
    moved = torch.roll(portrait, (5, 8), dims=(2, 3))
    change = (mesh(moved) - mesh(portrait))[0].numpy() * 256
    np.testing.assert_allclose(np.median(change, axis=0), (8, 5), atol=1.0)


def test_points_know_how_pixels_move_them(portrait: torch.Tensor) -> None:
    picture = portrait.clone().requires_grad_(True)
    embedded_pack().face_mesh(CPU)(picture)[0, 13, 1].backward()  # the upper lip's inner edge, downwards
    assert picture.grad is not None
    gradient = picture.grad[0].abs().sum(dim=0)
    mouth = gradient[140:200, 70:140].mean()
    assert mouth > 4 * gradient[:60].mean()


def test_a_picture_alone_and_among_others(portrait: torch.Tensor) -> None:
    mesh = embedded_pack().face_mesh(CPU)
    both = mesh(torch.cat([portrait, portrait.flip(3)]))
    torch.testing.assert_close(both[:1], mesh(portrait), atol=1e-5, rtol=0)


def test_random_weights_have_the_published_names() -> None:
    names = {name: value.shape for name, value in FaceMesh().state_dict().items()}
    assert names == {name: value.shape for name, value in embedded_pack().face_mesh(CPU).state_dict().items()}
