"""Clips of one identity talking, with the truth of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stylecodec.errors import OptionError, OutputError
from stylecodec.training.heads.assets import Floats, load_assets
from stylecodec.training.heads.identities import sample_identity
from stylecodec.training.heads.model import HeadModel
from stylecodec.training.heads.renderer import Renderer
from stylecodec.training.heads.tracks import Track, talking_track

WIDE = 1.5  # crop scale of clips: a face tracker needs the whole head


@dataclass(frozen=True)
class Clip:
    """frames uint8 [n, S, S, 3]; labels uint8 [n, S, S] or None; expression [n, K + 2] (weights, gaze in degrees);

    pose [n, 3] yaw, pitch, roll in degrees; landmarks [n, 83, 2] in picture pixels; identity [D].
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    expression: Floats
    pose: Floats
    landmarks: Floats
    identity: Floats
    identity_id: int


def render_clip(
    renderer: Renderer,
    identity_id: int,
    frames: int,
    rate: float = 25.0,
    frame: float = WIDE,
    *,
    seed: int | None = None,
    track: Track | None = None,
    labels: bool = False,
) -> Clip:
    """`frames` pictures of the renderer's size under a fixed camera; frame is the crop scale (1.08 = aligned crop).

    The performance is `track`, or a talking track of `seed` (the identity's number by default).
    """
    if frames < 1:
        raise OptionError(f"a clip of {frames} frames is empty")
    model = renderer.model
    identity = sample_identity(identity_id, model)
    t = track or talking_track(identity_id if seed is None else seed, frames, rate, model.names)
    with renderer.person(identity) as person:
        crop = renderer.crop_for(person, scale=frame)
        pictures = [
            renderer.render(
                person,
                t.weights[k],
                (float(t.gaze[k, 0]), float(t.gaze[k, 1])),
                *(float(a) for a in t.pose[k]),
                crop=crop,
                shift=(float(t.shift[k, 0]), float(t.shift[k, 1])),
                labels=labels,
            )
            for k in range(frames)
        ]
    return Clip(
        frames=np.stack([p.image for p in pictures]),
        labels=np.stack([p.labels for p in pictures if p.labels is not None]) if labels else None,
        expression=np.stack([np.r_[p.weights, p.gaze] for p in pictures]).astype(np.float32),
        pose=np.array([[p.yaw, p.pitch, p.roll] for p in pictures], np.float32),
        landmarks=np.stack([p.landmarks for p in pictures]) * np.float32(renderer.size),
        identity=identity.vector,
        identity_id=identity_id,
    )


def write_clips(
    geometry: Path,
    out: Path,
    identities: Sequence[int],
    seconds: float = 4.0,
    rate: int = 25,
    size: int = 512,
    frame: float = WIDE,
) -> None:
    """Writes clip_<id>.mp4 (H.264) and clip_<id>.npz (truth) for each identity."""
    renderer = Renderer(HeadModel(load_assets(geometry)), size)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number in identities:
            clip = render_clip(renderer, number, max(1, round(seconds * rate)), rate, frame)
            _write_video(out / f"clip_{number}.mp4", clip.frames, rate)
            np.savez(
                out / f"clip_{number}.npz",
                expression=clip.expression,
                pose=clip.pose,
                landmarks=clip.landmarks,
                identity=clip.identity,
                identity_id=np.int64(number),
                rate=np.int64(rate),
            )
            print(f"identity {number}: {len(clip.frames)} frames", flush=True)
    except OSError as error:
        raise OutputError(f"cannot write clips to {out}: {error}") from error


def _write_video(path: Path, frames: NDArray[np.uint8], rate: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
