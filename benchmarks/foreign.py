"""Does `train encoder --pack` teach an encoder for a generator that stylecodec did not make its own way?

    python -m benchmarks.foreign work/
    python -m benchmarks.foreign work/ --generator-minutes 3 --encoder-minutes 8
    python -m benchmarks.foreign work/ --clip clips/d10.mp4

A foreign generator is trained first: another seed and other widths than those of the packs that come with stylecodec,
no channels designed for expressions, which are in its z as a GAN has them. It imitates pictures of the default pack at
64² (the layers above add nothing), turned by a flow of its own. Then, by the same functions as the commands:

    models indices        its 32 channels by Eq. 5, blind
    train encoder --pack  a hybrid encoder from the pack's own samples
    encode --preset fast  a clip, if there is one: PSNR of the head

Every stage is kept in the work folder and resumed there; minutes are those of this machine. Figures are of samples
that the encoder never saw.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import RESULTS, save, table
from benchmarks.presets import inputs_of, outputs_of
from benchmarks.provenance import provenance
from stylecodec import api
from stylecodec.encoding.options import FAST, OFF, EncodeOptions
from stylecodec.encoding.paper.indices import IndexOptions, find_indices
from stylecodec.encoding.paper.rendering import Rendering
from stylecodec.encoding.personalization.locality import random_people
from stylecodec.metrics.psnr import picture_psnr
from stylecodec.nets.styleflow import HeadPoseFlow, small_start
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import ModelPack, open_pack
from stylecodec.packs.writing import NetworkSource, update_card, write_pack
from stylecodec.training.avatar import FLOW_SETTINGS
from stylecodec.training.loop import Run
from stylecodec.training.pack_encoder import PackTraining, train

CHANNELS = {4: 64, 8: 64, 16: 64, 32: 48, 64: 32, 128: 4, 256: 4, 512: 4, 1024: 4}
SEED, Z = 77, 64
TAUGHT = 64  # pixels per side at which it imitates
BATCH, RATE = 12, 2e-3
FACE, MOVED = 1.0, 1.0  # deviations of the teacher's people and of its α
LENT = ("parser", "landmarks", "identity", "face_mesh", "lpips_heads")  # networks that know no generator
INDICES = IndexOptions(people=3, side=TAUGHT, screened=128)
CPU = torch.device("cpu")


class Foreign(torch.nn.Module):
    """Generator and flow, and what they imitate."""

    def __init__(self, teacher: ModelPack) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            self.generator = Generator(**self.params())
            self.flow = HeadPoseFlow(self.generator.w_dim, **FLOW_SETTINGS)  # type: ignore[arg-type]
        small_start(self.flow)
        with torch.no_grad():
            for block, size in zip(self.generator.blocks, self.generator.resolutions, strict=True):
                if size > TAUGHT:
                    block.to_rgb.weight.zero_()  # type: ignore[union-attr, operator]
        self.rows = teacher.card.pose.rows

    @staticmethod
    def params() -> dict[str, Any]:
        """What the registry builds the generator with."""
        channels = {str(side): width for side, width in CHANNELS.items()}
        return {"resolution": 1024, "channels": channels, "z_dim": Z, "mapping_layers": 3, "mapping_lr": 0.1}

    def pictures(self, z: Tensor, pose: Tensor) -> Tensor:
        """z [n, Z], pose [n, 2] in degrees -> [n, 3, TAUGHT, TAUGHT]."""
        w = self.generator.mapping(z)
        turned = self.flow.reverse(self.flow(w[:, None], torch.zeros_like(pose)), pose)
        still = w[:, None].expand(-1, self.generator.rows - self.rows, -1)
        latents = torch.cat([turned.expand(-1, self.rows, -1), still], dim=1)
        return self.generator.synthesis(self.generator.styles(latents), False, TAUGHT)


class Teacher:
    """Pictures of the default pack by the foreign generator's z: half of it is who, half what the face does."""

    def __init__(self, pack: ModelPack) -> None:
        self.rendering = Rendering(pack, CPU, TAUGHT)
        random = torch.Generator().manual_seed(SEED)
        self.people = random_people(self.rendering.generator, Z // 2, random) - self.rendering.generator.mapping.w_avg
        self.moves = torch.randn(Z // 2, 32, generator=random) / (Z // 2) ** 0.5
        self.scale = pack.feedforward(CPU).alpha_scale.detach()
        self.pose = torch.tensor([pack.card.pose.yaw[1], pack.card.pose.pitch[1]])

    @torch.no_grad()
    def __call__(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """z [n, Z], pose [n, 2], pictures [n, 3, TAUGHT, TAUGHT]."""
        z = torch.randn(count, Z, generator=random)
        z = z * z.square().mean(dim=1, keepdim=True).rsqrt()
        pose = (torch.randn(count, 2, generator=random) * self.pose / 3).clamp(-self.pose, self.pose)
        half = Z // 2
        w = self.rendering.generator.mapping.w_avg + FACE * z[:, :half] @ self.people / half**0.5
        alpha = MOVED * z[:, half:] @ self.moves * self.scale
        anchor = self.rendering.latents.anchor(w[:, None].expand(-1, self.rendering.generator.rows, -1))
        made = self.rendering.pictures(self.rendering.latents.styles(anchor, pose, alpha))
        return z, pose, made.clamp(-1, 1)


def generator_of(work: Path, minutes: float) -> Path:
    """The foreign pack, without indices of its own and without an encoder; trained where it is not there."""
    folder, teacher = work / "generator", open_pack(DEFAULT_PACK)
    if folder.exists():
        return folder
    model, lesson = Foreign(teacher), Teacher(teacher)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.5, 0.99))
    run = Run("foreign", work / "run", {"model": model}, optimizer, minutes)
    random = torch.Generator().manual_seed(SEED + run.step)
    for _ in run.steps():
        z, pose, wanted = lesson(BATCH, random)
        made = model.pictures(z, pose)
        coarse = F.l1_loss(F.avg_pool2d(made, 4), F.avg_pool2d(wanted, 4))
        loss = F.l1_loss(made, wanted) + coarse
        run.update(loss, limit=5.0)
        run.log(BATCH, loss=float(loss.detach()))
    run.load_averages()
    with torch.no_grad():
        inputs = torch.randn(4096, Z, generator=random)
        model.generator.mapping.w_avg.copy_(model.generator.mapping(inputs).mean(dim=0))
    networks = {
        "generator": NetworkSource(model.generator, Foreign.params(), "MIT", "benchmarks.foreign"),
        "flow": NetworkSource(model.flow, FLOW_SETTINGS, "MIT", "benchmarks.foreign"),
        **{role: NetworkSource.of(teacher, role) for role in LENT},
    }
    card = teacher.card
    write_pack(
        folder,
        networks,
        name="foreign-1024",
        licence="MIT",
        resolution=1024,
        indices=tuple((layer, channel) for layer in (5, 6, 8, 9) for channel in range(8)),
        alignment=card.alignment,
        pose=card.pose,
        calibration=card.calibration,
        training={"made_by": "benchmarks.foreign", "seed": SEED, "steps": run.step},
    )
    return folder


def with_indices(work: Path, folder: Path) -> Path:
    """A copy of the pack with the indices that Eq. 5 finds."""
    copy = work / "pack"
    if not copy.exists():
        pack = open_pack(folder)
        found = find_indices(pack, CPU, INDICES)
        staging = work / "pack.part"
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(folder, staging)
        calibration = {**pack.card.calibration, **found.calibrations("benchmarks.foreign")}
        update_card(staging, indices=found.indices, calibration=calibration)
        staging.rename(copy)
    return copy


def encoded(clip: Path, pack: ModelPack, work: Path, seconds: float) -> dict[str, float]:
    """The clip through `fast` with the pack: PSNR of the head."""
    options = EncodeOptions(
        device="cpu", duration=seconds, align="landmarks", audio=False, preset=FAST, likeness=OFF, pack=pack.folder
    )
    stream = work / "out.stc"
    report = api.encode(clip, stream, options)
    squares, there = inputs_of(clip, pack, seconds)
    pairs = zip(squares, outputs_of(stream, pack), there, strict=True)
    quality = [picture_psnr(a, b) for a, b, found in pairs if found]
    return {"frames": report.frames, "bytes": report.bytes["total"], "psnr": sum(quality) / len(quality)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.foreign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for the pack, the indices and checkpoints")
    parser.add_argument("--generator-minutes", type=float, default=20.0, help="(default: %(default)s)")
    parser.add_argument("--encoder-minutes", type=float, default=60.0, help="(default: %(default)s)")
    parser.add_argument("--clip", type=Path, help="a video to encode with it by --preset fast")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the video (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "foreign.json")
    arguments = parser.parse_args(argv)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    begun = time.process_time()
    folder = with_indices(work, generator_of(work, arguments.generator_minutes))
    figures: dict[str, Any] = dict(train(PackTraining(folder, work / "encoder", arguments.encoder_minutes)))
    pack = open_pack(folder)
    row = {"channels": sum(entry.channels for entry in pack.generator(CPU).layout.layers), **figures}
    row["cpu_seconds"] = time.process_time() - begun
    if arguments.clip is not None:
        row |= {f"fast_{name}": value for name, value in encoded(arguments.clip, pack, work, arguments.seconds).items()}
    print(table([row]))
    save(arguments.results, provenance(pack, vars(arguments)), row)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
