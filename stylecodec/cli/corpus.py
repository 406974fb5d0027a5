"""`stylecodec corpus`: datasets of clips, on one machine or on many."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any

from ..encoding.options import OFF
from ..errors import OptionError
from ..progress import ProgressDisplay
from .arguments import CommandParser, add_command, add_json, add_work
from .encode import add_clip_options, clip_options
from .output import DONE, FAILED, print_json

EXAMPLES = """
stylecodec corpus encode clips/ --out corpus/
stylecodec corpus stats corpus/
stylecodec corpus verify corpus/
stylecodec corpus export corpus/ --webdataset tars/"""

ENCODE_EXAMPLES = f"""
stylecodec corpus encode clips/ --out corpus/ --workers 8
stylecodec corpus encode clips.csv --out corpus/ --identity-by speaker --score
stylecodec corpus encode shard-000.tar shard-001.tar --out corpus/ --json > events.jsonl
stylecodec corpus encode list.txt --out corpus/ --shard 3/8
stylecodec corpus encode clips/ --out corpus/ --cluster-identities
stylecodec corpus encode clips/ --out /shared/corpus/ --ray auto

SOURCE is a folder (links are followed), a list of paths (.txt, .lst), a table (.csv, .tsv, .parquet), WebDataset tars
(uncompressed), or a single video. A table has a column path, and may have name, start and duration in seconds; its
other columns go into the manifest.

Streams go to DIR/clips/, and DIR/manifest.jsonl has a line for every clip: what it holds and took, or at which stage
it failed and why. A failure stops nothing. The same as a table: DIR/manifest.parquet (with PyArrow). What is in DIR
already is left as it is when it is whole, of the same source, and made by the same options: to go on after an
interruption, run the same again.

The same clips and options give the same bytes, whatever the number of workers, shards or machines of one kind. So
--likeness is {OFF} unless you ask for another one, and then bounded by --steps: the default of `stylecodec encode`, a
minute, gives other bytes on a busy machine. Each worker has --threads, 1 unless you say otherwise, for the same reason.

With --shard, or in a SLURM array (SLURM_ARRAY_TASK_ID of SLURM_ARRAY_TASK_COUNT), each run takes a part of the clips;
DIR may be the same for all. With --ray, DIR and the sources are on a file system that all nodes have.

