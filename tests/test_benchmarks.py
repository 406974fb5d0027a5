"""The benchmarks' own arithmetic: what they count, compare and repeat. Nothing is timed here."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import (
    compact,
    flicker,
    held_out,
    landmark_tracks,
    likeness,
    looping,
    measuring,
    memory,
    presets,
    real_clips,
    report,
    report_ways,
    shapes,
    speed,
    square,
    video_codecs,
    yardstick,
)
from benchmarks import provenance as origins
from benchmarks.ceiling import block_rows, flops, threads
from stylecodec.bitstream import Quantiser
from stylecodec.bitstream.compact.coding import encode_levels
from stylecodec.encoding.options import EncodeOptions
from stylecodec.errors import StylecodecError
from stylecodec.face.align import AlignedTrack, AlignReport
from stylecodec.face.detect import Box
from stylecodec.face.warp import warp
from stylecodec.geometry import CropTransform, Similarity
from stylecodec.media import OpusPacket, OpusTrack, VideoReader, VideoWriter, read_image
from stylecodec.media.opus import looped_track
from stylecodec.metrics import tracks as tracks_of
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.store import ModelPack, embedded_pack, open_pack
from stylecodec.training.datasets import scaled_expression
from tests.decoding import streams
from tests.metrics.landmarks import face

# --- measuring --------------------------------------------------------------------------------------------


def test_a_table_aligns_words_left_and_numbers_right() -> None:
    rows = [{"name": "a", "fps": 1234.5, "n": 12}, {"name": "long", "fps": 0.5, "share": float("nan")}]
    assert measuring.table(rows).splitlines() == [
        "name    fps   n  share",
        "----  -----  --  -----",
        "a     1,234  12      –",
        "long  0.500   –      –",
    ]


def test_results_are_plain_json(tmp_path: Path) -> None:
    content = {"x": float("nan"), "y": [1 / 3, 2], "z": {"w": "ü", "v": True}}
    measuring.save(tmp_path / "new" / "a.json", {"commit": None}, content)
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {
        "provenance": {"commit": None},
        "x": None,
        "y": [0.333333, 2],
        "z": {"w": "ü", "v": True},
    }


def test_a_timing_counts_its_runs() -> None:
    calls: list[int] = []
    timing = measuring.time_call(lambda: calls.append(1), budget=0.0, least=3, warm=2)
    assert (timing.runs, len(calls)) == (3, 5)
    assert 0 < timing.best <= timing.median
    assert timing.per_second(4) == 4 / timing.median


def test_the_machine_names_its_result_file() -> None:
    facts = measuring.machine()
    assert {"device", "cores", "memory_gib", "load_at_start"} <= set(facts)
    name = measuring.machine_name({**facts, "device": "AMD EPYC (TM) 9", "cores": 2})
    assert name == "amd-epyc-tm-9-2-cores"
    assert measuring.machine_name({**facts, "device": "NVIDIA H100", "kind": "cuda"}) == "nvidia-h100"
    assert measuring.busy({**facts, "load_at_start": 3.0, "cores": 2})
    assert measuring.busy({**facts, "load_at_start": 0.2, "cores": 2}) is None


# --- where figures come from ------------------------------------------------------------------------------


def test_the_code_of_a_room_is_what_it_does() -> None:
    told = '"""A module."""\n# as it is\ndef f(x: int) -> int:\n    """Doubles."""\n    return 2 * x\n'
    assert origins.bare(told) == origins.bare("def f(x: int) -> int:\n    return (2 * x)\n")
    assert origins.bare(told) != origins.bare(told.replace("2", "3"))
    assert origins.code_digests(["bitstream", "nets"]) == origins.code_digests(["bitstream", "nets"])


bare = functools.cache(origins.bare)


@pytest.fixture
def parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All modules of the package are parsed for a digest of its code: once for all tests that ask for it."""
    monkeypatch.setattr(origins, "bare", bare)


