"""The clips of real people by name: what they were used for, and how tables call them. They are not in the repository.

Constants of the codec, and the tables of its entropy coder, were settled on the clips of DEVELOPED_ON. Figures on them
say how well it does where it was made to do well. VALIDATION was measured at the end of a stage and never chosen by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

DEVELOPED_ON: Mapping[str, str] = MappingProxyType({"d0": "A", "d10": "B", "d18": "C", "d9": "D", "s20": "E"})
"""{file stem: the letter in tables}."""

SHOWS: Mapping[str, str] = MappingProxyType(
    {
        "A": "smiles, grins",
        "B": "speech, wide mouths",
        "C": "grimaces, shouting",
        "D": "glasses, puffed cheeks",
        "E": "the camera moves, head turns",
    }
)
VALIDATION: Mapping[str, str] = MappingProxyType({"d3": "V1", "d6": "V2", "s29": "V3"})
EXAMPLE = "talk"
"""The clip in examples/: drawn by this project's renderer, its voice by espeak-ng."""


def label(name: str) -> str:
    """How a clip is called in tables: by its letter, or by its own name where it is none of the sets'."""
    stem = Path(name).stem
    return DEVELOPED_ON.get(stem) or VALIDATION.get(stem) or stem


def group(name: str) -> str:
    """What a clip was used for."""
    stem = Path(name).stem
    if stem == EXAMPLE:
        return "the example clip"
    if stem in DEVELOPED_ON:
        return "developed on"
    return "validation" if stem in VALIDATION else "other"


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order of their labels."""
    return sorted(names, key=lambda name: (label(name), name))
