"""Published networks in every published form: recognised, converted, and the same numbers on the other side.

Forms that share their tensors with one whose outputs are compared with upstream's (here, or in tests/nets) are compared
with it tensor by tensor, at small widths.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stylecodec.errors import ImportRefused, OptionError, OutputError, PackCorrupt, PackNotFound
from stylecodec.nets.e4e import E4eEncoder
from stylecodec.nets.identity import IdentityNet
from stylecodec.nets.parsing import BiSeNet
from stylecodec.nets.restyle import RestyleEncoder
from stylecodec.nets.styleflow import NEUTRAL_ATTRIBUTES
from stylecodec.nets.stylegan2 import Generator
from stylecodec.packs.card import Pose
from stylecodec.packs.store import ModelPack, embedded_pack, open_pack
from stylecodec.packs.upstream import importer
from stylecodec.packs.upstream import names as upstream_names
from stylecodec.packs.upstream.containers import open_container
from stylecodec.packs.upstream.importer import FFHQ_INDICES, import_files, remove_pack, verify_pack
from stylecodec.packs.upstream.published import PUBLISHED
from stylecodec.packs.upstream.recognition import Part, recognise
from tests.nets import seeded_weights as seeded
from tests.nets.test_upstream import PATCH, close, codes
from tests.packs.upstream.foreign_files import (
    State,
    narrow_port,
    nvidia_of,
    picture,
    write_dlib,
    write_nvidia,
    write_tar,
    write_tensorflow,
    write_tuned,
)

DIM = 16  # of W in narrow generators
MEAN = seeded.draw("latent_avg", (DIM,))
NARROW: dict[str, Any] = {"widths": [4, 8, 12, 16], "units": [1, 2, 1, 2], "reduction": 4}


def only(path: Path) -> Part:
    """The one network of a file."""
    (part,) = recognise(open_container(path))
    return part


def same(found: Any, wanted: Any) -> None:
    """Equal names, equal bits."""
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.fixture(scope="module")
def port() -> State:
    """A narrow generator of 32 pixels in the naming of the PyTorch port."""
    return narrow_port(32)


@pytest.fixture(scope="module")
def ours(port: State) -> State:
    """The same in our names."""
    return upstream_names.generator_from_port(port, MEAN)


# --- full size, against upstream's outputs -----------------------------------------------------------------------


@torch.no_grad()
def test_a_port_file_gives_upstreams_pictures(tmp_path: Path) -> None:
    state = seeded.state(seeded.port_generator_shapes(256))
    others = {"g": {"input.input": torch.zeros(1)}, "d": OrderedDict(), "g_optim": {"state": {}, "param_groups": []}}
    args = argparse.Namespace(size=256, lr=0.002, path="ffhq.lmdb")
    mean = seeded.draw("latent_avg", (512,))
    torch.save({"g_ema": state, "latent_avg": mean, "args": args, **others}, tmp_path / "renamed.bin")
    report = import_files([tmp_path / "renamed.bin"], "ffhq-256", tmp_path / "packs")
    net = report.pack.generator("cpu")
    z, wplus = codes()
    close(net.mapping(z)[0], "port_w", 1e-5)
    close(net.synthesis(net.styles(wplus))[0, :, PATCH, PATCH], "port_const", 1e-5)
    torch.testing.assert_close(net.mapping.w_avg, mean)
    assert report.pack.card.resolution == 256
    assert report.pack.pose_rows == 4
    missing = {ability.what: ability.missing for ability in report.abilities}
    assert missing["decode and puppet streams made with this pack"] == ("flow", "a generator of 1024 pixels")


@torch.no_grad()
def test_an_nvidia_pickle_gives_upstreams_clamped_pictures(tmp_path: Path) -> None:
    state = seeded.state(seeded.nvidia_generator_shapes(256))
    path = write_nvidia(tmp_path / "ffhq.pkl", state, clamp=0.5)
    net = import_files([path], "ffhq-256", tmp_path / "packs").pack.generator("cpu")
    assert net.conv_clamp == 0.5
    z, wplus = codes()
    close(net.mapping(z)[0], "nvidia_w", 1e-5)
    close(net.synthesis(net.styles(wplus))[0, :, PATCH, PATCH], "nvidia_clamp", 1e-5)


# --- the other forms of a generator --------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_port_in_both_forms_of_torch(tmp_path: Path, port: State, ours: State, zipped: bool) -> None:
    path = tmp_path / "g.pt"
    torch.save({"g_ema": OrderedDict(port), "latent_avg": MEAN}, path, _use_new_zipfile_serialization=zipped)
    part = only(path)
    same(part.state, ours)
    assert (part.role, part.params["resolution"], part.params["channels"]["32"]) == ("generator", 32, 8)


def test_port_in_torchs_oldest_form_and_bare(tmp_path: Path, port: State, ours: State) -> None:
    part = only(write_tar(tmp_path / "g.tar", port))
    same({n: t for n, t in part.state.items() if n != "mapping.w_avg"}, {n: ours[n] for n in ours if "w_avg" not in n})


def test_port_without_filters_noise_and_mean(tmp_path: Path, port: State) -> None:
    kept = {name: t for name, t in port.items() if not name.endswith("kernel") and not name.startswith("noises")}
    torch.save({"g_ema": kept}, tmp_path / "g.pt")
    part = only(tmp_path / "g.pt")
    assert not part.state["blocks.1.convs.0.noise"].any()
    assert "computed from 10,000 samples" in part.notes[0]
    net = Generator(**{**part.params, "channels": {int(k): v for k, v in part.params["channels"].items()}})
    net.load_state_dict(dict(part.state))
    w = net.mapping(torch.randn(4000, DIM)).detach()
    spread = w.std(dim=0) / 4000**0.5
    assert bool(((w.mean(dim=0) - part.state["mapping.w_avg"]).abs() < 6 * spread).all())


@pytest.mark.parametrize("era", ["ada", "sg3"])
@pytest.mark.parametrize("clamp", [256.0, None])
def test_nvidias_pytorch_eras(tmp_path: Path, port: State, ours: State, era: str, clamp: float | None) -> None:
    part = only(write_nvidia(tmp_path / "g.pkl", nvidia_of(port, MEAN), clamp, era))
    same(part.state, ours)
    assert part.params.get("conv_clamp") == clamp
    assert part.params["mapping_lr"] == 0.01


def test_tuned_by_pti(tmp_path: Path, port: State, ours: State, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tuned(tmp_path / "model_X.pt", nvidia_of(port, MEAN), monkeypatch)
    assert b"cuda:0" in path.read_bytes()
    part = only(path)
    same(part.state, ours)
    assert (part.origin, part.params["conv_clamp"]) == ("stylegan2-tuned", 256.0)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_nvidias_tensorflow(tmp_path: Path, port: State, ours: State, protocol: int) -> None:
    part = only(write_tensorflow(tmp_path / "g.pkl", nvidia_of(port, MEAN), protocol))
    assert set(part.state) == set(ours)
    for name, value in ours.items():  # biases of styles are stored without their 1, which costs the last bit
        torch.testing.assert_close(part.state[name], value, rtol=0, atol=2e-7)


def test_generators_that_draw_other_pictures_are_refused(tmp_path: Path, port: State) -> None:
    def words(state: State, **more: Any) -> str:
        torch.save({"g_ema": state, **more}, tmp_path / "g.pt")
        with pytest.raises(ImportRefused) as caught:
            only(tmp_path / "g.pt")
        return str(caught.value)

    assert "resampling filter" in words(port | {"convs.0.conv.blur.kernel": torch.ones(4, 4)})
    assert "'convs.0.more'" in words(port | {"convs.0.more": torch.ones(1)})
    assert "lacks" in words({n: t for n, t in port.items() if n != "to_rgbs.1.bias"})
    assert "not finite" in words(port | {"conv1.activate.bias": torch.full((8,), float("nan"))})
    assert "4096 pixels" in words(port | {"convs.98.noise.weight": torch.zeros(1)})
    labelled = nvidia_of(port, MEAN) | {"mapping.embed.weight": torch.zeros(4, 4)}
    with pytest.raises(ImportRefused, match="labelled"):
        only(write_nvidia(tmp_path / "g.pkl", labelled))


# --- encoders --------------------------------------------------------------------------------------------------


def encoder_file(path: Path, net: E4eEncoder, kind: str, decoder: State, options: Any, mean: Tensor | None) -> Path:
    """A file as e4e and ReStyle write it."""
    state = {f"encoder.{n}": t for n, t in net.state_dict().items() if n != "latent_avg"}
    state |= {f"decoder.{n}": t for n, t in decoder.items()}
    content = {"state_dict": state, "opts": options, "global_step": 7, "optimizer": {"state": {0: {"step": 1}}}}
    torch.save({**content, **({} if mean is None else {"latent_avg": mean})}, path)
    return path


def narrow_encoder(kind: str) -> E4eEncoder:
    common: dict[str, Any] = {**NARROW, "style_dim": DIM, "rows": 8, "head_width": 6, "input_size": 64}
    net = RestyleEncoder(**common) if kind == "restyle" else E4eEncoder(**common, coarse=2, middle=3)
    seeded.fill(net, prefix="encoder.")
    net.latent_avg.copy_(MEAN.expand(8, -1))
    return net.eval()


OPTIONS = {"e4e": "Encoder4Editing", "restyle": "ProgressiveBackboneEncoder"}


@pytest.mark.parametrize("kind", ["e4e", "restyle"])
@torch.no_grad()
def test_inversion_encoders(tmp_path: Path, port: State, ours: State, kind: str) -> None:
    net = narrow_encoder(kind)
    options = {"encoder_type": OPTIONS[kind], "stylegan_size": 32, "start_from_latent_avg": True, "device": "cuda:0"}
    path = encoder_file(tmp_path / "encoder.pt", net, kind, port, options, MEAN.expand(8, -1).contiguous())
    pack = import_files([path], "tiny", tmp_path / "packs").pack
    found = pack.inversion("cpu")
    assert type(found) is type(net)
    same(found.state_dict(), net.state_dict())
    same(pack.generator("cpu").state_dict(), ours)
    x = seeded.picture("input.image", (1, 3, 64, 64))
    if isinstance(found, RestyleEncoder) and isinstance(net, RestyleEncoder):
        generator = pack.generator("cpu")
        assert torch.equal(found.invert(x, generator, 2), net.invert(x, generator, 2))
    else:
        assert torch.equal(found(x), net(x))


def test_encoders_without_a_mean_latent(tmp_path: Path, port: State) -> None:
    options = argparse.Namespace(encoder_type="Encoder4Editing", start_from_latent_avg=True)
    path = encoder_file(tmp_path / "a.pt", narrow_encoder("e4e"), "e4e", port, options, None)
    inversion, generator = recognise(open_container(path))
    torch.testing.assert_close(inversion.state["latent_avg"][3], generator.state["mapping.w_avg"])
    assert "computed" in inversion.notes[0]
    none = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": False}
    path = encoder_file(tmp_path / "b.pt", narrow_encoder("e4e"), "e4e", port, none, None)
    assert not recognise(open_container(path))[0].state["latent_avg"].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder_type": "GradualStyleEncoder"}, "says 'GradualStyleEncoder'"),
        ({}, "does not say"),
        ({"encoder_type": ["Encoder4Editing"]}, "does not say"),
        ({"encoder_type": "ProgressiveBackboneEncoder"}, "first layer"),
    ],
)
def test_encoders_of_another_meaning_are_refused(tmp_path: Path, port: State, options: Any, words: str) -> None:
    """pSp has e4e's tensors, and other codes."""
    path = encoder_file(tmp_path / "psp.pt", narrow_encoder("e4e"), "e4e", port, options, MEAN)
    with pytest.raises(ImportRefused, match=words):
        recognise(open_container(path))


