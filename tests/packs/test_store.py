"""Packs on disk: written, found, verified, loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylecodec.errors import OptionError, OutputError, PackCorrupt, PackError, PackNotFound
from stylecodec.nets.lpips import CHANNELS
from stylecodec.packs import registry, store
from stylecodec.packs.card import Calibration
from stylecodec.packs.registry import BUILDERS, pick_device
from stylecodec.packs.store import ModelPack, embedded_pack, open_pack
from stylecodec.packs.upstream.importer import verify_pack
from stylecodec.packs.writing import NetworkSource, update_card, write_pack
from tests.tiny import FLOW_PARAMS, TINY_INDICES, tiny_networks, write_tiny_pack


@pytest.fixture
def pack(tmp_path: Path) -> ModelPack:
    return write_tiny_pack(tmp_path / "packs" / "tiny-1024")


def test_weights_come_back_as_half_precision_in_single(pack: ModelPack) -> None:
    original = tiny_networks()["generator"].module.state_dict()
    loaded = pack.generator("cpu").state_dict()
    assert loaded.keys() == original.keys()
    for name, value in original.items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], value.half().float(), rtol=0, atol=0)


def test_networks_are_cached_and_frozen(pack: ModelPack) -> None:
    flow = pack.flow("cpu")
    assert flow is pack.network("flow", torch.device("cpu"))
    assert not flow.training
    assert not any(parameter.requires_grad for parameter in flow.parameters())


def test_open_by_folder_and_by_name(pack: ModelPack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    assert open_pack(pack.folder).digest == pack.digest
    assert open_pack(str(pack.folder)).name == "tiny-1024"
    with pytest.raises(PackNotFound, match="tiny-1024"):
        open_pack("tiny-1024")
    monkeypatch.setenv(store.PACKS_VARIABLE, f"{tmp_path / 'no'}:{pack.folder.parent}")
    assert open_pack("tiny-1024").folder == pack.folder
    pack.folder.rename(pack.folder.parent / "tiny_1024")
    assert open_pack("tiny-1024").digest == pack.digest
    with pytest.raises(PackNotFound):
        open_pack("../packs/tiny-1023")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the folder of this test is Linux's")
def test_user_pack_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(store.PACKS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    write_tiny_pack(tmp_path / "stylecodec" / "packs" / "mine", name="mine")
    assert open_pack("mine").name == "mine"


def test_digest_covers_what_decoding_depends_on_and_nothing_else(pack: ModelPack) -> None:
    assert len(pack.digest) == 32
    card = pack.card

    def digest(**changes: object) -> bytes:
        return ModelPack(pack.folder, dataclasses.replace(card, **changes)).digest  # type: ignore[arg-type]

    assert digest(name="other", version="9", training={}, figures={"a": 1}) == pack.digest
    networks = dict(card.networks)
    networks["feedforward"] = dataclasses.replace(networks["feedforward"], sha256="1" * 64)
    assert digest(networks=networks) == pack.digest
    networks["flow"] = dataclasses.replace(networks["flow"], sha256="1" * 64)
    assert digest(networks=networks) != pack.digest
    assert digest(pose=dataclasses.replace(card.pose, rows=8)) != pack.digest
    assert digest(indices=(*card.indices[1:], card.indices[0])) != pack.digest
    networks = dict(card.networks)
    networks["flow"] = dataclasses.replace(networks["flow"], params={**FLOW_PARAMS, "steps": 3})
    assert digest(networks=networks) != pack.digest


def test_a_changed_file_is_refused(pack: ModelPack) -> None:
    pack.verify()
    file = pack.folder / "flow.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(PackCorrupt, match=r"flow\.safetensors does not match the sha256"):
        pack.flow("cpu")
    with pytest.raises(PackCorrupt, match="does not match"):
        pack.verify()
    file.unlink()
    with pytest.raises(PackCorrupt, match="cannot be read: No such file"):
        pack.flow("cpu")


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewrite(pack: ModelPack, role: str, change: object) -> ModelPack:
    """Alter the tensors of a role's file and mend the digest on the card."""
    file = pack.folder / f"{role}.safetensors"
    tensors = load_file(file)
    change(tensors)  # type: ignore[operator]
    save_file(tensors, file)
    entry = dataclasses.replace(pack.card.networks[role], sha256=file_digest(file))
    return update_card(pack.folder, networks={**pack.card.networks, role: entry})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("norm_in.bias"), r"lacks 1 tensors .* norm_in\.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 tensors too many, the first being extra"),
        (lambda t: t.update({"norm_in.bias": torch.zeros(3)}), r"norm_in\.bias has the shape \[3\]"),
        (lambda t: t.update({"norm_in.bias": torch.zeros(512, dtype=torch.int32)}), "stored as I32"),
    ],
)
def test_tensors_must_fit_exactly(pack: ModelPack, change: object, message: str) -> None:
    with pytest.raises(PackCorrupt, match=message):
        rewrite(pack, "flow", change).flow("cpu")


