"""Personalisation on a tiny pack: a clip that another generator rendered is learnt, coded and resumed."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stylecodec.bitstream.delta import DeltaTensor, GeneratorDelta
from stylecodec.decoding.latents import Anchor, LatentDecoder
from stylecodec.decoding.personal import TunedPack, apply_delta, differences, tunable
from stylecodec.decoding.render import Renderer, to_uint8
from stylecodec.encoding.differentiable import DifferentiableRenderer, at_side
from stylecodec.encoding.frames import FrameCodes
from stylecodec.encoding.losses import LossWeights, ReconstructionLoss
from stylecodec.encoding.options import TuneOptions
from stylecodec.encoding.personalization import budget, tuning
from stylecodec.encoding.personalization.budget import SETTLE, WEIGHTS
from stylecodec.encoding.personalization.checkpoint import Checkpoint
from stylecodec.encoding.personalization.clip import work_of
from stylecodec.encoding.personalization.delta_coding import CodingConfiguration, coded, estimated_bytes, fitted
from stylecodec.encoding.personalization.locality import LocalityLoss, UpperLayerLoss, detail, random_people
from stylecodec.encoding.personalization.tuning import Personalized, Personalizer
from stylecodec.encoding.personalization.workers import personalize
from stylecodec.errors import MediaError, OptionError
from stylecodec.metrics.psnr import psnr as psnr_of
from stylecodec.packs.store import ModelPack
from stylecodec.progress import Progress

pytestmark = pytest.mark.usefixtures("quick_rounding")
CPU = torch.device("cpu")
QUICK = TuneOptions(
    steps=30,
    side=32,
    batch=4,
    precision="float32",
    features=0.0,
    weight_rate=0.02,
    look_steps=7,
    delta_bytes=60_000,
    delta_margin=28.0,
    identity_prior=0.0,
)


def latent() -> np.ndarray:
    return (0.3 * np.random.default_rng(3).standard_normal((18, 512))).astype(np.float16)


@functools.cache
def clip_of(pack: ModelPack, count: int = 8) -> tuple[list[np.ndarray], FrameCodes]:
    """Crops of somebody whom the pack does not know: its own rendering, colours changed. Read-only."""
    torch.manual_seed(0)
    codes = 0.3 * torch.randn(count, 34)
    renderer = DifferentiableRenderer(pack, CPU)
    with torch.no_grad():
        anchor = renderer.anchor(torch.from_numpy(latent().astype(np.float32)))
        pictures = renderer.render(anchor, codes, 256)
    pictures = (0.4 * pictures.tanh()[:, [1, 2, 0]] + 0.2).clamp(-1, 1)
    pose, alpha = renderer.units.split(codes)
    return [p.numpy() for p in to_uint8(pictures)], FrameCodes(
        np.zeros((count, 18, 512), np.float16), pose.numpy(), alpha.numpy()
    )


@pytest.fixture(scope="module")
def learnt(tiny_pack: ModelPack) -> Personalized:
    crops, codes = clip_of(tiny_pack)
    return Personalizer(tiny_pack, crops, codes, latent(), QUICK, CPU).run()


def test_the_person_is_learnt(learnt: Personalized, tiny_pack: ModelPack) -> None:
    crops, codes = clip_of(tiny_pack)
    untouched = Personalizer(tiny_pack, crops, codes, latent(), QUICK, CPU).psnr()
    assert learnt.psnr.shape == (8,)
    assert learnt.psnr.mean() > untouched.mean() + 2
    assert learnt.psnr.mean() > learnt.psnr_before.mean() - 0.5
    assert [entry["step"] for entry in learnt.history] == [7, 14, 21]


def test_what_is_sent_is_what_was_judged(learnt: Personalized, tiny_pack: ModelPack) -> None:
    """Rendering from the delta's bytes alone gives the PSNR that was told."""
    tuned = TunedPack(tiny_pack, GeneratorDelta(bytes(learnt.delta)))
    assert len(learnt.delta) <= QUICK.delta_bytes
    crops, _ = clip_of(tiny_pack)
    decoder, renderer = LatentDecoder(tuned, CPU), Renderer(tuned, CPU, size=32)
    with torch.inference_mode():
        anchor = decoder.anchor(torch.from_numpy(learnt.latent.astype(np.float32))[None])
        pose, alpha = torch.from_numpy(learnt.codes.pose), torch.from_numpy(learnt.codes.alpha)
        pictures = renderer.pictures(decoder.styles(anchor, pose, alpha))
    personalizer = Personalizer(tiny_pack, crops, learnt.codes, learnt.latent, QUICK, CPU)
    personalizer.renderer = DifferentiableRenderer(tuned, CPU)
    assert np.allclose(personalizer.psnr(), learnt.psnr, atol=0.01)
    target = personalizer._pictures(torch.arange(8), 32)
    seen = psnr_of(pictures, target, at_side(personalizer.head, 32).float())  # by the receiver's own renderer
    assert seen.numpy() == pytest.approx(learnt.psnr, abs=0.05)


