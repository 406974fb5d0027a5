"""Identity latent + packet -> StyleSpace codes."""

from __future__ import annotations

import pytest
import torch

from stylecodec.decoding.latents import LatentDecoder
from stylecodec.errors import PackCorrupt
from stylecodec.packs.store import ModelPack


def latents(count: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 18, 512, generator=torch.Generator().manual_seed(seed))


def test_a_frontal_frame_without_offsets_is_the_identity_itself(tiny_pack: ModelPack) -> None:
    decoder = LatentDecoder(tiny_pack, "cpu")
    w = latents()
    posed = decoder.posed(decoder.anchor(w), torch.zeros(1, 2))
    torch.testing.assert_close(posed, w, rtol=1e-3, atol=1e-3)  # the flow there and back


def test_the_flow_edits_the_pose_rows_and_no_others(tiny_pack: ModelPack) -> None:
    decoder = LatentDecoder(tiny_pack, "cpu")
    w = latents()
    posed = decoder.posed(decoder.anchor(w), torch.tensor([[20.0, 0.0], [0.0, -10.0]]))
    assert posed.shape == (2, 18, 512)
    assert torch.equal(posed[:, 9:], w[:, 9:].expand(2, -1, -1))
    assert (posed[:, :9] - w[:, :9]).abs().amax(dim=2).min() > 1e-3
    assert not torch.allclose(posed[0], posed[1])


def test_pose_is_eq_4_row_by_row(tiny_pack: ModelPack) -> None:
    decoder = LatentDecoder(tiny_pack, "cpu")
    flow, w, pose = tiny_pack.flow("cpu"), latents(), torch.tensor([[12.0, -7.0]])
    posed = decoder.posed(decoder.anchor(w), pose)
    for row in (0, 8):
        z = flow.forward(w[:, row : row + 1], torch.zeros(1, 2))
        torch.testing.assert_close(posed[:, row : row + 1], flow.reverse(z, pose))


def test_offsets_land_on_the_packs_indices(tiny_pack: ModelPack) -> None:
    decoder = LatentDecoder(tiny_pack, "cpu")
    anchor, pose = decoder.anchor(latents()), torch.zeros(1, 2)
    alpha = torch.arange(1.0, 33.0)[None]
    plain, moved = decoder.styles(anchor, pose, torch.zeros(1, 32)), decoder.styles(anchor, pose, alpha)
    expected = {pair: k + 1.0 for k, pair in enumerate(tiny_pack.indices)}
    for layer, (before, after) in enumerate(zip(plain, moved, strict=True)):
        for channel in range(before.shape[1]):
            step = float((after - before)[0, channel])
            assert step == pytest.approx(expected.get((layer, channel), 0.0), abs=1e-4)


def test_many_identities_or_one(tiny_pack: ModelPack) -> None:
    decoder = LatentDecoder(tiny_pack, "cpu")
    w, pose = latents(3), torch.tensor([[5.0, 1.0], [-5.0, 2.0], [0.0, 3.0]])
    together = decoder.posed(decoder.anchor(w), pose)
    for k in range(3):
        alone = decoder.posed(decoder.anchor(w[k : k + 1]), pose[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-4, atol=1e-5)


def test_gradients_reach_pose_and_offsets(tiny_pack: ModelPack) -> None:
    decoder = LatentDecoder(tiny_pack, "cpu")
    pose, alpha = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 32, requires_grad=True)
    styles = decoder.styles(decoder.anchor(latents()), pose, alpha)
    picture = decoder.generator.synthesis(styles, stop_at=16)
    picture.square().mean().backward()
    assert pose.grad is not None
    assert float(pose.grad.abs().min()) > 0
    assert alpha.grad is not None
    assert float(alpha.grad.abs().max()) > 0


def test_the_flow_must_take_two_attributes(tiny_pack: ModelPack) -> None:
    pack = ModelPack(tiny_pack.folder, tiny_pack.card)
    pack.flow("cpu").attributes = 17
    with pytest.raises(PackCorrupt, match="takes 17 attributes"):
        LatentDecoder(pack, "cpu")
