"""Who judges: networks that come with stylecodec, under names of their own, and those that a user has imported.

A metric whose weights are not there is left out, with what to bring; nothing takes its place under its name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import PackNotFound
from ..face.detect import Box, FaceDetector
from ..face.landmarks import Dlib5
from ..face.recognition import FaceDescriptor
from ..face.track import anchors_of, box_of
from ..metrics.differences import l1
from ..metrics.psnr import picture_psnr
from ..metrics.ssim import LEAST_MS_SIDE, mean_ssim, ms_ssim
from ..metrics.tracks import MESH_AS_68
from ..nets.identity import IdentityNet
from ..nets.perceptual import FeatureDistance
from ..packs.abilities import to_bring
from ..packs.registry import pick_device
from ..packs.store import ModelPack, embedded_pack, open_pack
from ..packs.upstream.importer import DEFAULT_NAME, IMPORTED
from .faces import AlignedFaces, Crops, as_batch
from .scores import Floats, Measure

PARSER_SIDE = 256  # pixels of what the parser's features are compared at
AT_ONCE = 8  # pictures that networks see together
IMPORTED_ROLES = {
    "LPIPS-alex": ("lpips_alex",),
    "LPIPS-vgg": ("lpips_vgg",),
    "DISTS": ("lpips_vgg", "dists_heads"),
    "L_ID": ("identity",),
    "FID": ("inception",),
    "FVD": ("i3d",),
    "FVD-mouth": ("i3d",),
}
"""The networks of others that a metric is defined by."""
IDENTITIES = ("L_ID", "dlib-identity")  # the metrics of who is seen


def imported_pack(networks: ModelPack | object | None) -> ModelPack | None:
    """The pack with imported judges: the one that is named (PackNotFound), else the one that imports go to, if any."""
    if isinstance(networks, ModelPack):
        return networks
    if networks is not None:
        return open_pack(str(networks))
    try:
        return open_pack(DEFAULT_NAME)
    except PackNotFound:
        return None


@dataclass
class Judges:
    """All that measures, and why the others do not: `absent`, by name of the metric."""

    networks: ModelPack | None
    device: str
    absent: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = embedded_pack()
        self.place = pick_device(self.device)
        self.mesh = own.face_mesh(self.place)
        self.parser = FeatureDistance(own.parser(self.place)).to(self.place)
        self.describe = FaceDescriptor(FaceDetector(), Dlib5())
        for name, roles in IMPORTED_ROLES.items():
            lacking = [role for role in roles if not self._has(role)]
            if lacking:
                bring = " and ".join(to_bring(role) for role in lacking)
                self.absent[name] = f"its weights cannot be shipped; `stylecodec models import` reads them: {bring}"

    def _has(self, role: str) -> bool:
        """Whether a role is filled with an imported network: a pack may have one of its own for `identity`."""
        return self.networks is not None and role in self.networks.card.training.get(IMPORTED, {})

    def facts(self) -> dict[str, Any]:
        """Whose networks judge, for JSON: stylecodec's own pack, and each imported file with its sha256."""
        record = {} if self.networks is None else self.networks.card.training.get(IMPORTED, {})
        used = {role for roles in IMPORTED_ROLES.values() for role in roles if role in record}
        files = {
            role: {name: record[role].get(name, "") for name in ("what", "file", "sha256")} for role in sorted(used)
        }
        own = embedded_pack()
        return {"pack": own.name, "pack_digest": own.digest.hex(), "imported": files}

    def arcface(self) -> IdentityNet:
        """The imported identity network; PackNotFound where "L_ID" is absent."""
        if self.networks is None:
            raise PackNotFound("no identity network has been imported")
        return self.networks.identity(self.place)

    def pairs(self, size: int) -> dict[str, Measure]:
        """What compares two squares of so many pixels, by name of the metric; why the others do not goes to absent."""
        found: dict[str, Measure] = {"L1": _each(l1), "PSNR": _each(psnr), "SSIM": _each(mean_ssim)}
        if size < LEAST_MS_SIDE:
            self.absent["MS-SSIM"] = f"its five scales need squares of {LEAST_MS_SIDE} pixels or more, not of {size}"
        else:
            found["MS-SSIM"] = _each(ms_ssim)
        if self.networks is not None:
            for name, trunk in (("LPIPS-alex", "alex"), ("LPIPS-vgg", "vgg")):
                if name not in self.absent:
                    found[name] = self._by(self.networks.lpips(trunk, self.place))
            if "DISTS" not in self.absent:
                found["DISTS"] = self._by(self.networks.dists(self.place))
        found["parser-distance"] = self._by(self.parser, PARSER_SIDE)
        return found

    def _by(self, net: nn.Module, side: int | None = None) -> Measure:
        @torch.no_grad()
        def measure(a: Crops, b: Crops) -> Floats:
            x, y = as_batch(a, self.place, side), as_batch(b, self.place, side)
            return np.asarray(net(x, y).double().clamp_min(0).cpu().numpy(), np.float64)

        return measure


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """dB, infinite for identical pictures."""
    return math.inf if np.array_equal(a, b) else picture_psnr(a, b)