# --- networks that judge -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@torch.no_grad()
def test_identity_and_parser(tmp_path: Path, zipped: bool) -> None:
    identity = IdentityNet(**NARROW, embedding=20, input_size=32).eval()
    parser = BiSeNet([4, 6, 8, 10], [1, 2, 1, 1], 6, 8).eval()
    for net in (identity, parser):
        seeded.fill(net)
    old = {n: t for n, t in identity.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(OrderedDict(old), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    torch.save(parser.state_dict(), tmp_path / "b.pth", _use_new_zipfile_serialization=zipped)
    pack = import_files([tmp_path / "b.pth", tmp_path / "a.pth"], "judges", tmp_path / "packs").pack
    x = seeded.picture("input.image", (2, 3, 64, 64))
    assert torch.equal(pack.identity("cpu").embed_aligned(x), identity.embed_aligned(x))
    assert torch.equal(pack.parser("cpu")(x), parser(x))
    assert pack.identity("cpu").crop == (35, 223, 32, 220)
    with pytest.raises(PackNotFound, match="has no generator and no flow network, which making and decoding streams"):
        _ = pack.digest


def test_flow(tmp_path: Path) -> None:
    state = seeded.state(seeded.flow_shapes())
    torch.save(state, tmp_path / "flow.pt")
    pack = import_files([tmp_path / "flow.pt"], "flow", tmp_path / "packs").pack
    flow = pack.flow("cpu")
    same(flow.state_dict(), upstream_names.flow_from_styleflow(state))
    assert flow.neutral is not None
    assert flow.neutral.tolist() == pytest.approx(NEUTRAL_ATTRIBUTES)
    assert pack.card.pose == Pose(4, (-30.0, 30.0), (-20.0, 20.0))
    with torch.no_grad():
        w, source = seeded.draw("input.wplus", (1, 18, 512)), torch.tensor([_attributes()])
        z = flow(w, source)
        close(z[0, :, ::8], "flow_z", 1e-4)
        source[0, 11] = 20.0
        close(flow.reverse(z, source)[0, :, ::8], "flow_edit", 1e-4)


def _attributes() -> list[float]:
    from tests.nets.test_upstream import ATTRIBUTES

    return [float(value) for value in ATTRIBUTES]


def stiff(state: State, factor: float) -> State:
    """A flow whose field is stronger."""
    return {name: tensor * factor if name.endswith("_layer.weight") else tensor for name, tensor in state.items()}


def test_a_livelier_flow_gets_more_solver_steps(tmp_path: Path) -> None:
    shapes = {n: tuple(24 if side == 512 else side for side in shape) for n, shape in seeded.flow_shapes().items()}
    steps = []
    for factor in (1.0, 4.0):
        torch.save(stiff(seeded.state(shapes), factor), tmp_path / "flow.pt")
        part = only(tmp_path / "flow.pt")
        assert "twice as many would change" in part.notes[0]
        steps.append(part.params["steps"])
    assert steps[0] < steps[1]


def test_lpips_trunks_and_heads(tmp_path: Path) -> None:
    trunk = {
        f"features.{n}.{leaf}": seeded.draw(f"features.{n}.{leaf}", shape if leaf == "weight" else shape[:1])
        for n, shape in ALEX.items()
        for leaf in ("weight", "bias")
    }
    torch.save(trunk | {"classifier.1.weight": torch.zeros(3, 3)}, tmp_path / "alex.pth")
    heads = {
        f"lin{k}.model.1.weight": torch.full((1, len(head), 1, 1), 0.5)
        for k, head in enumerate(embedded_pack().lpips_heads().of("alex"))
    }
    torch.save(heads, tmp_path / "heads.pth", _use_new_zipfile_serialization=False)
    torch.save(write_lpips(trunk, heads), tmp_path / "lpips.pth")
    with pytest.raises(ImportRefused, match="without their trunk"):
        import_files([tmp_path / "heads.pth"], "lpips", tmp_path / "packs")
    assert not (tmp_path / "packs").exists()
    pack = import_files([tmp_path / "alex.pth"], "lpips", tmp_path / "packs").pack
    for k, head in enumerate(embedded_pack().lpips_heads().of("alex")):
        assert torch.equal(pack.lpips("alex", "cpu").heads[k], head)
    pack = import_files([tmp_path / "heads.pth"], "lpips", tmp_path / "packs").pack
    assert {float(head.mean()) for head in pack.lpips("alex", "cpu").heads} == {0.5}
    assert set(pack.card.training["imported"]) == {"lpips_alex", "lpips_alex_heads"}
    whole = only(tmp_path / "lpips.pth")
    same(whole.state, pack.lpips("alex", "cpu").state_dict())


ALEX = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


def write_lpips(trunk: State, heads: State) -> State:
    """The names of the lpips package's own state dict."""
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    inside = {f"net.slice{slices[int(n.split('.')[1])]}.{n.split('.', 1)[1]}": t for n, t in trunk.items()}
    twice = {f"lins.{n[3]}.{n[5:]}": t for n, t in heads.items()}
    fixed = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    return {**inside, **heads, **twice, **fixed}


@pytest.mark.parametrize("points", [68, 81])
def test_dlib_predictors_find_dlibs_points(tmp_path: Path, points: int) -> None:
    path = write_dlib(tmp_path / "predictor.dat", points)
    report = import_files([path], "points", tmp_path / "packs")
    net = report.pack.predictor()
    theirs = dlib.shape_predictor(str(path))
    random = np.random.default_rng(0)
    for number in range(12):
        image = picture(number % 6)
        left, top = (int(v) for v in random.integers(-40, 80, 2))
        right, bottom = left + int(random.integers(10, 110)), top + int(random.integers(10, 110))
        parts = theirs(image, dlib.rectangle(left, top, right, bottom)).parts()
        np.testing.assert_array_equal(net.predict(image, (left, top, right, bottom)), [(p.x, p.y) for p in parts])
    assert f"{points} points" in report.files[0].what


def test_damaged_predictors_are_refused(tmp_path: Path) -> None:
    data = write_dlib(tmp_path / "predictor.dat", 68).read_bytes()
    random = np.random.default_rng(0)
    for cut in [*random.integers(20, len(data), 25), len(data) - 1]:
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(ImportRefused):
            only(tmp_path / "cut")
    (tmp_path / "more").write_bytes(data + b"\x01\x01")
    with pytest.raises(ImportRefused, match="bytes follow"):
        only(tmp_path / "more")
    huge = b"\x01\x01\x81\x88\x81\x01" + b"\x00\x00" * 136 + b"\x08" + b"\xff" * 7 + b"\x0f"
    (tmp_path / "huge").write_bytes(huge)
    with pytest.raises(ImportRefused, match="cut off or damaged"):
        only(tmp_path / "huge")


def test_files_that_are_no_network_say_what_they_are(tmp_path: Path) -> None:
    def words(content: Any) -> str:
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(ImportRefused) as caught:
            only(tmp_path / "x.pt")
        return str(caught.value)

    assert "pivot" in words(torch.zeros(1, 18, 512))
    assert "facexlib" in words({"cp.resnet.layer1.0.conv1.weight": torch.zeros(1)})
    assert "plain ResNet" in words({"conv1.weight": torch.zeros(1), "layer1.0.conv1.weight": torch.zeros(1)})
    assert "'some.weight'" in words({"some.weight": torch.zeros(1)})
    assert "there are none" in words({})
    squeeze = {f"lin{k}.model.1.weight": torch.zeros(1, n, 1, 1) for k, n in enumerate((64, 128, 256))}
    assert "neither AlexNet's nor VGG-16's" in words(squeeze)


# --- packs -------------------------------------------------------------------------------------------------------


def saved(path: Path, port: State) -> Path:
    torch.save({"g_ema": port, "latent_avg": MEAN}, path)
    return path


def test_what_is_recorded(tmp_path: Path, port: State) -> None:
    path = saved(tmp_path / "g.pt", port)
    pack = import_files([path], "mine", tmp_path / "packs").pack
    record = pack.card.training["imported"]["generator"]
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record["file"], record["bytes"], record["form"]) == ("g.pt", path.stat().st_size, "torch zip archive")
    assert len(record["date"]) == 10
    assert "trusted on first use" in record["trust"]
    entry = pack.card.networks["generator"]
    assert "non-commercial" in entry.licence
    assert "drive.google.com" in entry.source
    assert load_file(pack.folder / entry.file)["constant"].dtype == torch.float32
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"g.pt", "pack.toml", entry.file}


