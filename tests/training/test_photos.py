"""Training on photographs: what is kept of a folder, a generator that grows, trainings that learn and resume."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import photographs
from stylecodec.cli.main import main
from stylecodec.errors import OptionError, StylecodecError
from stylecodec.metrics.landmark_features import NAMES, features_of
from stylecodec.nets.face_mesh import LEFT_EYE, LIPS, RIGHT_EYE
from stylecodec.packs.store import ModelPack, embedded_pack, open_pack
from stylecodec.training import photo_encoder, photo_generator, photo_sharpen, photos
from stylecodec.training.augment import compressed, covered
from stylecodec.training.checkpoint import load_state
from stylecodec.training.photo_data import Photographs, filled_outside
from stylecodec.training.photo_encoder import EncoderTrainer, other_side, photo_landmarks
from stylecodec.training.photo_export import export
from stylecodec.training.photo_fit import Fitted, fit
from stylecodec.training.photo_generator import GeneratorTrainer, fitted_latents, renderer_with
from stylecodec.training.photo_loop import PhotoOptions
from stylecodec.training.photo_sharpen import SharpenTrainer
from stylecodec.training.photos import Limits, Square, judged, validity, without_frame
from stylecodec.training.widen import parse_widths, widened, widths_of

pytestmark = pytest.mark.usefixtures("one_detector")
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.png"
LENIENT = Limits(score=-1.0, unlike=1.0, lopsided=1.0, dark=0.0, lens=0.0, pixels=50.0, inside=0.3)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn head, the same again, turned in another light; noise; a file that is no picture."""
    folder = tmp_path_factory.mktemp("portraits")
    head = Image.open(PORTRAIT).convert("RGB").resize((512, 512))
    head.save(folder / "a.png")
    (folder / "more").mkdir()
    head.save(folder / "more" / "again.png", compress_level=1)
    cut = np.array(head.rotate(8))[60:500, 40:470]
    Image.fromarray((cut * 0.6).astype(np.uint8)[:, ::-1].copy()).save(folder / "b.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)).save(folder / "noise.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared photographs of noise: five to learn from, four of them large, two held out."""
    folder, rng = tmp_path_factory.mktemp("prepared"), np.random.default_rng(1)
    (folder / "256").mkdir()
    (folder / "512").mkdir()
    squares = []
    for name in ("a0", "b0", "c0", "d0", "e0", "00", "01"):
        soft = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
        soft.save(folder / "256" / f"{name}.jpg")
        size = 512 if name in {"a0", "b0", "c0", "d0"} else 256
        if size > 256:
            soft.resize((size, size)).save(folder / str(size) / f"{name}.jpg")
        squares.append(Square(name, f"{name}.jpg", 300, 300, (150.0, 120.0, 280.0, 0.0), size, "", {}))
    points = np.tile(rng.uniform(0.3, 0.7, (478, 2)), (7, 1, 1)) + rng.normal(0, 0.01, (7, 478, 2))
    np.savez(folder / photos.LANDMARKS, points=points.astype(np.float32))
    (folder / photos.INDEX).write_text(json.dumps({"photographs": [asdict(square) for square in squares]}))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take no time."""
    monkeypatch.setattr(photo_generator, "STAGES", ((0.0, 32, 3), (0.5, 64, 2)))
    monkeypatch.setattr(photo_generator, "WARM_STEPS", 1)
    monkeypatch.setattr(photo_encoder, "SIDE", 32)
    monkeypatch.setattr(photo_generator, "FIT_STEPS", 1)


@pytest.mark.parametrize("name", ["avif-not-implemented", "avif-colour-planes", "exif-written-anew"])
def test_a_damaged_photograph_is_no_picture(name: str) -> None:
    """Whatever Pillow raises."""
    with pytest.raises(OptionError, match="not a picture"):
        photos.opened(Path(__file__).parents[1] / "corpus" / f"picture--{name}.bin")


def test_a_folder_becomes_squares(portraits: Path, tmp_path: Path) -> None:
    pack, out, seen = open_pack(), tmp_path / "out", []
    squares = photos.prepare(portraits, out, pack, LENIENT, lambda *progress: seen.append(progress))
    why = {square.source: square.why for square in squares}
    reasons = {"broken.jpg": "not a picture", "more/again.png": "seen before", "noise.png": "no face"}
    assert why == {"a.png": "", "b.jpg": "", **reasons}
    assert seen[-1] == ("reading landmarks", 2, 2)
    kept = [square for square in squares if not square.why]
    assert all((out / "256" / f"{square.name}.jpg").is_file() for square in kept)
    assert photos.read_square(out, kept[0].name, kept[0].size).shape == (kept[0].size, kept[0].size, 3)
    with np.load(out / photos.LANDMARKS) as stored:
        points = stored["points"]
    assert points.shape == (2, 478, 2)
    assert (np.abs(points[:, [*LEFT_EYE, *RIGHT_EYE, *LIPS]] - 0.5) < 0.4).all()
    stamp = (out / "256" / f"{kept[0].name}.jpg").stat().st_mtime_ns
    assert photos.prepare(portraits, out, pack, LENIENT, lambda *_: None) == squares
    assert (out / "256" / f"{kept[0].name}.jpg").stat().st_mtime_ns == stamp  # an interrupted run does not begin anew


def test_nothing_to_keep_is_an_error(portraits: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="holds no photographs"):
        photos.prepare(tmp_path / "empty", tmp_path / "out", open_pack(), LENIENT, lambda *_: None)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "n.png").write_bytes((portraits / "noise.png").read_bytes())
    with pytest.raises(StylecodecError, match="none of the 1 photographs"):
        photos.prepare(tmp_path / "noise", tmp_path / "out", open_pack(), LENIENT, lambda *_: None)


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({}, ""),
        ({"second_face": 0.8}, "several faces"),
        ({"pixels": 40.0}, "too small"),
        ({"inside": 0.2}, "too far over the edge"),
        ({"score": 0.0}, "hardly a face"),
        ({"lopsided": 0.1}, "landmarks disagree"),
        ({"unlike": 0.1}, "landmarks disagree"),
        ({"dark": 0.1}, "dark glasses"),
        ({"dark": 0.4}, ""),  # a shadow keeps the skin's colour
        ({"dark": 0.4, "tint": 0.1}, "dark glasses"),
    ],
)
def test_reasons(measured: dict[str, float], why: str) -> None:
    good = {"second_face": 0.0, "score": 1.0, "unlike": 0.01, "lopsided": 0.004, "dark": 0.7, "tint": 0.0}
    square = Square("ff", "x.jpg", measured={**good, "pixels": 300.0, "inside": 1.0, **measured})
    assert judged(square, Limits()).why == why


