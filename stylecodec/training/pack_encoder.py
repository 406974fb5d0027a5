"""A hybrid encoder for any pack, taught by its own samples alone (2302.07848's network; no data is needed).

    z ─► w ─► turned by the flow to a random pose ─► A(.) ─► + random α ─► picture ─► damaged ─► encoder
    └──────────────┴──────────────────────────────────────┴─── what it is to say ◄──────────────────┘

α is drawn within the reach that Eq. 5 of 2203.14512 measured for each index, few indices far and most of them little,
as faces do. With the encoder in it, a pack of published networks encodes with the presets `fast` and `balanced`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..decoding.render import pick_dtype
from ..encoding.paper.indices import reach_of
from ..encoding.paper.rendering import Rendering
from ..encoding.personalization.locality import random_people
from ..errors import OptionError
from ..nets.feedforward import HybridEncoder
from ..packs.card import ALPHA_COUNT, DEFAULT_PACK, Pose
from ..packs.store import ModelPack, open_pack
from ..packs.writing import NetworkSource, StoredNetwork, put_networks
from .augment import blotches, compressed, degrade, jitter_colour, light_from_the_side, random_similarity, resample
from .encoder import SETTINGS
from .loop import Run

RUN = "pack_encoder"
SIDE = 256
BATCH = 16
RATE = 1e-3
NEAREST = 0.5  # psi of the samples: between this and 1
FEW = 0.3  # share of the indices that move far in one sample
SMALL = 0.25  # how far the others go, of their reach
TURNED = 0.45  # standard deviation of angles, of the pack's reach
WORN = 0.6  # share of the batches that are damaged
SEEING = ("stem.", "trunk.", "windows.", "motion.", "person.")  # parts of an encoder that no pack's numbers are in
HELD_OUT, HELD_OUT_SEED = 256, 987_654_321


@dataclass(frozen=True)
class PackTraining:
    """What to train and how long."""

    pack: Path | str
    work: Path
    minutes: float
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_scale: float = 1.0
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))

    @property
    def batch(self) -> int:
        """Pictures per step."""
        return max(1, round(BATCH * self.batch_scale))


@dataclass(frozen=True)
class Samples:
    """Pictures [n, 3, 256, 256] in [-1, 1], and what was drawn: w [n, 512], pose [n, 2] in degrees, α [n, 32]."""

    pictures: Tensor
    w: Tensor
    pose: Tensor
    alpha: Tensor


class Sampler:
    """Draws samples of a pack."""

    def __init__(self, pack: ModelPack, device: torch.device) -> None:
        self.rendering = Rendering(pack, device, SIDE, pick_dtype("bfloat16", device))
        self.pose, self.reach = pack.card.pose, reach_of(pack, device).to(device)

    @property
    def alpha_deviation(self) -> Tensor:
        """[32]: of what `alpha` draws."""
        share = FEW / 3 + (1 - FEW) * SMALL**2 / 3
        found: Tensor = self.reach * share**0.5
        return found

    @torch.no_grad()
    def __call__(self, count: int, random: torch.Generator) -> Samples:
        """`count` samples."""
        device, generator = self.rendering.device, self.rendering.generator
        w = random_people(generator, count, random)
        psi = NEAREST + (1 - NEAREST) * torch.rand(count, 1, generator=random).to(w)
        w = generator.mapping.w_avg + psi * (w - generator.mapping.w_avg)
        pose = _poses(self.pose, count, random).to(device)
        alpha = self.alpha(count, random)
        anchor = self.rendering.latents.anchor(w[:, None].expand(-1, generator.rows, -1))
        styles = self.rendering.latents.styles(anchor, pose, alpha)
        return Samples(self.rendering.pictures(styles).clamp(-1, 1), w, pose, alpha)

    def alpha(self, count: int, random: torch.Generator) -> Tensor:
        """[count, 32]: some indices anywhere within their reach, the others near zero."""
        far = torch.rand(count, ALPHA_COUNT, generator=random) < FEW
        place = 2 * torch.rand(count, ALPHA_COUNT, generator=random) - 1
        return torch.where(far, place, SMALL * place).to(self.reach) * self.reach


def _poses(reach: Pose, count: int, random: torch.Generator) -> Tensor:
    low, high = torch.tensor([reach.yaw, reach.pitch]).T
    drawn = torch.randn(count, 2, generator=random) * TURNED * (high - low) / 2
    return torch.minimum(torch.maximum(drawn, low), high)


def damaged(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures [n, 3, 256, 256] as cameras, light and alignment leave them."""
    x = blotches(light_from_the_side(jitter_colour(x)), rng)
    x = resample(x, random_similarity(len(x), shift=0.04, scale=0.05, degrees=3.0, device=x.device))
    return compressed(degrade(x, rng), rng)


