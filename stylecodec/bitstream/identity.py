"""The identity latent, and the reference to an identity (SPEC 5.2 and 5.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import ChecksumMismatch, CorruptChunk, LimitExceeded, Truncated, UnsupportedVersion
from . import layout
from .checks import check_finite, exact_length, finite_fp16, located
from .compact.coding import decode_latent, encode_latent, predicted_levels
from .compact.quantiser import step_of
from .layout import IdentityForm


@dataclass(frozen=True, eq=False)
class Identity:
    """The IDENTITY chunk: one latent in W+ (SPEC 5.2).

    latent: float16 [18, 512], finite; read-only. slot: 0..255, the number by which groups refer to it; StreamWriter
    chooses it. step_code: 0..255, None for the raw form; in the other forms the latent is rounded to multiples of the
    step of that code (compact.quantiser.step_of) and then to fp16. base: the identity that the levels are predicted
    from, of which this is a refinement; it comes before. Raises CorruptChunk and LimitExceeded.
    """

    latent: npt.NDArray[np.float16]
    slot: int = 0
    step_code: int | None = None
    base: Identity | None = None

    def __post_init__(self) -> None:
        shape = (layout.IDENTITY_ROWS, layout.IDENTITY_DIM)
        latent = finite_fp16(self.latent, shape, "identity")
        if self.step_code is not None:
            if not 0 <= self.step_code <= 255:
                raise LimitExceeded("the code of an identity's step is outside 0..255")
            latent = finite_fp16(_values(self._levels(latent), self.step_code), shape, "identity")
        if latent.flags.writeable:  # the digest must stay right if the caller changes the array
            latent = latent.copy()
            latent.flags.writeable = False
        object.__setattr__(self, "latent", latent)
        if not 0 <= self.slot < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.slot} is outside 0..{layout.MAX_IDENTITIES - 1}")
        if self.base is not None and self.step_code is None:
            raise CorruptChunk("an identity that is predicted from another has a step")
        if self.predictions > layout.MAX_PREDICTIONS:
            raise LimitExceeded(f"an identity is predicted over more than {layout.MAX_PREDICTIONS} others")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the 18,432 bytes of the latent: the address of this identity."""
        return hashlib.sha256(self.latent.tobytes()).digest()

    @property
    def form(self) -> IdentityForm:
        """How the chunk codes it."""
        if self.base is not None:
            return IdentityForm.PREDICTED
        return IdentityForm.RAW if self.step_code is None else IdentityForm.COMPACT

    @property
    def predictions(self) -> int:
        """From how many identities one after the other it is predicted; 0 if it stands for itself."""
        return 0 if self.base is None else self.base.predictions + 1

    @property
    def whole(self) -> Identity:
        """The same latent in the same slot, predicted from nothing."""
        return self if self.base is None else replace(self, base=None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[int, int | None, bytes, tuple[int, bytes] | None]:
        return self.slot, self.step_code, self.digest, None if self.base is None else (self.base.slot, self.base.digest)

    def __bytes__(self) -> bytes:
        head = layout.IDENTITY_HEAD.build({"slot": self.slot, "form": int(self.form), "digest": self.digest})
        if self.step_code is None:
            return bytes(head) + self.latent.tobytes()
        levels = self._levels(self.latent)
        if self.base is None:
            return bytes(head) + bytes([self.step_code]) + encode_latent(levels)
        prediction = predicted_levels(self.base.latent, self.step_code)
        return bytes(head) + bytes([self.base.slot, self.step_code]) + encode_latent(levels, prediction)

    def _levels(self, latent: npt.NDArray[np.float16]) -> npt.NDArray[np.int32]:
        """The nearest multiples of the step, int32 [18, 512]."""
        assert self.step_code is not None
        levels = np.rint(latent.astype(np.float64) / step_of(self.step_code))
        if (np.abs(levels) > layout.MAX_IDENTITY_LEVEL).any():
            most = layout.MAX_IDENTITY_LEVEL
            raise LimitExceeded(f"a level of an identity is outside -{most}..{most}")
        return levels.astype(np.int32)

    @classmethod
    def parse(
        cls, data: bytes, offset: int = 0, base_of: Callable[[int], Identity | None] | None = None
    ) -> Identity:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError.

        base_of: gives the identity of a slot if it came before; None: in a stream of a version without predictions.
        """
        start = layout.IDENTITY_HEAD_BYTES
        if len(data) < start:
            raise Truncated(f"an identity has at least {start} bytes, not {len(data)}", offset + len(data))
        fields = layout.IDENTITY_HEAD.parse(data)
        shape = (layout.IDENTITY_ROWS, layout.IDENTITY_DIM)
        step_code = base = None
        if fields.form == IdentityForm.RAW:
            exact_length(data, layout.IDENTITY_PAYLOAD_BYTES, "identity", offset)
            latent = np.frombuffer(data, layout.FP16, offset=start).reshape(shape)
            check_finite(latent.reshape(-1), "identity", offset + start)
        elif fields.form == IdentityForm.COMPACT:
            if len(data) == start:
                raise Truncated("an identity ends before its step", offset + start)
            step_code = data[start]
            latent = _values(decode_latent(data[start + 1 :], offset + start + 1), step_code)
        elif fields.form == IdentityForm.PREDICTED and base_of is not None:
            if len(data) < start + 2:
                raise Truncated("a predicted identity ends before its step", offset + len(data))
            step_code, base = data[start + 1], _base(data[start], fields.slot, base_of, offset + start)
            prediction = predicted_levels(base.latent, step_code)
            latent = _values(decode_latent(data[start + 2 :], offset + start + 2, prediction), step_code)
        else:
            raise UnsupportedVersion(f"form {fields.form} of an identity is not known to this reader", offset + 1)
        identity = located(offset, cls, latent, fields.slot, step_code, base)
        if identity.digest != fields.digest:
            raise ChecksumMismatch("the digest of an identity does not fit its latent", offset + 2)
        return identity


def _base(slot: int, own: int, base_of: Callable[[int], Identity | None], offset: int) -> Identity:
    """The identity that the one of slot `own` is predicted from. offset: absolute, of its slot, for error messages."""
    if slot == own:
        raise CorruptChunk(f"the identity of slot {own} is predicted from itself", offset)
    base = base_of(slot)
    if base is None:
        raise CorruptChunk(f"an identity is predicted from that of slot {slot}, not given before", offset)
    if base.predictions >= layout.MAX_PREDICTIONS:
        raise LimitExceeded(f"an identity is predicted over more than {layout.MAX_PREDICTIONS} others", offset)
    return base


def _values(levels: npt.NDArray[np.int32], step_code: int) -> npt.NDArray[np.float16]:
    """Levels times step, rounded to fp16: to nearest, ties to even; infinite where fp16 does not reach."""
    with np.errstate(over="ignore"):
        return (levels * step_of(step_code)).astype(layout.FP16)


@dataclass(frozen=True)
class IdentityReference:
    """The IDENTITY_REFERENCE chunk: an identity by its digest, for receivers that know it (SPEC 5.8).

    digest: SHA-256 of the 18,432 bytes of the latent. slot: as in Identity. Raises CorruptChunk and LimitExceeded.
    """

    digest: bytes
    slot: int = 0

    def __post_init__(self) -> None:
        if len(self.digest) != layout.DIGEST_BYTES:
            raise CorruptChunk(f"the digest of an identity has {layout.DIGEST_BYTES} bytes, not {len(self.digest)}")
        if not 0 <= self.slot < layout.MAX_IDENTITIES:
            raise LimitExceeded(f"identity slot {self.slot} is outside 0..{layout.MAX_IDENTITIES - 1}")

    def __bytes__(self) -> bytes:
        return bytes(layout.IDENTITY_HEAD.build({"slot": self.slot, "form": 0, "digest": self.digest}))

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> IdentityReference:
        """Parse a payload. offset: absolute, of its first byte, for error messages. Raises FormatError."""
        exact_length(data, layout.IDENTITY_HEAD_BYTES, "identity reference", offset)
        fields = layout.IDENTITY_HEAD.parse(data)
        if fields.form:
            raise CorruptChunk("the reserved byte of an identity reference is not zero", offset + 1)
        return located(offset, cls, fields.digest, fields.slot)
