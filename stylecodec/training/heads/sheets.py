"""Contact sheets: look before you render a hundred thousand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stylecodec.errors import OutputError
from stylecodec.training.heads.assets import load_assets
from stylecodec.training.heads.drawable import Picture
from stylecodec.training.heads.hair import STYLE_NAMES
from stylecodec.training.heads.identities import Identity, sample_identity
from stylecodec.training.heads.model import HeadModel
from stylecodec.training.heads.renderer import Renderer
from stylecodec.training.heads.tracks import (
    MOODS,
    VISEMES,
    both,
    random_expression,
    random_gaze,
    random_pose,
    weights_of,
)

KINDS = ("identities", "expressions", "poses", "truth", "hair", "glasses", "random")
Bytes = NDArray[np.uint8]
_EYES: dict[str, dict[str, float]] = {
    "half blink": both("eyeBlink", 0.5),
    "blink": both("eyeBlink", 1.0),
    "wink": {"eyeBlink_L": 1.0, "mouthSmile_L": 0.7},
    "squint": both("eyeSquint", 0.9),
}
_GAZES = ((28.0, 0.0), (-28.0, 0.0), (0.0, 16.0), (0.0, -16.0))


def _grid(images: list[Bytes], columns: int) -> Bytes:
    blank = [np.zeros_like(images[0])] * (-len(images) % columns)
    cells = images + blank
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def _identities(r: Renderer, first: int) -> Bytes:
    images = []
    for k in range(first, first + 24):
        with r.person(sample_identity(k, r.model)) as person:
            images.append(r.render(person).image)
    return _grid(images, 6)


def _expressions(r: Renderer, number: int) -> Bytes:
    faces = [*VISEMES.values(), *MOODS.values(), *_EYES.values()]
    with r.person(sample_identity(number, r.model)) as person:
        images = [r.render(person, weights_of(f, r.model.names)).image for f in faces]
        images += [r.render(person, gaze=g).image for g in _GAZES]
    return _grid(images, 7)


def _poses(r: Renderer, number: int) -> Bytes:
    smile = weights_of(both("mouthSmile", 0.3), r.model.names)
    with r.person(sample_identity(number, r.model)) as person:
        yaws, pitches = (-40.0, -20.0, 0.0, 20.0, 40.0), (20.0, 0.0, -20.0)
        images = [r.render(person, smile, yaw=y, pitch=p).image for p in pitches for y in yaws]
    return _grid(images, 5)


def _variants(r: Renderer, number: int, field: str, names: tuple[str, ...]) -> Bytes:
    images = []
    for name in names:
        identity = Identity(sample_identity(number, r.model).vector)
        identity.choose(field, name)
        with r.person(identity) as person:
            images += [r.render(person).image, r.render(person, yaw=35.0, pitch=-8.0).image]
    return _grid(images, 6)


def _random_picture(r: Renderer, number: int) -> Picture:
    rng = np.random.default_rng([9, number])
    with r.person(sample_identity(number, r.model)) as person:
        weights, gaze = random_expression(rng, r.model.names), random_gaze(rng)
        yaw, pitch = random_pose(rng)
        return r.render(person, weights, gaze, yaw, pitch, labels=True)


def _random(r: Renderer, first: int) -> Bytes:
    return _grid([_random_picture(r, k).image for k in range(first, first + 30)], 6)


def _truth(r: Renderer, first: int) -> Bytes:
    palette = np.random.default_rng(3).integers(50, 255, (32, 3)).astype(np.uint8)
    palette[0] = 0
    images: list[Bytes] = []
    for number in range(first, first + 4):
        picture = _random_picture(r, number)
        marked = Image.fromarray(picture.image)
        draw = ImageDraw.Draw(marked)
        for i, (x, y) in enumerate(picture.landmarks * r.size):
            colour = (0, 255, 0) if i < 68 else (255, 220, 0) if i < 81 else (255, 0, 0)
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=colour)
        assert picture.labels is not None
        images += [picture.image, np.asarray(marked), palette[picture.labels]]
    return _grid(images, 6)


def draw_sheet(renderer: Renderer, kind: str, number: int = 0) -> Bytes:
    """One sheet as uint8 [H, W, 3]; number is the (first) identity."""
    if kind == "hair":
        return _variants(renderer, number, "hair_style", STYLE_NAMES)
    if kind == "glasses":
        return _variants(renderer, number, "glasses_style", ("none", "round", "rectangular", "oval", "aviator"))
    makers = {
        "identities": _identities,
        "expressions": _expressions,
        "poses": _poses,
        "truth": _truth,
        "random": _random,
    }
    return makers[kind](renderer, number)


def write_sheet(geometry: Path, out: Path, kind: str, number: int = 0, size: int = 224) -> None:
    """Draws a sheet of KINDS into a PNG; OutputError when it cannot be written."""
    sheet = draw_sheet(Renderer(HeadModel(load_assets(geometry)), size), kind, number)
    try:
        Image.fromarray(sheet).save(out)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {out}: {error}") from error
