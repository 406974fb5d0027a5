"""A Ray cluster of two nodes on this machine: the same bytes as one worker's, and a node that is killed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stylecodec.corpus.local import LocalPool
from stylecodec.corpus.manifest import read_records
from stylecodec.corpus.progress import CorpusProgress
from stylecodec.corpus.ray_cluster import RayPool
from stylecodec.corpus.records import Record
from stylecodec.corpus.run import encode_corpus
from stylecodec.corpus.work import Settings
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import cheap, streams, write_talk

pytest.importorskip("ray", reason="Ray is not installed (pip install 'stylecodec[corpus]')")
pytestmark = [
    pytest.mark.slow,
    # Of Ray itself: processes that it leaves to the system, files and sockets that it closes late.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]
CLIPS = 6
STORE_BYTES = 100 << 20


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and a second node, a core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    yield nodes
    nodes.shutdown()


class KillsANode(CorpusProgress):
    """Ends the second node when the first clip is done."""

    def __init__(self, nodes: Any) -> None:
        super().__init__()
        self.nodes, self.killed = nodes, False

    def step(self, failed: bool, record: Record | None = None) -> None:
        super().step(failed, record)
        if not self.killed:
            self.killed = True
            self.nodes.remove_node(next(iter(self.nodes.worker_nodes)), allow_graceful=False)


def test_a_cluster_gives_the_same_and_a_dead_node_loses_nothing(
    cluster: Any, tiny_pack: ModelPack, tmp_path: Path
) -> None:
    source = write_talk(tmp_path / "in", [f"{k}.mp4" for k in range(CLIPS)])

    def on_ray(settings: Settings) -> RayPool:
        pool = RayPool(settings, None, cluster.address)
        assert pool.size == 2
        return pool

    progress = KillsANode(cluster)
    summary = encode_corpus([source], tmp_path / "ray", cheap(tiny_pack), on_ray, progress=progress)
    assert progress.killed
    assert (summary.encoded, summary.failed) == (CLIPS, 0)
    assert len(read_records(tmp_path / "ray")) == CLIPS
    encode_corpus([source], tmp_path / "local", cheap(tiny_pack), lambda settings: LocalPool(settings, 1))
    assert streams(tmp_path / "ray") == streams(tmp_path / "local")
    assert len(streams(tmp_path / "ray")) == CLIPS


def test_crops_go_from_actors_on_processors_to_one_on_a_gpu(
    tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU is one in name only: the actor that holds it computes on its processor, as do the local workers."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    source = write_talk(tmp_path / "in", [f"{k}.mp4" for k in range(3)])
    (tmp_path / "in" / "damaged.mp4").write_bytes(b"no video")
    head = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)

    def on_ray(settings: Settings) -> RayPool:
        pool = RayPool(settings, None, cluster.address, gpus=1)
        assert (pool.size, pool.depth) == (1, 2)
        return pool

    try:
        summary = encode_corpus([source], tmp_path / "ray", cheap(tiny_pack), on_ray)
    finally:
        cluster.shutdown()
    assert (summary.encoded, summary.failed) == (3, 1)
    encode_corpus([source], tmp_path / "local", cheap(tiny_pack), lambda settings: LocalPool(settings, 1))
    assert streams(tmp_path / "ray") == streams(tmp_path / "local")


def test_there_is_no_cluster(tiny_pack: ModelPack, tmp_path: Path) -> None:
    settings = Settings(cheap(tiny_pack), str(tmp_path), str(tmp_path), "", "cpu")
    with pytest.raises(OptionError, match="there is no Ray cluster at auto"):
        RayPool(settings, 1, "auto")
