"""Video files in: frames as [H, W, 3] uint8 RGB with their times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from stylecodec.errors import MediaError, OptionError
from stylecodec.media.colour import Tags, on_ground, to_rgb
from stylecodec.media.dolby_vision import dolby_vision
from stylecodec.media.doubt import Damage, Doubt
from stylecodec.media.fields import DEINTERLACE, Deinterlace, progressive
from stylecodec.media.shape import CodedAspects, Frame, Orientation, on_canvas
from stylecodec.media.source import NO_FRAME, PathLike, holds_data, open_input, packets_of, readable
from stylecodec.media.streams import find_video, programmes, words
from stylecodec.media.timing import PacketTime, Timing, timing_of

# Two times that differ by less count as one: containers round to a millisecond.
TIME_TOLERANCE = 0.002
# Seconds ahead of a start to seek to, tried in turn until decoding resumes in time (MPEG-TS lands between key frames).
# inf: no seek, the file from its beginning.
SEEK_LEADS = (0.0, 2.0, 10.0, math.inf)
# Decoders that see the transparency of WebM, which FFmpeg's own leave out.
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
ASPECT_CODED = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1"}  # that may change their pixel aspect
WENT_BACK = 0.5  # seconds by which times that go back are told
USUAL_RATE = Fraction(25)  # where a file tells none
ONE_SIZE = {"avi", "mov,mp4,m4a,3gp,3g2,mj2"}  # formats in which the size hardly ever changes: not looked for
COUNTED_FORMATS = {"avi"}  # that number their frames and have no times of presentation


class VideoReader:
    """A video file. Frames are streamed: memory does not grow with the length.

    >>> reader = VideoReader("talk.mp4")
    >>> for seconds, frame in reader.frames(start=1.0, duration=2.0): ...

    stream: which of several video streams, as `streams.asked_stream` takes it; None: the best by FFmpeg's rule.
    deinterlace: what becomes of interlaced video, see `fields`. width and height are those of the frames as shown
    (rotation and pixel aspect applied); a stream that changes its size is fitted into the largest that a key frame has,
    in MP4 and AVI into the first. Times are seconds from the first frame that can be decoded. Raises OptionError for a
    stream that is not there; MediaError when the file is missing, is no video, has only sound or no frame at all, and
    from any method when it cannot be decoded further.
    """

    def __init__(self, path: PathLike, stream: str | None = None, deinterlace: Deinterlace = "frame") -> None:
        if deinterlace not in DEINTERLACE:
            raise OptionError(f"deinterlace is one of {', '.join(DEINTERLACE)}, not {deinterlace!r}")
        self.path = Path(path)
        self._failure = f"the video of {self.path} cannot be decoded"
        self._deinterlace = deinterlace
        self._notes: dict[str, None] = {}
        self._damage, self._doubtful = Damage(), set[float]()
        self._shown_last: tuple[int, int] | None = None  # the size of the last frame
        self._changed = False  # and whether a change of it has been told
        with readable(self._failure), open_input(path) as container:
            candidates = [candidate.index for candidate in find_video(container, stream, path)]
            self.has_audio = bool(container.streams.audio)
            for video in container.streams.video:
                if video.codec_context is None:
                    self._note(f"video stream {words(video)} cannot be decoded and is passed over")
            animated = container.format.name == "webp_pipe"  # FFmpeg reads still ones only
        vision = dolby_vision(self.path)
        if vision is not None and vision.proprietary:
            raise MediaError(
                f"{self.path} is Dolby Vision of profile {vision.profile}, whose colours only Dolby's own processing "
                "makes right: convert it to HDR10 or SDR first, with FFmpeg's libplacebo filter for one"
            )
        for index in candidates:
            if self._begins(index, stream is not None or len(candidates) == 1):
                break
        else:
            why = "is an animated WebP picture, which is not read: save it as GIF or MP4"
            raise MediaError(f"{self.path} {why if animated else NO_FRAME}")

    def _begins(self, index: int, only: bool) -> bool:
        """Take this stream if it has a frame; False when none can be decoded."""
        self.stream_index = index
        with readable(self._failure), open_input(self.path) as container:
            stream = self._stream(container)
            self._container_tags = Tags.of(stream)
            self._aspect = stream.sample_aspect_ratio
            self._by_number = container.format.name in COUNTED_FORMATS
            self._aspects, self._coded_by = CodedAspects(), stream.codec_context.name
            first = next(_decoded(container, stream, Damage(), self._aspects), None)
            if first is None:
                self._note(f"video stream {words(stream)} holds nothing that can be decoded and is passed over")
                return False
            if not only:
                self._note(f"of several video streams {words(stream)} is taken")
            if container.format.name == "mpegts" and (count := programmes(self.path)) > 1:
                self._note(f"the file carries {count} programmes; only that of video stream {index} is read")
            self._first_stamp = first.pts
            # Uncompressed video of 32 bits a pixel often leaves the fourth byte at zero.
            self._flatten = stream.codec_context.name != "rawvideo"
            self._fields = self._deinterlace == "field" and first.interlaced_frame
            self._first_size, self._first_aspect = (first.width, first.height), self._aspects.at(first)
            self.width, self.height = self._place(first).shown
        self.width, self.height = self._largest()
        self._look(first)
        return True

    def _largest(self) -> tuple[int, int]:
        """Width and height of the largest picture: calls begin small and grow as the line allows."""
        found = [(self.width, self.height)]
        with readable(self._failure), open_input(self.path) as container:
            stream = self._stream(container)
            if container.format.name in ONE_SIZE or stream.codec_context.codec.intra_only:
                return found[0]
            stream.codec_context.skip_frame = "NONKEY"
            self._aspects = CodedAspects()
            keys = _decoded(container, stream, Damage(), self._aspects, keys=True)
            found += [self._place(frame).shown for frame in keys]
        return max(found, key=lambda size: size[0] * size[1])

    def _place(self, frame: av.VideoFrame) -> Orientation:
        """How a frame is to be seen. The container's pixel aspect is that of its first size; later ones are those
        that the pictures themselves tell, where they do."""
        same_size = self._first_size == (frame.width, frame.height)
        coded = self._aspects.at(frame)
        if self._coded_by in ASPECT_CODED and not (same_size and coded == self._first_aspect):
            return Orientation.of(frame, coded)
        return Orientation.of(frame, self._aspect if same_size else None)

    @property
    def notes(self) -> list[str]:
        """What a user should know of how the file was read, as sentences; complete after `frames` has ended."""
        said = list(self._notes)
        if self._damage.packets:
            said.append(f"{self._damage.packets:,} damaged packets of the video were skipped")
        if self._damage.gaps:
            said.append(f"the data of the video have {self._damage.gaps:,} gaps")
        if self._damage.pictures:
            said.append(f"{self._damage.pictures:,} frames are damaged and shown as far as they could be decoded")
        return said

    @property
    def doubtful(self) -> frozenset[float]:
        """The times of all frames given so far that may show what never was there: decoded from damaged data, or from
        pictures that were, until the next one that stands by itself."""
        return frozenset(self._doubtful)

    def _note(self, sentence: str) -> None:
        self._notes[sentence] = None

    def _stream(self, container: InputContainer) -> VideoStream:
        stream = container.streams[self.stream_index]
        assert isinstance(stream, VideoStream)
        return stream

    @cached_property
    def timing(self) -> Timing:
        """Times of all frames, read from the packets without decoding them."""
        with readable(self._failure), open_input(self.path) as container:
            stream = self._stream(container)
            shown = filter(holds_data, packets_of(container, stream))
            packets = [PacketTime(packet.pts, packet.dts, packet.duration or 0) for packet in shown]
            told = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate] or [USUAL_RATE]
            longest = None if container.duration is None else container.duration / av.time_base
            timing = timing_of(packets, stream.time_base, told, self._first_stamp, self._by_number, longest)
        return timing.fields() if self._fields else timing

    @property
    def rate(self) -> Fraction:
        """Frames per second; that of most frames when the rate is variable."""
        return self.timing.rate

    @property
    def variable_rate(self) -> bool:
        """True when the frames do not follow a constant rate: use the time of each frame."""
        return self.timing.variable

    @property
    def frame_count(self) -> int:
        """Frames from the first that can be decoded on, as the packets tell (a damaged file may decode to fewer)."""
        return len(self.timing.seconds)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.timing.end

    @cached_property
    def sound_origin(self) -> float:
        """The first frame's time in seconds on the clock that sound and video share."""
        with open_input(self.path) as container:
            unit = self._stream(container).time_base
        return 0.0 if unit is None else float(self.timing.sound_origin * unit)

    def first_time(self, start: float = 0.0) -> float:
        """The time of the first frame that `frames(start)` gives; MediaError when the clip is over before."""
        later = self.timing.seconds[self.timing.seconds >= start - TIME_TOLERANCE]
        if not len(later):
            raise MediaError(f"{self.path} ends at {self.duration:.2f} s, before the start at {start:.2f} s")
        return float(later[0])

    def count(self, start: float = 0.0, duration: float | None = None) -> int:
        """How many frames `frames` gives, as the packets tell; MediaError when there is none."""
        begin, end = self._span(start, duration)
        seconds = self.timing.seconds
        found = int(((seconds >= begin - TIME_TOLERANCE) & (seconds < end)).sum())
        if not found:
            raise MediaError(f"{self.path} has no frames between its start and its end")
        return found

    def _span(self, start: float, duration: float | None) -> tuple[float, float]:
        """The time of the first frame, and that which all frames are before."""
        return self.first_time(start), math.inf if duration is None else start + duration - TIME_TOLERANCE

    def frames(self, start: float = 0.0, duration: float | None = None) -> Iterator[tuple[float, Frame]]:
        """(seconds, [H, W, 3] uint8) of every frame with start <= seconds < start + duration, in order."""
        begin, end = self._span(start, duration)
        # A pause before the end is told by two frames.
        last = float(self.timing.seconds[-1]) if self.timing.pause else math.inf
        for lead in SEEK_LEADS:
            damage, picture, latest = Damage(), None, 0.0
            with readable(self._failure), open_input(self.path) as container:
                unsure = begin > lead  # whether the seek may have landed too late
                for number, (seconds, frame) in enumerate(self._decode_from(container, begin - lead, damage)):
                    if unsure and seconds > begin + TIME_TOLERANCE:
                        break
                    unsure = False
                    if seconds >= end:
                        break
                    if seconds >= begin - TIME_TOLERANCE:
                        picture = self._look(frame, seconds)
                        if seconds < latest - WENT_BACK:
                            self._note(
                                f"the times of the frames go back from {latest:.2f} s to {seconds:.2f} s, as where "
                                "recordings were put one behind the other: what follows is not shown in its time"
                            )
                        latest = max(latest, seconds)
                        if number // (1 + self._fields) in damage.doubtful:
                            self._doubtful.add(seconds)
                        yield seconds, picture
                else:
                    if picture is not None and last < end:
                        yield last, picture
            if not unsure:
                self._damage = max(self._damage, damage, key=lambda one: one.places)
                return

    def samples(self, count: int) -> Iterator[Frame]:
        """At most `count` frames [H, W, 3], spread evenly over the clip."""
        times = self.timing.seconds
        for number in np.unique(np.linspace(0, len(times) - 1, min(count, len(times))).round().astype(int)):
            yield from (picture for _, picture in islice(self.frames(float(times[number])), 1))

    def _decode_from(
        self, container: InputContainer, begin: float, damage: Damage
    ) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds, frame) in order, from where a seek to `begin` seconds lands; from the first if that is not > 0."""
        stream = self._stream(container)
        timing, unit, self._aspects = self.timing, stream.time_base, CodedAspects()
        if timing.origin is not None and unit is not None and begin > 0:
            container.seek(timing.origin + int(begin / unit), stream=stream, backward=True)
        frames = self._fields_noted(_decoded(container, stream, damage, self._aspects))
        if self._deinterlace != "off":
            frames = progressive(frames, self._fields)
        for number, frame in enumerate(frames):
            if timing.origin is None or unit is None or frame.pts is None:
                times = timing.seconds
                extra = max(0, number - len(times) + 1)
                yield float(times[number - extra]) + extra * timing.step, frame
            else:
                ticks = frame.pts * (frame.time_base or unit) / unit - timing.origin  # fields have finer units
                yield float(ticks) * float(unit), frame

    def _fields_noted(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """The frames as they come; what is done to interlaced ones goes into the notes."""
        for frame in frames:
            if frame.interlaced_frame and self._deinterlace == "off":
                self._note("the picture is interlaced and its fields stay woven, as asked")
            elif frame.interlaced_frame:
                made = "each field" if self._fields else "each pair of fields"
                self._note(f"the picture is interlaced: one frame is made of {made}")
            yield frame

    def _look(self, frame: av.VideoFrame, seconds: float = 0.0) -> Frame:
        """The frame as it is to be seen, [height, width, 3]; what is done to it goes into the notes."""
        tags = Tags.of(frame).or_else(self._container_tags)
        for sentence in tags.notes():
            self._note(sentence)
        place = self._place(frame)
        if place.shown != self._shown_last and self._shown_last is not None and not self._changed:
            before, now, all_ = (f"{w}x{h}" for w, h in (self._shown_last, place.shown, (self.width, self.height)))
            self._note(f"the picture changes from {before} to {now} at {seconds:.2f} s: all is fitted into {all_}")
            self._changed = True
        self._shown_last = place.shown
        if place.shown != (self.width, self.height):
            place = place.within(self.width, self.height)
        colours, opacity = to_rgb(frame, place.width, place.height, tags)
        if opacity is not None and (self._flatten or opacity.max() > 0):
            self._note("transparent parts of the picture are laid on grey")
            colours = on_ground(colours, opacity)
        return on_canvas(place.apply(colours), self.width, self.height)


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """What decodes a stream, with its transparency where it has any."""
    context = stream.codec_context
    assert isinstance(context, VideoCodecContext)
    seeing = WITH_ALPHA.get(context.name)
    told = {name.lower(): value for name, value in stream.metadata.items()}
    if told.get("alpha_mode") == "1" and seeing in av.codecs_available:
        made = av.CodecContext.create(seeing, "r")
        assert isinstance(made, VideoCodecContext)
        return made
    context.thread_type = "AUTO"
    return context


def _decoded(
    container: InputContainer, stream: VideoStream, damage: Damage, aspects: CodedAspects, keys: bool = False
) -> Iterator[av.VideoFrame]:
    """Frames in order of presentation; packets that cannot be decoded are counted and skipped. keys: no others."""
    decoder, doubt = _decoder(stream), Doubt(damage)
    for packet in packets_of(container, stream, damage):
        if keys and packet.size and not packet.is_keyframe:
            continue
        try:
            frames = decoder.decode(packet)
            aspects.see(packet, decoder.sample_aspect_ratio)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damage.packets += bool(packet.size)
            frames = []
        doubt.see_packet(packet)
        for frame in frames:
            damage.pictures += frame.is_corrupt
            doubt.see_frame(frame)
            yield frame
