"""A folder of photographs as training data: aligned squares of one face each, and why the others were left out.

    photograph ─► faces ─► the pack's square ─► 256² and the largest useful size ─► face mesh ─► kept, or not and why

    OUT/photos.json                every photograph: its square, what was measured, why it was left out; the limits
    OUT/landmarks.npz              points float32 [n, 478, 2] of the face mesh in crop units, of those kept, in order
    OUT/256/NAME.jpg, 512/, 1024/  the squares
    OUT/seen.jsonl                 one line per photograph looked at: what an interrupted run goes on from
    OUT/kept.jpg, OUT/dropped.jpg  contact sheets, the dropped ones in groups by reason

What a square shows beyond the photograph's edge is a mirror image and must not be learnt: `validity` says which pixels
are real. Held-out photographs are chosen by the digest of their file, so that they stay the same whatever is added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import FaceNotFound, OptionError, StylecodecError
from ..face.align import Aligner
from ..face.detect import Detection, FaceDetector
from ..face.landmarks import CORNERS_OF_5, Dlib5, make_landmarker
from ..face.warp import warp
from ..files import atomic_write
from ..geometry import CropTransform
from ..nets.face_mesh import EYE_CORNERS, LEFT_EYE, RIGHT_EYE, FaceMesh
from ..packs.store import ModelPack, embedded_pack

Frame = NDArray[np.uint8]
Report = Callable[[str, int, int], None]

SIDE = 256  # of the squares that every photograph yields
LARGER = (512, 1024)
USEFUL = 0.7  # of a larger size's side that the photograph must have in pixels
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MOST_PIXELS = 100_000_000  # of a photograph that is opened
HELD_OUT = 13  # of the 256 values of the digest's first byte: one photograph in twenty
AROUND_EYES, CHEEKS = (230, 450, 27, 257), (50, 280, 205, 425)  # points of the mesh
INDEX, LANDMARKS, SEEN = "photos.json", "landmarks.npz", "seen.jsonl"
BLACK, LIT = 20, 0.05  # a row or column belongs to a black frame where less than this share of it is brighter
QUALITY = 95  # of the squares' JPEG
AT_ONCE = 16  # squares in the mesh at a time


@dataclass(frozen=True)
class Limits:
    """What a square must keep to; lengths are shares of the square's side."""

    second_face: float = 0.5  # another face of this share of the largest one's side is one too many
    score: float = 0.03  # least margin of the detector: animals and drawings score little
    unlike: float = 0.045  # most that the eye corners of the mesh and of dlib may differ by, mean of four
    lopsided: float = 0.016  # most that the eyes of the mesh may move when it looks at the mirror image, mean
    dark: float = 0.3  # least brightness around the eyes, as a share of the cheeks': less is dark glasses
    lens: float = 0.45  # the same where the colour differs as well: shadows keep the skin's
    tint: float = 0.05  # by how much less of the light is red there than on the cheeks
    pixels: float = 120.0  # least side of the square in the photograph
    inside: float = 0.6  # least share of the square that the photograph covers
    twin: float = 0.25  # least distance of two squares, mean of 16² standardised greys


