"""Every option of a call but those of encoding and decoding, with its one default. Can be read without PyAV."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..encoding.options import EncodeOptions
from ..errors import OptionError

PIPE = "-"  # stdin or stdout
SHOW_PORT = 8088  # of the page for browsers, unless another one is named
PICTURE = 256  # pixels per side of what comes in, unless it is said


@dataclass(frozen=True)
class SourceOptions:
    """Where pictures and sound come from; OptionError for a value outside its range."""

    play: str | None = None  # a file, a named pipe, or - for stdin; None: a camera
    loop: bool = False  # a file again and again
    camera: str | None = None  # by the system's name; None: the first
    microphone: str | None = None  # "": the first; None: no microphone, the sound of a file is its own
    sound: bool = True
    width: int = 640  # asked of the camera, in pixels
    height: int = 480
    rate: int = 25  # likewise, in frames per second; and of a pipe
    bitrate: int = EncodeOptions.audio_bitrate  # of Opus, in bits per second

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 16 or max(self.width, self.height) > 16_384:
            raise OptionError(f"a camera gives 16 to 16384 pixels per side, not {self.width}x{self.height}")
        if not 1 <= self.rate <= 240:
            raise OptionError(f"a camera gives 1 to 240 frames per second, not {self.rate}")
        if not 6_000 <= self.bitrate <= 256_000:
            raise OptionError(f"the audio bit rate must be 6000 to 256000 bits per second, not {self.bitrate}")
        if self.loop and self.play is None:
            raise OptionError("only a file can be played again and again")
        if self.play is not None and self.camera is not None:
            raise OptionError("pictures come from a camera or from a file, not from both")


@dataclass(frozen=True)
class PlayoutOptions:
    """How long a call that comes in is held back; OptionError for a value outside its range."""

    delay: float = 0.1  # seconds by which arrivals may differ
    jitter: float = 0.05  # seconds that a missing datagram is waited for

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and 0 <= value <= 10 for value in (self.delay, self.jitter)):
            raise OptionError(f"a call is held back for 0 to 10 seconds, not {self.delay} and {self.jitter}")
