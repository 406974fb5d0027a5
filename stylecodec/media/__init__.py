"""The edge to the world of video files: PyAV in, PyAV out. Nothing else in the package imports av."""

from stylecodec.media.audio import encode_opus
from stylecodec.media.opus import OpusPacket, OpusTrack
from stylecodec.media.video import Frame, VideoReader, read_image
from stylecodec.media.writer import VideoWriter

__all__ = ["Frame", "OpusPacket", "OpusTrack", "VideoReader", "VideoWriter", "encode_opus", "read_image"]