@pytest.mark.usefixtures("parsed_once")
def test_a_run_says_where_its_figures_come_from(tiny_pack: ModelPack, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"film")
    found = origins.provenance(tiny_pack, EncodeOptions(pack=tiny_pack.folder), [tmp_path / "a.mp4"])
    assert found["networks"].items() >= {role: e.sha256 for role, e in tiny_pack.card.networks.items()}.items()
    assert found["pack"] == {"name": "tiny-1024", "digest": tiny_pack.digest.hex()}
    assert found["options"]["fit"]["steps"] == EncodeOptions().fit.steps
    assert found["options"]["pack"] == tiny_pack.folder.name
    assert found["inputs"] == {"a.mp4": hashlib.sha256(b"film").hexdigest()}
    json.loads(measuring.as_json(found))
    assert origins.reasons(found, origins.today(tiny_pack)) == []


@pytest.mark.usefixtures("parsed_once")
def test_figures_of_other_code_or_networks_are_stale(tiny_pack: ModelPack, other_pack: ModelPack) -> None:
    found = origins.provenance(tiny_pack, rooms=["nets", "face"])
    (why,) = origins.reasons(found, origins.today(other_pack))
    assert why.startswith("other networks than today's (")
    assert "generator" in why
    now = origins.today(tiny_pack)
    assert origins.reasons(found, dataclasses.replace(now, code={**now.code, "bitstream": "changed"})) == []
    (why,) = origins.reasons(found, dataclasses.replace(now, code={**now.code, "face": "changed"}))
    assert why == "code has changed since (face)"
    assert origins.reasons({**found, "networks": None, "code": None}, now) == [
        "networks not recorded",
        "code not recorded",
    ]
    assert origins.reasons(None, now)
    assert origins.from_comment(f"text\n{origins.as_comment(now)}\nmore") == now
    with pytest.raises(ValueError, match="held against"):
        origins.from_comment("text")


@pytest.mark.usefixtures("parsed_once")
def test_stale_figures_are_left_out() -> None:
    now = origins.today()
    today = {"networks": dict(now.networks), "code": {"nets": now.code["nets"]}, "commit": "0" * 40}
    before = {**today, "code": {"nets": "changed"}, "commit": "1" * 40}
    assert report.fresh({"provenance": today, "clips": {"a": {}}}, now) is not None
    assert report.fresh({"provenance": before, "clips": {"a": {}}}, now) is None
    assert report.fresh({"rows": [{"provenance": before}]}, now) is None
    assert report.fresh({"rows": [{"provenance": before}, {"provenance": today, "psnr": 1}]}, now) == {
        "rows": [{"provenance": today, "psnr": 1}]
    }
    old, new = {"provenance": before}, {"provenance": today}
    clips = {"a": {"whole": new, "rates": old}, "b": {"whole": old}}
    assert report.fresh({"clips": clips}, now) == {"clips": {"a": {"whole": new}}}
    parts = ("header", "identity", "personalization", "packets", "audio", "index", "total")
    more = {"frames": 50, "bytes": dict.fromkeys(parts, 7), "decode_ms": None}
    rows = [row_of("talk", "fast", 28.25, provenance=today, **more)]
    rows += [row_of("talk", "quick", 33.75, provenance=before, **more)]
    for text in (write({"presets": {"rows": rows}}, now) for write in (report.render, report.readme_block)):
        assert "28.2 dB" in text
        assert "33.8 dB" not in text
    text = report.render({"presets": {"rows": rows[1:]}}, now)
    assert report.LEFT_OUT in text
    assert "commit 1111111" in text
    assert "Not measured" in report.readme_block({"presets": {"rows": rows[1:]}}, now)


def test_commands_tell_no_folders_of_the_machine() -> None:
    argv = ["/home/me/stylecodec/benchmarks/personal.py", "/home/me/clips/a.mp4", "--work", "/tmp/w", "--minutes", "3"]
    assert origins.command(argv) == "python -m benchmarks.personal a.mp4 --work w --minutes 3"


