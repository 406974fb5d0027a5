"""What a pack's face parser sees: where the head is, and how much a pixel matters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import OptionError
from ..nets.parsing import RESNET18_WIDTHS, BiSeNet
from ..packs.store import ModelPack

# The label maps of the two kinds of parser: the avatar packs' own, and CelebAMask-HQ's of the published BiSeNet.
AVATAR_CLASSES = (
    *("background", "skin", "brow_right", "brow_left", "eye_right", "eye_left", "nose", "lip_upper", "lip_lower"),
    *("mouth", "hair", "neck", "cloth", "ear", "teeth", "iris", "pupil", "beard", "glasses"),
)
CELEBAMASK_CLASSES = (
    *("background", "skin", "brow_left", "brow_right", "eye_left", "eye_right", "glasses", "ear_left", "ear_right"),
    *("earring", "nose", "mouth", "lip_upper", "lip_lower", "neck", "necklace", "cloth", "hair", "hat"),
)

# By the first word of a class's name.
WEIGHTS: Mapping[str, float] = {
    "background": 0.15,
    "cloth": 0.4,
    "neck": 0.8,
    "necklace": 0.8,
    "hair": 1.0,
    "hat": 1.0,
    "ear": 1.0,
    "earring": 1.0,
    "skin": 2.0,
    "beard": 2.0,
    "nose": 2.0,
    "glasses": 2.0,
    "brow": 4.0,
    "eye": 8.0,
    "iris": 8.0,
    "pupil": 8.0,
    "lip": 6.0,
    "mouth": 6.0,
    "teeth": 6.0,
}
OUTSIDE = ("background", "cloth", "neck", "necklace")  # what is not the head

PARTS = (("brow",), ("eye", "iris", "pupil"), ("iris", "pupil"), ("lip",), ("mouth", "teeth"))
MOUTH_INSIDE = 4  # of them

# Alignment puts every face here, so a parser that is lost must not leave the face without weight.
FACE_CENTRE, FACE_RADII = (0.5, 0.53), (0.24, 0.32)  # of the crop, x and y
FACE_WEIGHT = 1.5
SIDE = 256  # of the pictures that parsers were trained on
PASS = 8  # pictures that the parser sees at once


def class_names(pack: ModelPack) -> tuple[str, ...]:
    """The classes of the pack's parser, by its label map."""
    given = pack.card.training.get("parser_classes")
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return tuple(given)
    widths = pack.card.networks["parser"].params.get("widths", list(RESNET18_WIDTHS))
    return CELEBAMASK_CLASSES if tuple(widths) == tuple(RESNET18_WIDTHS) else AVATAR_CLASSES


def _word(name: str) -> str:
    return name.split("_")[0]


class Regions:
    """Weights and head mask of aligned pictures; without a parser in the pack, an ellipse where faces lie."""

    def __init__(self, pack: ModelPack, device: str | torch.device = "auto") -> None:
        self.parser: BiSeNet | None = pack.parser(device) if pack.has("parser") else None
        if self.parser is None:
            return
        names = class_names(pack)[: self.parser.classes]
        names += ("",) * (self.parser.classes - len(names))
        place = next(self.parser.parameters()).device
        self._weight = torch.tensor([WEIGHTS.get(_word(name), 1.0) for name in names], device=place)
        self._parts = torch.tensor([[float(_word(n) in part) for n in names] for part in PARTS], device=place)
        self._head = torch.tensor([float(_word(name) not in OUTSIDE) for name in names], device=place)

    @torch.no_grad()
    def weights(self, pictures: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> how much each pixel matters [N, 1, S, S]."""
        if self.parser is None:
            prior = face_ellipse(pictures.shape[-1], pictures.device) * FACE_WEIGHT
            return (prior + WEIGHTS["background"]).expand(len(pictures), -1, -1, -1)
        return self._at_least_face(self._blend(pictures, self._weight[None]))

    @torch.no_grad()
    def head(self, pictures: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> share of each pixel that is head, hair and what is worn there [N, 1, S, S]."""
        if self.parser is None:
            return face_ellipse(pictures.shape[-1], pictures.device).expand(len(pictures), -1, -1, -1)
        return self._blend(pictures, self._head[None])

    def parts(self, pictures: Tensor) -> Tensor:
        """[N, 3, S, S] in [-1, 1] -> shares [N, 5, S, S]: brow, eye, iris, lip, inside of the mouth.

        With gradients. OptionError for a pack without a parser.
        """
        self._need_parser()
        return self._blend(pictures, self._parts)

    @torch.no_grad()
    def weights_and_parts(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """`weights` and `parts` of one pass of the parser."""
        self._need_parser()
        found = self._blend(pictures, torch.cat([self._weight[None], self._parts]))
        return self._at_least_face(found[:, :1]), found[:, 1:]

    @torch.no_grad()
    def weights_and_head(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """`weights` and `head` of one pass of the parser."""
        if self.parser is None:
            return self.weights(pictures), self.head(pictures)
        found = self._blend(pictures, torch.stack([self._weight, self._head]))
        return self._at_least_face(found[:, :1]), found[:, 1:]

    @staticmethod
    def _at_least_face(weights: Tensor) -> Tensor:
        """Weights [N, 1, S, S], no less than FACE_WEIGHT where aligned faces lie."""
        return torch.maximum(weights, face_ellipse(weights.shape[-1], weights.device) * FACE_WEIGHT)

    def _need_parser(self) -> None:
        if self.parser is None:
            raise OptionError("the parts of a face are found by a face parser, and the pack has none")

    def _blend(self, pictures: Tensor, values: Tensor) -> Tensor:
        """Pictures and values per class [M, C] -> [N, M, S, S]; few at a time, as class maps take much memory."""
        few = torch.split(pictures, PASS)
        return torch.cat([torch.einsum("nchw,mc->nmhw", self._shares(part), values) for part in few])

    def _shares(self, pictures: Tensor) -> Tensor:
        """Class probabilities [N, classes, S, S]."""
        assert self.parser is not None
        size = pictures.shape[-1]
        if size != SIDE:
            pictures = F.interpolate(pictures, size=SIDE, mode="area" if size > SIDE else "bilinear")
        shares: Tensor = self.parser(pictures.clamp(-1, 1)).softmax(1)
        if size == SIDE:
            return shares
        return F.interpolate(shares, size=size, mode="area" if size < SIDE else "bilinear")


def face_ellipse(size: int, device: torch.device) -> Tensor:
    """[1, 1, size, size]: 1 where an aligned face lies, falling softly to 0 around it."""
    place = (torch.arange(size, device=device) + 0.5) / size
    x, y = (place - FACE_CENTRE[0]) / FACE_RADII[0], (place - FACE_CENTRE[1]) / FACE_RADII[1]
    radius = (x[None, :] ** 2 + y[:, None] ** 2).sqrt()
    return ((1.25 - radius) / 0.5).clamp(0, 1)[None, None]