def _each(measure: object) -> Measure:
    assert callable(measure)
    return lambda a, b: np.array([measure(x, y) for x, y in zip(a, b, strict=True)], np.float64)


def apart(name: str, a: Floats, b: Floats) -> Floats:
    """How far vectors of one of IDENTITIES are apart, [n, d] or [1, d] each -> [n]."""
    if name == "L_ID":
        cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        return np.asarray(np.maximum(0.0, 1 - cosine), np.float64)
    return np.asarray(np.linalg.norm(a - b, axis=1), np.float64)


def ffhq_part(squares: Tensor) -> Tensor:
    """The FFHQ square, on which ArcFace is used, in aligned squares [n, 3, S, S] of the pack: [n, 3, s, s]."""
    alignment, size = embedded_pack().alignment, squares.shape[-1]
    side = round(size / alignment.scale)
    left = (size - side) // 2
    top = min(round(left + alignment.lift * size / 2), size - side)
    return squares[:, :, top : top + side, left : left + side]


class Readings:
    """What is read off single squares of a video, each frame once and when it is first asked for."""

    def __init__(self, faces: AlignedFaces, judges: Judges) -> None:
        self.faces, self._judges = faces, judges
        self._points: dict[int, NDArray[np.float64]] = {}
        self._described: dict[int, NDArray[np.float64]] = {}

    @torch.no_grad()
    def points(self, frames: NDArray[np.intp]) -> NDArray[np.float64]:
        """The face mesh of these frames [n, 478, 2], in units of the square."""
        for frame in map(int, frames):
            if frame not in self._points:  # one by one: the last digits depend on how many are read together
                found = self._judges.mesh(as_batch(self.faces.crops[[frame]], self._judges.place))
                self._points[frame] = found[0].double().cpu().numpy()
        return np.stack([self._points[int(frame)] for frame in frames])

    def box(self, frame: int) -> Box:
        """The face in a square, in its pixels."""
        points = self.points(np.array([frame]))[0, list(MESH_AS_68)] * self.faces.size
        return box_of(anchors_of(points.astype(np.float32)))

    def vectors(self, name: str, frames: NDArray[np.intp]) -> Floats:
        """What one of IDENTITIES describes these frames by [n, d]; see `apart`."""
        if name == "L_ID":
            net = self._judges.arcface()
            return self._through(frames, lambda squares: net.embed_aligned(ffhq_part(squares)))
        return self._descriptors(frames)

    def _descriptors(self, frames: NDArray[np.intp]) -> NDArray[np.float64]:
        """dlib's descriptors of these frames [n, 128]."""
        for frame in map(int, frames):
            if frame not in self._described:
                found = self._judges.describe(np.ascontiguousarray(self.faces.crops[frame]), self.box(frame))
                self._described[frame] = np.asarray(found, np.float64)
        return np.stack([self._described[int(frame)] for frame in frames])

    def inception(self, frames: NDArray[np.intp], net: nn.Module) -> NDArray[np.float64]:
        """Features of Inception of these frames [n, 2048]."""
        return self._through(frames, net)

    @torch.no_grad()
    def _through(self, frames: NDArray[np.intp], net: object) -> NDArray[np.float64]:
        assert callable(net)
        found: list[Tensor] = [
            net(as_batch(self.faces.crops[frames[begin : begin + AT_ONCE]], self._judges.place))
            for begin in range(0, len(frames), AT_ONCE)
        ]
        return np.asarray(torch.cat(found).double().cpu().numpy(), np.float64)
