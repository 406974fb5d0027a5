"""stylecodec: a talking-head video codec in the latent space of StyleGAN2.

    import stylecodec

    report = stylecodec.encode("talk.mp4", "talk.stc")
    stylecodec.decode("talk.stc", "avatar.mp4", size=512)
    with stylecodec.Decoder.open("talk.stc") as decoder:
        frame = decoder.at(1.5)

Names are loaded when they are first used (PEP 562): importing the package loads neither torch, av nor dlib. Streams as
data for training: `stylecodec.datasets`.
Every exception that the package raises on purpose is one of `stylecodec.errors`, and a StylecodecError.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import datasets
    from .api import DecodeReport, EncodeReport, decode, encode, probe, probe_source, puppet, verify
    from .bitstream import StreamFile, StreamReader, StreamReport, StreamWriter
    from .decoding.decoder import Decoder
    from .decoding.options import DecodeOptions
    from .encoding.options import (
        EncodeOptions,
        FitOptions,
        LandmarkCorrectionOptions,
        PixelCorrectionOptions,
        RefineOptions,
        TuneOptions,
    )
    from .errors import (
        BadMagic,
        ChecksumMismatch,
        CorruptChunk,
        DeltaNotFound,
        FaceNotFound,
        FormatError,
        ImportRefused,
        LimitExceeded,
        MediaError,
        MissingDependency,
        OptionError,
        OutputError,
        PackCorrupt,
        PackError,
        PackMismatch,
        PackNotFound,
        StreamMismatch,
        StylecodecError,
        Truncated,
        UnsupportedVersion,
    )
    from .evaluation.evaluate import evaluate
    from .evaluation.options import EvaluateOptions
    from .evaluation.rd.options import RdOptions
    from .evaluation.rd.rate_distortion import rate_distortion
    from .evaluation.rd.report import RdReport
    from .evaluation.report import EvaluateReport
    from .packs.store import ModelPack, open_pack
    from .progress import Progress

__version__ = "0.1.0"

_HOMES = {
    "api": "DecodeReport EncodeReport decode encode probe probe_source puppet verify",
    "bitstream": "StreamFile StreamReader StreamReport StreamWriter",
    "decoding.decoder": "Decoder",
    "decoding.options": "DecodeOptions",
    "encoding.options": "EncodeOptions FitOptions LandmarkCorrectionOptions PixelCorrectionOptions RefineOptions "
    "TuneOptions",
    "errors": "BadMagic ChecksumMismatch CorruptChunk DeltaNotFound FaceNotFound FormatError ImportRefused "
    "LimitExceeded MediaError MissingDependency OptionError OutputError PackCorrupt PackError PackMismatch "
    "PackNotFound StreamMismatch StylecodecError Truncated UnsupportedVersion",
    "evaluation.evaluate": "evaluate",
    "evaluation.options": "EvaluateOptions",
    "evaluation.rd.options": "RdOptions",
    "evaluation.rd.rate_distortion": "rate_distortion",
    "evaluation.rd.report": "RdReport",
    "evaluation.report": "EvaluateReport",
    "packs.store": "ModelPack open_pack",
    "progress": "Progress",
}
_ROOMS = ("datasets",)  # modules that are names of the package themselves
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "BadMagic",
    "ChecksumMismatch",
    "CorruptChunk",
    "DecodeOptions",
    "DecodeReport",
    "Decoder",
    "DeltaNotFound",
    "EncodeOptions",
    "EncodeReport",
    "EvaluateOptions",
    "EvaluateReport",
    "FaceNotFound",
    "FitOptions",
    "FormatError",
    "ImportRefused",
    "LandmarkCorrectionOptions",
    "LimitExceeded",
    "MediaError",
    "MissingDependency",
    "ModelPack",
    "OptionError",
    "OutputError",
    "PackCorrupt",
    "PackError",
    "PackMismatch",
    "PackNotFound",
    "PixelCorrectionOptions",
    "Progress",
    "RdOptions",
    "RdReport",
    "RefineOptions",
    "StreamFile",
    "StreamMismatch",
    "StreamReader",
    "StreamReport",
    "StreamWriter",
    "StylecodecError",
    "Truncated",
    "TuneOptions",
    "UnsupportedVersion",
    "__version__",
    "datasets",
    "decode",
    "encode",
    "evaluate",
    "open_pack",
    "probe",
    "probe_source",
    "puppet",
    "rate_distortion",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
