"""L_ID: dlib's network in torch is dlib's own, and the loss finds the person."""

from __future__ import annotations

import dlib
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stylecodec.encoding.differentiable import SIZE, DifferentiableRenderer
from stylecodec.encoding.identity_loss import IdentityOfPictures
from stylecodec.encoding.personalization.locality import random_people
from stylecodec.errors import ImportRefused
from stylecodec.face.detect import RECOGNITION, model_file
from stylecodec.face.recognition import FaceDescriptor
from stylecodec.packs.store import embedded_pack
from stylecodec.packs.upstream.dlib_network import recognition_net
from stylecodec.training.photo_fit import eight_bits

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """Three people of the embedded pack [3, 3, 256, 256]."""
    renderer = DifferentiableRenderer(embedded_pack(), CPU)
    with torch.no_grad():
        w = random_people(renderer.generator, 3, torch.Generator().manual_seed(5))
        return renderer.render(renderer.anchor(w[:, None].expand(-1, 18, -1)), torch.zeros(3, SIZE), 256).clamp(-1, 1)


def test_network_is_dlibs_own() -> None:
    data = model_file(RECOGNITION).read_bytes()
    theirs = dlib.face_recognition_model_v1(str(model_file(RECOGNITION)))
    chip = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    x = torch.from_numpy(chip).permute(2, 0, 1)[None].float() / 127.5 - 1
    found = recognition_net(data)(x)[0].numpy()
    np.testing.assert_allclose(found, np.array(theirs.compute_face_descriptor(chip)), atol=1e-5)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ImportRefused, match="as it was published"):
        recognition_net(model_file(RECOGNITION).read_bytes()[:-1])


def test_a_rendering_is_nearest_to_its_own_picture(squares: torch.Tensor) -> None:
    loss = IdentityOfPictures(eight_bits(squares), CPU)
    rows = torch.arange(3)
    small = F.avg_pool2d(squares, 2)  # renderings are compared at any size
    own = float(loss(small, rows))
    other = float(loss(small, (rows + 1) % 3))
    assert own < 0.1  # below 0.36 it is one person; drawn people are less far apart than real ones
    assert other > 3 * own


def test_descriptors_are_those_of_the_judge(squares: torch.Tensor) -> None:
    pictures = eight_bits(squares)
    loss = IdentityOfPictures(pictures, CPU)
    loss.see(torch.arange(3))
    describe = FaceDescriptor()
    for picture, mine in zip(pictures, loss.descriptors, strict=True):
        assert FaceDescriptor.distance(describe(picture), mine.numpy()) < 0.25  # it looks at chips that are a bit off


def test_descent_makes_the_same_person(squares: torch.Tensor) -> None:
    loss = IdentityOfPictures(eight_bits(squares[:1]), CPU)
    output, row = squares[1:2].clone().requires_grad_(True), torch.zeros(1, dtype=torch.int64)
    first = loss(output, row)
    (slope,) = torch.autograd.grad(first, output)
    with torch.no_grad():
        assert loss(output - 3 * slope / slope.norm(), row) < first.detach()