With --json every event is a line on stdout: a stage begins, a clip is done or has failed, progress with rate and
seconds left, the end."""

ENCODE_EXITS = """exit codes: 0 every clip has its stream; 1 some failed, or all; 2 wrong usage; 130 interrupted."""
VERIFY_EXITS = "exit codes: 0 all streams are whole; 1 some are not; 2 wrong usage; 130 interrupted."


def _arguments(parser: CommandParser) -> None:
    parser.end_with(EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_command(actions, "encode", "encode many clips, and go on where it stopped", _encode_arguments)
    add_command(actions, "stats", "what a corpus holds, and what it took", _stats_arguments)
    add_command(actions, "verify", "read every stream of a corpus and report damage", _verify_arguments)
    add_command(actions, "export", "write a corpus as WebDataset tars", _export_arguments)


def _encode_arguments(parser: CommandParser) -> None:
    from ..corpus.options import ANOTHER, MINUTES, PIXELS

    parser.end_with(ENCODE_EXAMPLES, ENCODE_EXITS)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder, list, table, tar or video")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the corpus, made where it is missing")
    work = parser.add_argument_group("who works")
    work.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core, or GPU)")
    work.add_argument("--threads", type=int, default=1, metavar="N", help="of each worker (default: %(default)s)")
    work.add_argument("--shard", metavar="I/N", help="part I of N, from 0 (default: SLURM's array task, else all)")
    work.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS", help="on a Ray cluster: auto, HOST:PORT; alone: start one here"
    )
    people = parser.add_argument_group("people")
    people.add_argument(
        "--identity-by", metavar="COLUMN", help="one identity for all clips with the same text there, which they name"
    )
    people.add_argument(
        "--cluster-identities",
        action="store_true",
        help="the same, people told apart by dlib's face recognition network; who is who goes to DIR/people.csv",
    )
    people.add_argument(
        "--cluster-distance",
        type=float,
        default=ANOTHER,
        metavar="D",
        help="of that network's descriptors, from which on it is somebody else (default: %(default)s)",
    )
    limits = parser.add_argument_group("what is taken")
    limits.add_argument(
        "--max-minutes", type=float, default=MINUTES, metavar="M", help="longest clip (default: %(default)g)"
    )
    limits.add_argument(
        "--max-pixels", type=int, default=PIXELS, metavar="N", help="largest picture (default: %(default)s)"
    )
    limits.add_argument("--timeout", type=float, metavar="M", help="minutes after which a clip is given up")
    limits.add_argument("--retry-failed", action="store_true", help="try clips again that failed by the same options")
    limits.add_argument("--score", action="store_true", help="measure PSNR and SSIM of every stream against its source")
    add_clip_options(parser)
    likeness = parser.add_argument_group("a personalised generator for every clip")
    likeness.add_argument(
        "--likeness", default=OFF, metavar="HOW", help="off, quick, full (default: %(default)s); others need --steps"
    )
    likeness.add_argument("--steps", type=int, metavar="N", help="steps to take for it")
    add_work(parser)
    parser.set_defaults(run=_encode)


def _stats_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec corpus stats corpus/\nstylecodec corpus stats corpus/ --json")
    parser.add_argument("folder", metavar="DIR", help="folder of a corpus")
    add_json(parser)
    parser.set_defaults(run=_stats)


def _verify_arguments(parser: CommandParser) -> None:
    parser.end_with("stylecodec corpus verify corpus/", VERIFY_EXITS)
    parser.add_argument("folder", metavar="DIR", help="folder of a corpus")
    add_json(parser)
    parser.set_defaults(run=_verify)


def _export_arguments(parser: CommandParser) -> None:
    from ..corpus.export import TAR_BYTES

    parser.end_with(
        "stylecodec corpus export corpus/ --webdataset tars/\n"
        "stylecodec corpus export corpus/ --webdataset tars/ --tar-bytes 100000000"
    )
    parser.add_argument("folder", metavar="DIR", help="folder of a corpus")
    parser.add_argument("--webdataset", required=True, metavar="DIR", help="folder that the tars go to")
    parser.add_argument("--tar-bytes", type=int, default=TAR_BYTES, metavar="N", help="of a tar (default: %(default)s)")
    add_json(parser)
    parser.set_defaults(run=_export)


# --- encode ----------------------------------------------------------------------------------------------------


def _encode(arguments: argparse.Namespace) -> int:
    from ..corpus.progress import CorpusProgress
    from ..corpus.run import encode_corpus
    from ..extras import need_extra

    need_extra("encode", "encoding")
    options, shard = _corpus_options(arguments), _shard(arguments.shard)
    with ProgressDisplay(arguments.progress) as display:
        told = CorpusProgress(display, sys.stdout if arguments.json else None)
        summary = encode_corpus(arguments.sources, arguments.out, options, _pool_maker(arguments), shard, told)
    if not arguments.json:
        people = f", {summary.people:,} people" if summary.people else ""
        print(
            f"{arguments.out}: {summary.clips:,} clips: {summary.encoded:,} encoded, {summary.skipped:,} were there, "
            f"{summary.failed:,} failed{people}; {summary.manifest}"
        )
        if summary.table is None:
            print("stylecodec: note: no table in Parquet: pip install 'stylecodec[corpus]'", file=sys.stderr)
    return FAILED if summary.failed else DONE


def _corpus_options(arguments: argparse.Namespace) -> Any:
    from ..corpus.options import CorpusOptions

    return CorpusOptions(
        encode=clip_options(arguments),
        threads=arguments.threads,
        identity_by=arguments.identity_by,
        cluster=arguments.cluster_identities,
        another=arguments.cluster_distance,
        score=arguments.score,
        minutes=arguments.max_minutes,
        pixels=arguments.max_pixels,
        timeout=arguments.timeout,
        again=arguments.retry_failed,
    )


def _shard(text: str | None) -> tuple[int, int]:
    """(number from 0, count) of "3/8", or of the SLURM array that this is a task of."""
    if text is None:
        number, count = (os.environ.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "COUNT"))
        first = os.environ.get("SLURM_ARRAY_TASK_MIN", "0")
        if not (number.isdigit() and count.isdigit() and first.isdigit()):
            return (0, 1)
        text = f"{int(number) - int(first)}/{count}"
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise OptionError(f"a shard is I/N with I from 0 to N - 1, not {text}")
    return int(found[1]), int(found[2])


def _pool_maker(arguments: argparse.Namespace) -> Any:
    workers = arguments.workers
    if workers is not None and workers < 1:
        raise OptionError(f"there is 1 worker or more, not {workers}")
    if arguments.ray is not None:
        from ..corpus.ray_cluster import RayPool

        return lambda settings: RayPool(settings, workers, arguments.ray or None)
    from ..corpus.local import LocalPool, usual_workers

    return lambda settings: LocalPool(settings, workers or usual_workers(settings))


# --- stats, verify, export -------------------------------------------------------------------------------------


def _stats(arguments: argparse.Namespace) -> int:
    from ..corpus.manifest import read_records
    from ..corpus.report import corpus_stats

    facts = corpus_stats(read_records(arguments.folder).values())
    if arguments.json:
        return print_json({"folder": arguments.folder, **facts})
    print(f"{arguments.folder}: {facts['done']:,} of {facts['clips']:,} clips, {facts['hours']:.2f} hours")
    rows = [
        ("frames", f"{facts['frames']:,}, {facts['held']:,} of them without a face"),
        ("bytes", f"{facts['bytes'].get('total', 0):,}, {facts['kbps']:.2f} kbps; sources: {facts['source_bytes']:,}"),
        *((f"  {name}", f"{count:,}") for name, count in facts["bytes"].items() if name != "total"),
        ("people", f"{facts['people']:,}, {facts['identities']:,} identities"),
        ("took", f"{facts['worker_hours']:.2f} hours of workers, {facts['cpu_hours']:.2f} of processors"),
        *((f"  {name}", f"{seconds:,.1f} s") for name, seconds in facts["stage_seconds"].items()),
        *((name, f"{value:g}") for name, value in facts["scores"].items()),
        *((f"failed {stage}", f"{count:,}") for stage, count in facts["failed_by_stage"].items()),
    ]
    for name, value in rows:
        print(f"  {name:<28}{value}")
    return DONE


def _verify(arguments: argparse.Namespace) -> int:
    from ..corpus.manifest import read_records
    from ..corpus.report import verify_corpus

    verdicts = list(verify_corpus(arguments.folder, read_records(arguments.folder).values()))
    damaged = {one.name: one.problem for one in verdicts if one.problem is not None}
    if arguments.json:
        print_json({"folder": arguments.folder, "streams": len(verdicts), "damaged": damaged})
    else:
        for problem in damaged.values():
            print(problem)
        print(f"{arguments.folder}: {len(verdicts) - len(damaged):,} of {len(verdicts):,} streams are whole")
    return FAILED if damaged else DONE


def _export(arguments: argparse.Namespace) -> int:
    from ..corpus.export import export_tars
    from ..corpus.manifest import read_records

    records = read_records(arguments.folder).values()
    written = list(export_tars(arguments.folder, records, arguments.webdataset, arguments.tar_bytes))
    clips = sum(count for _, count in written)
    if arguments.json:
        return print_json({"folder": arguments.webdataset, "tars": [str(tar) for tar, _ in written], "clips": clips})
    print(f"{arguments.webdataset}: {clips:,} clips in {len(written):,} tars")
    return DONE


COMMANDS = {"corpus": _arguments}
