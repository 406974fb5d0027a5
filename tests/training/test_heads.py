"""The head renderer on a toy geometry: an ellipsoid with eyes, a mouth and a handful of expressions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from stylecodec.cli.main import main
from stylecodec.errors import MissingDependency, OptionError, OutputError
from stylecodec.training.heads import camera, clips, dataset, sheets, tracks
from stylecodec.training.heads.assets import HeadAssets, load_assets
from stylecodec.training.heads.facial_hair import beard, brows
from stylecodec.training.heads.glasses import GLASSES_NAMES, frame
from stylecodec.training.heads.hair import STYLES, Hairdresser
from stylecodec.training.heads.identities import (
    FIELDS,
    HELD_OUT,
    SLICES,
    VECTOR_NAMES,
    VECTOR_SIZE,
    Identity,
    sample_identity,
)
from stylecodec.training.heads.model import FOREHEAD_ORDER, HeadModel, rotation
from stylecodec.training.heads.renderer import Renderer
from stylecodec.training.heads.shaders import CLASS_NAMES

PAIRED = (
    "browDown browInnerUp browOuterUp cheekPuff cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp "
    "eyeSquint eyeWide mouthDimple mouthFrown mouthLowerDown mouthPress mouthSmile mouthStretch mouthUpperUp noseSneer"
)
SINGLE = (
    "jawForward jawLeft jawOpen jawRight mouthClose mouthFunnel mouthLeft mouthPucker mouthRight mouthRollLower "
    "mouthRollUpper mouthShrugLower mouthShrugUpper"
)
NAMES = tuple(f"{n}_{s}" for n in PAIRED.split() for s in "LR") + tuple(SINGLE.split())
MATERIALS = (
    "M_BackHead",
    "M_EyeLashes",
    "M_Face",
    "M_GumsTongue",
    "M_IrisLeft",
    "M_ScleraLeft",
    "M_ScleraRight",
    "M_Teeth",
)


def _landmarks() -> np.ndarray:
    """68 iBUG points [68, 3] of a schematic face, cm."""
    right = np.zeros((68, 3))
    t = np.linspace(0, np.pi, 17)
    right[:17] = np.c_[-7.5 * np.cos(t), 3 - 10.5 * np.sin(t), 2 + 8 * np.sin(t)]
    right[17:22] = [(-5.8, 5.2, 7.9), (-4.9, 6.0, 9.0), (-3.8, 6.3, 9.8), (-2.4, 6.2, 10.5), (-1.2, 5.9, 10.7)]
    right[22:27] = right[21:16:-1] * [-1, 1, 1]
    right[27:31] = [(0, 3.7, 10.7), (0, 2.6, 11.5), (0, 1.6, 12.3), (0, 0.4, 13.1)]
    right[31:36] = [(-1.3, -1.1, 10.9), (-0.6, -1.1, 11.4), (0, -1.2, 11.6), (0.6, -1.1, 11.4), (1.3, -1.1, 10.9)]
    eye = [
        (-4.46, 3.43, 8.6),
        (-3.87, 3.9, 9.3),
        (-2.78, 3.94, 9.5),
        (-1.84, 3.25, 9.2),
        (-2.73, 3.1, 9.4),
        (-3.86, 3.1, 9.2),
    ]
    right[36:42] = eye
    right[42:48] = np.array(eye)[[3, 2, 1, 0, 5, 4]] * [-1, 1, 1]
    t = np.linspace(np.pi, -np.pi, 13)[:12]
    right[48:60] = np.c_[2.5 * np.cos(t), -3.5 + 0.9 * np.sin(t), np.full(12, 10.5)]
    t = np.linspace(np.pi, -np.pi, 9)[:8]
    right[60:68] = np.c_[2.2 * np.cos(t), -3.5 + 0.05 * np.sin(t), np.full(8, 10.4)]
    return right


def _ellipsoid(
    center: tuple[float, float, float], radii: tuple[float, float, float], n: int
) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, n), np.linspace(0, 2 * np.pi, 2 * n, endpoint=False), indexing="ij"
    )
    p = np.stack([np.sin(u) * np.sin(v), np.cos(u), np.sin(u) * np.cos(v)], -1).reshape(-1, 3) * radii + center
    i, j = (x.ravel() for x in np.meshgrid(np.arange(n - 1), np.arange(2 * n), indexing="ij"))
    a, b = i * 2 * n + j, i * 2 * n + (j + 1) % (2 * n)
    return p, np.concatenate([np.c_[a, a + 2 * n, b], np.c_[b, a + 2 * n, b + 2 * n]])


def write_toy(folder: Path) -> Path:
    """A geometry folder of some 700 vertices with every array that the loader wants."""
    rng = np.random.default_rng(0)
    parts = [
        (*_ellipsoid((0, 1, 1), (7.8, 12.5, 9.3), 14), "M_Face"),
        (*_ellipsoid((3.1, 3.6, 8.0), (1.6, 1.6, 1.6), 7), "M_ScleraLeft"),
        (*_ellipsoid((-3.1, 3.6, 8.0), (1.6, 1.6, 1.6), 7), "M_ScleraRight"),
        (*_ellipsoid((0, -3.5, 8), (2.5, 1.5, 2.4), 6), "M_GumsTongue"),
        (*_ellipsoid((0, -3.3, 9), (2, 0.3, 1), 4), "M_Teeth"),
        (np.array([[-4, 4, 9.8], [-2, 4, 9.8], [-3, 4.6, 10.2]], float), np.array([[0, 1, 2]]), "M_EyeLashes"),
    ]
    points, faces, materials, first = [], [], [], 0
    for p, f, name in parts:
        index = np.full(len(f), MATERIALS.index(name))
        if name == "M_Face":
            index[p[f][:, :, 2].mean(1) < 0] = MATERIALS.index("M_BackHead")
        points.append(p)
        faces.append(f + first)
        materials.append(index)
        first += len(p)
    points.append(_landmarks())
    v = np.concatenate(points).astype(np.float32)
    count = len(v)
    smooth = np.stack([np.sin(v @ rng.normal(0, 0.15, (3, 3)) + k) * 0.05 for k in range(60)])
    motion = np.zeros((len(NAMES), count, 3), np.float16)
    for k, name in enumerate(NAMES):
        side = 1 if name.endswith("_L") else -1 if name.endswith("_R") else 0
        here = np.ones(count) if side == 0 else (np.sign(v[:, 0]) == side)
        if name.startswith("eyeBlink"):
            motion[k, :, 1] = -0.8 * here * (np.abs(v[:, 1] - 3.9) < 0.3) * (np.arange(count) >= first)
        elif name == "jawOpen":
            motion[k, :, 1] = -2.5 * (v[:, 1] < -3.5) * (v[:, 2] > 3)
        else:
            motion[k, :, :] = 0.1 * here[:, None] * rng.normal(size=3)
    size = 32
    uv = np.clip(np.c_[v[:, 0] / 20 + 0.5, v[:, 1] / 40 + 0.5], 0, 1)
    brow = np.stack([np.c_[np.linspace(x, 0.5 + 0.3 * (x - 0.5), 20), np.full(20, 0.66)] for x in (0.25, 0.75)])
    masks = {f"T{k}": rng.integers(0, 200, (size, size, 4)).astype(np.uint8) for k in range(3)}
    folder.mkdir(parents=True, exist_ok=True)
    triangles = np.concatenate(faces).astype(np.int32)
    np.savez(
        folder / "ict.npz",
        V=v,
        E=motion,
        I=smooth.astype(np.float16),
        vi=np.arange(count, dtype=np.int32),
        uv=uv.astype(np.float32),
        tri=triangles,
        mat=np.concatenate(materials).astype(np.int8),
        names=np.array(NAMES),
        mats=np.array(MATERIALS),
    )
    np.savez(folder / "maps.npz", **masks, bc=brow)
    np.savez(folder / "ao.npz", a0=np.ones(count, np.float32), a1=np.full(count, 0.8, np.float32))
    (folder / "FaceXModel").mkdir(exist_ok=True)
    indices = {"idx_to_landmark_verts": list(range(count - 68, count))}
    (folder / "FaceXModel" / "vertex_indices.json").write_text(json.dumps(indices))
    return folder


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def assets(toy_folder: Path) -> HeadAssets:
    return load_assets(toy_folder)


@pytest.fixture(scope="module")
def model(assets: HeadAssets) -> HeadModel:
    return HeadModel(assets)


@pytest.fixture(scope="module")
def renderer(model: HeadModel) -> Renderer:
    pytest.importorskip("moderngl")
    try:
        return Renderer(model, 48)
    except MissingDependency as error:
        pytest.skip(str(error))


# ---- files


def test_loading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        load_assets(tmp_path / "nowhere")
    with pytest.raises(OptionError, match=r"lacks ict\.npz"):
        load_assets(tmp_path)
    folder = write_toy(tmp_path / "toy")
    (folder / "ao.npz").write_bytes(b"not an archive")
    with pytest.raises(OptionError, match=r"ao\.npz is not a readable"):
        load_assets(folder)
    np.savez(folder / "ao.npz", a0=np.ones(3, np.float32), a1=np.ones(3, np.float32))
    with pytest.raises(OptionError, match="do not fit together"):
        load_assets(folder)
    np.savez(folder / "ao.npz", b=np.ones(3))
    with pytest.raises(OptionError, match="another layout"):
        load_assets(folder)
    (folder / "FaceXModel" / "vertex_indices.json").write_text("{}")
    with pytest.raises(OptionError, match="idx_to_landmark_verts"):
        load_assets(folder)


def test_objects_in_an_archive_are_refused(tmp_path: Path) -> None:
    folder = write_toy(tmp_path)
    np.savez(folder / "ao.npz", a0=np.array([{}], dtype=object), a1=np.ones(3))
    with pytest.raises(OptionError, match="not a readable"):
        load_assets(folder)


# ---- geometry


def test_rotation_signs() -> None:
    forward = np.array([0.0, 0, 1])
    assert (rotation(20, 0, 0) @ forward)[0] > 0.3  # to the head's own left = image right
    assert (rotation(0, 20, 0) @ forward)[1] > 0.3  # up
    assert (rotation(0, 0, 20) @ np.array([0.0, 1, 0]))[0] > 0.3  # crown tilts to image right


def test_normals_point_outwards(model: HeadModel) -> None:
    v = model.assets.vertices
    skin = np.unique(model.skin_faces)
    outward = (model.normals(v)[skin] * (v[skin] - [0, 1, 1])).sum(1)
    assert (outward > 0).mean() > 0.95


def test_lids_follow_the_gaze_and_truth_can_be_posed_again(model: HeadModel) -> None:
    base = model.neutral(np.zeros(60, np.float32))
    posed = model.pose_face(base, model.weights({"jawOpen": 0.5}), (15.0, -10.0))
    assert posed.weights[model.index["eyeLookOut_L"]] == pytest.approx(0.5)
    assert posed.weights[model.index["eyeLookDown_R"]] == pytest.approx(0.4)
    again = model.pose_face(base, posed.weights, (15.0, -10.0))
    np.testing.assert_array_equal(again.vertices, posed.vertices)
    assert posed.left.axis[0] > 0.2
    assert posed.left.axis[1] < -0.1


def test_weights_want_known_names(model: HeadModel) -> None:
    with pytest.raises(OptionError, match="no expression 'moustacheTwirl'"):
        model.weights({"moustacheTwirl": 1})


def test_neutral_lips_meet_and_lids_rest_on_the_iris(model: HeadModel) -> None:
    shape = np.random.default_rng(2).normal(0, 0.8, 60).astype(np.float32)
    low, high = (model.neutral(shape, lid=lid) for lid in (0.3, 0.7))
    lids = model.assets.landmarks[[37, 38, 43, 44]]
    assert low[lids, 1].mean() < high[lids, 1].mean() - 0.05


def test_forehead_points_use_dlib_order(model: HeadModel) -> None:
    posed = model.pose_face(model.assets.vertices, model.weights({}))
    points = model.landmarks(posed)
    assert points.shape == (83, 3)
    across = points[list(FOREHEAD_ORDER), 0]
    assert (np.diff(across) >= 0).all()
    assert across[0] < -3
    assert across[-1] > 3
    assert points[81, 0] < 0 < points[82, 0]  # right eye first


def test_crop_fills_the_unit_square_and_undoes_roll(model: HeadModel) -> None:
    points = model.assets.vertices[model.assets.landmarks]
    frontal = camera.head_matrices(0, 0, 0)[0]
    crop = camera.ffhq_crop(points, frontal)
    picture = camera.to_picture(points, frontal, crop)
    eyes, mouth = picture[36:48].mean(0), picture[[48, 54]].mean(0)
    assert eyes[0] == pytest.approx(0.5, abs=0.01)
    assert mouth[1] > eyes[1] + 0.15
    tilted = camera.head_matrices(0, 0, 12)[0]
    again = camera.to_picture(points, tilted, camera.ffhq_crop(points, tilted))
    np.testing.assert_allclose(again, picture, atol=0.02)


def test_hair_is_linear_in_the_head(model: HeadModel) -> None:
    style = Hairdresser(model).hairdo("bob", 1)
    rng = np.random.default_rng(1)
    d1, d2 = (rng.normal(0, 0.2, model.assets.vertices.shape).astype(np.float32) for _ in range(2))
    still = style.place(np.zeros_like(d1))[..., :3].copy()
    p1, p2, both = (style.place(d)[..., :3].copy() - still for d in (d1, d2, d1 + d2))
    np.testing.assert_allclose(both, p1 + p2, atol=1e-4)


def test_styles_grow_the_same_twice(model: HeadModel) -> None:
    one, two = Hairdresser(model), Hairdresser(model)
    assert len(STYLES) >= 12
    for name in ("buzz", "wavy", "bangs", "curly", "bun"):
        a, b = one.hairdo(name, -1), two.hairdo(name, -1)
        np.testing.assert_array_equal(a.strands.points, b.strands.points)
        assert np.isfinite(a.strands.points).all()
        assert a.indices.max() < a.buffer[..., 0].size


def test_facial_hair_follows_the_face(model: HeadModel) -> None:
    v = model.assets.vertices
    n = model.normals(v)
    for strands in (brows(model, 40), beard(model, 60)):
        still = strands.place(v, n).copy()
        moved = strands.place(v + np.float32(0.5), n)
        np.testing.assert_allclose(moved[..., :3] - still[..., :3], 0.5, atol=1e-3)


def test_glasses_sit_before_the_eyes(model: HeadModel) -> None:
    for style in GLASSES_NAMES[1:]:
        vertices, indices = frame(model, model.assets.vertices, style)
        assert np.isfinite(vertices).all()
        assert indices.max() < len(vertices)
        assert vertices[:, 2].max() > model.assets.vertices[model.assets.landmarks[36:48], 2].max()


# ---- identities


def test_identity_vector_is_documented(model: HeadModel) -> None:
    assert len(VECTOR_NAMES) == len(set(VECTOR_NAMES)) == VECTOR_SIZE
    assert SLICES["mouth_light"].stop == VECTOR_SIZE  # fields are only ever appended
    p = sample_identity(3, model)
    again = Identity(p.vector)
    assert again.hair_style == p.hair_style
    for field in ("hair_style", "glasses_style"):
        assert p[field].sum() == 1
    with pytest.raises(OptionError, match="numbers"):
        Identity(np.zeros(3))


def test_identities_are_reproducible_and_varied(model: HeadModel) -> None:
    people = [sample_identity(k, model) for k in range(60)]
    np.testing.assert_array_equal(people[7].vector, sample_identity(7, model).vector)
    vectors = np.stack([p.vector for p in people])
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) == 60
    assert not np.array_equal(people[0].vector, sample_identity(HELD_OUT, model).vector)
    glasses = np.mean([p.glasses_style != "none" for p in people])
    assert 0.03 < glasses < 0.35
    assert {name for name, _ in FIELDS} >= {"shape", "skin", "key_direction", "part_side"}


# ---- expressions


def test_random_expressions_stay_in_range() -> None:
    rng = np.random.default_rng(4)
    weights = np.stack([tracks.random_expression(rng, NAMES) for _ in range(600)])
    assert weights.min() >= 0
    assert weights.max() <= 1
    used = {n for n, top in zip(NAMES, weights.max(0), strict=True) if top > 0.2}
    assert set(NAMES) - used <= {n for n in NAMES if n.startswith("eyeLook")}
    rare = [NAMES.index(name) for name in ("mouthLeft", "jawRight", "cheekPuff_L")]
    assert (weights[:, rare] > 0.5).mean(0).min() > 0.02  # what is hardly ever seen is not learned
    close, jaw = weights[:, NAMES.index("mouthClose")], weights[:, NAMES.index("jawOpen")]
    assert (close <= 0.9 * jaw + 1e-6).all()
    gaze = np.array([tracks.random_gaze(rng) for _ in range(500)])
    assert 0.2 < (gaze == 0).all(1).mean() < 0.4
    assert np.abs(gaze).max(0).tolist() <= [30.0, 18.0]


def test_talking_tracks_are_smooth_and_alive() -> None:
    track = tracks.talking_track(5, 200, 25, NAMES)
    assert track.weights.shape == (200, len(NAMES))
    assert track.weights.min() >= 0
    assert track.weights.max() <= 1
    jaw = track.weights[:, NAMES.index("jawOpen")]
    assert jaw.max() > 0.15
    assert np.abs(np.diff(jaw)).max() < 0.35
    assert track.weights[:, NAMES.index("eyeBlink_L")].max() > 0.8
    assert np.abs(np.diff(track.pose, axis=0)).max() < 2.5
    assert np.ptp(track.gaze, axis=0).min() > 1
    np.testing.assert_array_equal(track.weights, tracks.talking_track(5, 200, 25, NAMES).weights)


# ---- pictures


def _jaw(model: HeadModel) -> np.ndarray:
    return model.weights({"jawOpen": 0.8})


def test_a_picture_and_its_truth(renderer: Renderer, model: HeadModel) -> None:
    with renderer.person(sample_identity(1, model)) as person:
        picture = renderer.render(person, labels=True)
        again = renderer.render(person, labels=True)
        moved = renderer.render(person, _jaw(model), yaw=25.0)
    assert picture.image.shape == (48, 48, 3)
    assert picture.image.dtype == np.uint8
    assert picture.labels is not None
    assert picture.labels.max() < len(CLASS_NAMES)
    assert {"skin", "background"} <= {CLASS_NAMES[k] for k in np.unique(picture.labels)}
    np.testing.assert_array_equal(picture.image, again.image)
    assert np.abs(picture.image.astype(int) - moved.image).mean() > 1
    assert picture.landmarks.shape == (83, 2)
    assert picture.landmarks.min() > -0.3
    assert picture.landmarks.max() < 1.3


def test_the_picture_is_a_function_of_the_vector(renderer: Renderer, model: HeadModel) -> None:
    identity = sample_identity(5, model)
    identity.choose("glasses_style", "round")
    identity["glasses_colour"] = (0.9, 0.0, 0.0)
    with renderer.person(identity) as a, renderer.person(Identity(identity.vector)) as b:
        one, two = renderer.render(a, labels=True), renderer.render(b)
    np.testing.assert_array_equal(one.image, two.image)
    assert one.labels is not None
    assert (one.labels == CLASS_NAMES.index("glasses")).any()


def test_light_in_the_mouth(renderer: Renderer, model: HeadModel) -> None:
    """It brightens gums and tongue, and nothing else."""
    pictures = []
    for light in (0.1, 0.9):
        identity = sample_identity(1, model)
        identity["mouth_light"] = light
        with renderer.person(identity) as person:
            pictures.append(renderer.render(person, labels=True))
    dark, bright = (p.image.astype(int).sum(-1) for p in pictures)
    assert pictures[0].labels is not None
    inside = pictures[0].labels == CLASS_NAMES.index("mouth")
    assert inside.sum() > 10
    assert dark[inside].mean() < 0.9 * bright[inside].mean()  # the tip of the tongue is all that shows here
    around = ndimage.binary_dilation(inside | (pictures[0].labels == CLASS_NAMES.index("teeth")), iterations=2)
    np.testing.assert_array_equal(dark[~around], bright[~around])


def test_two_renderers_do_not_disturb_each_other(renderer: Renderer, model: HeadModel) -> None:
    identity = sample_identity(5, model)
    with renderer.person(identity) as here:
        before = renderer.render(here, labels=True)
        other = Renderer(model, 32)
        with other.person(sample_identity(6, model)) as there:
            assert other.render(there).image.shape == (32, 32, 3)
            after = renderer.render(here, labels=True)
        other.close()
        last = renderer.render(here, labels=True)
    for picture in (after, last):
        np.testing.assert_array_equal(before.image, picture.image)
        np.testing.assert_array_equal(before.labels, picture.labels)


def test_render_refuses_bad_input(renderer: Renderer, model: HeadModel) -> None:
    with renderer.person(sample_identity(1, model)) as person, pytest.raises(OptionError, match="weights"):
        renderer.render(person, np.zeros(3))
    with pytest.raises(OptionError, match="supersampling"):
        Renderer(model, 64, 3)
    with pytest.raises(OptionError, match="pixels"):
        Renderer(model, 1)


def test_shards_resume(renderer: Renderer, toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "IDENTITIES_PER_SHARD", 2)
    plan = dataset.Plan(toy_folder, tmp_path, shards=2, size=32, renders=3)
    lines: list[str] = []
    assert dataset.render_part(plan, 1, 2, lines.append) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["shard_00001.npz"]
    before = (tmp_path / "shard_00001.npz").read_bytes()
    dataset.render_dataset(plan)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["meta.json", "shard_00000.npz", "shard_00001.npz"]
    assert (tmp_path / "shard_00001.npz").read_bytes() == before
    assert "images/s" in lines[0]
    with np.load(tmp_path / "shard_00001.npz", allow_pickle=False) as shard:
        assert shard["images"].shape == (6, 32, 32, 3)
        assert shard["labels"].shape == (6, 32, 32)
        assert shard["expression"].shape == (6, len(NAMES) + 2)
        assert shard["landmarks"].shape == (6, 83, 2)
        assert shard["identity_id"].tolist() == [2, 2, 2, 3, 3, 3]
        assert not shard["expression"][0].any()
        assert not shard["pose"][3].any()
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert meta["class_names"] == list(CLASS_NAMES)
    assert meta["identity_names"] == list(VECTOR_NAMES)
    assert len(meta["expression_names"]) == len(NAMES) + 2


def test_a_clip(renderer: Renderer) -> None:
    clip = clips.render_clip(renderer, HELD_OUT + 1, 6, labels=True)
    assert clip.frames.shape == (6, 48, 48, 3)
    assert clip.labels is not None
    assert clip.pose.shape == (6, 3)
    assert clip.expression.shape == (6, len(NAMES) + 2)
    assert clip.landmarks.max() > 20  # pixels
    with pytest.raises(OptionError, match="empty"):
        clips.render_clip(renderer, 0, 0)


@pytest.mark.parametrize("kind", ["glasses", "poses", "truth"])
def test_sheets(renderer: Renderer, kind: str) -> None:
    sheet = sheets.draw_sheet(renderer, kind, 2)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] in (5 * 48, 6 * 48)


def test_command_line(renderer: Renderer, toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--geometry", str(toy_folder), "--out"]
    render = ["train", "render"]
    assert main([*render, "sheet", *common, str(tmp_path / "x.png"), "--kind", "glasses", "--size", "32"]) == 0
    assert (tmp_path / "x.png").stat().st_size > 1000
    clip = ["clips", *common, str(tmp_path / "c"), "--identities", "4", "--seconds", "0.2", "--size", "64"]
    assert main([*render, *clip]) == 0
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"clip_4.mp4", "clip_4.npz"}
    nowhere = ["dataset", "--geometry", str(tmp_path / "no"), "--out", str(tmp_path), "--shards", "1"]
    assert main([*render, *nowhere]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([*render, "--help"]) == 0
    assert "examples:" in capsys.readouterr().out


def test_plans_and_outputs_are_checked(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        dataset.Plan(tmp_path, tmp_path, shards=0)
    with pytest.raises(OutputError, match="cannot write"):
        dataset.write_shard(tmp_path / "no" / "shard_00000.npz", {"a": np.zeros(2)})
    assert not os.listdir(tmp_path)
