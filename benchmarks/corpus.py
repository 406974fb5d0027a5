"""Does a corpus take twice the workers in half the time, in flat memory, with the same bytes? And what would many cost?

    python -m benchmarks.corpus                               # the example clip, and people whom the pack draws
    python -m benchmarks.corpus --videos clips/ --clips 200

Clips are cut from the example and from the videos of a folder, mirrored, zoomed, dimmed, slowed down, and drawn by the
pack's generator; among them are some that cannot be encoded. They are encoded by one worker process, by two, and on a
Ray cluster of two nodes that is started here; then a few on a cluster whose second node is killed on the way. One
worker does a few with the corpus's default options, for the cost model. Writes results/corpus.json.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.corpus_clips import BAD, LENGTHS, write_bad_clips, write_clips
from benchmarks.corpus_figures import COSTED_CLIPS, COSTED_FPS, COSTED_SECONDS, cost_model, memory, summary
from benchmarks.measuring import RESULTS, busy, save, table
from benchmarks.provenance import CORPUS, ROOMS, provenance
from stylecodec.corpus.clips import VIDEOS
from stylecodec.corpus.dispatch import Pool
from stylecodec.corpus.local import LocalPool
from stylecodec.corpus.manifest import read_records
from stylecodec.corpus.options import CorpusOptions
from stylecodec.corpus.progress import CorpusProgress
from stylecodec.corpus.ray_cluster import RayPool
from stylecodec.corpus.records import Record
from stylecodec.corpus.run import encode_corpus
from stylecodec.corpus.work import Settings
from stylecodec.encoding.options import OFF, EncodeOptions, FitOptions, LandmarkCorrectionOptions
from stylecodec.packs.card import DEFAULT_PACK
from stylecodec.packs.store import open_pack

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "talk.mp4"
KILLED_CLIPS, DEFAULT_CLIPS = 12, 2  # encoded while a node is killed; with the default options
STORE_BYTES = 256 << 20
PIXELS = 2000 * 2000


@dataclass
class Watch(CorpusProgress):
    """Notes when each clip was done. on_first: called after the first one."""

    on_first: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def step(self, failed: bool, record: Record | None = None) -> None:
        """One more is done."""
        super().step(failed, record)
        if not failed:
            self.times.append(time.perf_counter())
            if len(self.times) == 1 and self.on_first is not None:
                self.on_first()

    @property
    def per_second(self) -> float | None:
        """Clips per second between the first and the last, when all workers had their models."""
        taken = self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / taken if taken else None


def quick_options(pack: str, device: str) -> CorpusOptions:
    """The encoder without the stages that search, packets raw: two hundred clips in minutes."""
    encode = EncodeOptions(
        pack=pack,
        device=device,
        likeness=OFF,
        profile="raw",
        identity_candidates=1,
        identity_average=1,
        fit=FitOptions(False),
        landmark_correction=LandmarkCorrectionOptions(enabled=False),
    )
    return CorpusOptions(encode, pixels=PIXELS)


def measured(
    name: str,
    sources: Sequence[Path],
    out: Path,
    options: CorpusOptions,
    pool: Callable[[Settings], Pool],
    watch: Watch,
) -> dict[str, Any]:
    """Encode the sources once; a row of figures, with the digest of all streams."""
    begun = time.perf_counter()
    encode_corpus(sources, out, options, pool, progress=watch)
    wall = time.perf_counter() - begun
    records = read_records(out)
    row = {"run": name, "wall_seconds": wall, "per_second": watch.per_second, **summary(records.values())}
    print(f"{name}: {wall:.0f} s", flush=True)
    return row | {"digest": digest_of(out, records), "workers": memory(records.values())}


def digest_of(out: Path, records: Mapping[str, Record]) -> str:
    """One digest of all streams of a corpus, by name."""
    digest = hashlib.sha256()
    for name, record in sorted(records.items()):
        if record.output is not None:
            digest.update(name.encode() + b"\0" + (out / record.output).read_bytes())
    return digest.hexdigest()


def on_cluster(
    name: str, sources: Sequence[Path], out: Path, options: CorpusOptions, kill: bool = False
) -> dict[str, Any]:
    """The same on a Ray cluster of two nodes of one core each. kill: end the second one after the first clip."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        watch = Watch(on_first=(lambda: cluster.remove_node(second, allow_graceful=False)) if kill else None)
        return measured(name, sources, out, options, lambda settings: RayPool(settings, 2, cluster.address), watch)
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def videos_of(arguments: argparse.Namespace) -> list[Path]:
    """What clips are cut from."""
    more = sorted(arguments.videos.iterdir()) if arguments.videos else []
    return [EXAMPLE, *(path for path in more if path.suffix.lower() in VIDEOS)]


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All runs."""
    clips, some, few = work / "clips", work / "some", work / "few"
    videos = videos_of(arguments)
    paths = write_clips(clips, videos, arguments.clips, arguments.rendered, arguments.pack, arguments.device)
    chosen = random.Random(0).sample(paths, len(paths))
    of_two_lengths = paths[:: len(LENGTHS) - 1][:DEFAULT_CLIPS]
    for folder, copied in ((some, chosen[:KILLED_CLIPS]), (few, of_two_lengths)):
        folder.mkdir()
        for path in copied:
            shutil.copyfile(path, folder / path.name)
    bad = write_bad_clips(clips, work / "list.txt", PIXELS)
    options = quick_options(arguments.pack, arguments.device)
    rows = [
        measured(f"{n} worker{'s' * (n > 1)}", [clips, bad], work / str(n), options, local(n), Watch()) for n in (1, 2)
    ]
    found: dict[str, Any] = {}
    if not arguments.no_ray:
        rows.append(on_cluster("Ray, 2 nodes", [clips, bad], work / "ray", options))
        killed = on_cluster("Ray, a node killed", [some], work / "killed", options, kill=True)
        rows.append(killed)
        whole = measured("1 worker, the same", [some], work / "same", options, local(1), Watch())
        found["killed"] = {"lost": killed["clips"] - killed["done"], "same_bytes": killed["digest"] == whole["digest"]}
    usual = replace(options, encode=EncodeOptions(pack=arguments.pack, device=arguments.device, likeness=OFF))
    default = measured("1 worker, default options", [few], work / "default", usual, local(1), Watch())
    rates = {row["run"]: row["per_second"] for row in rows}
    one = rates["1 worker"]
    records = {"quick": read_records(work / "1"), "default": read_records(work / "default")}
    return {
        "clips": len(paths),
        "bad": sorted(BAD),
        "runs": [*rows, default],
        "same_bytes": len({row["digest"] for row in rows if row["clips"] == rows[0]["clips"]}) == 1,
        "times_one_worker": {name: rate / one for name, rate in rates.items() if rate and one},
        "costs": [{"options": name, **cost_model(of.values())} for name, of in records.items()],
        **found,
    }


def local(workers: int) -> Callable[[Settings], Pool]:
    """A pool of processes."""
    return lambda settings: LocalPool(settings, workers)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, metavar="DIR", help="videos with a face to cut clips from as well")
    parser.add_argument("--clips", type=int, default=200, metavar="N", help="in all (default: %(default)s)")
    parser.add_argument("--rendered", type=int, default=60, metavar="N", help="of them, drawn by the pack's generator")
    parser.add_argument("--pack", default=DEFAULT_PACK)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-ray", action="store_true", help="local workers alone")
    parser.add_argument("--out", type=Path, default=RESULTS / "corpus.json", help="the JSON file")
    arguments = parser.parse_args(argv)
    origin = provenance(open_pack(arguments.pack), vars(arguments), videos_of(arguments), (*ROOMS, CORPUS))
    if warning := busy(origin["machine"]):
        print(warning)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments, Path(folder))
    shown = ("run", "clips", "done", "failed", "wall_seconds", "per_second", "cpu_seconds")
    print(f"\n{table([{name: row[name] for name in shown} for row in found['runs']])}")
    print(f"\n{table(found['costs'])}")
    what = {"costed": {"clips": COSTED_CLIPS, "seconds": COSTED_SECONDS, "fps": COSTED_FPS}, "device": arguments.device}
    save(arguments.out, origin, what | found)
    return 0 if found["same_bytes"] and not found.get("killed", {}).get("lost") else 1


if __name__ == "__main__":
    raise SystemExit(main())
