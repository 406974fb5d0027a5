"""A shape predictor that lies in a pack serves as the encoder's landmarker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylecodec.errors import OptionError
from stylecodec.face.detect import Box
from stylecodec.face.landmarks import Dlib68, make_landmarker
from stylecodec.packs.upstream.importer import import_files
from tests.packs.upstream.foreign_files import picture, write_dlib


def test_points_are_those_of_dlib_with_the_same_file(tmp_path: Path) -> None:
    path = write_dlib(tmp_path / "predictor.dat", 68)
    pack = import_files([path], "points", tmp_path / "packs").pack
    ours, theirs = make_landmarker("predictor", pack.predictor()), Dlib68(path)
    for box in (Box(10.4, 8.0, 80.0, 70.6), Box(-20.0, -10.0, 60.0, 90.0)):
        np.testing.assert_array_equal(ours(picture(1), box), theirs(picture(1), box))


def test_a_pack_without_a_predictor_is_an_error() -> None:
    with pytest.raises(OptionError, match="needs a pack with a shape predictor"):
        make_landmarker("predictor")
