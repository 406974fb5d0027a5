"""stylecodec: a talking-head video codec in the latent space of StyleGAN2.

    import stylecodec

    report = stylecodec.encode("talk.mp4", "talk.stc")
    stylecodec.decode("talk.stc", "avatar.mp4", size=512)
    with stylecodec.Decoder.open("talk.stc") as decoder:
        frame = decoder.at(1.5)

Names are loaded when they are first used (PEP 562): importing the package loads neither torch, av nor dlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import DecodeReport, EncodeReport, decode, encode, probe, puppet, verify
    from .bitstream import StreamFile, StreamReader, StreamWriter
    from .decoding.decoder import Decoder
    from .decoding.options import DecodeOptions
    from .encoding.options import EncodeOptions
    from .errors import FaceNotFound, FormatError, MediaError, OptionError, OutputError, PackError, StylecodecError
    from .packs.store import ModelPack, open_pack

__version__ = "0.1.0"

_HOME = {
    "DecodeReport": "api",
    "EncodeReport": "api",
    "decode": "api",
    "encode": "api",
    "probe": "api",
    "puppet": "api",
    "verify": "api",
    "StreamFile": "bitstream",
    "StreamReader": "bitstream",
    "StreamWriter": "bitstream",
    "DecodeOptions": "decoding.options",
    "Decoder": "decoding.decoder",
    "EncodeOptions": "encoding.options",
    "FaceNotFound": "errors",
    "FormatError": "errors",
    "MediaError": "errors",
    "OptionError": "errors",
    "OutputError": "errors",
    "PackError": "errors",
    "StylecodecError": "errors",
    "ModelPack": "packs.store",
    "open_pack": "packs.store",
}

__all__ = [
    "DecodeOptions",
    "DecodeReport",
    "Decoder",
    "EncodeOptions",
    "EncodeReport",
    "FaceNotFound",
    "FormatError",
    "MediaError",
    "ModelPack",
    "OptionError",
    "OutputError",
    "PackError",
    "StreamFile",
    "StreamReader",
    "StreamWriter",
    "StylecodecError",
    "__version__",
    "decode",
    "encode",
    "open_pack",
    "probe",
    "puppet",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
