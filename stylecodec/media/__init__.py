"""The edge to the world of video files: PyAV in, PyAV out. Nothing else in the package imports av."""

from stylecodec.media.audio import encode_opus
from stylecodec.media.opus import OpusPacket, OpusTrack
from stylecodec.media.pictures import is_picture, read_image
from stylecodec.media.shape import Frame
from stylecodec.media.streams import describe
from stylecodec.media.video import VideoReader
from stylecodec.media.writer import VideoWriter

__all__ = [
    "Frame",
    "OpusPacket",
    "OpusTrack",
    "VideoReader",
    "VideoWriter",
    "describe",
    "encode_opus",
    "is_picture",
    "read_image",
]
