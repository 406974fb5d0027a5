"""A Ray cluster of two nodes on this machine: the same bytes as without one, and a node that is killed on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stylecodec.corpus.manifest import read_records
from stylecodec.corpus.progress import CorpusProgress
from stylecodec.corpus.ray_cluster import RayPool
from stylecodec.corpus.records import Record
from stylecodec.corpus.run import encode_corpus
from stylecodec.corpus.work import Settings
from stylecodec.errors import OptionError
from stylecodec.packs.store import ModelPack
from tests.corpora.scene import cheap, streams

pytest.importorskip("ray", reason="Ray is not installed (pip install 'stylecodec[corpus]')")
pytestmark = [
    # Of Ray itself: processes that it leaves to the system, files and sockets that it closes late.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]
STORE_BYTES = 100 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and a second node, a core each; the head has a GPU, in name only. Its last test ends the second node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
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


def test_there_is_no_cluster(tiny_pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where no cluster that died has left its address
    settings = Settings(cheap(tiny_pack), str(tmp_path), str(tmp_path), "", "cpu")
    with pytest.raises(OptionError, match="there is no Ray cluster at auto"):
        RayPool(settings, 1, "auto")


def test_crops_go_from_actors_on_processors_to_one_on_a_gpu(
    cluster: Any, talk: Path, whole: dict[str, bytes], tiny_pack: ModelPack, tmp_path: Path
) -> None:
    """The actor that holds the GPU computes on its processor, as all do."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copyfile(talk / name, source / name)
    (source / "damaged.mp4").write_bytes(b"no video")

    def on_ray(settings: Settings) -> RayPool:
        pool = RayPool(settings, None, cluster.address, gpus=1)
        assert (pool.size, pool.depth) == (1, 2)
        return pool

    summary = encode_corpus([source], tmp_path / "ray", cheap(tiny_pack), on_ray)
    assert (summary.encoded, summary.failed) == (2, 1)
    assert streams(tmp_path / "ray") == {name: whole[name] for name in ("clips/a.stc", "clips/b.stc")}


def test_a_cluster_gives_the_same_and_a_dead_node_loses_nothing(
    cluster: Any, talk: Path, whole: dict[str, bytes], tiny_pack: ModelPack, tmp_path: Path
) -> None:

    def on_ray(settings: Settings) -> RayPool:
        pool = RayPool(settings, None, cluster.address)
        assert pool.size == 2
        return pool

    progress = KillsANode(cluster)
    summary = encode_corpus([talk], tmp_path / "ray", cheap(tiny_pack), on_ray, progress=progress)
    assert progress.killed
    assert (summary.encoded, summary.failed) == (len(whole), 0)
    assert len(read_records(tmp_path / "ray")) == len(whole) == 3
    assert streams(tmp_path / "ray") == whole