def test_published_digests_are_compared() -> None:
    irse = PUBLISHED["irse"]
    assert "is that of" in irse.trust(irse.digests[0], "")
    assert "differs" in irse.trust("0" * 64, "")
    assert "is that of" in PUBLISHED["styleflow"].trust("0" * 64, PUBLISHED["styleflow"].blobs[0])
    assert "no digest" in PUBLISHED["e4e"].trust("0" * 64, "")


def test_all_files_or_none(tmp_path: Path, port: State) -> None:
    path = saved(tmp_path / "g.pt", port)
    (tmp_path / "bad").write_bytes(b"\x80\x02cos\nsystem\n." + bytes(16))
    with pytest.raises(ImportRefused, match=r"bad is not imported"):
        import_files([path, tmp_path / "bad"], "mine", tmp_path / "packs")
    with pytest.raises(ImportRefused, match="both hold the pack's generator"):
        import_files([path, saved(tmp_path / "h.pt", port)], "mine", tmp_path / "packs")
    assert not (tmp_path / "packs").exists()


def test_networks_of_one_pack_must_fit_each_other(tmp_path: Path, port: State) -> None:
    torch.save(seeded.state(seeded.flow_shapes()), tmp_path / "flow.pt")
    with pytest.raises(ImportRefused, match="rows of 512"):
        import_files([saved(tmp_path / "g.pt", port), tmp_path / "flow.pt"], "mine", tmp_path / "packs")
    options = {"encoder_type": "Encoder4Editing"}
    other = {**narrow_port(64)}
    path = encoder_file(tmp_path / "e.pt", narrow_encoder("e4e"), "e4e", other, options, MEAN)
    with pytest.raises(ImportRefused, match="8 rows of 16"):
        import_files([path], "mine", tmp_path / "packs")