@dataclass(frozen=True)
class Square:
    """What was found in one photograph; `why` is empty for one that was kept."""

    name: str  # of its squares: the beginning of the photograph's digest
    source: str  # path below the folder of photographs
    width: int = 0  # of the photograph, without a black frame
    height: int = 0
    square: tuple[float, ...] = ()  # centre x, centre y, side, roll in degrees
    size: int = 0  # pixels per side of the largest square written, 0 for none
    why: str = ""
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Is it one of those that nothing is trained on?"""
        return int(self.name[:2], 16) < HELD_OUT

    @property
    def transform(self) -> CropTransform:
        """The square in the photograph."""
        x, y, side, roll = self.square
        return CropTransform((x, y), side, roll)


def validity(square: Square, size: int) -> NDArray[np.bool_]:
    """Which pixels [size, size] of a square come from the photograph itself, its outermost pixels excepted."""
    line = (np.arange(size) + 0.5) / size
    points = square.transform.to_source(np.stack(np.meshgrid(line, line), axis=-1))
    edge = max(1.0, square.square[2] / size)
    x, y = points[..., 0], points[..., 1]
    inside: NDArray[np.bool_] = (x > edge) & (x < square.width - edge) & (y > edge) & (y < square.height - edge)
    return inside


class Looker:
    """Looks at one photograph after the other and writes the squares of what shows a face."""

    def __init__(self, pack: ModelPack, out: Path) -> None:
        self._detector = FaceDetector()
        landmarker = make_landmarker("pack", pack.landmarks("cpu"), pack.alignment)
        self._corners = Dlib5()
        self._aligner = Aligner(landmarker, self._detector, alignment=pack.alignment, checker=self._corners)
        self._mesh = embedded_pack().face_mesh("cpu")
        self._out = out

    def __call__(self, path: Path, source: str) -> Square:
        """The square of a photograph, its pictures written; `why` where there can be none."""
        name = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        try:
            whole = opened(path)
        except OptionError as error:
            return Square(name, source, why=str(error))
        frame = np.ascontiguousarray(whole[without_frame(whole)])
        height, width = frame.shape[:2]
        found = Square(name, source, width, height)
        faces = self._detector.all(frame)
        if not faces:
            return replace(found, why="no face")
        try:
            at = self._aligner.still(frame)
        except FaceNotFound:
            return replace(found, why="no face")
        found = replace(found, square=(*at.center, at.side, at.roll_deg))
        size = max([SIDE, *(s for s in LARGER if at.side >= USEFUL * s)])
        small = warp(frame, at, SIDE)
        self._write(small, SIDE, name)
        if size > SIDE:
            self._write(warp(frame, at, size), size, name)
        return replace(found, size=size, measured=self._measured(frame, small, found, faces))

    def _write(self, picture: Frame, size: int, name: str) -> None:
        with atomic_write(self._out / str(size) / f"{name}.jpg") as file:
            Image.fromarray(picture).save(file, "JPEG", quality=QUALITY, subsampling=0)

    def _measured(self, frame: Frame, small: Frame, found: Square, faces: Sequence[Detection]) -> dict[str, float]:
        """What Limits judges by."""
        picture = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
        points, mirrored = (p.numpy() for p in look_both_ways(self._mesh, picture))
        largest = max(faces, key=lambda face: face.box.area)
        others = [face.box.width / largest.box.width for face in faces if face is not largest]
        corners = found.transform.to_crop(self._corners(frame, largest.box))[list(CORNERS_OF_5)]
        around, cheeks = (colour(small, points[0, list(places)]) for places in (AROUND_EYES, CHEEKS))
        return {
            "second_face": max(others, default=0.0),
            "score": largest.score,
            "unlike": float(np.linalg.norm(points[0, list(EYE_CORNERS)] - corners, axis=1).mean()),
            "lopsided": float(np.linalg.norm(points - mirrored, axis=2)[0, [*LEFT_EYE, *RIGHT_EYE]].mean()),
            "dark": float(around.sum() / max(cheeks.sum(), 1.0)),
            "tint": float(cheeks[0] / max(cheeks.sum(), 1.0) - around[0] / max(around.sum(), 1.0)),
            "pixels": found.square[2],
            "inside": float(validity(found, 64).mean()),
        }


def opened(path: Path) -> Frame:
    """A photograph as RGB, turned as its camera says; OptionError where it is none or too large."""
    from PIL import ImageOps

    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise OptionError("too many pixels")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except OptionError:
        raise
    except Exception as error:  # Pillow's errors for damaged files are of any kind
        raise OptionError("not a picture") from error


@torch.no_grad()
def look_both_ways(mesh: FaceMesh, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Points [1, 478, 2] of a picture [1, 3, S, S], and those that its mirror image gives for both eyes with brows."""
    points, turned = mesh(torch.cat([picture, picture.flip(3)])).split(1)
    back = points.clone()
    turned = turned * turned.new_tensor([-1, 1]) + turned.new_tensor([1, 0])
    back[:, list(LEFT_EYE)], back[:, list(RIGHT_EYE)] = turned[:, list(RIGHT_EYE)], turned[:, list(LEFT_EYE)]
    return points, back


def colour(picture: Frame, points: NDArray[np.float32], reach: int = 4) -> NDArray[np.float32]:
    """Mean colour [3] of a picture [S, S, 3] around points [n, 2] in crop units."""
    at = np.clip((points * len(picture)).astype(int), reach, len(picture) - reach - 1)
    patches = [picture[y - reach : y + reach + 1, x - reach : x + reach + 1].mean(axis=(0, 1)) for x, y in at]
    return np.asarray(np.mean(patches, axis=0), np.float32)


def without_frame(frame: Frame) -> tuple[slice, slice]:
    """Rows and columns of a picture inside a black frame: cut from a sheet, it may have kept some of the ground."""
    bright = frame.max(axis=2) > BLACK
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > LIT) for axis in (1, 0))
    if len(rows) == 0 or len(columns) == 0:
        return slice(0, len(frame)), slice(0, frame.shape[1])
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def judged(square: Square, limits: Limits) -> Square:
    """The square with what speaks against it."""
    if not square.measured:
        return square
    m = square.measured
    reasons = {
        "several faces": m["second_face"] > limits.second_face,
        "too small": m["pixels"] < limits.pixels,
        "too far over the edge": m["inside"] < limits.inside,
        "hardly a face": m["score"] < limits.score,
        "landmarks disagree": m["unlike"] > limits.unlike or m["lopsided"] > limits.lopsided,
        "dark glasses": m["dark"] < limits.dark or (m["dark"] < limits.lens and m["tint"] > limits.tint),
    }
    return replace(square, why=next((why for why, holds in reasons.items() if holds), ""))


