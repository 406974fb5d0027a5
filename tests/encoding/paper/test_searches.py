"""The searches of the paper preset on a tiny pack: what was rendered with known codes is found again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from stylecodec.encoding.paper.attributes import AttributeSearch, Indices, Last, levels
from stylecodec.encoding.paper.descent import RowDescent
from stylecodec.encoding.paper.losses import TERMS, AttributeLoss, Before, Target
from stylecodec.encoding.paper.masks import FaceMasks
from stylecodec.encoding.paper.perceptual import Perceptual, masked_mean
from stylecodec.encoding.paper.pose import PoseSearch, PoseTarget
from stylecodec.encoding.paper.rendering import Perturbed, Rendering, rows_of
from stylecodec.encoding.paper.sensitivity import learning_rates, measure
from stylecodec.encoding.paper.settings import AttributeWeights, PaperOptions
from stylecodec.errors import PackNotFound
from stylecodec.packs.card import Pose
from stylecodec.packs.store import ModelPack

CPU = torch.device("cpu")
SIDE = 32
REACH = Pose(rows=9, yaw=(-40.0, 40.0), pitch=(-22.0, 22.0))


def latent(pack: ModelPack, seed: int = 3) -> torch.Tensor:
    return torch.randn(18, 512, generator=torch.Generator().manual_seed(seed))


def masks(count: int, side: int = SIDE) -> FaceMasks:
    """Quarters of the picture."""
    made = torch.zeros(5, count, 1, side, side)
    half = side // 2
    made[0] = 1
    made[1, :, :, :, :half] = 1
    made[2, :, :, half:] = 1
    made[3, :, :, :half] = 1
    made[4, :, :, : half // 2, :half] = 1
    return FaceMasks(*made, torch.ones(count))


@pytest.fixture(scope="module")
def rendering(paper_pack: ModelPack) -> Rendering:
    return Rendering(paper_pack, CPU, SIDE, torch.float32)


def test_rows_go_downhill_by_themselves() -> None:
    scales = torch.tensor([[1.0, 4.0, 0.5], [2.0, 1.0, 9.0]])
    goals = torch.tensor([[1.0, -2.0, 0.3], [-1.0, 0.5, 2.0]])

    def evaluate(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        away = places - goals
        return (scales * away.square()).sum(1), 2 * scales * away

    descent = RowDescent(torch.zeros(2, 3))
    before = evaluate(torch.zeros(2, 3))[0]
    losses = descent.run(evaluate, 5)
    assert (losses < before).all()
    assert (descent.run(evaluate, 25) < 1e-4).all()
    torch.testing.assert_close(descent.best, goals, atol=0.02, rtol=0)


def test_one_channel_moved_is_the_whole_rendering(rendering: Rendering, paper_pack: ModelPack) -> None:
    styles = rendering.generator.styles(latent(paper_pack)[None])
    perturbed = Perturbed(rendering, styles)
    torch.testing.assert_close(perturbed.base, rendering.in_batches(styles, None, 1), atol=1e-4, rtol=1e-4)
    for layer in perturbed.layers:
        channel = rendering.generator.layout.layers[layer].channels - 1
        moved = [one.clone() for one in styles]
        moved[layer][0, channel] += 0.7
        made = perturbed.pictures(layer, torch.tensor([channel, channel]), torch.tensor([0.7, 0.0]))
        torch.testing.assert_close(made[:1], rendering.in_batches(moved, None, 1), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(made[1:], perturbed.base, atol=1e-4, rtol=1e-4)


def test_sensitivity_is_the_equation_written_out(rendering: Rendering, paper_pack: ModelPack) -> None:
    perceptual = Perceptual(paper_pack, CPU)
    styles = rendering.generator.styles(latent(paper_pack)[None])
    deltas, regions = (-1.0, -0.5, 0.0, 0.5), torch.stack([m[0, 0] for m in masks(1).regions[2:4]])
    found = measure(Perturbed(rendering, styles), ((9, 1), (3, 0), (24, 0)), deltas, regions, perceptual)
    assert found.whole[2] == 0  # above the side
    for number, (layer, channel) in enumerate(found.indices[:2]):
        pictures = []
        for delta in deltas:
            moved = [one.clone() for one in styles]
            moved[layer][0, channel] += delta
            pictures.append(perceptual.features(rendering.in_batches(moved, None, 1).clamp(-1, 1)))
        for region, gammas in ((regions[0], found.regions[0]), (torch.ones_like(regions[0]), found.whole)):
            steps = [
                float(perceptual.distance(pictures[k], pictures[k - 1], region[None, None])) / 0.5 for k in (1, 2, 3)
            ]
            assert gammas[number] == pytest.approx(sum(steps) / len(deltas), rel=1e-3)


def test_rates_fall_with_sensitivity() -> None:
    rates = learning_rates(np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(rates, np.exp([0.0, -0.75, -1.5]))


def pose_target(search: PoseSearch, pose: torch.Tensor) -> PoseTarget:
    with torch.no_grad():
        pictures = search.render(pose / search.units)
    some = masks(len(pose))
    return PoseTarget(pictures, search.perceptual.features(pictures), some.rigid, some.face)


def test_known_poses_are_found(rendering: Rendering, paper_pack: ModelPack) -> None:
    search = PoseSearch(rendering, latent(paper_pack), Perceptual(paper_pack, CPU), REACH)
    true = torch.tensor([[3.0, -2.0], [-12.0, 6.0], [31.0, 15.0]])
    target = pose_target(search, true)
    still = search.losses(torch.zeros(3, 2), target)
    fast = search.search(target, None, 10)
    assert (search.losses(fast, target) < 0.1 * still).all()
    slow = search.reference(target.rows(torch.tensor([0])), torch.zeros(2), steps=40)
    assert float(search.losses(slow, target.rows(torch.tensor([0])))) < 0.5 * float(still[0])


def test_poses_stay_within_reach(rendering: Rendering, paper_pack: ModelPack) -> None:
    narrow = Pose(rows=9, yaw=(-5.0, 5.0), pitch=(-2.0, 2.0))
    far = PoseSearch(rendering, latent(paper_pack), Perceptual(paper_pack, CPU), REACH)
    search = PoseSearch(rendering, latent(paper_pack), Perceptual(paper_pack, CPU), narrow)
    found = search.search(pose_target(far, torch.tensor([[30.0, 15.0]])), None, 3)
    assert (found.abs() <= torch.tensor([5.0, 2.0]) + 1e-4).all()


@pytest.fixture(scope="module")
def scene(rendering: Rendering, paper_pack: ModelPack) -> tuple[AttributeSearch, list[torch.Tensor], Target]:
    """A search, and three frames of known α."""
    options = PaperOptions(steps=50, epochs=120, rate=0.01)
    loss = AttributeLoss(paper_pack, CPU, Perceptual(paper_pack, CPU), AttributeWeights(identity=0.0))
    gammas = np.stack([np.linspace(0.1, 1, 32), np.full(32, 0.05), np.full(32, 0.01)])
    indices = Indices(gammas, torch.ones(32), torch.full((32,), 4.0))
    search = AttributeSearch(rendering, loss, indices, options)
    with torch.no_grad():
        anchor = rendering.anchor(latent(paper_pack))
    styles = rendering.posed(anchor, torch.tensor([[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]]))
    true = 0.06 * torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    pictures = rendering.in_batches(styles, true, 3)
    return search, styles, loss.target(pictures, masks(3), torch.ones(3))


def losses(search: AttributeSearch, styles: list[torch.Tensor], target: Target, alpha: torch.Tensor) -> torch.Tensor:
    made = search.rendering.in_batches(styles, alpha, 3)
    there = torch.ones(len(alpha))
    there[0] = 0
    before = Before(
        torch.cat([made[:1], made[:-1]]), torch.cat([target.pictures[:1], target.pictures[:-1]]), there
    )
    with torch.no_grad():
        return search.loss(made, target, before)


def test_the_fast_path_and_algorithm_1_have_one_optimum(
    scene: tuple[AttributeSearch, list[torch.Tensor], Target]
) -> None:
    search, every, all_targets = scene
    two = torch.arange(2)
    styles, target = rows_of(every, two), all_targets.rows(two)
    still = losses(search, styles, target, torch.zeros(2, 32))
    fast, _ = search.solve(styles, target, None)
    slow, last = search.reference(styles, target, None)
    assert isinstance(last, Last)
    assert losses(search, styles, target, fast).mean() < 0.12 * still.mean()
    assert losses(search, styles, target, slow).mean() < 0.12 * still.mean()
    a, b = (search.rendering.in_batches(styles, found, 2) for found in (fast, slow))
    changed = search.rendering.in_batches(styles, torch.zeros(2, 32), 2)
    assert float((a - b).square().mean()) < 0.3 * float((changed - target.pictures).square().mean())


def test_a_good_guess_is_begun_at(scene: tuple[AttributeSearch, list[torch.Tensor], Target]) -> None:
    search, styles, target = scene
    true = 0.06 * torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    mine = AttributeSearch(search.rendering, search.loss, search.indices, dataclasses.replace(search.options, steps=2))
    near, far = (
        losses(mine, styles, target, mine.solve(styles, target, None, guess)[0]) for guess in (true, true + 3)
    )
    alone = losses(mine, styles, target, mine.solve(styles, target, None)[0])
    assert near[[0, 2]].max() < 0.2 * alone[[0, 2]].min()  # the key frames
    torch.testing.assert_close(far, alone)  # Eq. 7's beginning is nearer


def test_every_frame_is_solved_once_keys_first() -> None:
    for count in (1, 2, 3, 6, 7, 16):
        keys, halves, others = levels(count)
        assert sorted([*keys, *halves, *others]) == list(range(count))
        assert {0, count - 1} <= set(keys)
        assert all(keys[0] < row < keys[-1] for row in (*halves, *others))
    assert levels(16) == ([0, 5, 10, 15], [2, 7, 12], [1, 3, 4, 6, 8, 9, 11, 13, 14])


def test_gaze_stays_on_a_blink(scene: tuple[AttributeSearch, list[torch.Tensor], Target]) -> None:
    search, styles, target = scene
    gammas = np.zeros((3, 32))
    gammas[0] = 1
    gammas[2, :4] = 2  # the first four are the gaze's
    indices = dataclasses.replace(search.indices, gammas=gammas)
    options = dataclasses.replace(search.options, steps=6, epochs=2)
    shut = dataclasses.replace(target, open=torch.tensor([0.0, 1.0, 0.0]))
    for method in ("solve", "reference"):
        mine = AttributeSearch(search.rendering, search.loss, indices, options)
        found, _ = getattr(mine, method)(styles, shut, None)
        assert float(found[0, :4].abs().max()) == 0.0
        assert float(found[0, 4:].abs().max()) > 0.0
        assert float(found[1, :4].abs().max()) > 0.0


def test_terms_are_those_of_the_paper(scene: tuple[AttributeSearch, list[torch.Tensor], Target]) -> None:
    search, _, target = scene
    none = Before(target.pictures, target.pictures, torch.zeros(3))
    with torch.no_grad():
        exact = search.loss.terms(target.pictures, target, none)
        away = search.loss.terms(target.pictures + 0.1, target, none)
    assert exact.shape == (3, len(TERMS))
    assert float(exact.abs().max()) < 1e-6
    l2 = [away[0, TERMS.index(name)].item() for name in ("l2_m", "l2_e", "l2_p")]
    np.testing.assert_allclose(l2, [0.01, 0.01, 0.005], rtol=1e-3)
    assert float(away[:, TERMS.index("if_m")].max()) == 0.0


def test_a_pack_that_cannot_compare_says_what_to_bring(tiny_pack: ModelPack) -> None:
    with pytest.raises(PackNotFound, match=r"alexnet-owt-7be5be79\.pth.*79999_iter\.pth"):
        Perceptual(tiny_pack, CPU)


def test_empty_masks_count_nothing() -> None:
    assert masked_mean(torch.ones(2, 1, 4, 4), torch.zeros(1, 3, 8, 8)).abs().max() == 0
