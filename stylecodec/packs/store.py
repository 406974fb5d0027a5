"""Model packs on disk: found by name or folder, verified by digest, their networks built when first asked for.

The path of a name:

    open_pack("nobody-1024") ──► folder ──► card ──► ModelPack ──► .generator("cpu") ──► verified, built, cached
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from platformdirs import user_data_path
from torch import nn

from ..errors import PackCorrupt, PackNotFound
from ..geometry import Alignment
from ..nets.isolation import isolated
from .card import CARD_FILE, DEFAULT_PACK, MAX_CARD_BYTES, SHIPPED_ROLES, STREAM_ROLES, Calibration, PackCard
from .registry import load_module, pick_device

if TYPE_CHECKING:
    from ..nets.dists import Dists, DistsHeads
    from ..nets.e4e import E4eEncoder
    from ..nets.face_mesh import FaceMesh
    from ..nets.feedforward import HybridEncoder
    from ..nets.i3d import I3d
    from ..nets.identity import IdentityNet
    from ..nets.inception import FidInception
    from ..nets.landmarks import LandmarkNet
    from ..nets.lpips import Lpips, LpipsHeads
    from ..nets.parsing import BiSeNet
    from ..nets.shape_predictor import ShapePredictor
    from ..nets.styleflow import HeadPoseFlow
    from ..nets.stylegan2 import Generator

EMBEDDED = Path(__file__).parent / DEFAULT_PACK.replace("-", "_")  # the pack that comes with stylecodec
PACKS_VARIABLE = "STYLECODEC_PACKS"  # folders of packs, separated as in PATH

CHANNELS_LAST = ("feedforward", "landmarks", "face_mesh")  # networks that look at every frame, a quarter faster so


class ModelPack:
    """An opened pack: its card, and its networks in eval mode with gradients off, one per role and device."""

    def __init__(self, folder: Path, card: PackCard) -> None:
        self.folder, self.card = folder, card
        self._built: dict[tuple[str, str], nn.Module] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Copies in other processes build their networks anew, from the same files."""
        return self.__dict__ | {"_built": {}}

    def __repr__(self) -> str:
        return f"ModelPack({self.name!r}, {str(self.folder)!r})"

    @property
    def name(self) -> str:
        """The name that streams carry."""
        return self.card.name

    @property
    def indices(self) -> tuple[tuple[int, int], ...]:
        """The 32 (layer, channel) pairs that a packet's offsets are added to."""
        return self.card.indices

    @property
    def alignment(self) -> Alignment:
        """How this pack's crop differs from the FFHQ square."""
        return self.card.alignment

    @property
    def pose_rows(self) -> int:
        """W+ rows 0 .. pose_rows-1 take the flow's edit."""
        return self.card.pose.rows

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that change whenever the same stream would decode to other pictures.

        SHA-256 over one line of text per decode-relevant part: the generator's and the flow's kind, weights
        (their sha256) and parameters, the StyleSpace indices and the pose rows. PackNotFound for a partial pack,
        which no stream can be made with.
        """
        self.require(STREAM_ROLES, "making and decoding streams")
        lines = ["stylecodec pack 1"]
        for role in STREAM_ROLES:
            entry = self.card.networks[role]
            params = json.dumps(entry.params, sort_keys=True, separators=(",", ":"))
            lines.append(f"{role} {entry.kind} {entry.sha256} {params}")
        lines.append("indices " + " ".join(f"{layer}_{channel}" for layer, channel in self.indices))
        lines.append(f"pose_rows {self.pose_rows}")
        return hashlib.sha256("\n".join(lines).encode()).digest()

    def has(self, role: str) -> bool:
        """Whether the pack brings a network for `role`."""
        return role in self.card.networks

    def require(self, roles: Iterable[str], purpose: str) -> None:
        """PackNotFound, naming the roles, when the pack lacks networks that `purpose` needs."""
        missing = [role for role in roles if not self.has(role)]
        if missing:
            has = ", ".join(self.card.networks)
            raise PackNotFound(
                f"pack {self.name} has no {' and no '.join(missing)} network, which {purpose} needs (it has: {has})"
            )

    def generator(self, device: str | torch.device = "auto") -> Generator:
        """The StyleGAN2 generator."""
        generator = cast("Generator", self.network("generator", device))
        layers = generator.layout.layers
        if generator.resolution != self.card.resolution:
            raise PackCorrupt(
                f"pack {self.name}: resolution is {self.card.resolution}, its generator's {generator.resolution}"
            )
        for layer, channel in self.indices:
            if layer >= len(layers) or channel >= layers[layer].channels:
                raise PackCorrupt(f"pack {self.name}: its generator has no StyleSpace channel {layer}_{channel}")
        return generator

    def flow(self, device: str | torch.device = "auto") -> HeadPoseFlow:
        """The head-pose flow."""
        return cast("HeadPoseFlow", self.network("flow", device))

    def feedforward(self, device: str | torch.device = "auto") -> HybridEncoder:
        """The hybrid encoder of the `fast` preset."""
        return cast("HybridEncoder", self.network("feedforward", device))

    def inversion(self, device: str | torch.device = "auto") -> E4eEncoder:
        """The inversion encoder: crop -> W+; a restyle.RestyleEncoder in a pack that was given ReStyle."""
        return cast("E4eEncoder", self.network("inversion", device))

    def predictor(self, device: str | torch.device = "cpu") -> ShapePredictor:
        """The shape predictor: picture and box -> points."""
        return cast("ShapePredictor", self.network("predictor", device))

    def lpips(self, trunk: str = "alex", device: str | torch.device = "auto") -> Lpips:
        """The perceptual distance on AlexNet ("alex") or VGG-16 ("vgg") features."""
        return cast("Lpips", self.network(f"lpips_{trunk}", device))

    def dists(self, device: str | torch.device = "auto") -> Dists:
        """The distance by structure and texture, on the trunk of LPIPS with VGG-16."""
        from ..nets.dists import Dists

        heads = cast("DistsHeads", self.network("dists_heads", device))
        return Dists(self.lpips("vgg", device), heads).to(pick_device(device)).eval()

    def inception(self, device: str | torch.device = "auto") -> FidInception:
        """The network of the Fréchet Inception Distance: pictures -> features."""
        return cast("FidInception", self.network("inception", device))

    def i3d(self, device: str | torch.device = "auto") -> I3d:
        """The network of the Fréchet Video Distance: clips -> logits."""
        return cast("I3d", self.network("i3d", device))

    def identity(self, device: str | torch.device = "auto") -> IdentityNet:
        """The identity network: aligned crop -> unit vector."""
        return cast("IdentityNet", self.network("identity", device))

    def parser(self, device: str | torch.device = "auto") -> BiSeNet:
        """The face parser: crop -> class scores per pixel."""
        return cast("BiSeNet", self.network("parser", device))

    def landmarks(self, device: str | torch.device = "auto") -> LandmarkNet:
        """The landmark network: crop -> points in crop units."""
        return cast("LandmarkNet", self.network("landmarks", device))

    def face_mesh(self, device: str | torch.device = "auto") -> FaceMesh:
        """The face mesh: aligned pictures -> 478 points in crop units."""
        return cast("FaceMesh", self.network("face_mesh", device))

    def lpips_heads(self) -> LpipsHeads:
        """The published channel weights of LPIPS for both trunks, on the CPU."""
        return cast("LpipsHeads", self.network("lpips_heads", "cpu"))

    def calibration(self, name: str) -> Calibration:
        """Numbers measured with this pack, else those of the embedded one; PackNotFound where neither has them."""
        for card in (self.card, embedded_pack().card):
            if name in card.calibration:
                return card.calibration[name]
        raise PackNotFound(f"pack {self.name} has no calibration {name!r}")

    def provider(self, role: str) -> ModelPack:
        """The pack that `network` takes a role from: this one, or the embedded one for SHIPPED_ROLES that it lacks."""
        if role in SHIPPED_ROLES and not self.has(role) and (embedded := embedded_pack()).has(role):
            return embedded
        return self

    def network(self, role: str, device: str | torch.device = "auto") -> nn.Module:
        """The network of `role`, built and verified at the first call; PackNotFound when there is none.

        One of card.SHIPPED_ROLES that the pack lacks is that of the embedded pack.
        """
        if (provider := self.provider(role)) is not self:
            return provider.network(role, device)
        if not self.has(role):
            raise PackNotFound(f"pack {self.name} has no {role} network")
        place = pick_device(device)
        key = (role, str(place))
        if key not in self._built:
            with isolated(draws=True):  # what is kept serves every caller, whatever this one has set in torch
                module = self._load(role).to(place).eval().requires_grad_(False)
                if role in CHANNELS_LAST:
                    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return self._built.setdefault(key, module)  # threads may build the same at once: all get the first
        return self._built[key]

    def verify(self) -> None:
        """Check every file against its digest; PackCorrupt at the first that differs."""
        for role in self.card.networks:
            self.verify_role(role)

    def verify_role(self, role: str) -> None:
        """Check the file of one network against its digest; PackCorrupt when it differs."""
        self._checked_file(role)

    def _load(self, role: str) -> nn.Module:
        entry = self.card.networks[role]
        file = self._checked_file(role)
        foreign = self.folder != EMBEDDED
        return load_module(entry.kind, entry.params, file, entry.zeros, f"pack {self.name}, {role}", foreign)

    def _checked_file(self, role: str) -> Path:
        entry = self.card.networks[role]
        file = self.folder / entry.file
        try:
            with file.open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise PackCorrupt(f"pack {self.name}: {file} cannot be read: {error.strerror}") from error
        if found != entry.sha256:
            raise PackCorrupt(f"pack {self.name}: {file} does not match the sha256 on its card")
        return file


@cache
def embedded_pack() -> ModelPack:
    """The pack that comes with stylecodec, whatever packs of its name a user has."""
    return ModelPack(EMBEDDED, read_card(EMBEDDED))


def open_pack(pack: str | os.PathLike[str] = DEFAULT_PACK) -> ModelPack:
    """Open a pack by folder or by name.

    A folder that holds a card is taken as it is. A name is looked for in the folders of $STYLECODEC_PACKS, in the
    user's pack folder (`user_pack_folder`), and among the packs that come with stylecodec.
    Raises PackNotFound, or PackCorrupt when the card is not valid. Networks are verified when they are first used.
    """
    folder = Path(pack)
    if (folder / CARD_FILE).is_file():
        return ModelPack(folder, read_card(folder))
    name = os.fspath(pack)
    if folder.name == name:  # a plain name, not a path
        for candidate in _candidates(name):
            if (candidate / CARD_FILE).is_file():
                card = read_card(candidate)
                if card.name == name:
                    return ModelPack(candidate, card)
    searched = ", ".join(str(root) for root in search_path())
    raise PackNotFound(f"there is no model pack {name!r}, neither as a folder nor by name in {searched}")


def read_card(folder: Path) -> PackCard:
    """The validated card of a pack folder."""
    path = folder / CARD_FILE
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise PackCorrupt(f"{path} is larger than {MAX_CARD_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackCorrupt(f"{path} cannot be read: {error}") from error
    return PackCard.parse(text, str(path))


def search_path() -> list[Path]:
    """The folders that are searched for packs by name, in order."""
    named = os.environ.get(PACKS_VARIABLE, "")
    return [*(Path(part) for part in named.split(os.pathsep) if part), user_pack_folder(), Path(__file__).parent]


def user_pack_folder() -> Path:
    """Where a user's own packs live: stylecodec/packs in the platform's folder for user data."""
    return user_data_path("stylecodec", appauthor=False) / "packs"


def _candidates(name: str) -> Iterator[Path]:
    for root in search_path():
        yield root / name
        yield root / name.replace("-", "_")  # package data is spelled as a module
