"""Which frames become candidates, and which latent is sent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stylecodec.decoding.latents import LatentDecoder
from stylecodec.decoding.render import Renderer, to_uint8
from stylecodec.encoding.frames import FrameCodes
from stylecodec.encoding.identity.selection import Candidate, CandidatePool, select
from stylecodec.encoding.options import EncodeOptions
from stylecodec.packs.store import ModelPack

CPU = torch.device("cpu")


def codes(yaws: list[float]) -> FrameCodes:
    n = len(yaws)
    pose = np.stack([np.array(yaws), np.zeros(n)], axis=1).astype(np.float32)
    return FrameCodes(np.zeros((n, 18, 512), np.float16), pose, np.zeros((n, 32), np.float32))


def kept(yaws: list[float], batch: int = 7, **options: int) -> list[int]:
    pool = CandidatePool(EncodeOptions(**{"identity_average": 1, **options}))  # type: ignore[arg-type]
    crop = np.zeros((256, 256, 3), np.uint8)
    for start in range(0, len(yaws), batch):
        part = yaws[start : start + batch]
        pool.offer(range(start, start + len(part)), [crop] * len(part), codes(part))
    return [candidate.frame for candidate in pool.candidates()]


def test_short_clips_give_all_their_frontal_frames() -> None:
    assert kept([0.0, 30.0, -14.0, 16.0, 5.0]) == [0, 2, 4]


@pytest.mark.parametrize("count", [50, 333, 2000])
def test_candidates_are_few_and_spread(count: int) -> None:
    frames = kept([float(k % 3) for k in range(count)], identity_candidates=8)
    assert 5 <= len(frames) <= 8
    assert all(k % 3 == 0 for k in frames)  # the most frontal of each slot
    assert frames[-1] - frames[0] > count // 2


def test_the_batch_does_not_matter() -> None:
    yaws = [float(v) for v in np.random.default_rng(0).normal(0, 20, 300)]
    assert kept(yaws, batch=1) == kept(yaws, batch=64)


def test_a_clip_in_profile_still_has_candidates() -> None:
    assert kept([40.0 - k for k in range(20)], identity_candidates=16) == [15, 16, 17, 18, 19]


def test_no_face_no_candidates() -> None:
    assert kept([]) == []


def rendered(pack: ModelPack, latents: list[np.ndarray]) -> list[Candidate]:
    """Candidates whose crops are what their own latents look like."""
    decoder, renderer = LatentDecoder(pack, CPU), Renderer(pack, CPU, size=256)
    pose, alpha = np.array([3.0, -2.0], np.float32), np.full(32, 0.1, np.float32)
    candidates = []
    with torch.inference_mode():
        for k, latent in enumerate(latents):
            anchor = decoder.anchor(torch.from_numpy(latent)[None])
            styles = decoder.styles(anchor, torch.from_numpy(pose)[None], torch.from_numpy(alpha)[None])
            crop = to_uint8(renderer.pictures(styles))[0].numpy()
            candidates.append(Candidate(10 * k, crop, latent, pose, alpha, 0.1))
    return candidates


def random_latents(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.standard_normal((18, 512)).astype(np.float16) for _ in range(count)]


def test_the_frame_that_resembles_its_crop_most_wins(tiny_pack: ModelPack) -> None:
    candidates = rendered(tiny_pack, random_latents(4))
    spoilt = [
        c if k == 2 else Candidate(c.frame, 255 - c.crop, c.w_id, c.pose, c.alpha, c.turn)
        for k, c in enumerate(candidates)
    ]
    choice = select(spoilt, tiny_pack, CPU, EncodeOptions(identity_average=1))
    assert choice.frame == 20
    assert choice.averaged == 1
    assert choice.candidates == 4
    assert np.array_equal(choice.latent, candidates[2].w_id)
    assert -0.2 < choice.similarity <= 0  # no identity net: minus the RMS difference


def test_the_mean_is_sent_when_it_is_better(tiny_pack: ModelPack) -> None:
    """Every crop shows one person; every latent errs, in its own direction."""
    true = random_latents(1)[0]
    crop = rendered(tiny_pack, [true])[0]
    noise = np.random.default_rng(5).standard_normal((8, 18, 512)).astype(np.float32)
    noise -= noise.mean(axis=0)
    latents = (true.astype(np.float32) + 0.5 * noise).astype(np.float16)
    candidates = [Candidate(k, crop.crop, w, crop.pose, crop.alpha, 0.1) for k, w in enumerate(latents)]
    choice = select(candidates, tiny_pack, CPU, EncodeOptions(identity_average=8))
    assert choice.averaged == 8
    error = float(np.abs(choice.latent.astype(np.float32) - true).max())
    assert error < 0.02
    alone = select(candidates, tiny_pack, CPU, EncodeOptions(identity_average=1))
    assert alone.averaged == 1


class MeanColour(nn.Module):
    """An identity net that knows people by their mean colour, and counts the pictures it is shown."""

    seen = 0

    def embed_aligned(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return nn.functional.normalize(x.mean(dim=(2, 3)) + 1e-3)


def test_an_identity_net_is_used_where_there_is_one(tiny_pack: ModelPack) -> None:
    pack = ModelPack(tiny_pack.folder, tiny_pack.card)
    pack._built["identity", "cpu"] = MeanColour()
    pack.has = lambda role: role == "identity"  # type: ignore[method-assign]
    pack.network = lambda role, device="cpu": pack._built.get((role, "cpu")) or tiny_pack.network(role, device)  # type: ignore[method-assign]
    candidates = rendered(tiny_pack, random_latents(3))
    choice = select(candidates, pack, CPU, EncodeOptions(identity_average=1))
    assert choice.similarity == pytest.approx(1.0, abs=0.02)
    assert pack._built["identity", "cpu"].seen == 3 + 3  # the crops and their renderings

    pack._built["identity", "cpu"].seen = 0
    select(candidates, pack, CPU, EncodeOptions(identity_average=3))
    assert pack._built["identity", "cpu"].seen == 3 + 3 * 3  # the crops once, whatever they are compared with
