"""pack.toml: what is accepted, what is refused and with which words."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest

from stylecodec.errors import PackCorrupt
from stylecodec.geometry import Alignment
from stylecodec.packs.card import MAX_CARD_BYTES, Calibration, NetworkEntry, PackCard, Pose

INDICES = tuple((layer, channel) for layer in range(8) for channel in range(4))
CARD = PackCard(
    name="a pack",
    resolution=1024,
    indices=INDICES,
    networks={
        "generator": NetworkEntry(
            "stylegan2", "generator.safetensors", "0" * 64, "MIT", "here", {"channels": {"4": 8}}
        ),
        "flow": NetworkEntry("styleflow", "flow.safetensors", "f" * 64, zeros=("a.noise", "b")),
    },
    version="1.2",
    licence="MIT",
    source='quoted "text", a back\\slash,\nlines, ünïcode and \x7f',
    alignment=Alignment(1.08, 0.035),
    pose=Pose(9, (-40.0, 40.0), (-22.0, 22.5)),
    calibration={"noise": Calibration({"lips": 0.5, "gaze": float("inf")}, "a benchmark")},
    training={"steps": 6200, "notes": "two words", "by resolution": {"32": [1, 2.5], "64": []}},
    figures={"psnr": 21.5, "worst": float("inf"), "done": True},
)
YAW = "yaw = [\n    {},\n    {},\n]"  # as the card is written
PAIR = "    [\n        {},\n        {},\n    ],\n"


def test_a_card_survives_its_own_text() -> None:
    text = CARD.to_toml()
    assert PackCard.parse(text) == CARD
    assert PackCard.parse(text).to_toml() == text


def test_defaults() -> None:
    text = CARD.to_toml()
    table = tomllib.loads(text)
    assert table["stylespace"]["indices"][5] == [1, 1]
    minimal = PackCard(name="m", resolution=1024, indices=INDICES, networks=CARD.networks)
    assert minimal.alignment == Alignment(1.0, 0.0)
    assert minimal.pose.rows == 9


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "a pack"\n', "", "name is missing"),
        ('name = "a pack"', 'name = "' + "x" * 65 + '"', "name must be 1 to 64 bytes"),
        ('name = "a pack"', "name = 3", "name must be of type str"),
        ("resolution = 1024", "resolution = 1000", "power of two"),
        ("resolution = 1024", "resolution = true", "resolution must be of type int"),
        ("format = 1", "format = 2", "newer"),
        ("scale = 1.08", 'scale = "big"', r"alignment\.scale must be a number"),
        ("scale = 1.08", "scale = 9.0", "alignment is out of range"),
        ("rows = 9", "rows = 19", "the generator has 18 rows"),
        (YAW.format("-40.0", "40.0"), YAW.format("40.0", "-40.0"), r"pose\.yaw"),
        (YAW.format("-40.0", "40.0"), "yaw = [40.0]", r"pose\.yaw must be two numbers"),
        (PAIR.format(0, 0), "", "32 different pairs, not 31"),
        (PAIR.format(0, 0), PAIR.format(0, 1), "32 different pairs, not 32 of which 31"),
        (PAIR.format(0, 0), PAIR.format(0, -1), "channels up to"),
        (PAIR.format(0, 0), "    [0, 0, 0],\n", "pairs"),
        ("networks.flow", "networks.flaw", r"networks\.flaw is no role"),
        ("[networks.flow]", "[networks.flux]\n[networks.flow]", r"networks\.flux\.kind is missing"),
        ('kind = "styleflow"', 'kind = "glow"', "must be 'styleflow'"),
        ('file = "flow.safetensors"', 'file = "../flow.safetensors"', "plain name"),
        ('file = "flow.safetensors"', 'file = "flow.pt"', "plain name"),
        ("f" * 64, "F" * 64, "64 lower-case hexadecimal digits"),
        ('zeros = [\n    "a.noise",\n    "b",\n]', "zeros = [1]", r"networks\.flow\.zeros must be a list of names"),
        ("[alignment]", "[alignment", "not valid TOML"),
        ("lips = 0.5", 'lips = "half"', r"calibration\.noise\.values\.lips must be a number"),
        ("[calibration.noise.values]", "[calibration.noise.numbers]", r"calibration\.noise\.values is missing"),
    ],
)
def test_refused(before: str, after: str, message: str) -> None:
    text = CARD.to_toml()
    assert before in text
    with pytest.raises(PackCorrupt, match=message) as caught:
        PackCard.parse(text.replace(before, after), "there/pack.toml")
    assert "there/pack.toml" in str(caught.value)


def test_what_toml_cannot_hold() -> None:
    with pytest.raises(TypeError):
        dataclasses.replace(CARD, training={"x": object()}).to_toml()


PARAMS = "[networks.generator.params"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (PARAMS, "day = 2020-01-01\n" + PARAMS, None),  # a free key of the table is ignored
        (PARAMS + ".channels]", PARAMS + "]\nday = 2020-01-01\n[x]", "params.day is no parameter"),
        (PARAMS + ".channels]", PARAMS + "]\nmapping_layers = 65\n[x]", "numbers up to 64"),
        (PARAMS + ".channels]", PARAMS + "]\nunits = [2, 100000]\n[x]", "params.units.1 is no parameter"),
        (PARAMS + ".channels]", PARAMS + "]\nw_dim = 1000000\n[x]", "numbers up to 65,536"),
        (PARAMS + ".channels]", PARAMS + "]\na = [[[[[1]]]]]\n[x]", "is no parameter"),
        ("scale = 1.08", "scale = 1" + "0" * 400, "alignment.scale must be a number"),
        ("resolution = 1024", "resolution = 1" + "0" * 5000, "is not valid TOML"),
        ("resolution = 1024", "x = " + "[" * 5000 + "]" * 5000, "nests too deeply"),
        ("resolution = 1024", "resolution = 1024 " + " " * MAX_CARD_BYTES, "is larger than 1,048,576 bytes"),
    ],
)
def test_hostile_cards(before: str, after: str, message: str | None) -> None:
    text = CARD.to_toml()
    assert before in text
    changed = text.replace(before, after, 1)
    if message is None:
        PackCard.parse(changed)
        return
    with pytest.raises(PackCorrupt, match=message):
        PackCard.parse(changed)
