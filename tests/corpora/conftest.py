from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.scene import write_talk


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three short clips of a face; treat it as read-only."""
    return write_talk(tmp_path_factory.mktemp("talk"), ["a.mp4", "b.mp4", "deep/c.mp4"])
