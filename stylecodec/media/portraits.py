"""Whom to show, from a file of any kind: the picture that it is, or some frames of the video."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import MediaError
from .pictures import is_picture, read_image
from .shape import Frame
from .source import PathLike, existing
from .video import VideoReader

SAMPLES = 16  # frames of a video, of which the best is taken


def portrait_frames(source: PathLike) -> Iterator[Frame]:
    """The picture, uint8 [H, W, 3], or frames spread over the video; MediaError for a file that is neither."""
    if is_picture(source):
        return iter([read_image(source)])
    file = existing(source)
    try:
        return iter(VideoReader(source).samples(SAMPLES))
    except MediaError as error:
        raise MediaError(f"{file} is not a picture, a video or a stream that can be read") from error