def test_what_lies_beyond_the_edge_is_not_valid() -> None:
    square = Square("ff", "x.jpg", 200, 100, (50.0, 50.0, 100.0, 0.0))
    valid = validity(replace(square, square=(50.0, 25.0, 100.0, 0.0)), 100)
    assert not valid[:26].any()  # the upper quarter is above the photograph, and its edge does not count
    assert valid[27:99, 2:].all()
    assert validity(square, 64)[2:-2, 2:-2].all()


def test_a_black_frame_is_cut_away() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[5:35, 10:52] = 200
    assert without_frame(picture) == (slice(5, 35), slice(10, 52))
    assert without_frame(picture * 0) == (slice(0, 40), slice(0, 60))


def test_the_split_hangs_on_the_digest_alone() -> None:
    names = [f"{k:02x}" for k in range(256)]
    held = [name for name in names if Square(name, "x").held_out]
    assert held == names[: photos.HELD_OUT]


def test_rows_of_the_second_half_are_mirrored(prepared: Path) -> None:
    data = Photographs(prepared, held_out=False)
    assert len(data) == 5
    assert len(Photographs(prepared, held_out=True)) == 2
    plain, turned = data.pictures(torch.tensor([1, 6]))
    assert torch.equal(plain.flip(2), turned)
    valid = data.validity(torch.tensor([1]))
    assert float(valid.mean()) < 1.0
    output = torch.rand(1, 3, 256, 256, requires_grad=True)
    target = filled_outside(plain[None], valid, output)
    assert torch.equal(target[valid.expand_as(target) == 0], output[valid.expand_as(target) == 0])
    assert not target.requires_grad


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StylecodecError, match="no folder of prepared photographs"):
        Photographs(tmp_path, held_out=False)