def test_workers_do_the_same_work(tiny_pack: ModelPack, learnt: Personalized) -> None:
    """Two processes: half a batch each, other people drawn at other random places."""
    crops, codes = clip_of(tiny_pack)
    told: list[Progress] = []
    both = dataclasses.replace(QUICK, processes=2)
    nowhere = Checkpoint(None, "work")
    found = personalize(tiny_pack, crops, codes, latent(), both, CPU, nowhere, told.append)
    assert found.steps == learnt.steps
    assert [entry["step"] for entry in found.history] == [7, 14, 21]
    untouched = Personalizer(tiny_pack, crops, codes, latent(), QUICK, CPU).psnr().mean()
    # Other people are drawn at other random places, the rest is the same work.
    assert found.psnr.mean() - untouched == pytest.approx(learnt.psnr.mean() - untouched, rel=0.15)
    moved = np.abs(found.codes.alpha - codes.alpha).max(axis=1)
    assert (moved > 1e-4).all()  # of the frames of both
    assert told[-1].done == pytest.approx(100.0)


def test_the_pack_is_left_alone(tiny_pack: ModelPack, learnt: Personalized) -> None:
    assert not differences(tiny_pack.generator(CPU), tiny_pack.generator(CPU))
    assert not any(p.requires_grad for p in tiny_pack.generator(CPU).parameters())
    assert learnt.delta.pack_digest == tiny_pack.digest


def test_work_is_taken_up_where_it_stopped(tiny_pack: ModelPack, tmp_path: Path) -> None:
    crops, codes = clip_of(tiny_pack)
    path = tmp_path / "work.safetensors"
    checkpoint, some = Checkpoint(path, "work"), dataclasses.replace(QUICK, steps=12)

    class Stopped(Exception):
        pass

    def stop(event: Progress) -> None:
        if event.done > 40:
            raise Stopped

    first = Personalizer(tiny_pack, crops, codes, latent(), some, CPU, checkpoint, stop)
    with pytest.raises(Stopped):
        first.run()
    first.save()
    with safe_open(path, "np") as file:
        facts = json.loads(file.metadata()["stylecodec"])
    assert facts["stage"] == WEIGHTS
    shares: list[float] = []
    second = Personalizer(
        tiny_pack, crops, codes, latent(), some, CPU, checkpoint, lambda event: shares.append(event.done / 100)
    )
    result = second.run()
    assert shares[0] > 0.4
    assert shares[-1] == pytest.approx(1.0)
    assert result.psnr.mean() > first.psnr().mean() - 0.5
    # All but the settling is done: a third run only rounds and settles.
    third = Personalizer(tiny_pack, crops, codes, latent(), some, CPU, checkpoint)
    again = third.run()
    assert third.at.steps[WEIGHTS] == second.at.steps[WEIGHTS]
    assert again.delta == result.delta
    # With a larger budget the tuning itself goes on.
    larger = dataclasses.replace(some, steps=2 * some.steps)
    shares.clear()
    fourth = Personalizer(
        tiny_pack, crops, codes, latent(), larger, CPU, checkpoint, lambda event: shares.append(event.done / 100)
    )
    fourth.tune()
    assert fourth.at.steps[WEIGHTS] == 18 > second.at.steps[WEIGHTS]
    assert 0.5 < shares[0] < 0.6


def test_work_goes_on_from_the_codes_and_the_latent_that_it_began_with(tiny_pack: ModelPack, tmp_path: Path) -> None:
    """What the networks make of the same clip with another number of threads differs in its last digits."""
    crops, codes = clip_of(tiny_pack)
    short = dataclasses.replace(QUICK, steps=8)
    checkpoint = Checkpoint(tmp_path / "work.safetensors", "work")
    first = Personalizer(tiny_pack, crops, codes, latent(), short, CPU, checkpoint)
    first.tune()
    nudged = dataclasses.replace(codes, pose=codes.pose + 1e-3, alpha=codes.alpha + 1e-4)
    again = Personalizer(tiny_pack, crops, nudged, latent() + np.float16(0.01), short, CPU, checkpoint)
    again.tune()
    assert torch.equal(again.start, first.start)
    assert torch.equal(again.pivot, first.pivot)
    assert torch.equal(again.table.values, first.table.values)