def test_a_pack_grows_file_by_file_and_replaces(tmp_path: Path, port: State, ours: State) -> None:
    folder = tmp_path / "packs"
    options = {"encoder_type": "Encoder4Editing"}
    encoder = encoder_file(tmp_path / "e.pt", narrow_encoder("e4e"), "e4e", port, options, MEAN)
    first = import_files([encoder], "mine", folder).pack
    before = first.card.networks["generator"]
    tuned = saved(tmp_path / "g.pt", port | {"conv1.activate.bias": torch.ones(8)})
    second = import_files([tuned], "mine", folder).pack
    assert second.card.networks["generator"].sha256 != before.sha256
    assert not (second.folder / before.file).exists()
    third = import_files([encoder], "mine", folder).pack  # the encoder's own generator takes no other's place
    assert third.card.networks["generator"] == second.card.networks["generator"]
    assert len(list(third.folder.iterdir())) == 3
    assert verify_pack(third) == []


def test_one_flipped_bit_is_noticed(tmp_path: Path, port: State) -> None:
    pack = import_files([saved(tmp_path / "g.pt", port)], "mine", tmp_path / "packs").pack
    random = np.random.default_rng(0)
    for file in pack.folder.iterdir():
        whole = file.read_bytes()
        for _ in range(40 if file.suffix == ".toml" else 6):
            damaged = bytearray(whole)
            damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
            file.write_bytes(damaged)
            try:
                assert verify_pack(open_pack(pack.folder)), file.name
            except PackCorrupt:
                assert file.suffix == ".toml"
        file.write_bytes(whole)
    assert verify_pack(pack) == []
    weights = pack.folder / pack.card.networks["generator"].file
    weights.unlink()
    assert "cannot be read" in verify_pack(pack)[0]