def without_twins(squares: Sequence[Square], out: Path, limits: Limits) -> list[Square]:
    """Of squares that show nearly the same picture only the first is kept."""
    seen: list[NDArray[np.float32]] = []
    judged_: list[Square] = []
    for square in squares:
        if not square.why:
            grey = Image.fromarray(read_square(out, square.name)).convert("L")
            small = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), np.float32)
            small = (small - small.mean()) / (small.std() + 1e-3)
            if seen and float(np.abs(np.stack(seen) - small).mean(axis=(1, 2)).min()) < limits.twin:
                square = replace(square, why="seen before")
            else:
                seen.append(small)
        judged_.append(square)
    return judged_


def photographs(folder: Path) -> list[str]:
    """Paths of all photographs below a folder, sorted; OptionError when there are none."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found = sorted(str(path.relative_to(folder)) for path in files)
    if not found:
        raise OptionError(f"{folder} holds no photographs ({', '.join(SUFFIXES)})")
    return found


def prepare(images: Path, out: Path, pack: ModelPack, limits: Limits, report: Report) -> list[Square]:
    """Look at every photograph below `images` that was not looked at yet, judge all, write index, points and sheets."""
    names = photographs(images)
    for size in (SIDE, *LARGER):
        (out / str(size)).mkdir(parents=True, exist_ok=True)
    known = dict(_seen(out / SEEN))
    look = Looker(pack, out)
    with (out / SEEN).open("a", encoding="utf-8") as log:
        for number, source in enumerate(names):
            if source not in known:
                known[source] = look(images / source, source)
                log.write(json.dumps(asdict(known[source])) + "\n")
                log.flush()
            report("looking at photographs", number + 1, len(names))
    squares = without_twins([judged(known[source], limits) for source in names], out, limits)
    kept = [square for square in squares if not square.why]
    if not kept:
        sheets(out, squares)
        raise StylecodecError(f"none of the {len(names)} photographs can be used: see {out / 'dropped.jpg'}")
    with atomic_write(out / LANDMARKS) as file:
        np.savez(file, points=_points(out, kept, report))
    sheets(out, squares)
    index = {"limits": asdict(limits), "pack": pack.name, "photographs": [asdict(square) for square in squares]}
    with atomic_write(out / INDEX) as file:
        file.write(json.dumps(index, indent=1).encode())
    return squares


def _seen(path: Path) -> Iterator[tuple[str, Square]]:
    """What an earlier run saw, by source; a line that was cut off is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            square = square_of(json.loads(line))
        except (ValueError, TypeError):
            continue
        yield square.source, square


def square_of(entry: dict[str, Any]) -> Square:
    """A square as the index holds it; TypeError where it is none."""
    return Square(**{**entry, "square": tuple(entry["square"])})


def _points(out: Path, kept: Sequence[Square], report: Report) -> NDArray[np.float32]:
    """Points [n, 478, 2] of the face mesh on the squares."""
    mesh, found = embedded_pack().face_mesh("cpu"), []
    for start in range(0, len(kept), AT_ONCE):
        pictures = np.stack([read_square(out, square.name) for square in kept[start : start + AT_ONCE]])
        with torch.no_grad():
            found.append(mesh(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1))
        report("reading landmarks", min(start + AT_ONCE, len(kept)), len(kept))
    return torch.cat(found).numpy()


def sheets(out: Path, squares: Sequence[Square], tile: int = 64, columns: int = 32) -> None:
    """Contact sheets of what was kept and of what was not, a row begun for each reason."""
    groups: dict[str, list[Square]] = {}
    for square in squares:
        if square.size:
            groups.setdefault(square.why, []).append(square)
    dropped = {why: group for why, group in sorted(groups.items()) if why}
    for file, shown in (("kept.jpg", {"": groups.get("", [])}), ("dropped.jpg", dropped)):
        rows = [(why, group[k : k + columns]) for why, group in shown.items() for k in range(0, len(group), columns)]
        sheet = Image.new("RGB", (columns * tile, max(1, len(rows)) * tile))
        for y, (why, group) in enumerate(rows):
            for x, square in enumerate(group):
                small = Image.fromarray(read_square(out, square.name)).resize((tile, tile), Image.Resampling.BOX)
                sheet.paste(small, (x * tile, y * tile))
            ImageDraw.Draw(sheet).text((2, y * tile), why, fill=(255, 255, 0), stroke_width=1, stroke_fill=(0, 0, 0))
        with atomic_write(out / file) as target:
            sheet.save(target, "JPEG", quality=88)


def read_square(out: Path, name: str, size: int = SIDE) -> Frame:
    """A square [size, size, 3] that was written below `out`; StylecodecError where it is missing or damaged."""
    path = out / str(size) / f"{name}.jpg"
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise StylecodecError(f"{path} cannot be read: prepare the photographs again") from error


def summary(squares: Sequence[Square]) -> dict[str, int]:
    """How many squares were kept, of these held out, and how many were dropped for each reason."""
    counts = {"kept": 0, "held out": 0}
    for square in squares:
        counts[square.why or "kept"] = counts.get(square.why or "kept", 0) + 1
        counts["held out"] += not square.why and square.held_out
    return counts
