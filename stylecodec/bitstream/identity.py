"""The identity latent, and the reference to one (SPEC 5.2 and 5.8)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import ChecksumMismatch, CorruptChunk, LimitExceeded
from . import layout
from .checks import check_finite, exact_length, finite_fp16, located


@dataclass(frozen=True, eq=False)
class Identity:
    """One identity latent in W+ (SPEC 5.2; paper section 3.3).

    latent: float16 [18, 512], finite. slot: the number by which groups refer to it; a StreamWriter
    chooses it, so a caller leaves it alone.
    """

    latent: npt.NDArray[np.float16]
    slot: int = 0

    def __post_init__(self) -> None:
        shape = (layout.IDENTITY_ROWS, layout.IDENTITY_DIM)
        latent = finite_fp16(self.latent, shape, "identity")
        if latent.flags.writeable:  # the digest must stay true whatever the caller does to his array
            latent = latent.copy()
            latent.flags.writeable = False
        object.__setattr__(self, "latent", latent)
        if not 0 <= self.slot < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.slot} is outside 0..{layout.MAX_IDENTITIES - 1}")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the 18,432 bytes of the latent: the address of this identity."""
        return hashlib.sha256(self.latent.tobytes()).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash((self.slot, self.digest))

    def __bytes__(self) -> bytes:
        head = layout.IDENTITY_HEAD.build({"slot": self.slot, "reserved": 0, "digest": self.digest})
        return bytes(head) + self.latent.tobytes()

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> Identity:
        exact_length(data, layout.IDENTITY_PAYLOAD_BYTES, "identity", offset)
        fields = layout.IDENTITY_HEAD.parse(data)
        if fields.reserved:
            raise CorruptChunk("the reserved byte of an identity is not zero", offset + 1)
        start = layout.IDENTITY_HEAD_BYTES
        latent = np.frombuffer(data, layout.FP16, offset=start)
        check_finite(latent, "identity", offset + start)
        shape = (layout.IDENTITY_ROWS, layout.IDENTITY_DIM)
        identity = located(offset, cls, latent.reshape(shape), fields.slot)
        if identity.digest != fields.digest:
            raise ChecksumMismatch("the digest of an identity does not fit its latent", offset + 2)
        return identity


@dataclass(frozen=True)
class IdentityReference:
    """An identity by its digest alone, for receivers that keep latents (SPEC 5.8).

    digest: SHA-256 of the latent's 18,432 bytes. slot: as in Identity.
    """

    digest: bytes
    slot: int = 0

    def __post_init__(self) -> None:
        if len(self.digest) != layout.DIGEST_BYTES:
            raise CorruptChunk(f"the digest of an identity has {layout.DIGEST_BYTES} bytes, not {len(self.digest)}")
        if not 0 <= self.slot < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.slot} is outside 0..{layout.MAX_IDENTITIES - 1}")

    def __bytes__(self) -> bytes:
        return bytes(layout.IDENTITY_HEAD.build({"slot": self.slot, "reserved": 0, "digest": self.digest}))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> IdentityReference:
        exact_length(data, layout.IDENTITY_HEAD_BYTES, "identity reference", offset)
        fields = layout.IDENTITY_HEAD.parse(data)
        if fields.reserved:
            raise CorruptChunk("the reserved byte of an identity reference is not zero", offset + 1)
        return located(offset, cls, fields.digest, fields.slot)
