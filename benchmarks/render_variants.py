"""Other ways of running the renderer, to see what each would gain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from stylecodec.decoding.render import Renderer


@contextmanager
def variant(name: str, renderer: Renderer) -> Iterator[None]:
    """The renderer run in another way: "contiguous maps", "torch.compile", "CUDA graph", or as it is."""
    generator = renderer.generator

    def plain_seed(count: int, dtype: torch.dtype | None = None) -> Tensor:
        constant = generator.constant if dtype is None else generator.constant.to(dtype)
        return constant.expand(count, -1, -1, -1).contiguous()

    with ExitStack() as stack:
        if name == "contiguous maps":
            stack.enter_context(patch.object(generator, "seed", plain_seed))
        elif name == "torch.compile":
            stack.enter_context(patch.object(renderer, "pictures", torch.compile(renderer.pictures)))
        elif name == "CUDA graph":
            stack.enter_context(patch.object(renderer, "pictures", Graphed(renderer)))
        yield


class Graphed:
    """`Renderer.pictures` captured once as a CUDA graph and replayed: for styles of one shape."""

    def __init__(self, renderer: Renderer) -> None:
        self.pictures = renderer.pictures
        self.graph: torch.cuda.CUDAGraph | None = None
        self.styles: list[Tensor] = []
        self.images: Tensor | None = None

    def __call__(self, styles: Sequence[Tensor]) -> Tensor:
        if self.graph is None:
            self._capture(styles)
        assert self.graph is not None
        assert self.images is not None
        for own, given in zip(self.styles, styles, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.images

    def _capture(self, styles: Sequence[Tensor]) -> None:
        self.styles = [style.clone() for style in styles]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # allocations and choices of kernels happen outside the capture
            for _ in range(3):
                self.pictures(self.styles)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.images = self.pictures(self.styles)
        self.graph = graph
