"""Expressions as people make them: stills for training and smooth tracks for clips.

Everything is a vector of weights over the geometry's expression names; names that a geometry lacks are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from stylecodec.training.heads.assets import Floats

Named = Mapping[str, float]
Signal = NDArray[np.floating]


def both(name: str, weight: float = 1.0) -> dict[str, float]:
    """The left and the right shape of a name."""
    return {f"{name}_L": weight, f"{name}_R": weight}


# Mouth shapes of speech, by the sound that makes them.
VISEMES: dict[str, dict[str, float]] = {
    "rest": {},
    "aa": {"jawOpen": 0.62, **both("mouthLowerDown", 0.25), **both("mouthUpperUp", 0.15)},
    "ah": {"jawOpen": 0.42, **both("mouthStretch", 0.12)},
    "eh": {"jawOpen": 0.30, **both("mouthStretch", 0.30), **both("mouthLowerDown", 0.25), **both("mouthUpperUp", 0.2)},
    "ee": {"jawOpen": 0.12, **both("mouthSmile", 0.35), **both("mouthStretch", 0.35), **both("mouthLowerDown", 0.35)},
    "ih": {"jawOpen": 0.18, **both("mouthSmile", 0.20), **both("mouthUpperUp", 0.20), **both("mouthLowerDown", 0.2)},
    "oh": {"jawOpen": 0.32, "mouthFunnel": 0.65},
    "oo": {"jawOpen": 0.14, "mouthPucker": 0.75, "mouthFunnel": 0.20},
    "ww": {"jawOpen": 0.08, "mouthPucker": 0.95},
    "sh": {"jawOpen": 0.10, "mouthFunnel": 0.55, **both("mouthUpperUp", 0.2), **both("mouthLowerDown", 0.25)},
    "ss": {"jawOpen": 0.06, **both("mouthStretch", 0.25), **both("mouthLowerDown", 0.40), **both("mouthUpperUp", 0.2)},
    "ff": {"jawOpen": 0.10, "mouthRollLower": 0.60, **both("mouthUpperUp", 0.30), "mouthShrugUpper": 0.1},
    "th": {"jawOpen": 0.18, **both("mouthLowerDown", 0.30), **both("mouthUpperUp", 0.15)},
    "ll": {"jawOpen": 0.24, **both("mouthLowerDown", 0.15)},
    "mm": {"mouthRollUpper": 0.30, "mouthRollLower": 0.35, **both("mouthPress", 0.35)},
    "pp": {"mouthRollUpper": 0.15, "mouthRollLower": 0.20, **both("mouthPress", 0.60), **both("cheekPuff", 0.15)},
    "rr": {"jawOpen": 0.16, "mouthFunnel": 0.35, "mouthPucker": 0.25},
}
MOODS: dict[str, dict[str, float]] = {
    "smile": {**both("mouthSmile", 0.9), **both("cheekSquint", 0.55), **both("eyeSquint", 0.15)},
    "grin": {
        **both("mouthSmile", 0.85),
        **both("mouthUpperUp", 0.40),
        **both("mouthLowerDown", 0.35),
        "jawOpen": 0.12,
        **both("cheekSquint", 0.7),
        **both("eyeSquint", 0.35),
    },
    "laugh": {
        "jawOpen": 0.5,
        **both("mouthSmile", 0.95),
        **both("mouthUpperUp", 0.4),
        **both("mouthLowerDown", 0.2),
        **both("eyeSquint", 0.75),
        **both("cheekSquint", 0.9),
        **both("browOuterUp", 0.25),
    },
    "dimple": {**both("mouthDimple", 0.8), **both("mouthSmile", 0.25)},
    "frown": {**both("mouthFrown", 0.85), "mouthShrugLower": 0.35},
    "pout": {"mouthShrugLower": 0.8, "mouthShrugUpper": 0.3, "mouthPucker": 0.25},
    "press": {**both("mouthPress", 0.9), "mouthRollUpper": 0.35, "mouthRollLower": 0.35},
    "puff": {**both("cheekPuff", 0.95), **both("mouthPress", 0.3)},
    "sneer": {**both("noseSneer", 0.6), **both("mouthUpperUp", 0.45)},
    "stretch": {**both("mouthStretch", 0.9), **both("mouthLowerDown", 0.3)},
    "surprise": {"jawOpen": 0.45, "mouthFunnel": 0.25, **both("eyeWide", 0.6), **both("browInnerUp", 0.8)}
    | both("browOuterUp", 0.8),
    "sad": {**both("mouthFrown", 0.7), **both("browInnerUp", 0.85)},
    "anger": {**both("browDown", 0.9), **both("eyeSquint", 0.4), **both("noseSneer", 0.25), **both("mouthPress", 0.5)},
}
SIDEWAYS = ("mouthLeft", "mouthRight", "jawLeft", "jawRight")
MOUTH_PAIRS = (
    "mouthSmile",
    "mouthFrown",
    "mouthStretch",
    "mouthPress",
    "mouthUpperUp",
    "mouthLowerDown",
    "mouthDimple",
    "cheekPuff",
)
MOUTH_SHAPES = (
    "jawOpen",
    "jawForward",
    "mouthFunnel",
    "mouthPucker",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    *MOUTH_PAIRS,
)


def _add(total: dict[str, float], part: Named, scale: float = 1.0) -> None:
    for name, weight in part.items():
        total[name] = total.get(name, 0.0) + scale * weight


def weights_of(named: Named, names: Sequence[str]) -> Floats:
    """Weights [K] in 0..1 of a face given by names."""
    out = np.array([named.get(n, 0.0) for n in names], np.float32)
    if "mouthClose" in names and "jawOpen" in names:  # lips cannot meet further than the jaw has dropped
        close, jaw = names.index("mouthClose"), names.index("jawOpen")
        out[close] = min(out[close], 0.9 * out[jaw])
    return np.clip(out, 0, 1)


def _pull_aside(mouth: dict[str, float], slack: str, far: float) -> None:
    """A mouth that goes to one side cannot smile as broadly on the other."""
    for name in mouth:
        if name.endswith(f"_{slack}"):
            mouth[name] *= 1 - far
        elif name.endswith(("_L", "_R")):
            mouth[name] *= 1 - 0.5 * far


def _random_mouth(rng: np.random.Generator) -> dict[str, float]:
    u = rng.random
    mouth: dict[str, float] = {}
    kind = u()
    if kind < 0.07:
        pass
    elif kind < 0.35:  # speech: between two mouth shapes, at some loudness
        first, second = (VISEMES[str(v)] for v in rng.choice(list(VISEMES), 2))
        blend, loud = u(), rng.uniform(0.4, 1.3)
        _add(mouth, first, loud * blend)
        _add(mouth, second, loud * (1 - blend))
        if u() < 0.25:
            _add(mouth, both("mouthSmile"), 0.7 * u())
    elif kind < 0.58:
        mood = MOODS[str(rng.choice(list(MOODS)))]
        _add(mouth, mood, rng.uniform(0.25, 1.2))
        if u() < 0.35:
            _add(mouth, {"jawOpen": 0.5 * u() ** 1.5})
    else:  # some shapes as far as they go, alike on both sides or not: what is rare is not learned
        for name in rng.choice(MOUTH_SHAPES, int(rng.integers(1, 4)), replace=False):
            far = u() ** 0.7
            if name in MOUTH_PAIRS:
                lean = rng.choice([0.0, 1.0, -1.0], p=[0.5, 0.25, 0.25]) * u()
                _add(mouth, {f"{name}_L": far * (1 - max(lean, 0.0)), f"{name}_R": far * (1 + min(lean, 0.0))})
            else:
                _add(mouth, {str(name): far})
    if u() < 0.12:  # mouths open wider than in speech: laughs, yawns, shouts
        _add(mouth, {"jawOpen": 0.8 * u()})
    if u() < 0.33:
        name, far = str(rng.choice(SIDEWAYS)), float(u() ** 0.7)
        _add(mouth, {name: far if name.startswith("mouth") else 0.8 * far})
        _pull_aside(mouth, "R" if name.endswith("Left") else "L", 0.9 * far)
    if u() < 0.2:  # lopsided
        side = "L" if u() < 0.5 else "R"
        for name in list(mouth):
            if name.endswith(f"_{side}"):
                mouth[name] *= rng.uniform(0, 0.7)
    if u() < 0.05 and mouth.get("jawOpen", 0) > 0.05:
        mouth["mouthClose"] = mouth["jawOpen"] * u()
    return mouth


def _random_eyes(rng: np.random.Generator) -> dict[str, float]:
    u = rng.random
    eyes: dict[str, float] = {}
    kind = u()
    if kind < 0.24:
        _add(eyes, both("eyeBlink", u()))
    elif kind < 0.31:
        _add(eyes, {"eyeBlink_L": u(), "eyeBlink_R": 0.25 * u()})
    elif kind < 0.38:
        _add(eyes, {"eyeBlink_R": u(), "eyeBlink_L": 0.25 * u()})
    elif kind < 0.56:
        _add(eyes, both("eyeSquint", u()))
        _add(eyes, both("cheekSquint", 0.6 * u()))
    elif kind < 0.72:
        _add(eyes, both("eyeWide", u()))
    kind = u()
    if kind < 0.16:
        _add(eyes, {**both("browInnerUp", u()), **both("browOuterUp", u())})
    elif kind < 0.30:
        raised = u()
        _add(eyes, {**both("browInnerUp", raised), **both("browOuterUp", raised)})
    elif kind < 0.48:
        _add(eyes, both("browDown", u()))
    elif kind < 0.56:
        side = "L" if u() < 0.5 else "R"
        _add(eyes, {f"browOuterUp_{side}": u(), f"browInnerUp_{side}": 0.6 * u()})
    if u() < 0.08:
        _add(eyes, both("noseSneer", 0.6 * u()))
    return eyes


def random_expression(rng: np.random.Generator, names: Sequence[str]) -> Floats:
    """Weights [K] in 0..1 of one still."""
    total: dict[str, float] = {}
    _add(total, _random_mouth(rng))
    if rng.random() < 0.85:
        _add(total, _random_eyes(rng))
    shut = max(total.get("eyeBlink_L", 0), total.get("eyeBlink_R", 0))
    for name in ("eyeWide_L", "eyeWide_R", "eyeSquint_L", "eyeSquint_R"):
        total[name] = total.get(name, 0.0) * (1 - 0.6 * min(shut, 1.0))
    return weights_of(total, names)


def random_gaze(rng: np.random.Generator) -> tuple[float, float]:
    """Yaw and pitch of the eyes in degrees: straight ahead in 30 %, else N(0, 12) within 30 and N(0, 7) within 18."""
    if rng.random() < 0.30:
        return 0.0, 0.0
    return float(np.clip(rng.normal(0, 12), -30, 30)), float(np.clip(rng.normal(0, 7), -18, 18))


def random_pose(rng: np.random.Generator) -> tuple[float, float]:
    """Yaw N(0, 15) within 40 and pitch N(0, 8) within 22 degrees."""
    return float(np.clip(rng.normal(0, 15), -40, 40)), float(np.clip(rng.normal(0, 8), -22, 22))


@dataclass(frozen=True)
class Track:
    """n frames: weights [n, K]; gaze [n, 2] and pose [n, 3] (yaw, pitch, roll) in degrees; shift [n, 2] in cm."""

    weights: Floats
    gaze: Floats
    pose: Floats
    shift: Floats


def _wander(rng: np.random.Generator, frames: int, rate: float, seconds: float, spread: float) -> Floats:
    """Smooth random signal [frames] with a given time scale and standard deviation, starting and ending freely."""
    sigma = max(seconds * rate, 1.0)
    pad = int(4 * sigma)
    x = gaussian_filter1d(rng.normal(size=frames + 2 * pad), sigma)[pad : pad + frames]
    return np.asarray(x * spread * np.sqrt(2 * sigma * np.sqrt(np.pi)), np.float32)


def _speech(rng: np.random.Generator, frames: int, rate: float, names: Sequence[str]) -> Floats:
    """Phrases of mouth shapes with pauses, eased into one another (co-articulation)."""
    out = np.zeros((frames, len(names)), np.float32)
    shapes = list(VISEMES)[1:]
    weights = np.array([1.6 if s in ("aa", "ah", "eh", "ee", "ih", "oh") else 1.0 for s in shapes])
    at, talking = 0.0, True
    while at < frames:
        end = at + rate * (rng.uniform(1.2, 3.5) if talking else rng.uniform(0.25, 0.9))
        while talking and at < min(end, frames):
            stop = at + rate * rng.uniform(0.07, 0.19)
            shape = weights_of(VISEMES[str(rng.choice(shapes, p=weights / weights.sum()))], names)
            out[int(at) : max(int(stop), int(at) + 1)] = shape * rng.uniform(0.55, 1.15)
            at = stop
        at, talking = end, not talking
    loud = 0.85 + np.clip(_wander(rng, frames, rate, 0.8, 0.2), -0.4, 0.4)
    return np.asarray(gaussian_filter1d(out, 0.045 * rate, axis=0) * loud[:, None], np.float32)


def _moods(rng: np.random.Generator, frames: int, rate: float, names: Sequence[str]) -> Floats:
    """Moods that come and go over a second or two."""
    out = np.zeros((frames, len(names)), np.float32)
    time = np.arange(frames) / rate
    at = float(rng.uniform(0.0, 1.5))
    likely = ["smile", "smile", "smile", "grin", "dimple", "surprise", "anger", "frown", "sad", "press"]
    while at < time[-1] if frames else False:
        hold, ease = float(rng.uniform(0.5, 2.0)), float(rng.uniform(0.2, 0.45))
        bump = _ease((time - at) / ease) * _ease((at + hold + 2 * ease - time) / ease)
        mood = dict(MOODS[str(rng.choice(likely))])
        mood = {n: w * (0.3 if n.startswith("jaw") else 1.0) for n, w in mood.items()}
        if rng.random() < 0.3:
            weak = str(rng.choice(["_L", "_R"]))
            mood = {n: w * (0.45 if n.endswith(weak) else 1.0) for n, w in mood.items()}
        out += bump[:, None] * weights_of(mood, names) * rng.uniform(0.35, 0.9)
        at += hold + float(rng.uniform(0.8, 2.5))
    return out


def _ease(x: Signal) -> Signal:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _pulse(time: Signal, at: float, close: float, hold: float, reopen: float) -> Signal:
    return np.asarray(_ease((time - at) / close) * _ease((at + close + hold + reopen - time) / reopen))


def _lids_and_gaze(rng: np.random.Generator, frames: int, rate: float, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Blinks, a wink now and then, and saccades with fixations; a big saccade often brings a blink."""
    index = {n: i for i, n in enumerate(names)}
    weights, gaze = np.zeros((frames, len(names)), np.float32), np.zeros((frames, 2), np.float32)
    time = np.arange(frames) / rate
    blinks, at, now = [float(rng.uniform(0.3, 2.5))], 0.0, np.zeros(2)
    while at < frames / rate:
        target = np.array(random_gaze(rng)) * 0.8 if rng.random() < 0.6 else rng.normal(0, 1.5, 2)
        span = max(0.03, 0.0025 * float(np.linalg.norm(target - now)) + 0.02)
        gaze += (_ease((time - at) / span)[:, None] * (target - now)).astype(np.float32)
        if np.linalg.norm(target - now) > 14 and rng.random() < 0.5:
            blinks.append(at)
        now, at = target, at + float(rng.uniform(0.35, 2.0))
    while blinks[0] < frames / rate:
        blinks.insert(0, blinks[0] + float(rng.uniform(1.6, 4.5)))
    for start in blinks:
        shut = _pulse(time, start, 0.09, 0.04, 0.17) * rng.uniform(0.85, 1.0)
        sides = ("L", "R") if rng.random() < 0.92 else (str(rng.choice(["L", "R"])),)
        for side in sides:
            i = index.get(f"eyeBlink_{side}")
            if i is not None:
                weights[:, i] = np.maximum(weights[:, i], shut)
    return weights, gaze