def test_a_checkpoint_of_other_work(tiny_pack: ModelPack, tmp_path: Path) -> None:
    rows, traces = [0, 2], [b"first", b"third"]
    path = tmp_path / "work.safetensors"
    mine = work_of(tiny_pack, rows, traces, QUICK)
    assert mine == work_of(tiny_pack, rows, traces, dataclasses.replace(QUICK, minutes=1.0, steps=99, processes=2))
    assert mine != work_of(tiny_pack, rows, traces, dataclasses.replace(QUICK, side=64))
    assert mine != work_of(tiny_pack, rows, traces[::-1], QUICK)
    assert mine != work_of(tiny_pack, [0, 3], traces, QUICK)
    Checkpoint(path, "other").store({"a": torch.zeros(1)}, {})
    with pytest.raises(OptionError, match="another clip"):
        Checkpoint(path, mine).load()
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(MediaError, match="no checkpoint"):
        Checkpoint(path, mine).load()


def test_a_plateau_shortens_the_work(tiny_pack: ModelPack) -> None:
    crops, codes = clip_of(tiny_pack)
    flat = dataclasses.replace(QUICK, steps=24, plateau_db=99.0, plateau_looks=2, look_steps=2)
    personalizer = Personalizer(tiny_pack, crops, codes, latent(), flat, CPU)
    personalizer.run()
    assert personalizer.at.skipped > 0
    assert personalizer.at.steps[WEIGHTS] < 18
    assert personalizer.at.steps[SETTLE] == 2


@pytest.mark.parametrize(("step_seconds", "spent"), [(5.0, 40.0), (20.0, 20.0)])
def test_minutes_hold_whatever_the_machine(
    tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch, step_seconds: float, spent: float
) -> None:
    """Set-up took 10 s, rounding takes as long as two steps; where that leaves nothing, one step has told so."""
    now = [100.0]
    monkeypatch.setattr(tuning, "time", SimpleNamespace(time=lambda: now[0], monotonic=lambda: now[0]))
    monkeypatch.setattr(budget, "ROUNDING_FRAMES", 2 * QUICK.batch * (QUICK.side / budget.PROBE_SIDE) ** 2)
    crops, codes = clip_of(tiny_pack)
    minute = dataclasses.replace(QUICK, steps=None, minutes=1.0, settle_share=0.0, plateau_looks=99)
    personalizer = Personalizer(tiny_pack, crops, codes, latent(), minute, CPU, begun=90.0)
    real = personalizer._step

    def step(*arguments: Any) -> None:
        now[0] += step_seconds
        real(*arguments)

    monkeypatch.setattr(personalizer, "_step", step)
    result = personalizer.run()
    assert result.seconds == pytest.approx(spent, abs=1)
    assert len(result.delta) <= QUICK.delta_bytes


def test_what_is_not_needed_decays(tiny_pack: ModelPack) -> None:
    crops, codes = clip_of(tiny_pack)

    def moved(decay: float) -> float:
        options = dataclasses.replace(QUICK, steps=12, decay=decay)
        personalizer = Personalizer(tiny_pack, crops, codes, latent(), options, CPU)
        personalizer.tune()
        changes = differences(personalizer.generator, personalizer.base)
        return float(sum(change.square().sum() for change in changes.values())) ** 0.5

    assert 0 < moved(20.0) < 0.8 * moved(0.0)


def test_coarser_means_fewer_bytes_and_more_noise(learnt: Personalized) -> None:
    measured = learnt.measured
    fine, rough = coded(measured, 1e-4), coded(measured, 1e-2)
    assert estimated_bytes(rough) < estimated_bytes(fine)
    assert measured.judge(rough) > measured.judge(fine)
    small = fitted(measured, 6_000, 90.0)
    large = fitted(measured, 60_000, 90.0)
    assert len(small) <= 6_000 < len(large)
    assert measured.judge(small.tensors) > measured.judge(large.tensors)
    loose = fitted(measured, 60_000, 30.0)
    assert len(loose) < len(large)
    error = -10 * np.log10(measured.judge(loose.tensors) / 4)
    assert 29.5 < error < 36  # what was asked for, by rendering
    assert measured.judge([]) > measured.judge(loose.tensors)