@torch.no_grad()
def test_a_wider_generator_draws_the_same(tiny_pack: ModelPack) -> None:
    before = tiny_pack.generator("cpu")
    torch.manual_seed(0)
    after = widened(before, {64: 7, 128: 3, 256: 5})
    assert widths_of(after) == {**widths_of(before), 64: 7, 128: 3, 256: 5}
    w = torch.randn(2, 18, 512)
    assert torch.allclose(before(w, False, 256), after(w, False, 256), atol=1e-4)
    offset = [s.clone() for s in before.styles(w)]
    wider = after.styles(w)
    for a, b in zip(offset, wider, strict=True):
        assert torch.allclose(a, b[:, : a.shape[1]])  # StyleSpace channels keep their numbers


def test_a_new_map_learns(tiny_pack: ModelPack) -> None:
    after = widened(tiny_pack.generator("cpu"), {64: 6}).requires_grad_(True)
    after(torch.randn(1, 18, 512), False, 64).square().mean().backward()  # type: ignore[no-untyped-call]
    gradient = after.get_parameter("blocks.4.convs.1.weight").grad
    assert gradient is not None
    assert float(gradient[:4, 4:].abs().min()) > 0  # nothing listens to it yet, but would


def test_widths(tiny_pack: ModelPack) -> None:
    assert parse_widths("64=96,128=48") == {64: 96, 128: 48}
    with pytest.raises(OptionError, match="are written as"):
        parse_widths("64:96")
    with pytest.raises(OptionError, match="no resolution 2048"):
        widened(tiny_pack.generator("cpu"), {2048: 4})
    with pytest.raises(OptionError, match="fewer maps at 64²"):
        widened(tiny_pack.generator("cpu"), {64: 2})


@pytest.mark.usefixtures("small")
def test_a_generator_learns_photographs_and_resumes(tiny_pack: ModelPack, prepared: Path, tmp_path: Path) -> None:
    options = PhotoOptions(prepared, tmp_path, str(tiny_pack.folder), 100.0, steps=12, widths={64: 6}, mirror=True)
    trainer = GeneratorTrainer(options)
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    rows = torch.arange(5)

    def wrong() -> float:
        with torch.no_grad():
            found, _ = trainer.photo_loss(rows, 32, trainer.latents.values[rows], trainer.codes.values[rows])
        return float(found)

    first = wrong()
    trainer.train()
    assert trainer.step == 12
    assert wrong() < first
    still = {name for name, value in trainer.generator.state_dict().items() if torch.equal(value, before[name])}
    untouched = ("mapping.", "blocks.5", "blocks.6", "blocks.7", "blocks.8")  # the last four are above 64²
    assert still == {name for name in before if name.startswith(untouched) or "noise" in name}
    latents, codes, names = fitted_latents(tmp_path / photo_generator.LATENTS)
    assert (latents.shape, codes.shape, names.shape) == ((10, 18, 512), (10, 34), (5, 16))
    again = GeneratorTrainer(options)
    assert again.step == 12
    assert torch.equal(again.latents.values, trainer.latents.values)
    assert torch.equal(again.generator.constant, trainer.generator.constant)
    later = tmp_path / "later"  # a new run that was given the latents alone begins with them
    later.mkdir()
    shutil.copy(tmp_path / photo_generator.LATENTS, later)
    fresh = GeneratorTrainer(replace(options, work=later))
    assert (fresh.step, fresh.start.remembered) == (0, 5)
    assert torch.equal(fresh.start.latents, latents)
    assert torch.equal(fresh.start.codes, codes)