def _brows(rng: np.random.Generator, frames: int, rate: float, names: Sequence[str]) -> Floats:
    """Brows and lids that move with the emphasis of speech."""
    out = np.zeros((frames, len(names)), np.float32)
    raised, lowered = _wander(rng, frames, rate, 0.35, 0.35), _wander(rng, frames, rate, 0.6, 0.3)
    squint = _wander(rng, frames, rate, 0.8, 0.2)
    lean = _wander(rng, frames, rate, 1.0, 0.25)
    for name, value in (("browInnerUp", raised), ("browOuterUp", raised), ("browDown", lowered), ("eyeSquint", squint)):
        for side, sign in (("L", 1), ("R", -1)):
            if f"{name}_{side}" in names:
                out[:, list(names).index(f"{name}_{side}")] = np.clip(value * (1 + sign * lean) - 0.12, 0, 0.9)
    return out


def talking_track(seed: int, frames: int, rate: float, names: Sequence[str]) -> Track:
    """Somebody talking to the camera for `frames` frames at `rate` per second."""
    rng = np.random.default_rng([7, seed])
    speech = _speech(rng, frames, rate, names)
    mood = _moods(rng, frames, rate, names)
    lids, gaze = _lids_and_gaze(rng, frames, rate, names)
    weights = np.clip(speech + mood + lids + _brows(rng, frames, rate, names), 0, 1)
    nod = _wander(rng, frames, rate, 0.25, 1.2)
    pose = np.stack(
        [
            np.clip(_wander(rng, frames, rate, 0.9, 9.0), -26, 26),
            np.clip(_wander(rng, frames, rate, 0.8, 4.5) + nod, -13, 13),
            np.clip(_wander(rng, frames, rate, 1.0, 3.0), -8, 8),
        ],
        1,
    )
    shift = np.stack([_wander(rng, frames, rate, 1.5, 0.6), _wander(rng, frames, rate, 1.5, 0.35)], 1)
    shift = np.clip(shift, -1.5, 1.5).astype(np.float32)
    return Track(weights.astype(np.float32), gaze, pose.astype(np.float32), shift)