def test_new_rows_take_the_place_of_their_own() -> None:
    old = [{"clip": "b", "way": "fast", "psnr": 1}, {"clip": "a", "way": "fast", "psnr": 2}]
    new = [{"clip": "b", "way": "fast", "psnr": 3}, {"clip": "b", "way": "balanced", "psnr": 4}]
    assert [(r["clip"], r["way"], r["psnr"]) for r in presets.merged(old, new)] == [
        ("a", "fast", 2),
        ("b", "balanced", 4),
        ("b", "fast", 3),
    ]


def row_of(clip: str, way: str, psnr: float, **more: object) -> dict[str, object]:
    numbers = {"clip_seconds": 2.0, "cpu_seconds": 30.0, "once": 6000, "stream": 4000, "ssim": 0.8, "identity": 0.4}
    return {"clip": clip, "way": way, "psnr": psnr, "psnr_worst": psnr - 1, **numbers, **more}


def test_the_table_of_ways_keeps_sets_of_clips_apart() -> None:
    rows = [row_of("d3", "fast", 20.0), row_of("d6", "fast", 24.0)]
    rows += [row_of("d0", "fast", 30.0), row_of("talk", "fast", 28.0)]
    rows += [row_of("talk", "personalized", 33.0, minutes=3.0), row_of("talk", "personalized", 35.0, minutes=15.0)]
    found = report_ways.ways(rows)
    assert [(r["group"], r["minutes"], r["psnr"], r["psnr_worst"]) for r in found] == [
        ("the example clip", None, 28.0, 27.0),
        ("the example clip", 3.0, 33.0, 32.0),
        ("the example clip", 15.0, 35.0, 34.0),
        ("validation", None, 22.0, 19.0),
        ("developed on", None, 30.0, 29.0),
    ]
    assert found[0]["kbps"] == 16.0
    assert found[0]["way"] == "`--likeness off`"
    assert report_ways.ways([row_of("talk", "quick", 30.0)])[0]["way"] == "as it comes"
    assert report_ways.ways_table({"rows": rows}).splitlines()[4].split(" | ")[1] == "`--likeness full --minutes 15`"


# --- speed ------------------------------------------------------------------------------------------------

CHANNELS = {4: 8, 8: 6, 16: 4, 32: 2}


