"""The head geometry on disk: a folder with ict.npz, maps.npz, ao.npz and ICT-FaceKit's FaceXModel/vertex_indices.json.

Units: centimetres, +x to the subject's left, +y up, +z out of the face. The archives hold, from the same FaceXModel:

    ict.npz   V [V, 3] vertices of the neutral mean head; I [I, V, 3] and E [K, V, 3] what a unit of each shape
              coefficient and each expression moves them by; names [K] of the expressions; vi [R] the vertex and uv
              [R, 2] the texture coordinate of each render corner; tri [T, 3] triangles by corner; mat [T] their
              material, a number into mats, its names (MATERIALS are drawn, the rest is left out)
    maps.npz  T0, T1, T2 uint8 [S, S, 4] masks over the face's texture, twelve in all, that looks are painted by (see
              shaders); bc [2, N, 2] the brows as curves in texture coordinates, outer to inner end, right brow first
    ao.npz    a0, a1 [V] ambient occlusion 0..1, mouth shut and with jawOpen at 0.8
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from stylecodec.errors import OptionError

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

FACE, BACK, GUMS, TEETH, EYE_LEFT, EYE_RIGHT, LASHES = range(7)
MATERIALS = {
    "M_Face": FACE,
    "M_BackHead": BACK,
    "M_GumsTongue": GUMS,
    "M_Teeth": TEETH,
    "M_ScleraLeft": EYE_LEFT,
    "M_ScleraRight": EYE_RIGHT,
    "M_EyeLashes": LASHES,
}
INDICES = Path("FaceXModel") / "vertex_indices.json"


@dataclass(frozen=True)
class HeadAssets:
    """Geometry as loaded; V vertices, R render corners (a vertex with one texture coordinate), T triangles."""

    vertices: Floats  # [V, 3] neutral mean head, cm
    identities: Floats  # [I, V, 3] displacement per unit of each shape coefficient
    expressions: Floats  # [K, V, 3] displacement at weight 1
    expression_names: tuple[str, ...]  # K names such as 'jawOpen', 'mouthSmile_L'
    corner_vertex: Ints  # [R] index of the vertex under each render corner
    corner_uv: Floats  # [R, 2]
    triangles: Ints  # [T, 3] render corners
    triangle_material: Ints  # [T] one of MATERIALS
    paint: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]  # three [S, S, 4] masks over face UV
    brow_curves: Floats  # [2, N, 2] UV points, outer to inner end, subject's right brow first
    occlusion_closed: Floats  # [V] 0..1 ambient occlusion, mouth shut
    occlusion_open: Floats  # [V] the same with the jaw at 0.8
    landmarks: Ints  # [68] vertices of the iBUG points
    digest: str  # sha256 (hex) over the four files


def load_assets(folder: str | Path) -> HeadAssets:
    """Reads the folder; OptionError names the file that is missing, damaged or of another shape."""
    root = Path(folder)
    if not root.is_dir():
        raise OptionError(f"the geometry folder {root} does not exist")
    files = [root / "ict.npz", root / "maps.npz", root / "ao.npz", root / INDICES]
    for path in files:
        if not path.is_file():
            raise OptionError(f"the geometry folder {root} lacks {path.relative_to(root)}")
    digest = hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in files)).hexdigest()
    mesh, maps, occlusion = (_arrays(p) for p in files[:3])
    try:
        landmarks = np.array(json.loads(files[3].read_text())["idx_to_landmark_verts"], np.int32)
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{files[3]} does not list idx_to_landmark_verts") from error
    try:
        assets = _assemble(mesh, maps, occlusion, landmarks, digest)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise OptionError(f"the geometry in {root} has another layout than expected: {error}") from error
    _check(assets, root)
    return assets


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise OptionError(f"{path} is not a readable npz archive: {error}") from error


def _assemble(
    mesh: Mapping[str, NDArray[np.generic]],
    maps: Mapping[str, NDArray[np.generic]],
    occlusion: Mapping[str, NDArray[np.generic]],
    landmarks: Ints,
    digest: str,
) -> HeadAssets:
    names = [str(n) for n in mesh["mats"]]
    number = np.array([MATERIALS.get(n, -1) for n in names], np.int32)
    material = number[mesh["mat"].astype(np.int32)]
    keep = material >= 0
    used, corners = np.unique(mesh["tri"][keep], return_inverse=True)
    return HeadAssets(
        vertices=mesh["V"].astype(np.float32),
        identities=mesh["I"].astype(np.float32),
        expressions=mesh["E"].astype(np.float32),
        expression_names=tuple(str(n) for n in mesh["names"]),
        corner_vertex=mesh["vi"][used].astype(np.int32),
        corner_uv=mesh["uv"][used].astype(np.float32),
        triangles=corners.reshape(-1, 3).astype(np.int32),
        triangle_material=material[keep],
        paint=(_mask(maps["T0"]), _mask(maps["T1"]), _mask(maps["T2"])),
        brow_curves=maps["bc"].astype(np.float32),
        occlusion_closed=occlusion["a0"].astype(np.float32),
        occlusion_open=occlusion["a1"].astype(np.float32),
        landmarks=landmarks,
        digest=digest,
    )


def _mask(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 4:
        raise ValueError(f"a paint mask is {array.dtype} {array.shape}, not uint8 [S, S, 4]")
    return np.ascontiguousarray(array).view(np.uint8)


def _check(a: HeadAssets, root: Path) -> None:
    count = len(a.vertices)
    good = (
        a.vertices.shape == (count, 3)
        and a.identities.shape[1:] == (count, 3)
        and a.expressions.shape == (len(a.expression_names), count, 3)
        and a.occlusion_closed.shape == a.occlusion_open.shape == (count,)
        and a.landmarks.shape == (68,)
        and a.brow_curves.ndim == 3
        and a.brow_curves.shape[::2] == (2, 2)
        and int(a.landmarks.min()) >= 0
        and int(a.landmarks.max()) < count
        and int(a.corner_vertex.max(initial=0)) < count
    )
    if not good:
        raise OptionError(f"the arrays in {root} do not fit together")
    missing = set(MATERIALS.values()) - set(a.triangle_material.tolist())
    if missing:
        absent = [n for n, k in MATERIALS.items() if k in missing]
        raise OptionError(f"the mesh in {root} has no {', '.join(absent)}")
