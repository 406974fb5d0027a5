"""Identity cards (SPEC 15): somebody known, to be used again in other streams."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...bitstream import Identity, Profile, Quantiser, StreamFile, StreamWriter, edit
from ...bitstream.attached import personalizations
from ...bitstream.delta import GeneratorDelta, Personalization
from ...decoding.known_people import KnownPeople, resolve
from ...errors import OptionError, PackMismatch
from ...files import reading
from ...packs.store import ModelPack


@dataclass(frozen=True)
class IdentityCard:
    """Somebody known: the latent, and the delta of the generator that was personalised to it, if one was.

    quantiser: of the stream that the card is, which was fitted to how this person moves; a mere card has none.
    """

    identity: Identity
    delta: GeneratorDelta | None = None
    fresh: bool = False  # the latent was fitted anew, so no receiver knows it
    quantiser: Quantiser | None = None


def personal_of(stream: StreamFile, identity: Identity) -> Personalization | None:
    """The personalised generator of one of a stream's identities."""
    return personalizations(stream).get(identity.digest)


def read_card(path: str | os.PathLike[str], pack: ModelPack, refit: bool = False) -> IdentityCard:
    """The first identity of a card or stream, with its generator; what the file only names must be known here.

    refit: whether the latent is to be fitted anew. Raises PackMismatch when it belongs to another pack, FormatError or
    DeltaNotFound for what is not known, OptionError for a latent to be fitted without a generator.
    """
    with reading(path), StreamFile.open(os.fspath(path), recall=KnownPeople().recall) as stream:
        header, identity = stream.header, edit.first_identity(stream)
        found = personal_of(stream, identity)
    if header.pack_digest != pack.digest:
        raise PackMismatch(
            f"{path} was made with pack {header.pack_name} {header.pack_digest.hex()[:12]}, "
            f"not with {pack.name} {pack.digest.hex()[:12]}"
        )
    if refit and found is None:
        raise OptionError(f"{path} has no personalised generator, so its latent cannot be fitted anew to it")
    return IdentityCard(identity, None if found is None else resolve(found), quantiser=header.quantiser)


def card_bytes(stream: StreamFile, known: KnownPeople | None = None) -> Iterator[bytes]:
    """A card of the first identity of a stream; DeltaNotFound when its generator is only named and not known."""
    identity = edit.first_identity(stream)
    header = replace(
        stream.header, live=False, crop=None, time_scale=0, profile=Profile.RAW, quantiser=None
    )
    writer = StreamWriter(header)
    yield writer.start()
    yield writer.identity(identity)
    found = personal_of(stream, identity)
    if found is not None:
        yield writer.attach(Personalization.carried(identity.digest, resolve(found, known)))
    yield writer.finish()