@pytest.mark.usefixtures("small")
def test_an_encoder_learns_and_resumes(tiny_pack: ModelPack, prepared: Path, tmp_path: Path) -> None:
    pack = open_pack(tiny_pack.folder)  # its networks are its own: the training changes the encoder
    options = PhotoOptions(prepared, tmp_path, str(pack.folder), 100.0, steps=2)
    trainer = EncoderTrainer(options)
    assert len(trainer.landmarks) == 10
    before = trainer.encoder.alpha_head.weight.clone()
    norm = trainer.encoder.stem[1].running_mean.clone()  # type: ignore[union-attr, operator]
    trainer.train()
    assert not torch.equal(trainer.encoder.alpha_head.weight, before)
    assert torch.equal(trainer.encoder.stem[1].running_mean, norm)  # type: ignore[arg-type]
    again = EncoderTrainer(options)
    assert again.step == 2
    assert torch.equal(again.encoder.alpha_head.weight, trainer.encoder.alpha_head.weight)
    made = again.generated(3)
    assert (made.pictures.shape, made.latents.shape, made.codes.shape) == ((3, 3, 256, 256), (3, 18, 512), (3, 34))


@pytest.mark.usefixtures("small")
def test_a_generator_is_sharpened_and_resumes(
    tiny_pack: ModelPack, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_sharpen, "START", 0.4)
    monkeypatch.setattr(photo_sharpen, "FIT_STEPS", 1)
    options = PhotoOptions(prepared, tmp_path, str(tiny_pack.folder), 100.0, steps=5)
    trainer = SharpenTrainer(options)
    assert trainer.large.rows.tolist() == [0, 1, 2, 3]
    assert trainer.large.pictures(torch.tensor([1, 6])).flip(3)[0].equal(trainer.large.pictures(torch.tensor([6]))[0])
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    critics = [critic.net.verdict.weight.clone() for critic in trainer.critics.values()]
    trainer.train()
    assert all((c.net.verdict.weight != w).any() for c, w in zip(trainer.critics.values(), critics, strict=True))
    moved = {name for name, value in trainer.generator.state_dict().items() if not torch.equal(value, before[name])}
    above = tuple(f"blocks.{number}." for number in range(4, 9))  # 64² to 1024²
    still = ("affine", "noise")
    assert moved == {name for name in before if name.startswith(above) and not any(part in name for part in still)}
    again = SharpenTrainer(options)
    assert again.step == 5
    assert torch.equal(again.critics[512].net.verdict.weight, trainer.critics[512].net.verdict.weight)
    assert again.critics[256].share == trainer.critics[256].share > 0
    figures = photo_sharpen.evaluate(trainer)
    assert figures["detail_after"] != figures["detail_before"] > 0
    (tmp_path / "generator.checkpoint.safetensors").write_bytes(b"of an earlier training")
    sharper = export(tmp_path, tmp_path / "pack", str(tiny_pack.folder), "sharper-1024", "1", "noise, MIT")
    assert sharper.digest != tiny_pack.digest
    given = trainer.average.state["blocks.6.to_rgb.bias"]
    assert torch.allclose(sharper.generator("cpu").blocks[6].to_rgb.bias, given, atol=1e-3)


def test_detail_of_blurred_photographs() -> None:
    sharp = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    soft = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    assert photo_sharpen.detail_of(Fitted(sharp, sharp, {})) == 1.0
    assert photo_sharpen.detail_of(Fitted(sharp, soft, {})) < 0.2


@torch.no_grad()
def test_landmark_features_in_a_mirror() -> None:
    """What the mesh sees of a mirrored face is what `photo_landmarks` says, roughly: the mesh is not quite even."""
    picture = np.array(Image.open(PORTRAIT).convert("RGB").resize((256, 256)))
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    plain, turned = embedded_pack().face_mesh("cpu")(torch.cat([x, x.flip(3)]))[:, None]
    _, wanted = photo_landmarks(plain)
    seen = features_of(turned)[0]
    assert float((wanted - seen).abs().mean()) < 0.02
    assert float((wanted - seen).abs().max()) < 0.06
    assert [other_side(other_side(name)) for name in NAMES] == list(NAMES)
    assert other_side("left_inner_brow") == "right_inner_brow"