def test_a_file_that_is_not_safetensors(pack: ModelPack) -> None:
    (pack.folder / "flow.safetensors").write_bytes(b"\xff" * 100)
    entry = dataclasses.replace(pack.card.networks["flow"], sha256=hashlib.sha256(b"\xff" * 100).hexdigest())
    broken = update_card(pack.folder, networks={**pack.card.networks, "flow": entry})
    with pytest.raises(PackCorrupt, match="cannot be read as safetensors"):
        broken.flow("cpu")


def test_parameters_must_fit_the_class(pack: ModelPack) -> None:
    entry = dataclasses.replace(pack.card.networks["flow"], params={"colour": 3})
    broken = update_card(pack.folder, networks={**pack.card.networks, "flow": entry})
    with pytest.raises(PackCorrupt, match="do not build a styleflow network"):
        broken.flow("cpu")


@pytest.mark.parametrize(
    ("role", "params"),
    [
        ("flow", {"dim": 60_000, "hidden": [60_000]}),  # 50 GB
        ("flow", {"hidden": [-1]}),
        ("feedforward", {"shrink": 0}),
        ("feedforward", {"widths": []}),
        ("generator", {"channels": "four"}),
        ("generator", {"resolution": 8, "channels": {"4": 4, "8": 60_000}}),
    ],
)
def test_memory_is_only_taken_for_tensors_that_are_there(
    pack: ModelPack, role: str, params: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pack.card.networks[role]
    changed = dataclasses.replace(entry, params={**entry.params, **params})
    broken = update_card(pack.folder, networks={**pack.card.networks, role: changed})
    monkeypatch.setattr(registry, "load_file", None)  # not reached
    with pytest.raises(PackCorrupt):
        broken.network(role, "cpu")
    assert verify_pack(broken)


def test_zeros_that_are_not_in_the_file_are_few(pack: ModelPack, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pack.folder / "flow.safetensors"
    tensors = load_file(file)
    left_out = [name for name in tensors if name.endswith("weight")]
    for name in left_out:
        del tensors[name]
    save_file(tensors, file)
    entry = dataclasses.replace(pack.card.networks["flow"], sha256=file_digest(file), zeros=tuple(left_out))
    update_card(pack.folder, networks={**pack.card.networks, "flow": entry}).flow("cpu")
    monkeypatch.setattr(registry, "MAX_ZEROS", 1000)
    with pytest.raises(PackCorrupt, match="values of zero that are not in the file"):
        update_card(pack.folder, networks={**pack.card.networks, "flow": entry}).flow("cpu")


def test_indices_must_exist_in_the_generator(pack: ModelPack) -> None:
    broken = update_card(pack.folder, indices=((25, 7), *TINY_INDICES[1:]))
    with pytest.raises(PackCorrupt, match="no StyleSpace channel 25_7"):
        broken.generator("cpu")


def test_a_role_that_the_pack_lacks(pack: ModelPack) -> None:
    assert pack.has("feedforward")
    assert not pack.has("identity")
    with pytest.raises(PackNotFound, match="has no identity network"):
        pack.identity("cpu")


def test_writing_keeps_what_is_there(pack: ModelPack, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        write_tiny_pack(pack.folder)
    (tmp_path / "plain").mkdir()
    with pytest.raises(OutputError, match="is not a model pack"):
        write_pack(tmp_path / "plain", {}, overwrite=True)
    flow = tiny_networks()["flow"].module
    with torch.no_grad():
        next(flow.parameters()).fill_(1e6)
    before = sorted(p.name for p in pack.folder.parent.iterdir())
    with pytest.raises(PackCorrupt, match="not finite"):
        write_pack(
            pack.folder,
            {"flow": NetworkSource(flow)},
            overwrite=True,
            name="x",
            resolution=1024,
            indices=TINY_INDICES,
        )
    assert sorted(p.name for p in pack.folder.parent.iterdir()) == before  # nothing half-made is left
    pack.verify()


def test_overwrite_replaces_the_whole_pack(pack: ModelPack) -> None:
    networks = tiny_networks(seed=5)
    del networks["feedforward"]
    again = write_pack(pack.folder, networks, overwrite=True, name="tiny-1024", resolution=1024, indices=TINY_INDICES)
    assert not again.has("feedforward")
    assert not (pack.folder / "feedforward.safetensors").exists()
    assert again.digest != pack.digest
    assert [p.name for p in pack.folder.parent.iterdir()] == ["tiny-1024"]


def test_writing_is_reproducible(pack: ModelPack, tmp_path: Path) -> None:
    again = write_tiny_pack(tmp_path / "again")
    assert again.card == pack.card
    assert again.digest == pack.digest


def test_a_parameter_may_be_none(tmp_path: Path) -> None:
    networks = tiny_networks()
    source = networks["generator"]
    networks["generator"] = dataclasses.replace(source, params={**source.params, "conv_clamp": None})
    made = write_pack(tmp_path / "p", networks, name="p", resolution=1024, indices=TINY_INDICES)
    assert made.card.networks["generator"].params["conv_clamp"] == "none"
    assert made.generator("cpu").conv_clamp is None


def test_tensors_of_zeros_take_no_space(pack: ModelPack, tmp_path: Path) -> None:
    networks = tiny_networks()
    generator = networks["generator"].module
    for name, value in generator.named_buffers():
        if name.endswith(".noise"):
            value.zero_()
    made = write_pack(tmp_path / "p", networks, name="p", resolution=1024, indices=TINY_INDICES)
    zeros = made.card.networks["generator"].zeros
    assert len(zeros) >= 8
    assert all(name.endswith(".noise") for name in zeros)
    stored = (made.folder / "generator.safetensors").stat().st_size
    assert stored < (pack.folder / "generator.safetensors").stat().st_size - 5_000_000
    for name, value in made.generator("cpu").named_buffers():
        assert not (name.endswith(".noise") and value.any())


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(OptionError, match="no device 'toaster'"):
        pick_device("toaster")
    if not torch.cuda.is_available():
        assert pick_device("auto").type == "cpu"
        with pytest.raises(OptionError, match="no CUDA device"):
            pick_device("cuda")


def test_devices_that_networks_do_not_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(pick_device(name)) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    for name in ("cuda:2", "cuda:200", torch.device("cuda:7")):  # torch takes 200 for -56
        with pytest.raises(OptionError, match=f"no device '{name}' here; the last one is cuda:1"):
            pick_device(name)
    for name in ("xpu", "meta", torch.device("meta")):
        with pytest.raises(OptionError, match=f"do not run on device '{name}'"):
            pick_device(name)


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="there is no MPS device here")
def test_networks_run_on_mps(pack: ModelPack) -> None:
    from stylecodec.decoding.render import pick_dtype

    device = pick_device("mps")
    assert pick_dtype("auto", device) == torch.float32
    assert next(pack.flow(device).parameters()).device.type == "mps"


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an MPS device here")
def test_mps_where_there_is_none() -> None:
    with pytest.raises(OptionError, match="there is no MPS device here; use --device cpu"):
        pick_device("mps")


def test_networks_of_others_come_from_the_embedded_pack(pack: ModelPack) -> None:
    """As long as the pack brings none of its own."""
    mesh = pack.face_mesh("cpu")
    assert not pack.has("face_mesh")
    assert pack.provider("face_mesh") is embedded_pack()
    assert mesh is embedded_pack().face_mesh("cpu")
    assert pack.provider("parser") is pack
    with pytest.raises(PackNotFound, match="no parser network"):
        pack.parser("cpu")
    own = write_pack(
        pack.folder.parent / "own",
        tiny_networks() | {"face_mesh": NetworkSource(mesh, licence="Apache-2.0")},
        name="own",
        resolution=1024,
        indices=TINY_INDICES,
        calibration={"landmark_noise_floor": Calibration({"lips_apart": 0.5})},
    )
    assert own.face_mesh("cpu") is not mesh
    assert own.digest == pack.digest  # which streams name: the mesh is nothing that decoding depends on
    for name, value in mesh.state_dict().items():
        assert torch.equal(own.face_mesh("cpu").state_dict()[name], value)
    assert own.calibration("landmark_noise_floor").values == {"lips_apart": 0.5}
    assert pack.calibration("landmark_noise_floor") == embedded_pack().card.calibration["landmark_noise_floor"]
    with pytest.raises(PackNotFound, match="no calibration 'colour'"):
        pack.calibration("colour")


@pytest.mark.parametrize("role", ["flow", "parser", "landmarks", "identity", "expression", "face_mesh", "lpips_heads"])
def test_networks_do_not_depend_on_what_the_program_has_set(role: str) -> None:
    usual, random_state = embedded_pack().network(role, "cpu"), torch.get_rng_state()
    fresh = open_pack(embedded_pack().folder)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("meta"), torch.inference_mode():
            found = fresh.network(role, "cpu")
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(torch.get_rng_state(), random_state)
    expected = dict([*usual.named_parameters(), *usual.named_buffers()])
    for name, value in [*found.named_parameters(), *found.named_buffers()]:
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name])
        assert not value.is_inference()


