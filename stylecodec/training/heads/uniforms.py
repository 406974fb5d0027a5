"""The values that the shaders of one picture are given, by the name of their uniform; integers are texture units."""

from __future__ import annotations

from typing import Any

import numpy as np

from stylecodec.training.heads.assets import Ints
from stylecodec.training.heads.camera import DISTANCE, Crop, Matrix, light_matrix, projection
from stylecodec.training.heads.identities import Identity
from stylecodec.training.heads.model import Posed

Uniforms = dict[str, Any]
HEAD_CENTER = np.array([0.0, 4.5, -0.5])  # cm, in head space
TEXTURE_UNITS = {"Paint0": 0, "Paint1": 1, "Paint2": 2, "Noise": 3, "ShadowMap": 5}


def view_uniforms(identity: Identity, head: Matrix, body: Matrix, crop: Crop) -> Uniforms:
    """The matrices [4, 4] that take head and body to the world, the crop and the key light's shadow map."""
    key = identity["key_direction"].astype(np.float64)
    return {
        "HeadM": head.T,
        "BodyM": body.T,
        "ViewProj": projection(crop).T,
        "ShadowM": light_matrix(key, head).T,
        "ShadowBias": 0.016,
        "Camera": np.array([0, 0, DISTANCE]),
        "HeadC": head[:3, :3] @ HEAD_CENTER + head[:3, 3],
    }


def light_uniforms(p: Identity) -> Uniforms:
    """Directions and colours of the lights, and the backdrop."""
    return {
        "KeyDir": p["key_direction"].astype(np.float64),
        "KeyCol": p["key_colour"],
        "FillDir": p["fill_direction"],
        "FillCol": p["fill_colour"],
        "RimDir": p["rim_direction"],
        "RimCol": p["rim_colour"],
        "Sky": p["sky"],
        "Ground": p["ground"],
        "Low": p["backdrop_low"],
        "High": p["backdrop_high"],
        "Blob": p["blob_colour"],
        "Place": np.r_[p["blob_place"], p["blob_radius"], p["blob_strength"]],
        "Tilt": p.number("backdrop_tilt"),
    }


def person_uniforms(p: Identity) -> Uniforms:
    """Colours and measures that do not change with pose and expression."""
    return {
        "Skin": p["skin"],
        "Lip": p["lip"],
        "Hair": p["hair"],
        "Brow": p["brow"],
        "IrisIn": p["iris_inner"],
        "IrisOut": p["iris_outer"],
        "Cloth": p["cloth"],
        "LipA": p.number("lip_strength"),
        "BlushA": p.number("blush"),
        "ShadowA": p.number("eye_shadow"),
        "LinerA": p.number("eye_liner"),
        "LashA": p.number("lashes"),
        "StubbleA": p.number("stubble"),
        "ScalpA": 0.0 if p.hair_style == "bald" else 0.9,
        "BrowA": 0.75,
        "BeardOn": float(p.number("beard_length") > 0),
        "IrisR": p.number("iris_radius"),
        "Pupil": p.number("pupil"),
        "Collar": p.number("collar"),
        "Gloss": p.number("gloss"),
        "Rosy": p.number("rosy"),
        "MouthLight": p.number("mouth_light"),
    }


def face_uniforms(posed: Posed, landmarks: Ints) -> Uniforms:
    """Eyes, lids and lips as posed; landmarks [68]: vertices of the iBUG points."""
    points = posed.vertices[landmarks].astype(np.float64)
    lids = {}
    for name, rows in (("LidR", slice(36, 40)), ("LidL", slice(42, 46))):
        lids[name] = np.polyfit(points[rows, 0], points[rows, 1], 2)[::-1]
    gap = float(np.linalg.norm(points[62] - points[66]))
    return {
        **lids,
        "EyeCL": posed.left.center,
        "EyeCR": posed.right.center,
        "AxisL": posed.left.axis,
        "AxisR": posed.right.axis,
        "LipOpen": float(np.clip(gap / 0.40 - 0.15, 0, 1)),
    }
