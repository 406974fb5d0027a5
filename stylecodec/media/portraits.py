"""Whom to show, from a file of any kind: the picture that it is, or some frames of the video."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import MediaError
from .pictures import is_picture, read_image
from .shape import Frame
from .source import NO_FRAME, NOT_A_VIDEO, PathLike, existing
from .video import VideoReader

SAMPLES = 16  # frames of a video, of which the best is taken


class Portraits:
    """Whom a file shows: the picture, uint8 [H, W, 3], or frames spread over the video; MediaError if it is neither."""

    def __init__(self, source: PathLike) -> None:
        self._picture: Frame | None = None
        self._video: VideoReader | None = None
        if is_picture(source):
            self._picture = read_image(source)
            return
        file = existing(source)
        try:
            self._video = VideoReader(source)
        except MediaError as error:
            if not any(what in str(error) for what in (NOT_A_VIDEO, NO_FRAME)):  # it is one, and why it cannot be used
                raise
            raise MediaError(f"{file} is not a picture, a video or a stream that can be read") from error

    def __iter__(self) -> Iterator[Frame]:
        if self._picture is not None:
            yield self._picture
        elif self._video is not None:
            yield from self._video.samples(SAMPLES)

    @property
    def notes(self) -> list[str]:
        """What a user should know of how a video was read, as sentences."""
        return [] if self._video is None else self._video.notes