def test_a_failing_disk_leaves_the_pack_as_it_was(
    tmp_path: Path, port: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "packs"
    pack = import_files([saved(tmp_path / "g.pt", port)], "mine", folder).pack
    before = sorted(p.name for p in pack.folder.iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stylecodec.packs.writing._write", full)
    other = saved(tmp_path / "h.pt", port | {"conv1.activate.bias": torch.ones(8)})
    with pytest.raises(OutputError, match="No space left"):
        import_files([other], "mine", folder)
    assert sorted(p.name for p in pack.folder.iterdir()) == before
    assert verify_pack(ModelPack(pack.folder, pack.card)) == []
    with pytest.raises(OutputError):
        import_files([other], "fresh", folder)
    assert not (folder / "fresh").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/abs", "a" * 65, "-x", "a b"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="a pack's name"):
        import_files([tmp_path / "none"], name, tmp_path / "packs")
    with pytest.raises(OptionError, match="a pack's name"):
        remove_pack(name, tmp_path)


def test_remove(tmp_path: Path, port: State) -> None:
    folder = tmp_path / "packs"
    pack = import_files([saved(tmp_path / "g.pt", port)], "mine", folder).pack
    (pack.folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        remove_pack("mine", folder)
    (pack.folder / "notes.txt").unlink()
    assert remove_pack("mine", folder) == pack.folder
    assert not pack.folder.exists()
    with pytest.raises(PackNotFound, match="no pack 'mine'"):
        remove_pack("mine", folder)


def test_indices_of_a_generator_of_ffhqs_widths() -> None:
    channels = {str(4 << b): min(32768 // (4 << b), 512) for b in range(9)}
    assert importer._indices({"resolution": 1024, "channels": channels}) == FFHQ_INDICES
    assert len(set(FFHQ_INDICES)) == 32
    narrow = importer._indices({"resolution": 32, "channels": dict.fromkeys(["4", "8", "16", "32"], 8)})
    assert len(set(narrow)) == 32
