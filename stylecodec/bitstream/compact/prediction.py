"""Prediction of levels (SPEC 12.2): a sparse linear predictor in integers; its terms are in the stream header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...errors import CorruptChunk, LimitExceeded
from .. import layout

#: Sources of a term; 0..34 are the changes of other parameters in the same frame.
OWN_CHANGE = 64  # how the parameter itself changed one frame before
OWN_REST = 65  # how far its rest level is from its last level
UNIT = 32  # the weight 1


@dataclass(frozen=True, order=True)
class Term:
    """weight/32 of a source is added to the prediction of parameter `target`. Raises CorruptChunk."""

    target: int  # 0..34
    source: int  # a parameter below the target, OWN_CHANGE or OWN_REST
    weight: int  # -128..127, not 0

    def __post_init__(self) -> None:
        if not 0 <= self.target < layout.PARAMS_PER_FRAME:
            raise CorruptChunk(f"a prediction term is for parameter {self.target}, which does not exist")
        if not (0 <= self.source < self.target or self.source in (OWN_CHANGE, OWN_REST)):
            raise CorruptChunk(f"parameter {self.target} cannot be predicted from source {self.source}")
        if not -128 <= self.weight <= 127 or not self.weight:
            raise CorruptChunk(f"a prediction weight is -128..127 and not 0, not {self.weight}")


def check_terms(terms: Sequence[Term]) -> None:
    """Raise LimitExceeded for too many terms, CorruptChunk unless they are in order and all different."""
    if len(terms) > layout.MAX_TERMS:
        raise LimitExceeded(f"{len(terms)} prediction terms; the limit is {layout.MAX_TERMS}")
    places = [(term.target, term.source) for term in terms]
    if any(after <= before for before, after in pairwise(places)):
        raise CorruptChunk("the prediction terms are not in order")


class Predictor:
    """Predicts the levels of one row after the other: frames of parameters, or rows of an identity.

    For each place k of a row in turn, call `predict(k)` and then `learn(k, level)`; call `next_row` at the end of the
    row. Encoder and decoder use it in the same way. rest: the levels before the first row.
    """

    def __init__(self, rest: Sequence[int], terms: Sequence[Term]) -> None:
        self._rest = list(rest)
        self._last = list(rest)
        self._change = [0] * len(rest)  # in this row
        self._before = [0] * len(rest)  # in the row before; 0 in the first two rows
        self._first = True
        self._terms: list[list[tuple[int, int]]] = [[] for _ in rest]
        for term in terms:
            self._terms[term.target].append((term.source, term.weight))

    def predict(self, k: int) -> tuple[int, int]:
        """The predicted level, and how far the exact prediction is above it in 1/32 (-16..15)."""
        last = self._last[k]
        terms = self._terms[k]
        if not terms or self._first:
            return last, 0
        total = UNIT // 2
        for source, weight in terms:
            if source < OWN_CHANGE:
                total += weight * self._change[source]
            elif source == OWN_CHANGE:
                total += weight * self._before[k]
            else:
                total += weight * (self._rest[k] - last)
        level = min(max(last + (total >> 5), -layout.MAX_LEVEL), layout.MAX_LEVEL)
        return level, (total & UNIT - 1) - UNIT // 2

    def learn(self, k: int, level: int) -> None:
        """Take the level at place k."""
        self._change[k] = level - self._last[k]
        self._last[k] = level

    def next_row(self) -> list[int]:
        """End the row and return its levels."""
        self._before, self._change = self._change, self._before
        if self._first:
            self._before = [0] * len(self._rest)
            self._first = False
        return list(self._last)
