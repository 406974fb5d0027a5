"""What `pip install stylecodec` leaves out: the libraries of each extra, and the sentence that asks for one.

    stylecodec            decodes to frames, inspects and edits streams, imports model packs
    stylecodec[video]     writes videos as well
    stylecodec[encode]    reads videos and finds faces as well: everything but
    stylecodec[rd]        draws rate-distortion curves and compares them
    stylecodec[corpus]    encodes corpora on Ray clusters and keeps their manifests in Parquet
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from .errors import MissingDependency

Extra = Literal["video", "encode", "rd", "corpus"]

EXTRAS: Mapping[Extra, Mapping[str, str]] = MappingProxyType(
    {
        "video": {"av": "PyAV"},
        "encode": {
            "av": "PyAV",
            "dlib": "dlib",
            "face_recognition_models": "face_recognition_models",
            "scipy": "SciPy",
        },
        "rd": {
            "av": "PyAV",
            "dlib": "dlib",
            "face_recognition_models": "face_recognition_models",
            "scipy": "SciPy",
            "matplotlib": "Matplotlib",
            "bjontegaard": "bjontegaard",
        },
        "corpus": {"pyarrow": "PyArrow", "ray": "Ray"},
    }
)
"""By extra: its modules and what their projects are called."""


def need_extra(extra: Extra, purpose: str) -> None:
    """MissingDependency, which says what to install, where a library of the extra is not there; imports nothing."""
    missing = [name for module, name in EXTRAS[extra].items() if not _is_installed(module)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingDependency(
            f"{purpose} needs {', '.join(missing)}, which {are} not installed: pip install 'stylecodec[{extra}]'"
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # sys.modules holds something without a spec
        return False