def test_published_heads_of_lpips() -> None:
    heads = embedded_pack().lpips_heads()
    for trunk, widths in CHANNELS.items():
        assert tuple(len(head) for head in heads.of(trunk)) == widths
        assert all(float(head.min()) >= 0 and float(head.max()) > float(head.min()) for head in heads.of(trunk))


def test_a_copy_builds_its_networks_anew(pack: ModelPack) -> None:
    generator = pack.generator("cpu")
    copy = pickle.loads(pickle.dumps(pack))
    assert copy.digest == pack.digest
    assert copy.generator("cpu") is not generator
    assert torch.equal(copy.generator("cpu").constant, generator.constant)


def test_every_kind_of_a_card_has_a_builder() -> None:
    from stylecodec.packs.card import OTHER_KINDS, ROLES, SHIPPED_ROLES, USER_ROLES

    others = {kind for kinds in OTHER_KINDS.values() for kind in kinds}
    assert {*ROLES.values(), *USER_ROLES.values(), *SHIPPED_ROLES.values(), *others} == set(BUILDERS)


def test_a_card_is_read_without_torch() -> None:
    code = "import sys\nsys.modules['torch'] = None\nimport stylecodec.packs.card"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pack_errors_have_one_base() -> None:
    assert issubclass(PackNotFound, PackError)
    assert issubclass(PackCorrupt, PackError)
