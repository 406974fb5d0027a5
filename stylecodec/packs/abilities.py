"""What a pack can do with the networks that it has, and what it lacks for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from .card import STREAM_ROLES, PackCard

STREAM_RESOLUTION = 1024  # a stream's identity has 18 rows, which a generator of this size takes
MAKES_STREAMS = "encode"
ENCODE_ROLES = (*STREAM_ROLES, "feedforward")  # every preset begins with the feed-forward codes


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


_ABILITIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("decode and puppet streams made with this pack", STREAM_ROLES),
    (MAKES_STREAMS, ENCODE_ROLES),
    ("invert pictures into W+", ("inversion",)),
    ("compare identities", ("identity",)),
    ("parse faces", ("parser",)),
    ("landmarks of the pack's own network", ("landmarks",)),
    ("landmarks by a dlib predictor (encode --landmarks predictor)", ("predictor",)),
    ("perceptual distance, AlexNet", ("lpips_alex",)),
    ("perceptual distance, VGG-16", ("lpips_vgg",)),
)


def abilities(card: PackCard) -> tuple[Ability, ...]:
    """Everything that packs are used for, and whether this one serves."""
    found = []
    for what, needs in _ABILITIES:
        if needs == ("inversion",) and needs[0] in card.networks and card.networks["inversion"].kind == "restyle":
            needs = ("inversion", "generator")  # it corrects pictures of the generator
        missing = [role for role in needs if role not in card.networks]
        if set(STREAM_ROLES) <= set(needs) and card.resolution != STREAM_RESOLUTION:
            missing.append(f"a generator of {STREAM_RESOLUTION} pixels")
        found.append(Ability(what, needs, tuple(missing)))
    return tuple(found)
