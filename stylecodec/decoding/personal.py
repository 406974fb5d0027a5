"""Personalised generators: a delta applied to a copy of the pack's generator, and the deltas that this user knows.

    stream or card ──► delta ──► TunedPack: the pack with another generator, all else shared
                         └─► KnownPeople: kept by hash with the latent, for streams that only name them
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..bitstream import IDENTITY_BYTES, IDENTITY_DIM, IDENTITY_ROWS, Identity, StreamFile
from ..bitstream.attached import personalizations
from ..bitstream.delta import MAX_DELTA_BYTES, GeneratorDelta, Personalization
from ..errors import DeltaNotFound, FormatError, OutputError, PackCorrupt, PackMismatch
from ..files import atomic_write, platform_folder
from ..nets.stylegan2 import Generator
from ..packs.registry import pick_device
from ..packs.store import ModelPack

IDENTITIES_VARIABLE = "STYLECODEC_IDENTITIES"  # the folder of known people
DELTA_SUFFIX, LATENT_SUFFIX = ".delta", ".latent"
MAX_KNOWN = 256  # files of either kind; the one unused for longest goes first


def tunable(generator: Generator) -> Iterator[tuple[str, nn.Parameter]]:
    """The tensors that a delta may change: all that turn W+ into a picture, not what makes latents."""
    for name, parameter in generator.named_parameters():
        if not name.startswith("mapping."):
            yield name, parameter


@torch.no_grad()
def apply_delta(generator: Generator, delta: GeneratorDelta) -> Generator:
    """A copy of the generator with the delta added; PackMismatch for tensors that it does not have."""
    tuned = copy.deepcopy(generator)
    known = dict(tunable(tuned))
    for change in delta.tensors:
        parameter = known.get(change.name)
        if parameter is None or tuple(parameter.shape) != change.shape:
            raise PackMismatch(
                f"the personalised generator changes {change.name} {list(change.shape)}, which this pack's has not"
            )
        parameter.add_(torch.from_numpy(change.values).to(parameter.device, parameter.dtype))
    return tuned.eval().requires_grad_(False)


class TunedPack(ModelPack):
    """A pack whose generator is a personalised one; name, digest and every other network are those of `pack`."""

    def __init__(
        self, pack: ModelPack, delta: GeneratorDelta | None = None, generator: Generator | None = None
    ) -> None:
        """Give a delta, which must be the pack's (else PackMismatch), or a generator that is being tuned."""
        super().__init__(pack.folder, pack.card)
        if delta is not None and delta.pack_digest != pack.digest:
            raise PackMismatch(
                f"the personalised generator belongs to pack {delta.pack_digest.hex()[:12]}, "
                f"not to {pack.name} {pack.digest.hex()[:12]}"
            )
        self.base, self.delta = pack, delta
        self._given = generator

    def network(self, role: str, device: str | torch.device = "auto") -> nn.Module:
        """As of a pack; the generator is the personalised one."""
        if role != "generator":
            return self.base.network(role, device)
        if self._given is not None:
            return self._given
        place = pick_device(device)
        key = (role, str(place))
        if key not in self._built:
            generator = self.base.generator(place)
            with torch.inference_mode(False):  # as in ModelPack
                self._built[key] = generator if self.delta is None else apply_delta(generator, self.delta)
        return self._built[key]


def known_folder() -> Path:
    """Where known people are kept: $STYLECODEC_IDENTITIES, else stylecodec/identities among the platform's caches."""
    if named := os.environ.get(IDENTITIES_VARIABLE):
        return Path(named)
    return platform_folder("Library/Caches", "XDG_CACHE_HOME", ".cache") / "identities"


class KnownPeople:
    """Deltas and identity latents in a folder, each under its hash, against which it is checked when it is read."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = known_folder() if folder is None else folder

    def find(self, digest: bytes) -> GeneratorDelta:
        """The delta of this hash; DeltaNotFound when it is not known, or not any more what it was."""
        data = self._read(digest, DELTA_SUFFIX, MAX_DELTA_BYTES)
        try:
            if data is None:
                raise FormatError("it is not there")
            delta = GeneratorDelta(data)
        except FormatError:
            raise DeltaNotFound(
                f"the personalised generator {digest.hex()[:16]} is not in the stream and not known here; "
                "import the person's identity card (stylecodec identity import), or decode it as an avatar"
            ) from None
        return delta

    def recall(self, digest: bytes) -> Identity | None:
        """The identity of this hash, None when it is not known; fits StreamFile.open."""
        data = self._read(digest, LATENT_SUFFIX, IDENTITY_BYTES)
        if data is None or len(data) != IDENTITY_BYTES:
            return None
        return Identity(np.frombuffer(data, "<f2").reshape(IDENTITY_ROWS, IDENTITY_DIM))

    def add(self, delta: GeneratorDelta) -> None:
        """Keep a delta; OutputError where the folder cannot be written."""
        self._write(delta.digest, DELTA_SUFFIX, bytes(delta))

    def add_identity(self, identity: Identity) -> None:
        """Keep an identity latent; as `add`."""
        self._write(identity.digest, LATENT_SUFFIX, identity.latent.astype("<f2").tobytes())

    def digests(self) -> list[bytes]:
        """The hashes of the deltas that are kept."""
        names = [path.stem for path in self.folder.glob(f"*{DELTA_SUFFIX}")] if self.folder.is_dir() else []
        return sorted(bytes.fromhex(name) for name in names if len(name) == 64)

    def _read(self, digest: bytes, suffix: str, most: int) -> bytes | None:
        """What is kept under a hash, if it still has that hash."""
        path = self.folder / f"{digest.hex()}{suffix}"
        try:
            if path.stat().st_size > most:
                return None
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data if hashlib.sha256(data).digest() == digest else None

    def _write(self, digest: bytes, suffix: str, data: bytes) -> None:
        """Keep data under its hash, unless it is kept already and undamaged."""
        if self._read(digest, suffix, len(data)) is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{digest.hex()}{suffix}") as file:
                file.write(data)
            self._forget(suffix)
        except OSError as error:
            raise OutputError(f"people cannot be kept in {self.folder}: {error.strerror}") from error

    def _forget(self, suffix: str) -> None:
        kept = sorted(self.folder.glob(f"*{suffix}"), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(len(kept) - MAX_KNOWN, 0)]:
            path.unlink(missing_ok=True)


def resolve(found: Personalization, known: KnownPeople | None = None) -> GeneratorDelta:
    """The delta of a chunk: the one it carries, else the known one of that hash (DeltaNotFound)."""
    return found.delta if found.delta is not None else (known or KnownPeople()).find(found.digest)


def differences(tuned: Generator, base: Generator) -> dict[str, Tensor]:
    """What the tensors of a tuned generator differ by, those that do, on the CPU in float32."""
    before = dict(tunable(base))
    if before.keys() != dict(tunable(tuned)).keys():
        raise PackCorrupt("the two generators do not have the same tensors")
    found = {name: (p.detach() - before[name].detach()).float().cpu() for name, p in tunable(tuned)}
    return {name: value for name, value in found.items() if bool(value.any())}


def keep(stream: StreamFile, known: KnownPeople | None = None) -> list[bytes]:
    """Keep the generators that a card or stream carries, and their identities, for streams that only name them; the
    digests of the generators. OutputError where they cannot be written."""
    store = known or KnownPeople()
    found = personalizations(stream)
    for identity in stream.identities if found else ():
        if identity.digest in found:
            store.add_identity(identity)
    deltas = [one.delta for one in found.values() if one.delta is not None]
    for delta in deltas:
        store.add(delta)
    return [delta.digest for delta in deltas]