def begin(pack: ModelPack, sampler: Sampler, settings: dict[str, Any]) -> HybridEncoder:
    """An encoder in the units of the pack's own samples.

    What it sees with is begun at the encoder that the pack has, or at that of the default pack, where those are built
    alike: faces are faces. Its words, w and α, are the pack's own.
    """
    rows, w_dim = sampler.rendering.generator.rows, sampler.rendering.generator.w_dim
    encoder = HybridEncoder(**{**settings, "rows": rows, "w_dim": w_dim})
    known = (pack if pack.has("feedforward") else open_pack(DEFAULT_PACK)).feedforward("cpu").state_dict()
    state = encoder.state_dict()
    if all(name in known and known[name].shape == one.shape for name, one in state.items() if name.startswith(SEEING)):
        encoder.load_state_dict({name: known[name] if name.startswith(SEEING) else state[name] for name in state})
    with torch.no_grad():
        w = random_people(sampler.rendering.generator, 512, torch.Generator().manual_seed(7)).cpu()
        encoder.latent_avg.copy_(w.mean(0))
        encoder.latent_std.copy_(w.std(0) + 1e-3)
        encoder.alpha_scale.copy_(sampler.alpha_deviation.cpu())
    return encoder


def loss_of(encoder: HybridEncoder, samples: Samples, pictures: Tensor) -> Tensor:
    """How far the encoder is from what was drawn: smooth L1 of pose and α, squares of w, in their standard units."""
    code = encoder(pictures.contiguous(memory_format=torch.channels_last))
    pose = F.smooth_l1_loss(code.pose / encoder.pose_scale, samples.pose / encoder.pose_scale, beta=0.2)
    alpha = F.smooth_l1_loss(code.alpha / encoder.alpha_scale, samples.alpha / encoder.alpha_scale)
    near = ((code.w_id - samples.w[:, None]) / encoder.latent_std).square().mean()
    loss: Tensor = pose + alpha + 0.3 * near
    return loss


@torch.no_grad()
def evaluate(encoder: HybridEncoder, sampler: Sampler, count: int = HELD_OUT) -> dict[str, float]:
    """On samples that it never saw: correlation of α (mean and worst index), error of pose, share of w explained."""
    random = torch.Generator().manual_seed(HELD_OUT_SEED)
    found, true, angles, near = [], [], [], []
    for start in range(0, count, BATCH):
        samples = sampler(min(BATCH, count - start), random)
        code = encoder(samples.pictures)
        found.append(code.alpha)
        true.append(samples.alpha)
        angles.append((code.pose - samples.pose).abs())
        near.append(((code.w_id.mean(1) - samples.w) / encoder.latent_std).square().mean())
    a, b = torch.cat(found), torch.cat(true)
    a, b = a - a.mean(0), b - b.mean(0)
    correlation = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0) + 1e-9)
    error = torch.cat(angles).mean(0)
    return {
        "alpha_correlation": float(correlation.mean()),
        "alpha_correlation_worst": float(correlation.min()),
        "yaw_error": float(error[0]),
        "pitch_error": float(error[1]),
        "w_error": float(torch.stack(near).mean()),
    }


def train(options: PackTraining) -> dict[str, float]:
    """Train within the budget; resumes the checkpoint in `work`. The pack gets the encoder as its feed-forward one.

    OptionError for a pack that comes with stylecodec, which nothing changes.
    """
    pack = open_pack(options.pack)
    check_pack(pack)
    torch.manual_seed(11)
    sampler = Sampler(pack, options.device)
    encoder = begin(pack, sampler, options.settings)
    encoder.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(encoder.parameters(), lr=RATE, betas=(0.9, 0.99))
    run = Run(RUN, options.work, {"encoder": encoder}, optimizer, options.minutes)
    random, dtype = torch.Generator().manual_seed(1_000 + run.step), sampler.rendering.dtype
    for _ in run.steps():
        samples = sampler(options.batch, random)
        worn = run.rng.random() < WORN
        pictures = damaged(samples.pictures, run.rng) if worn else samples.pictures
        with torch.autocast(options.device.type, dtype, enabled=dtype != torch.float32):
            loss = loss_of(encoder, samples, pictures)
        run.update(loss, limit=2.0)
        run.log(len(pictures), loss=float(loss.detach()))
    run.load_averages()
    figures = evaluate(encoder, sampler)
    params = {**options.settings, "rows": encoder.rows, "w_dim": encoder.w_dim}
    origin = "stylecodec train encoder --pack, on samples of the pack"
    source = NetworkSource(encoder.eval().cpu(), params, pack.card.licence, origin)
    notes = {**pack.card.training, "feedforward": {"minutes": options.minutes, **figures}}
    put_networks(pack.folder, {"feedforward": StoredNetwork.of("feedforward", source)}, pack.card, training=notes)
    return figures


def check_pack(pack: ModelPack) -> None:
    """OptionError for a pack that comes with stylecodec, PackNotFound for one that cannot be sampled."""
    pack.require(("generator", "flow"), "training an encoder on samples")
    if Path(__file__).parents[1] in pack.folder.resolve().parents:
        raise OptionError(
            f"the pack {pack.name} comes with stylecodec and is left as it is; copy its folder, or import another one"
        )
