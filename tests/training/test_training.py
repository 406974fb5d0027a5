"""Every training loop runs, resumes and ends in a pack that opens; no quality is claimed on noise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stylecodec.cli import train as cli
from stylecodec.cli.main import main
from stylecodec.errors import OptionError, StylecodecError
from stylecodec.nets.feedforward import HybridEncoder
from stylecodec.nets.pixel_loss import pixel_loss
from stylecodec.packs.card import ROLES, SHIPPED_ROLES
from stylecodec.packs.store import open_pack
from stylecodec.training import augment, avatar, encoder, generator, landmarks, reader, sharpen
from stylecodec.training.checkpoint import checkpoint_of, load_state
from stylecodec.training.datasets import HeadsDataset, mirrored_order
from stylecodec.training.loop import Budget, Run, TrainOptions, average_of, cosine
from stylecodec.training.losses import region_weights

CLASSES = ["background", "skin", "eye_r", "iris", "hair"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of noise in the renderer's format: 26 people, two pictures each."""
    folder = tmp_path_factory.mktemp("heads")
    rng = np.random.default_rng(0)
    people, per = 26, 2
    n = people * per
    ids = np.repeat(np.arange(people), per)
    (folder / "meta.json").write_text(json.dumps({"class_names": CLASSES}))
    for k, part in enumerate(np.array_split(np.arange(n), 2)):
        m = len(part)
        np.savez(
            folder / f"shard_{k:05d}.npz",
            images=rng.integers(0, 256, (m, 256, 256, 3), np.uint8),
            labels=rng.integers(0, len(CLASSES), (m, 256, 256)).astype(np.uint8),
            expression=rng.normal(0, 0.3, (m, 55)).astype(np.float32),
            pose=rng.normal(0, 10, (m, 2)).astype(np.float32),
            landmarks=rng.uniform(0.2, 0.8, (m, 83, 2)).astype(np.float32),
            identity=rng.normal(0, 1, (m, 20)).astype(np.float32),
            identity_id=ids[part],
        )
    return folder


def test_dataset_keeps_people_apart(heads: Path) -> None:
    data = HeadsDataset(heads)
    train = set(data.identity_id[data.train_rows].tolist())
    held = set(data.identity_id[data.validation_rows].tolist())
    assert held == {24}
    assert not train & held
    rng = np.random.default_rng(0)
    rows = data.draw(10, rng)
    assert (data.identity_id[data.siblings(rows, rng)] == data.identity_id[rows]).all()
    assert data.batch(rows).pictures(64).shape == (10, 3, 64, 64)


def test_dataset_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StylecodecError, match=r"no meta\.json"):
        HeadsDataset(tmp_path)


def test_pairs_are_one_person_in_one_pose(heads: Path, tmp_path: Path) -> None:
    assert len(HeadsDataset(heads).pairs) == 0
    shutil.copytree(heads, tmp_path / "pairs")
    for path in (tmp_path / "pairs").glob("shard_*.npz"):
        with np.load(path) as shard:
            arrays = dict(shard)
        arrays["pose"][1::2] = arrays["pose"][::2]
        np.savez(path, **arrays)
    data, rng = HeadsDataset(tmp_path / "pairs"), np.random.default_rng(0)
    assert len(data.pairs) == 25  # the 26th person is held out
    rows, pairs = generator.draw(data, 9, rng)
    assert (len(rows), pairs) == (9, 2)
    first, second = rows[:pairs], rows[pairs : 2 * pairs]
    assert (first != second).all()
    assert (data.identity_id[first] == data.identity_id[second]).all()
    batch = data.batch(rows)
    assert torch.equal(batch.pose[:pairs], batch.pose[pairs : 2 * pairs])
    target, weight = batch.pictures(32), torch.ones(9, 1, 32, 32)
    wrong_person = target + torch.rand(9, 3, 1, 1)
    wrong_person[pairs : 2 * pairs] = target[pairs : 2 * pairs] + (wrong_person - target)[:pairs]
    assert float(generator.apart(wrong_person, target, weight, pairs)) == pytest.approx(0.0, abs=1e-6)
    assert float(generator.apart(target.flip(0), target, weight, pairs)) > 0.1


