from __future__ import annotations

from pathlib import Path

import pytest

from stylecodec.corpus.run import encode_corpus
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import cheap, looking, streams, write_talk


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three short clips of a face; treat it as read-only."""
    return write_talk(tmp_path_factory.mktemp("talk"), ["a.mp4", "b.mp4", "deep/c.mp4"])


@pytest.fixture(scope="session")
def whole(talk: Path, tiny_pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The streams of `talk` as one process writes them that nothing disturbs."""
    out = tmp_path_factory.mktemp("whole")
    encode_corpus([talk], out, cheap(tiny_pack), looking)
    return streams(out)
