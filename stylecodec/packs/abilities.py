"""What a pack can do with the networks that it has, and what it lacks for the rest: roles, and files to bring."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PackNotFound
from .card import STREAM_ROLES, PackCard
from .upstream.published import PUBLISHED

STREAM_RESOLUTION = 1024  # a stream's identity has 18 rows, which a generator of this size takes
MAKES_STREAMS = "encode --preset {}"
ENCODE_ROLES = (*STREAM_ROLES, "feedforward")  # all presets but the paper's begin with the feed-forward codes
PAPER_ROLES = (*STREAM_ROLES, "inversion")
PERCEPTUAL = ("lpips_alex", "lpips_vgg", "parser")  # one of them compares pictures for the paper's preset
PRESET_ROLES = {"fast": ENCODE_ROLES, "balanced": ENCODE_ROLES, "paper": PAPER_ROLES}

_FILES = {
    "generator": ("stylegan2-tf", "stylegan2-nvidia", "stylegan2-port"),
    "flow": ("styleflow",),
    "inversion": ("e4e", "restyle"),
    "identity": ("irse",),
    "parser": ("bisenet",),
    "predictor": ("dlib81",),
    "lpips_alex": ("lpips-alex",),
    "lpips_vgg": ("lpips-vgg",),
    "dists_heads": ("dists-heads",),
    "inception": ("inception",),
    "i3d": ("i3d",),
}
"""The published files that fill a role."""
ROLES_TO_BRING = frozenset({*_FILES, "feedforward"})


@dataclass(frozen=True)
class Ability:
    """One thing to do, the roles it needs, and those of them that the pack lacks."""

    what: str
    needs: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def works(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def bring(self) -> tuple[str, ...]:
        """For each missing role how to get it, as `to_bring` has it."""
        return tuple(to_bring(role) for role in self.missing)


_ABILITIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("decode and puppet streams made with this pack", STREAM_ROLES),
    *((MAKES_STREAMS.format(preset), roles) for preset, roles in PRESET_ROLES.items()),
    ("invert pictures into W+", ("inversion",)),
    ("compare identities", ("identity",)),
    ("parse faces", ("parser",)),
    ("landmarks of the pack's own network", ("landmarks",)),
    ("landmarks by a dlib predictor (encode --landmarks predictor)", ("predictor",)),
    ("perceptual distance, AlexNet", ("lpips_alex",)),
    ("perceptual distance, VGG-16", ("lpips_vgg",)),
    ("perceptual distance DISTS (evaluate)", ("lpips_vgg", "dists_heads")),
    ("Fréchet distance of pictures, FID (evaluate)", ("inception",)),
    ("Fréchet distance of clips, FVD (evaluate)", ("i3d",)),
)


def to_bring(role: str) -> str:
    """How a pack gets a role that it lacks: the file to import, or the command."""
    if role == "feedforward":
        return "stylecodec train encoder --pack NAME, which needs no file"
    files = [PUBLISHED[key].files for key in _FILES.get(role, ())]
    return " or ".join(files) if files else role


def abilities(card: PackCard) -> tuple[Ability, ...]:
    """Everything that packs are used for, and whether this one serves."""
    found = []
    for what, needs in _ABILITIES:
        if needs == ("inversion",) and needs[0] in card.networks and card.networks["inversion"].kind == "restyle":
            needs = ("inversion", "generator")  # it corrects pictures of the generator
        if needs == PAPER_ROLES:
            needs = (*needs, next((role for role in PERCEPTUAL if role in card.networks), PERCEPTUAL[0]))
        missing = [role for role in needs if role not in card.networks]
        if set(STREAM_ROLES) <= set(needs) and card.resolution != STREAM_RESOLUTION:
            missing.append(f"a generator of {STREAM_RESOLUTION} pixels")
        found.append(Ability(what, needs, tuple(missing)))
    return tuple(found)


def require_preset(card: PackCard, preset: str) -> None:
    """PackNotFound, naming what to bring, when a pack lacks networks that a preset needs."""
    known = {one.what: one for one in abilities(card)}
    of_presets = [known[MAKES_STREAMS.format(name)] for name in PRESET_ROLES]
    wanted = known[MAKES_STREAMS.format(preset)]
    if wanted.works:
        return
    roles = [role for role in wanted.missing if role in ROLES_TO_BRING]
    if not roles:
        raise PackNotFound(f"pack {card.name} has not {' and not '.join(wanted.missing)}, which {wanted.what} needs")
    bring = "; ".join(f"{role}: {to_bring(role)}" for role in roles)
    others = ", ".join(name for name, one in zip(PRESET_ROLES, of_presets, strict=True) if one.works)
    instead = f"; it can do --preset {others}" if others else ""
    raise PackNotFound(
        f"pack {card.name} has no {' and no '.join(roles)} network, which {wanted.what} needs; to bring: {bring} "
        f"(it has: {', '.join(card.networks)}){instead}"
    )
