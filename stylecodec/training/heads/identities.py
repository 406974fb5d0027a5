"""Who is in the picture: one vector of numbers per person, and how people are drawn at random.

The vector says everything: shape, colours, hair, glasses, clothes, background and light. Together with expression,
gaze and pose it determines the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from stylecodec.errors import OptionError
from stylecodec.training.heads.assets import Floats
from stylecodec.training.heads.glasses import GLASSES_NAMES
from stylecodec.training.heads.hair import STYLE_NAMES
from stylecodec.training.heads.model import HeadModel, unit

SAMPLER_VERSION = 2
SEED = 1  # of all random streams; a version that only adds a field draws everybody else as before
HELD_OUT = 1_000_000  # identity ids from here on are never trained on
OPENING_RANGE = (0.84, 1.20)  # accepted eye opening against the mean head; beyond it people stare or sleep

RGB = ("r", "g", "b")
XYZ = ("x", "y", "z")
# Order of the vector. Colours are linear RGB; lengths in cm; angles of the light as unit vectors in camera space.
FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("shape", tuple(f"{i:02d}" for i in range(60))),  # ICT identity coefficients, about N(0, 0.85)
    ("female", ("",)),  # 0 or 1: which tables the rest was drawn from
    ("eye_size", ("",)),
    ("lid", ("",)),  # upper lid height, fraction of the iris radius
    ("skin", RGB),
    ("hair", RGB),
    ("brow", RGB),
    ("iris_inner", RGB),
    ("iris_outer", RGB),
    ("lip", RGB),
    ("lip_strength", ("",)),
    ("blush", ("",)),
    ("eye_shadow", ("",)),
    ("eye_liner", ("",)),
    ("lashes", ("",)),
    ("rosy", ("",)),
    ("gloss", ("",)),
    ("brow_thickness", ("",)),
    ("stubble", ("",)),
    ("beard_length", ("",)),  # 0 = none
    ("iris_radius", ("",)),  # radians
    ("pupil", ("",)),  # fraction of the iris radius
    ("collar", ("",)),  # height in cm
    ("cloth", RGB),
    ("backdrop_low", RGB),
    ("backdrop_high", RGB),
    ("backdrop_tilt", ("",)),
    ("blob_colour", RGB),
    ("blob_place", ("x", "y")),
    ("blob_radius", ("",)),
    ("blob_strength", ("",)),
    ("key_direction", XYZ),
    ("key_colour", RGB),
    ("fill_direction", XYZ),
    ("fill_colour", RGB),
    ("rim_direction", XYZ),
    ("rim_colour", RGB),
    ("sky", RGB),
    ("ground", RGB),
    ("part_side", ("",)),  # -1 or 1
    ("hair_style", STYLE_NAMES),  # one-hot
    ("glasses_style", GLASSES_NAMES),  # one-hot
    ("glasses_colour", RGB),
    ("mouth_light", ("",)),  # share of the light that reaches the depth of an open mouth
)
SLICES: dict[str, slice] = {}
_start = 0
for _name, _parts in FIELDS:
    SLICES[_name] = slice(_start, _start + len(_parts))
    _start += len(_parts)
VECTOR_SIZE = _start
VECTOR_NAMES: tuple[str, ...] = tuple(f"{n}.{p}" if p else n for n, parts in FIELDS for p in parts)


class Identity:
    """A vector [VECTOR_SIZE] float32 with names; `identity['skin']` is a view of its field."""

    def __init__(self, vector: ArrayLike | None = None) -> None:
        self.vector: Floats = np.zeros(VECTOR_SIZE, np.float32)
        if vector is not None:
            given = np.asarray(vector, np.float32)
            if given.shape != (VECTOR_SIZE,):
                raise OptionError(f"an identity vector has {VECTOR_SIZE} numbers, not {given.shape}")
            self.vector[:] = given

    def __getitem__(self, field: str) -> Floats:
        return self.vector[SLICES[field]]

    def __setitem__(self, field: str, value: ArrayLike) -> None:
        self.vector[SLICES[field]] = value

    def number(self, field: str) -> float:
        """A field of one entry."""
        return float(self[field][0])

    @property
    def hair_style(self) -> str:
        return STYLE_NAMES[int(self["hair_style"].argmax())]

    @property
    def glasses_style(self) -> str:
        return GLASSES_NAMES[int(self["glasses_style"].argmax())]

    def choose(self, field: str, name: str) -> None:
        """Sets a one-hot field."""
        names = dict(FIELDS)[field]
        self[field] = 0.0
        self[field][names.index(name)] = 1.0


def linear(hexadecimal: str) -> Floats:
    """sRGB 'rrggbb' -> linear RGB [3], 0..1 (gamma 2.2)."""
    return np.array([int(hexadecimal[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32) ** 2.2


def _palette(*colours: str) -> Floats:
    return np.stack([linear(c) for c in colours])


SKIN_RAMP = _palette("472f23", "5d3e2c", "784f38", "94644a", "ac7d5e", "c19574", "d4a88a", "e2b596", "edc6ac")
HAIR_RAMP = _palette("17120f", "2b1d14", "402a1a", "5c3c24", "7d5633", "a57c4c", "c9a568", "dfc48e")
HAIR_RED = _palette("6a2c16", "93411c", "b3592b")
HAIR_GREY = _palette("55524f", "85817d", "b9b5b0")
IRISES = (
    ("2e1a0e", "6b421f"),
    ("3a2412", "8a5a2a"),
    ("20445e", "6fa3c4"),
    ("2b5a72", "9cc6dc"),
    ("35512f", "8aa766"),
    ("4a5a5e", "a9bcc0"),
    ("4a3b1c", "a88a48"),
    ("1c120c", "4a2f1c"),
)
CLOTHES = _palette("22303f", "7a2e2e", "2f5a4a", "d8d2c4", "35353a", "5a4a78", "c08a3a", "8fa6b8", "30405e", "b85a52")
LIPSTICKS = _palette("b0303c", "c2505a", "a03a4a", "d0706a", "8a2a3a", "c86464")
FRAMES = _palette("141416", "3a2418", "5a4632", "7a7d84", "a88a54", "243048", "6a2430")
STYLES_FEMALE = ("bob", "long", "wavy", "curly", "bun", "pixie", "bangs", "bobbangs")
STYLES_MALE = ("buzz", "crop", "sidepart", "slick", "curly", "quiff", "crop", "sidepart", "bald")


def _along(ramp: Floats, t: float) -> Floats:
    """Linear interpolation in a ramp [N, 3] at t in 0..1."""
    x = float(np.clip(t, 0, 1)) * (len(ramp) - 1)
    i = min(int(x), len(ramp) - 2)
    return np.asarray(ramp[i] + (x - i) * (ramp[i + 1] - ramp[i]), np.float32)


def _pick(rng: np.random.Generator, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def _tinted(hue: float, saturation: float, value: float) -> Floats:
    """Linear RGB from HSV (display-referred)."""
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hue) % 6
    rgb = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.asarray(rgb, np.float32) ** 2.2


def _draw_shape(p: Identity, model: HeadModel, rng: np.random.Generator, mean_opening: float) -> None:
    female = p.number("female") > 0.5
    shape: Floats = np.zeros(model.shape_size, np.float32)
    for _ in range(20):
        shape = rng.normal(0, 0.85, model.shape_size).astype(np.float32)
        shape[:3] *= 0.9
        shape += model.softness * np.float32(rng.normal(2.0, 0.4) if female else rng.normal(-0.4, 0.5))
        ratio = model.eye_opening(model.raw_shape(shape)) / mean_opening
        if OPENING_RANGE[0] <= ratio <= OPENING_RANGE[1]:
            break
    p["shape"][: model.shape_size] = shape
    p["eye_size"] = rng.uniform(1.06, 1.14) if female else rng.uniform(1.02, 1.10)
    p["lid"] = rng.uniform(0.52, 0.80)
    p["iris_radius"] = rng.uniform(0.365, 0.405)
    p["pupil"] = rng.uniform(0.36, 0.46)


def _draw_colours(p: Identity, rng: np.random.Generator) -> None:
    tone = rng.random()
    skin = np.clip(_along(SKIN_RAMP, tone) * (1 + rng.uniform(-0.04, 0.04, 3)), 0, 1)
    kind, t = rng.random(), rng.random()
    ramp = HAIR_RAMP if kind < 0.76 else HAIR_RED if kind < 0.88 else HAIR_GREY
    hair = _along(ramp, t) * rng.uniform(0.85, 1.1)
    p["skin"], p["hair"] = skin, hair
    brow = hair * np.array([0.5, 0.42, 0.35])
    p["brow"] = brow * min(1.0, 0.16 / float(brow.max()))
    brown = rng.random() < np.interp(tone, [0.35, 0.8], [0.97, 0.25])
    inner, outer = IRISES[int(rng.choice([0, 1, 7] if brown else [2, 3, 4, 5, 6]))]
    p["iris_inner"], p["iris_outer"] = linear(inner), linear(outer)
    female = p.number("female") > 0.5
    lip = np.clip(skin * np.array([0.94, 0.52, 0.50]) * np.interp(tone, [0.2, 0.5], [1.15, 1.0]), 0, 1)
    if female and rng.random() < 0.5:
        lip = 0.5 * lip + 0.5 * LIPSTICKS[int(rng.integers(len(LIPSTICKS)))]
    p["lip"] = lip
    p["lip_strength"] = rng.uniform(0.75, 1.0) if female else rng.uniform(0.55, 0.8)
    p["blush"] = rng.uniform(0.15, 0.6) if female else rng.uniform(0, 0.25)
    p["eye_shadow"] = rng.uniform(0.1, 0.5) if female else rng.uniform(0, 0.15)
    p["eye_liner"] = rng.uniform(0.45, 0.9) if female else rng.uniform(0.25, 0.5)
    p["lashes"] = rng.uniform(0.8, 1.05) if female else rng.uniform(0.45, 0.65)
    p["brow_thickness"] = rng.uniform(0.60, 0.85) if female else rng.uniform(0.90, 1.30)
    p["rosy"], p["gloss"] = rng.uniform(0.3, 0.9), rng.uniform(0.6, 1.1)
    p["cloth"] = CLOTHES[int(rng.integers(len(CLOTHES)))] * rng.uniform(0.85, 1.15)
    p["collar"] = rng.uniform(-11.3, -9.5)


def _draw_hair(p: Identity, rng: np.random.Generator) -> None:
    female = p.number("female") > 0.5
    p.choose("hair_style", _pick(rng, STYLES_FEMALE if female else STYLES_MALE))
    p["part_side"] = rng.choice([-1.0, 1.0])
    roll = rng.random()
    if not female:
        p["stubble"] = 0.0 if roll < 0.45 else rng.uniform(0.15, 0.5)
        if roll > 0.68:
            p["beard_length"], p["stubble"] = rng.uniform(0.35, 1.1), 0.95
    p.choose("glasses_style", "none" if rng.random() > 0.15 else _pick(rng, GLASSES_NAMES[1:]))
    p["glasses_colour"] = FRAMES[int(rng.integers(len(FRAMES)))]


def _draw_scene(p: Identity, rng: np.random.Generator) -> None:
    hue, value = rng.random(), rng.uniform(0.25, 0.92)
    other = hue + rng.normal(0, 0.05)
    spread = rng.uniform(0.04, 0.16)
    p["backdrop_low"] = _tinted(hue % 1, rng.uniform(0.02, 0.23), float(np.clip(value - spread, 0.12, 1)))
    p["backdrop_high"] = _tinted(other % 1, rng.uniform(0.02, 0.22), float(np.clip(value + spread, 0.12, 1)))
    p["backdrop_tilt"] = rng.uniform(-0.5, 0.5)
    p["blob_colour"] = _tinted((hue + rng.normal(0, 0.12)) % 1, rng.uniform(0.0, 0.3), float(rng.uniform(0.4, 1)))
    p["blob_place"], p["blob_radius"] = rng.uniform(-0.9, 0.9, 2), rng.uniform(0.5, 1.0)
    p["blob_strength"] = 0.0 if rng.random() < 0.4 else rng.uniform(0.15, 0.55)
    around, above = np.deg2rad(rng.uniform(-45, 45)), np.deg2rad(rng.uniform(18, 42))
    key = [np.sin(around) * np.cos(above), np.sin(above), np.cos(around) * np.cos(above)]
    warm, tint = rng.uniform(-0.08, 0.10), rng.uniform(-0.04, 0.04)
    away = -1.0 if np.sin(around) > 0 else 1.0
    p["key_direction"] = key
    p["key_colour"] = np.array([1 + warm, 1.0, 1 - warm]) * rng.uniform(1.05, 1.40)
    p["fill_direction"] = unit(np.array([0.75 * away, 0.15, 0.65]))
    p["fill_colour"] = np.array([0.94 - tint, 0.97, 1.04 + tint]) * rng.uniform(0.28, 0.45)
    p["rim_direction"] = unit(np.array([-np.sin(around), 0.5, -0.6]))
    p["rim_colour"] = np.array([1, 0.98, 0.95]) * rng.uniform(0.20, 0.55)
    p["sky"] = np.array([0.36, 0.38, 0.41]) * rng.uniform(0.9, 1.2)
    p["ground"] = np.array([0.26, 0.22, 0.20]) * rng.uniform(0.8, 1.2)


def _draw_mouth(p: Identity, rng: np.random.Generator) -> None:
    """Dark as a rule, as with light from above; bright enough for a tongue to show in some."""
    p["mouth_light"] = 0.03 + 0.77 * rng.random() ** 2


def sample_identity(identity_id: int, model: HeadModel) -> Identity:
    """The person of a number; the same number gives the same person (for one SAMPLER_VERSION and geometry)."""
    rng = np.random.default_rng([SEED, identity_id])
    p = Identity()
    p["female"] = float(rng.random() < 0.5)
    _draw_shape(p, model, rng, model.eye_opening(model.assets.vertices))
    _draw_colours(p, rng)
    _draw_hair(p, rng)
    _draw_scene(p, rng)
    _draw_mouth(p, rng)
    return p