def expected_flops(channels: dict[int, int]) -> int:
    """Of one picture, by hand: 3x3 convolutions, the FIR after each transposed one, and toRGB.

    Doubling the RGB sum is no product or convolution in the fast form, so it is not counted.
    """
    total, before = 0, 0
    for size, width in channels.items():
        if before:
            total += 2 * 9 * before * width * (size // 2) ** 2 + 2 * 16 * width * size**2  # conv-up, FIR
        total += 2 * 9 * width * width * size**2 + 2 * width * 3 * size**2
        before = width
    return total


def test_flops_of_the_generator_are_those_counted_by_hand() -> None:
    generator = Generator(32, CHANNELS, w_dim=16, z_dim=16, mapping_layers=1).eval()
    with torch.no_grad():
        styles = generator.styles(torch.randn(2, generator.rows, 16))
        rows = block_rows(generator, styles, False, torch.float32, 0.0)
        whole = flops(lambda: generator.synthesis(styles, noise=False, reference=False))
    hand = expected_flops(CHANNELS)
    # Demodulation is a product [N, I] x [I, O] as well, per picture as everything else.
    widths = [(8, 8), (8, 6), (6, 6), (6, 4), (4, 4), (4, 2), (2, 2)]
    demodulation = sum(2 * a * b for a, b in widths)
    assert whole == 2 * (hand + demodulation)
    assert sum(row["gflop"] for row in rows) * 1e9 == pytest.approx(hand + demodulation)
    assert [row["resolution"] for row in rows] == [4, 8, 16, 32]
    assert rows[-1]["map_mib"] == 32 * 32 * 2 * 4 / 2**20


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_sweep_tells_batch_one_and_the_best() -> None:
    key = {"size": 64, "dtype": "float32", "threads": 1}
    sweep = [{**key, "batch": b, "fps": f} for b, f in ((1, 5.0), (2, 9.0), (4, 7.0))]
    alone = [{**key, "size": 32, "batch": b, "fps": f} for b, f in ((1, 5.0), (2, 4.0))]
    assert [(r["size"], r["batch"]) for r in speed.telling([*sweep, *alone])] == [(64, 1), (64, 2), (32, 1)]


def test_video_codecs_give_back_every_frame() -> None:
    x = np.arange(64)
    frames = [np.broadcast_to(((x + 3 * k) % 64 * 4)[None, :, None], (64, 64, 3)).astype(np.uint8) for k in range(5)]
    rows = video_codecs.compare([np.ascontiguousarray(f) for f in frames], Fraction(25), 1)
    assert len(rows) == len(video_codecs.available()) >= 1
    assert all(row["kbps"] > 0 and row["decode_fps"] > 0 for row in rows)


# --- memory -----------------------------------------------------------------------------------------------


def test_the_high_water_mark_is_read() -> None:
    assert memory.high_water("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  123456 kB\nVmRSS:\t  1 kB\n") == 123456
    assert memory.high_water("Name:\tzombie\n") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_process_is_seen() -> None:
    code = "import time; a = bytearray(100 << 20); time.sleep(0.3); print('done')"
    usage = memory.run([sys.executable, "-c", code])
    assert (usage.code, usage.output) == (0, "done")
    assert 100 < usage.peak_mib < 200


def test_growth_compares_the_longest_with_the_shortest() -> None:
    rows = [{"command": c, "seconds": s, "peak_mib": m} for c, s, m in (("e", 10, 300.0), ("e", 60, 330.0))]
    rows += [{"command": "d", "seconds": s, "peak_mib": m} for s, m in ((60, 900.0), (10, 200.0))]
    verdicts = memory.growth(rows, 48)
    assert [(v["command"], v["growth_mib"], v["verdict"]) for v in verdicts] == [("e", 30, "flat"), ("d", 700, "grows")]


# --- looping ----------------------------------------------------------------------------------------------


def test_looped_sound_runs_on() -> None:
    track = OpusTrack(48_000, 1, 312, tuple(OpusPacket(960 * n, 960, bytes([n])) for n in range(5)))
    longer = looped_track(track, 1.0)
    assert [p.pts for p in longer.packets] == [960 * n for n in range(len(longer.packets))]
    assert [p.data[0] for p in longer.packets[:7]] == [0, 1, 2, 3, 4, 0, 1]
    assert longer.duration_seconds == pytest.approx(1.0, abs=0.03)


def test_a_looped_clip_has_its_length(clip: Path, tmp_path: Path) -> None:
    assert looping.looped_clip(clip, tmp_path / "long.mp4", 2.0) == 50
    reader = VideoReader(tmp_path / "long.mp4")
    assert (reader.frame_count, reader.has_audio) == (50, True)
    assert reader.duration == pytest.approx(2.0)


def test_the_entropy_bound_of_columns() -> None:
    column = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    still = np.zeros(8, int)
    assert compact.entropy(np.stack([column, still], axis=1)) == pytest.approx(2 / 8)


def test_the_places_of_compact_bytes_add_up() -> None:
    rng = np.random.default_rng(0)
    levels = np.rint(np.cumsum(rng.normal(0, 1, (60, 35)), axis=0)).astype(np.int32)
    quantiser = Quantiser((128,) * 35)
    places = compact.where(levels, quantiser, 20)
    coded = sum(len(encode_levels(levels[k : k + 20], quantiser)) for k in range(0, 60, 20))
    assert places.pop("framing") == pytest.approx(28 / 20)
    assert sum(places.values()) == pytest.approx(coded / 60, rel=0.02)


def test_calm_packets_compress_and_noise_does_not(tiny_pack: ModelPack) -> None:
    header, identity = streams.header(tiny_pack), streams.identity(0)
    rng = np.random.default_rng(0)
    still = np.tile(rng.normal(0, 1, 35), (100, 1)).astype(np.float32)
    noise = rng.integers(0, 0x7C00, (100, 35)).astype(np.uint16).view(np.float16).astype(np.float32)
    for packets, least, most in ((still, 0, 7), (noise, 60, 72)):
        sizes = compact.compressors(compact.Clip("a", header, identity, packets), np.zeros((100, 35), np.int32))
        assert sizes["raw"] == 70
        assert least <= sizes["raw zstd"] <= most
        assert least <= sizes["raw xz"] <= most
        assert sizes["levels order 0"] == sizes["delta order 0"] == 0


# --- real clips -------------------------------------------------------------------------------------------


def test_a_sheet_spreads_frames_in_time_and_leaves_empty_rows_out() -> None:
    row = [np.full((256, 256, 3), k, np.uint8) for k in range(21)]
    sheet = real_clips.sheet([row, [], row[::-1]], 5, 32)
    assert sheet.shape == (64, 160, 3)
    assert list(sheet[0, ::32, 0]) == [0, 5, 10, 15, 20]
    assert list(sheet[40, ::32, 0]) == [20, 15, 10, 5, 0]


def test_boxes_beside_the_detectors() -> None:
    box = Box(100.0, 200.0, 140.0, 240.0)
    assert yardstick.moved(box, 1.0, 0.0) == box
    assert yardstick.moved(box, 1.5, 0.25) == Box(90.0, 180.0, 150.0, 240.0)


def test_the_mean_of_several_boxes_is_that_of_their_points(monkeypatch: pytest.MonkeyPatch) -> None:
    face = np.random.default_rng(0).uniform(50, 200, (68, 2))

    class Dlib:
        def predictor(self, picture: NDArray[np.uint8], box: Box) -> NDArray[np.float64]:
            return face + box.as_tuple()[0]

    monkeypatch.setattr(yardstick, "BOXES", {"one": ((1.0, 0.0),), "two": ((1.0, 0.0), (1.5, 0.0))})
    tracks = yardstick.read([np.zeros((8, 8, 3), np.uint8)] * 2, Box(100.0, 200.0, 140.0, 240.0), Dlib())  # type: ignore[arg-type]
    assert tracks.keys() == {"one", "two"}
    for name, values in tracks["one"].items():
        assert values == pytest.approx(tracks["two"][name]), name  # moved as a whole, points mean the same


def test_who_does_exactly_the_same_is_read_alike_by_both() -> None:
    large = read_image(Path(__file__).parents[1] / "examples" / "portrait.png")
    faces = [np.asarray(Image.fromarray(large).resize((256, 256)), np.uint8)] * 2
    dlib = landmark_tracks.Yardstick()
    mine, theirs = (yardstick.read_by_both("portrait.png", faces, dlib) for _ in range(2))
    assert mine.keys() == {yardstick.OWN, yardstick.MESH}
    read = {kind: tracks_of.compare(mine[kind], theirs[kind]) for kind in mine}
    assert all(np.isnan(values["gain"]) for row in read.values() for values in row.values())  # nothing moves
    with pytest.raises(StylecodecError, match=r"black: .*no face"):
        yardstick.read_by_both("black", [np.zeros_like(faces[0])], dlib)


def test_the_mesh_reads_the_points_that_dlib_reads() -> None:
    large = read_image(Path(__file__).parents[1] / "examples" / "portrait.png").astype(np.float64)
    picture = large.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    points = landmark_tracks.Yardstick()([picture])
    assert points is not None
    pixels = embedded_pack().face_mesh("cpu")(next(likeness.batches([picture])))[0] * 256
    mesh = pixels.numpy()[None, list(tracks_of.MESH_AS_68)]
    apart = tracks_of.landmark_distance(mesh, points / landmark_tracks.ENLARGED)
    assert apart["inner"] < 0.06
    mine, theirs = yardstick.read_by_mesh([picture]), tracks_of.face_tracks(points)
    assert mine.keys() == theirs.keys()
    assert mine["mouth_width"][0] == pytest.approx(theirs["mouth_width"][0], abs=0.1)


def test_tables_of_following_leave_out_what_did_not_move() -> None:
    values = {name: {"correlation": 0.913, "gain": 0.62} for name in tracks_of.NAMES}
    values["yaw"] = {"correlation": float("nan"), "gain": float("nan")}
    row, blind = real_clips.following_rows({"a": {"avatar": values}, "b": {}}, "avatar")
    assert (row["mouth_open"], row["yaw"]) == ("+0.91 (0.62)", "–")
    assert blind["yaw"] == "–"


def test_tracks_are_plotted(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    tracks = tracks_of.face_tracks(np.stack([face()] * 5))
    landmark_tracks.plot("a", {"input": tracks, "avatar": tracks}, 25.0, tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert ((picture.max(axis=2) - picture.min(axis=2)) > 100).any()  # a line that is red: the avatar's


# --- any two videos, still faces, held-out people -----------------------------------------------------------


def test_frames_are_matched_by_time() -> None:
    at = np.array([0.0, 0.04, 0.08, 0.12])
    assert list(landmark_tracks.nearest(at, np.array([0.0, 0.01, 0.03, 0.11, 0.5]))) == [0, 0, 1, 3, 3]
    assert list(landmark_tracks.nearest(np.array([0.0]), at)) == [0, 0, 0, 0]


def test_an_output_is_scored_where_both_show_a_face() -> None:
    t = np.arange(60) / 30
    tracks = {name: np.sin(7 * t) for name in tracks_of.NAMES}
    there = np.ones(60, bool)
    source = landmark_tracks.Watched(t, tracks, there)
    halves = {name: 0.5 * values[::2] for name, values in tracks.items()}
    half = landmark_tracks.Watched(t[::2], halves, there[::2].copy())
    half.found[:10] = False
    found = landmark_tracks.score(source, half)
    result = found.following
    assert len(found.source["yaw"]) == len(found.output["yaw"]) < 45
    assert found.scored == pytest.approx(2 / 3, abs=0.03)
    assert result["mouth_open"]["correlation"] > 0.97
    assert result["mouth_open"]["gain"] == pytest.approx(0.5, abs=0.03)
    still = {name: {"correlation": float("nan"), "gain": float("nan")} for name in tracks_of.NAMES}
    mean = landmark_tracks.means({"a": result, "b": still})["mouth_open"]
    assert (mean["clips"], mean["gain"]) == (1, pytest.approx(0.5, abs=0.03))


def test_an_output_that_ends_early_or_shows_no_face_is_not_scored_by_its_last_frame() -> None:
    t = np.arange(60) / 30
    tracks = {name: np.sin(7 * t) for name in tracks_of.NAMES}
    there = np.ones(60, bool)
    source = landmark_tracks.Watched(t, tracks, there)
    short = landmark_tracks.Watched(t[:30], {name: values[:30] for name, values in tracks.items()}, there[:30])
    found = landmark_tracks.score(source, short)
    assert found.scored == pytest.approx(0.5, abs=0.02)
    assert found.following["yaw"]["correlation"] == pytest.approx(1.0)
    blind = landmark_tracks.score(source, landmark_tracks.Watched(t, tracks, ~there))
    assert blind.scored == 0
    assert landmark_tracks.words(blind.following["yaw"]) == "+0.00 (0.00)"
    mean = landmark_tracks.means({"a": found.following, "b": blind.following})["yaw"]
    assert (mean["clips"], mean["correlation"]) == (2, pytest.approx(0.5))
    with pytest.raises(StylecodecError, match="no face is seen in the input"):
        landmark_tracks.score(landmark_tracks.Watched(t, tracks, ~there), source)


def test_pairs_have_names_of_their_own() -> None:
    a, b = (Path(name) for name in ("x/a.mp4", "b.mp4"))
    assert landmark_tracks.names_of([(a, b), (b, a)]) == ["a", "b"]
    assert landmark_tracks.names_of([(a, Path("s/one.mp4")), (a, Path("s/two.mp4"))]) == ["a one", "a two"]
    assert landmark_tracks.names_of([(a, Path("s/out.mp4")), (a, Path("t/out.mp4"))]) == ["a out 1", "a out 2"]


def test_follow_scores_the_files_of_two_systems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = read_image(Path(__file__).parents[1] / "examples" / "portrait.png")
    for name, picture in (("face", still), ("blank", np.zeros_like(still))):
        with VideoWriter(tmp_path / f"{name}.mp4", 256, 256, Fraction(25)) as writer:
            for _ in range(2):
                writer.write(picture[::2, ::2].copy())
    face, blank, out = (str(tmp_path / name) for name in ("face.mp4", "blank.mp4", "results.json"))
    assert landmark_tracks.main([face, face, face, blank, "--json", "--results", out, "--plots", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["scored"] for row in printed["pairs"].values()] == [1, 0]
    assert printed["pairs"].keys() == {"face face", "face blank"}
    assert json.loads(Path(out).read_text())["mean"] == printed["mean"]
    assert (tmp_path / "face face.png").is_file()
    assert landmark_tracks.main([blank, face]) == 1
    assert "no face is seen in the input" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        landmark_tracks.main([face])


def test_change_is_in_grey_levels() -> None:
    frames = [np.full((4, 4, 3), k, np.uint8) for k in (10, 13, 12)]
    assert flicker.change(frames) == 2.0


def test_a_grid_is_seen_where_there_is_one() -> None:
    smooth = np.cumsum(np.random.default_rng(0).normal(0, 1, (128, 128)), axis=1)
    smooth = 128 + np.cumsum(smooth, axis=0) / 40
    frame = np.repeat(smooth.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    assert flicker.grid([frame]) < 6
    for period in flicker.PERIODS:
        lattice = frame.copy()
        lattice[:, ::period] += 8
        assert flicker.grid([lattice]) > 12, period


def test_a_shape_that_goes_half_as_far_has_half_the_gain() -> None:
    true = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    found = np.array([[0.5, 7.0], [0.0, 0.0]], np.float32)
    assert shapes.gains(true, found).tolist() == [0.5, 0.0]


def test_shapes_are_rendered_by_both_roads() -> None:
    avatar = shapes.Avatar(open_pack("avatar-1024"))
    pictures = np.random.default_rng(3).integers(0, 255, (2, 256, 256, 3), np.uint8)
    expressions = np.zeros((2, 55), np.float32)
    expressions[1, 26] = 0.8  # jawOpen
    wanted, seen = avatar.made_of(pictures, expressions)
    assert wanted.shape == seen.shape == (2, 3, 256, 256)
    lips = wanted[1, :, 150:200, 100:156] - wanted[0, :, 150:200, 100:156]
    assert float(lips.abs().mean()) > 3 * float((wanted[1, :, :60] - wanted[0, :, :60]).abs().mean())


def test_the_lip_gap_is_found_in_the_expression() -> None:
    rng = np.random.default_rng(2)
    truths = []
    for _ in range(2):
        expression = rng.uniform(0, 1, (80, 55))
        points = np.zeros((80, 83, 2))
        points[:, 36:42, 0], points[:, 42:48, 0] = -0.5, 0.5
        points[:, 33, 1] = 0.6
        points[:, 61:64, 1] = 1.0
        points[:, 65:68, 1] = 1.2 + 0.4 * expression[:, 7, None]
        truths.append({"expression": expression, "landmarks": points})
    weights, fit = held_out.lip_gap(truths)
    assert fit > 0.99
    assert weights[7] == pytest.approx(0.4, abs=0.02)
    assert np.abs(np.delete(weights, 7)).max() < 0.02


def test_expressions_are_read_off_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "READOUT_FACES", 3000)
    monkeypatch.setattr(held_out, "AT_ONCE", 1000)
    monkeypatch.setattr(held_out, "hidden", lambda *_: 0.1 * np.eye(32))
    pack = open_pack("avatar-1024")
    read = held_out.fit_readout(pack)
    names = pack.card.training["expression_inputs"]
    faces = np.zeros((40, len(names)), np.float32)
    rng = np.random.default_rng(1)
    moved = {name: list(names).index(name) for name in ("jawOpen", "eyeBlink_L", "gaze_yaw")}
    for column in moved.values():
        faces[:, column] = rng.uniform(0, 1, 40)
    faces[:, moved["gaze_yaw"]] *= 15
    with torch.no_grad():
        alpha = pack.network("expression", "cpu")(torch.from_numpy(scaled_expression(faces))).double().numpy()
    found = read(alpha)
    for name, column in moved.items():
        assert held_out.correlation(faces[:, column].astype(np.float64), found[:, column], 0.0) > 0.9, name


def test_held_out_counts_only_what_moves() -> None:
    t = np.linspace(0, 6, 100)
    assert np.isnan(held_out.correlation(0.1 * np.sin(t), np.sin(t), 1.5))
    assert held_out.correlation(3 * np.sin(t), np.sin(t), 1.5) == pytest.approx(1.0)
    assert held_out.correlation(3 * np.sin(t), np.ones(100), 1.5) == 0.0
    rows = {
        "a": {"sent_eyes_correlation": 0.5, "psnr": 20.0},
        "b": {"sent_eyes_correlation": float("nan"), "psnr": 22.0},
    }
    summary = held_out.summary(rows, set())
    assert summary["sent_eyes_correlation"] == {"clips": 1, "mean": 0.5, "worst": 0.5}
    assert summary["psnr"] == {"mean": 21.0, "worst": 20.0}


def test_square_reads_the_motion_of_a_face_to_hundredths_of_a_pixel() -> None:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 255, (24, 24, 3), np.uint8)
    frame = np.asarray(Image.fromarray(rough).resize((480, 480), Image.Resampling.BICUBIC))
    across, down, turn = rng.normal(0, 1, (3, 12))
    middle = np.array(square.RIGID[:2]) - 0.5  # of the registered part, which the squares turn about
    cut = []
    for x, y, roll in zip(across, down, turn, strict=True):
        corner = np.array([240.0 + x, 240.0 + y]) - Similarity(1.0, float(roll)).apply(256 * middle)
        cut.append(warp(frame, CropTransform((float(corner[0]), float(corner[1])), 256.0, float(roll)), 256))
    way = square.registered(cut)
    for found, true in ((way.across, across), (way.down, down), (way.turn, turn)):
        assert np.std(found + true) < 0.05
    assert way.pixels == pytest.approx(np.hypot(across.std(), down.std()), rel=0.05)


def test_square_holds_squares_against_known_motion() -> None:
    motions = [square.shake(k / 30, 60.0, (320, 240)) for k in range(30)]
    report = AlignReport(30, 0, 0, 1, 0, 4)
    still = np.tile([150.0, 120.0, 60 / square.EYES_PER_SIDE, 2.0], (30, 1))
    truth = AlignedTrack(still, np.ones(30, bool), report)
    there = still.copy()
    there[:, :2] = [motion.apply([150.0, 120.0]) for motion in motions]
    there[:, 3] += [motion.rotation_deg for motion in motions]
    exact = square.astray(AlignedTrack(there, truth.found, report), truth, motions)
    assert max(exact.values()) < 1e-9
    ironed = square.astray(truth, truth, motions)
    assert ironed["roll"] == pytest.approx(15 / np.sqrt(2), rel=0.05)
    assert ironed["worst"] == pytest.approx(0.6, rel=0.2)
    picture = np.arange(320 * 240 * 3, dtype=np.uint32).reshape(240, 320, 3).astype(np.uint8)
    assert np.array_equal(square.shaken(picture, Similarity()), picture)