def test_a_mirror_swaps_sides(heads: Path) -> None:
    names = ["jawLeft", "jawOpen", "jawRight", "mouthSmile_L", "mouthSmile_R", "gaze_yaw", "gaze_pitch"]
    order = mirrored_order(names)
    assert [names[k] for k in order] == ["jawRight", "jawOpen", "jawLeft", "mouthSmile_R", "mouthSmile_L", *names[-2:]]
    batch = HeadsDataset(heads).batch(np.arange(3))
    same = batch.mirrored(range(55))
    assert torch.equal(same.pictures(256), batch.pictures(256).flip(-1))
    assert torch.equal(same.labels, batch.labels.flip(-1))
    assert torch.equal(same.pose, batch.pose * torch.tensor([-1.0, 1.0]))
    assert torch.equal(same.expression[:, -2], -batch.expression[:, -2])
    assert torch.equal(same.expression[:, :-2], batch.expression[:, :-2])
    assert torch.equal(same.mirrored(range(55)).images, batch.images)


def test_budget_and_schedule() -> None:
    budget = Budget(minutes=1, spent_seconds=30)
    assert 0.5 <= budget.fraction < 0.6
    assert cosine(0.6) == 1.0
    assert cosine(1.0) == pytest.approx(0.03)


def test_region_weights_and_loss() -> None:
    weights = region_weights(CLASSES)
    assert weights.tolist() == [1.0, 2.0, 8.0, 8.0, 1.0]
    x = torch.rand(2, 3, 16, 16)
    one = torch.ones(2, 1, 16, 16)
    assert float(pixel_loss(x, x, one)) == 0.0
    assert float(pixel_loss(x + 0.5, x, one)) == pytest.approx(0.5, rel=1e-5)  # a shift has no gradient error


def test_points_move_with_the_picture() -> None:
    """A bright dot is found where move_points says."""
    torch.manual_seed(0)
    x = torch.full((4, 3, 128, 128), -1.0)
    x[:, :, 60:64, 76:80] = 1.0
    points = torch.tensor([[[78 / 128, 62 / 128]]]).expand(4, 1, 2)
    theta = augment.random_similarity(4, 0.2, 0.15, 20.0, torch.device("cpu"))
    moved = augment.move_points(points, theta)
    mass = augment.resample(x, theta)[:, 0] + 1
    axis = (torch.arange(128) + 0.5) / 128
    centre = torch.stack([(mass * axis).sum((1, 2)), (mass * axis[:, None]).sum((1, 2))], 1) / mass.sum((1, 2))[:, None]
    assert torch.allclose(centre, moved[:, 0], atol=2 / 128)


