"""Train the identity net: rendered people as classes, with an additive angular margin (ArcFace, 1801.07698)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..nets.identity import IdentityNet
from .augment import wild
from .datasets import HeadsDataset
from .loop import Run, TrainOptions

SETTINGS = {
    "widths": [32, 64, 96, 128],
    "units": [2, 2, 2, 2],
    "embedding": 128,
    "crop": None,
    "stem_stride": 2,
    "dropout": 0.1,
}
BATCH = 48
MARGIN, SCALE = 0.3, 24.0


class Centres(nn.Module):
    """One learned direction per person."""

    def __init__(self, people: int, embedding: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people, embedding) * 0.1)


@torch.no_grad()
def evaluate(net: IdentityNet, data: HeadsDataset) -> dict[str, float]:
    """Held-out people: mean similarity of pairs of the same and of different people, and the verification accuracy."""
    device = next(net.parameters()).device
    parts = data.held_out(400, 32)
    vectors_of = (data.batch(part).to(device).pictures(256) for part in parts)
    vectors = torch.cat([net.embed_aligned(x) for x in vectors_of]).cpu()
    ids = torch.from_numpy(data.identity_id[np.concatenate(parts)])
    similarity, same = vectors @ vectors.t(), ids[:, None] == ids[None]
    pairs = torch.triu(torch.ones_like(same), 1)
    alike, other = similarity[same & pairs], similarity[~same & pairs]
    cut = torch.linspace(-1, 1, 201)[:, None]
    accuracy = 0.5 * ((alike > cut).float().mean(1) + (other <= cut).float().mean(1))
    return {"same": float(alike.mean()), "different": float(other.mean()), "accuracy": float(accuracy.max())}


def train(options: TrainOptions) -> dict[str, float]:
    """Train within the budget; resumes `work/identity.checkpoint.safetensors`."""
    data = HeadsDataset(options.data)
    torch.manual_seed(3)
    net = IdentityNet(**SETTINGS)  # type: ignore[arg-type]
    options.begin(net, "identity")
    net.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    people = {int(p): k for k, p in enumerate(np.unique(data.identity_id[data.train_rows]))}
    centres = Centres(len(people), net.embedding).to(options.device)
    optimizer = torch.optim.AdamW([*net.parameters(), *centres.parameters()], lr=1e-3, weight_decay=5e-4)
    run = Run("identity", options.work, {"identity": net, "centres": centres}, optimizer, options.minutes)
    rng = run.rng
    for _ in run.steps():
        rows = data.draw(options.batch(BATCH), rng)
        batch = data.batch(rows).to(options.device)
        x = net.prepare(wild(batch.pictures(256), batch.labels, rng))
        with options.autocast():
            vector = net.features(x.contiguous(memory_format=torch.channels_last))
        truth = torch.tensor([people[int(data.identity_id[r])] for r in rows], device=options.device)
        cosine = F.normalize(vector.float()) @ F.normalize(centres.weight).t()
        angle = torch.acos(cosine.gather(1, truth[:, None]).clamp(-0.999, 0.999))
        logits = SCALE * cosine.scatter(1, truth[:, None], torch.cos(angle + MARGIN))
        loss = F.cross_entropy(logits, truth)
        run.update(loss)
        run.log(len(x), loss=float(loss.detach()), accuracy=float((cosine.argmax(1) == truth).float().mean()))
    run.load_averages()
    return evaluate(net, data)