def test_other_configurations_of_coding(learnt: Personalized, tiny_pack: ModelPack) -> None:
    def made(**choice: Any) -> dict[str, DeltaTensor]:
        delta = GeneratorDelta.of(tiny_pack.digest, coded(learnt.measured, 1e-3, CodingConfiguration(**choice)))
        apply_delta(tiny_pack.generator(CPU), delta)
        return {tensor.name: tensor for tensor in delta.tensors}

    usual = made()
    affine = {name for name in usual if name.endswith(".affine.weight")}
    assert affine
    assert all((tensor.rank is not None) == (name in affine) for name, tensor in usual.items())
    assert all(tensor.rank is None for tensor in made(affine="rows").values())
    assert made(affine="none").keys() == usual.keys() - affine
    products = {name for name, tensor in made(rank=2).items() if tensor.rank == 2} - affine
    matrices = {name: change for name, change in learnt.measured.changes.items() if change.ndim == 4}
    assert products == {name for name, change in matrices.items() if min(len(change), change[0].size) > 2}
    levels, fewer = (sum(np.count_nonzero(t.levels) for t in found.values()) for found in (usual, made(rounding=0.35)))
    assert fewer < levels
    uneven, even = (
        sum(len(set(t.steps.tolist())) > 1 for name, t in found.items() if name not in affine)
        for found in (usual, made(uniform=True))
    )
    assert even < uneven


def test_projected_affines_act_on_the_person_as_before(learnt: Personalized) -> None:
    measured = learnt.measured
    for tensor in coded(measured, 1e-7):
        if tensor.rank is not None:
            basis = measured.bases[tensor.name].vectors
            wanted, found = measured.changes[tensor.name] @ basis.T, tensor.values @ basis.T
            assert np.abs(wanted - found).max() < 0.05 * np.abs(wanted).max() + 1e-4


def test_other_people_are_seen_to_change(tiny_pack: ModelPack, learnt: Personalized) -> None:
    random = torch.Generator().manual_seed(0)
    before = DifferentiableRenderer(tiny_pack, CPU)
    locality = LocalityLoss(before, ReconstructionLoss(tiny_pack, CPU, LossWeights(features=0.0)), random)
    pivot, codes = torch.from_numpy(learnt.latent.astype(np.float32)), torch.zeros(3, 34)
    assert float(locality(before, pivot, codes, 32)) == pytest.approx(0, abs=1e-6)
    after = DifferentiableRenderer(TunedPack(tiny_pack, learnt.delta), CPU)
    assert float(locality(after, pivot, codes, 32)) > 1e-4
    assert random_people(tiny_pack.generator(CPU), 3, random).shape == (3, 512)


def test_other_people_do_what_the_clip_does_and_more(tiny_pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer, seen = DifferentiableRenderer(tiny_pack, CPU), []
    locality = LocalityLoss(renderer, ReconstructionLoss(tiny_pack, CPU, LossWeights(features=0.0)), torch.Generator())
    plain = renderer.render

    def render(anchor: Anchor, codes: torch.Tensor, side: int, reference: bool = True) -> torch.Tensor:
        seen.append(codes)
        return plain(anchor, codes, side, reference)

    monkeypatch.setattr(renderer, "render", render)
    given = torch.full((4, 34), 0.1)
    locality(renderer, torch.zeros(18, 512), given, 32)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0][::2], given[::2])
    assert seen[0][1::2].std() > 0.3
    assert torch.equal(given, torch.full((4, 34), 0.1))


def test_upper_layers_are_judged_on_a_window(tiny_pack: ModelPack) -> None:
    before = DifferentiableRenderer(tiny_pack, CPU)
    tuned = apply_delta(before.generator, _bright(tiny_pack))
    for _, parameter in tunable(tuned):
        parameter.requires_grad_(True)
    renderer = DifferentiableRenderer(TunedPack(tiny_pack, generator=tuned), CPU)
    upper = UpperLayerLoss(before, 256, torch.Generator().manual_seed(0))
    anchor = renderer.anchor(torch.from_numpy(latent().astype(np.float32)))
    loss = upper(renderer, anchor, torch.zeros(1, 34))
    loss.backward()
    reached = {name.split(".")[1] for name, p in tunable(tuned) if p.grad is not None and bool(p.grad.any())}
    assert reached <= {"7", "8"}
    assert reached


def _bright(pack: ModelPack) -> GeneratorDelta:
    return GeneratorDelta.of(pack.digest, [DeltaTensor.quantised("blocks.8.to_rgb.bias", np.full(3, 0.5), 0.01)])


def test_detail_is_what_averaging_loses() -> None:
    flat = torch.ones(1, 3, 16, 16)
    assert float(detail(flat, 4)[..., 4:-4, 4:-4].abs().max()) < 1e-5
    noise_image = torch.randn(1, 3, 16, 16)
    assert float(detail(noise_image, 4).abs().mean()) > 0.1