def test_fitting_comes_nearer(tiny_pack: ModelPack, prepared: Path) -> None:
    held = Photographs(prepared, held_out=True)
    scene = photo_generator.DifferentiableRenderer(tiny_pack, torch.device("cpu"))
    alone, fitted = fit(held, tiny_pack, scene, 0), fit(held, tiny_pack, scene, 8)
    assert fitted.figures["psnr"] > alone.figures["psnr"]
    assert fitted.figures["described"] == 0  # noise has no face
    other = renderer_with(scene, widened(scene.generator, {64: 5}))
    assert other.generator is other.latents.generator
    assert scene.generator is not other.generator


@pytest.mark.usefixtures("small")
def test_the_commands_end_in_a_pack(tiny_pack: ModelPack, prepared: Path, tmp_path: Path) -> None:
    work, common = tmp_path / "work", ["--photos", str(prepared), "--work", str(tmp_path / "work"), "--steps", "1"]
    assert main(["train", "photo-generator", *common, "--start", str(tiny_pack.folder), "--widths", "64=5,128=3"]) == 0
    export = ["--work", str(work), "--base", str(tiny_pack.folder), "--photographs", "noise, MIT"]
    assert main(["train", "photo-export", *export, "--pack", str(tmp_path / "one"), "--name", "one-1024"]) == 0
    one = open_pack(tmp_path / "one")
    assert widths_of(one.generator("cpu")) == {**widths_of(tiny_pack.generator("cpu")), 64: 5, 128: 3}
    assert main(["train", "photo-encoder", *common, "--start", str(tmp_path / "one")]) == 0
    export[3] = str(tmp_path / "one")
    assert main(["train", "photo-export", *export, "--pack", str(tmp_path / "two"), "--name", "two-1024"]) == 0
    two = open_pack(tmp_path / "two")
    assert two.indices == tiny_pack.indices
    assert two.digest == one.digest != tiny_pack.digest  # streams depend on generator and flow alone
    assert two.card.networks["feedforward"].sha256 != one.card.networks["feedforward"].sha256
    assert two.card.training["photographs"] == "noise, MIT"
    assert {"photo_generator", "photo_encoder"} <= two.card.training["runs"].keys()
    state = load_state(work / "encoder.checkpoint.safetensors").get("average")
    assert torch.allclose(two.feedforward("cpu").alpha_head.bias, state["alpha_head.bias"], atol=1e-3)


def test_a_folder_without_checkpoints_is_no_pack(
    tiny_pack: ModelPack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "photo-export", "--work", str(tmp_path), "--base", str(tiny_pack.folder), "--name", "x"]
    arguments += ["--pack", str(tmp_path / "p"), "--photographs", "y"]
    assert main(arguments) == 1
    assert "holds no network that was trained" in capsys.readouterr().err
    (tmp_path / "generator.checkpoint.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    assert main(arguments) == 1
    assert "holds no generator" in capsys.readouterr().err


def test_damage_leaves_pictures_in_range() -> None:
    rng = np.random.default_rng(0)
    x = torch.rand(4, 3, 64, 64) * 2 - 1
    packed = compressed(x, rng, share=1.0)
    assert packed.shape == x.shape
    assert 0.001 < float((packed - x).abs().mean()) < 0.6
    assert torch.equal(compressed(x, rng, share=0.0), x)
    hidden = covered(x, rng, share=1.0)
    assert 0.01 < float((hidden != x).float().mean()) < 0.6


def test_the_benchmark_writes_figures_and_card(
    tiny_pack: ModelPack, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photographs, "DRAWN", 8)
    shutil.copytree(tiny_pack.folder, tmp_path / "pack")
    out = tmp_path / "figures.json"
    arguments = [str(prepared), "--pack", str(tmp_path / "pack"), "--steps", "1", "--out", str(out)]
    arguments += ["--against", str(tiny_pack.folder)]
    photographs.main([*arguments, "--sheet", str(tmp_path / "sheet.png"), "--write-card"])
    found = json.loads(out.read_text())
    assert (found["photographs"], found["steps"]) == (2, 1)
    assert found["fitted"]["psnr"] > 0
    assert found["drawn"]["psnr_against"] == 100.0  # the same pack
    assert found["provenance"]["pack"]["name"] == "tiny-1024"
    assert (tmp_path / "sheet.png").is_file()
    assert open_pack(tmp_path / "pack").card.figures["photographs"]["fitted"] == found["fitted"]
