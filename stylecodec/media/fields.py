"""Interlaced video: frames out of pairs of fields, by FFmpeg's bwdif filter."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import av
from av.filter import Graph

Deinterlace = Literal["frame", "field", "off"]
"""One frame for each pair of fields, one for each field, or fields woven as they are."""
DEINTERLACE: tuple[Deinterlace, ...] = get_args(Deinterlace)


def progressive(frames: Iterable[av.VideoFrame], every_field: bool) -> Iterator[av.VideoFrame]:
    """The frames with their fields pulled apart, in order; what is not flagged as interlaced passes as it is.

    every_field: two frames for each one, whatever its flag; their times are in the units of their own `time_base`.
    """
    graph: Graph | None = None
    form: tuple[int, int, str] | None = None
    for frame in frames:
        found = frame.width, frame.height, frame.format.name
        if graph is not None and found != form:
            yield from _pulled(graph, None)
            graph = None
        if graph is None:
            if not (frame.interlaced_frame or every_field):
                yield frame
                continue
            graph, form = _graph(frame, every_field), found
        yield from _pulled(graph, frame)
    if graph is not None:
        yield from _pulled(graph, None)


def _graph(frame: av.VideoFrame, every_field: bool) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    how = "mode=send_field:deint=all" if every_field else "mode=send_frame:deint=interlaced"
    graph.link_nodes(source, graph.add("bwdif", how), graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    """What comes out when a frame, or the end, goes in."""
    graph.push(frame)
    while True:
        try:
            pulled = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        except OSError as error:  # PyAV raises the builtin of the same number in places
            if error.errno == errno.EAGAIN:
                return
            raise
        assert isinstance(pulled, av.VideoFrame)
        yield pulled