def test_all_networks_train_and_export(heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole chain with a budget of one step or so each, then the pack opens and renders."""
    monkeypatch.setattr(avatar, "CHANNELS", {4 * 2**k: 8 if k < 6 else 4 for k in range(9)})
    arguments = ["all", "--data", str(heads), "--large", str(heads), "--work", str(tmp_path / "work")]
    scale = ["--scale", "0.00002", "--batch-scale", "0.25", "--device", "cpu"]
    assert main(["train", *arguments, *scale, "--sharpen", "--pack", str(tmp_path / "pack")]) == 0
    sheets = {path.stem for path in (tmp_path / "work").glob("*.png")}
    assert sheets >= {"parser", "generator", "encoder", "sharpen", "landmarks", "inversion", "upper"}
    pack = open_pack(tmp_path / "pack")
    runs = pack.card.training["runs"]
    assert runs.keys() == set(cli.NETWORKS)
    assert (runs["parser"]["people"], runs["parser"]["renders"]) == (26, 52)
    assert runs["generator"]["core_minutes"] >= 0
    assert pack.name == "avatar-1024"
    assert set(pack.card.networks) == {*ROLES, *SHIPPED_ROLES}
    code = pack.feedforward("cpu")(torch.zeros(1, 3, 256, 256))
    assert code.w_id.shape == (1, 18, 512)
    torch.manual_seed(9)
    fresh = HybridEncoder(**encoder.SETTINGS)
    TrainOptions(heads, tmp_path, 1.0, start=tmp_path / "pack").begin(fresh, "feedforward")
    warm = fresh.eval()(torch.zeros(1, 3, 256, 256))
    torch.testing.assert_close(warm.alpha, code.alpha, rtol=1e-3, atol=1e-6)  # weights in another order
    with pytest.raises(OptionError, match=r"the feedforward network of the pack .* is built otherwise"):
        TrainOptions(heads, tmp_path, 1.0, start=tmp_path / "pack").begin(torch.nn.Linear(2, 2), "feedforward")
    again = TrainOptions(heads, tmp_path / "work", 1e-6)
    assert landmarks.train(again).keys() == {"all", "inner_face", "eyes", "mouth", "irises"}
    a_better_encoder_for_the_same_renderer(heads, tmp_path)
    better_pictures_for_the_same_codes(heads, tmp_path)


def better_pictures_for_the_same_codes(heads: Path, folder: Path) -> None:
    """Go on from `folder/pack` with its codes kept: only the synthesis moves."""
    work, start = folder / "pictures", folder / "pack"
    more = ["--data", str(heads), "--work", str(work), "--device", "cpu", "--batch-scale", "0.2", "--start", str(start)]
    assert main(["train", "generator", *more, "--minutes", "0.00001", "--keep-codes"]) == 0
    kept = load_state(checkpoint_of(work, "generator")).get("modules avatar")
    pack = open_pack(start)
    moved = {n for n, v in pack.generator("cpu").state_dict().items() if not torch.equal(kept[f"generator.{n}"], v)}
    assert any(name.endswith("weight") for name in moved)
    assert not any(name.startswith("mapping.") for name in moved)
    for role in ("flow", "expression"):
        for name, value in pack.network(role, "cpu").state_dict().items():
            assert torch.equal(kept[f"{role}.{name}"], value)
    assert main(["train", "export", "--work", str(work), "--pack", str(folder / "alone")]) == 0
    assert not open_pack(folder / "alone").has("feedforward")
    assert main(["train", "export", "--work", str(work), "--pack", str(folder / "new"), "--base", str(start)]) == 0
    new = open_pack(folder / "new")
    assert set(new.card.networks) == {*ROLES, *SHIPPED_ROLES}
    for name, value in pack.feedforward("cpu").state_dict().items():
        assert torch.equal(new.feedforward("cpu").state_dict()[name], value)
    both = [p.generator("cpu").state_dict() for p in (new, pack)]
    assert not all(torch.equal(both[0][name], both[1][name]) for name in moved)
    assert new.card.training["runs"].keys() == pack.card.training["runs"].keys()
    assert new.card.training["runs"]["encoder"] == pack.card.training["runs"]["encoder"]


def test_an_appended_field_has_no_effect_until_it_is_trained() -> None:
    torch.manual_seed(6)
    narrow = avatar.AvatarModel(7, {4 * 2**k: 4 for k in range(9)}).generator
    wide = avatar.AvatarModel(9, {4 * 2**k: 4 for k in range(9)}).generator
    state = avatar.with_fields(dict(narrow.state_dict()), 9)
    wide.load_state_dict(state)
    z = torch.randn(3, 9)
    torch.testing.assert_close(wide.mapping(z), narrow.mapping(z[:, :7]), rtol=1e-4, atol=1e-5)
    assert avatar.with_fields(state, 9) is state


def a_better_encoder_for_the_same_renderer(heads: Path, folder: Path) -> None:
    """Go on from `folder/pack` in the work folder `folder/more`, and export the mean of both encoders."""
    shutil.copytree(folder / "work", folder / "more")
    checkpoint_of(folder / "more", "encoder").unlink()
    more = ["--data", str(heads), "--work", str(folder / "more"), "--device", "cpu", "--batch-scale", "0.2"]
    arguments = ["encoder", *more, "--minutes", "0.00001", "--start", str(folder / "pack"), "--keep-renderer"]
    assert main(["train", *arguments]) == 0
    renderer, hybrid = (average_of(checkpoint_of(folder / "more", "encoder"), key) for key in ("avatar", "hybrid"))
    before = open_pack(folder / "pack").feedforward("cpu").state_dict()
    generator = open_pack(folder / "pack").generator("cpu").state_dict()
    assert all(torch.equal(renderer[f"generator.{k}"], v) for k, v in generator.items())
    assert not torch.equal(hybrid["alpha_head.bias"], before["alpha_head.bias"])
    out = ["--work", str(folder / "more"), "--pack", str(folder / "mean"), "--blend", str(folder / "pack")]
    assert main(["train", "export", *out]) == 0
    mean = open_pack(folder / "mean").feedforward("cpu").state_dict()
    halfway = (hybrid["alpha_head.bias"] + before["alpha_head.bias"]) / 2
    torch.testing.assert_close(mean["alpha_head.bias"], halfway, rtol=2e-3, atol=1e-6)  # stored in half precision


def test_a_renderer_can_only_be_kept_from_a_pack(heads: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--start PACK"):
        encoder.train(TrainOptions(heads, tmp_path, 1.0, keep_renderer=True))
    with pytest.raises(OptionError, match="--start PACK"):
        generator.train(TrainOptions(heads, tmp_path, 1.0, keep_codes=True))


def test_other_units_say_the_same() -> None:
    torch.manual_seed(4)
    net = HybridEncoder(**encoder.SETTINGS).eval()
    x = torch.randn(2, 3, 256, 256)
    before = net(x).alpha
    encoder.in_units(net, torch.rand(32) + 0.5)
    torch.testing.assert_close(net(x).alpha, before, rtol=1e-4, atol=1e-5)


def test_faint_expressions_are_read_off_alpha_in_its_own_units() -> None:
    """The reader's loss does not mind how large each α is, and asks for the mean where noise hides the truth."""
    torch.manual_seed(5)
    expressions = (torch.rand(400, 55) < 0.1).float()
    alpha = expressions[:, :32].clone()
    one = reader.Reader(32, expressions)
    with torch.no_grad():
        one.read.weight.zero_()
        one.read.bias.zero_()
        plain = one.loss_through_noise(alpha, expressions, 0.0)
        assert float(plain) > 0
        one.read.weight[:32] = torch.eye(32) * (alpha.std(0) / one.std[:32])[:, None]
        told = one.loss_through_noise(alpha, expressions, 0.0)
        assert float(told) < 0.6 * float(plain)  # 32 of 55 are told
        large = one.loss_through_noise(alpha * torch.logspace(-2, 2, 32).clamp_min(0.5), expressions, 0.0)
    torch.testing.assert_close(large, told, rtol=1e-2, atol=1e-3)


def test_random_filters_change_texture_and_keep_brightness() -> None:
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    x = torch.nn.functional.interpolate(torch.rand(6, 3, 8, 8) - 0.5, size=(64, 64), mode="bilinear")
    y = augment.filtered(x, rng, share=1.0)
    assert y.shape == x.shape
    assert not torch.allclose(y, x, atol=0.05)
    torch.testing.assert_close(y.mean((1, 2, 3)), x.mean((1, 2, 3)), rtol=0, atol=1e-4)
    assert torch.equal(augment.filtered(x, rng, share=0.0), x)


def test_sharpening_terms_measure_what_they_say() -> None:
    torch.manual_seed(0)
    net = sharpen.PatchDiscriminator(widths=(4, 8))
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    maps = net(x)
    assert maps[-1].shape == (2, 1, 8, 8)
    assert sharpen.matching(maps, maps) == 0
    assert float(sharpen.matching([m * 1.5 for m in maps], maps).detach()) == pytest.approx(0.5, rel=0.01)

    class Slope(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> list[torch.Tensor]:
            return [3 * picture.sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)]

    assert float(sharpen.gradient_penalty(Slope(), x).detach()) == pytest.approx(9 * 3 * 32 * 32)  # type: ignore[arg-type]
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert (sharpen.detail(blurred) < 0.3 * sharpen.detail(x)).all()


def test_a_group_that_the_loss_does_not_reach_stays_as_it_is(tmp_path: Path) -> None:
    used, idle = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam([{"params": list(used.parameters())}, {"params": list(idle.parameters())}], lr=0.1)
    run = Run("groups", tmp_path, {"used": used, "idle": idle}, optimizer, minutes=1.0)
    before = [p.clone() for p in (*used.parameters(), *idle.parameters())]
    run.update(used(torch.ones(1, 2)).sum())
    after = [*used.parameters(), *idle.parameters()]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [False, False, True, True]
