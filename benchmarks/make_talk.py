"""Make examples/talk.mp4: four seconds of a rendered head talking, with speech by espeak-ng; and examples/portrait.png.

    python benchmarks/make_talk.py --geometry ict/

The jaw follows the loudness of the speech; the rest of the performance is a talking track of the renderer. The
networks were not trained on these people.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from stylecodec.media.audio import encode_opus
from stylecodec.media.writer import VideoWriter
from stylecodec.training.heads.assets import load_assets
from stylecodec.training.heads.clips import render_clip
from stylecodec.training.heads.model import HeadModel
from stylecodec.training.heads.renderer import Renderer
from stylecodec.training.heads.tracks import Track, talking_track

WORDS = "Hello! Seventy bytes for every frame, and I can still look at you, blink, and smile."
RATE = 25
FRAMING = 1.25  # of the aligned square: a whole head and some shoulder


def speak(path: Path, seconds: float) -> np.ndarray:
    """Speak WORDS into a WAV file, cut or padded to `seconds`; returns the loudness per frame, 0..1."""
    subprocess.run(["espeak-ng", "-v", "en-us+f3", "-s", "165", "-w", str(path), WORDS], check=True)
    with wave.open(str(path)) as sound:
        rate, samples = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    samples = np.pad(samples, (0, max(0, int(seconds * rate) - len(samples))))[: int(seconds * rate)]
    with wave.open(str(path), "w") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    power = np.abs(samples.astype(np.float64)).reshape(int(seconds * RATE), -1).mean(1)
    loudness: np.ndarray = np.clip(power / np.quantile(power, 0.9), 0, 1)
    return loudness


def perform(seed: int, loudness: np.ndarray, names: list[str]) -> Track:
    """A talking track whose mouth opens with the loudness."""
    track = talking_track(seed, len(loudness), RATE, names)
    weights = track.weights.copy()
    mouth = [k for k, name in enumerate(names) if name.startswith(("mouth", "jaw"))]
    weights[:, mouth] *= (0.25 + 0.75 * loudness)[:, None]
    jaw = names.index("jawOpen")
    weights[:, jaw] = np.clip(0.15 * weights[:, jaw] + 0.45 * loudness, 0, 1)
    return dataclasses.replace(track, weights=weights.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("examples/talk.mp4"))
    parser.add_argument("--identity", type=int, default=1_000_113)
    parser.add_argument("--portrait", type=Path, default=Path("examples/portrait.png"))
    parser.add_argument("--portrait-identity", type=int, default=1_000_118)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "speech.wav"
        loudness = speak(spoken, arguments.seconds)
        model = HeadModel(load_assets(arguments.geometry))
        names = list(model.names)
        track = perform(arguments.identity, loudness, names)
        renderer = Renderer(model, arguments.size)
        clip = render_clip(renderer, arguments.identity, len(loudness), RATE, FRAMING, track=track)
        quiet = perform(0, np.zeros(RATE), names)
        still = render_clip(renderer, arguments.portrait_identity, 1, RATE, FRAMING, track=quiet)
        Image.fromarray(still.frames[0]).save(arguments.portrait, optimize=True)
        silent, voice = Path(folder) / "silent.mp4", Path(folder) / "voice.mka"
        with VideoWriter(silent, arguments.size, arguments.size, Fraction(RATE)) as writer:
            for frame in clip.frames:
                writer.write(frame)
        join = ["ffmpeg", "-v", "error", "-y", "-i", str(silent), "-i", str(spoken), "-c:v", "copy", "-c:a", "libopus"]
        subprocess.run([*join, "-b:a", "32k", str(voice)], check=True)
        sound = encode_opus(voice, 32_000)
        with VideoWriter(arguments.out, arguments.size, arguments.size, Fraction(RATE), audio=sound) as writer:
            for frame in clip.frames:
                writer.write(frame)
    print(f"{arguments.out}: {len(loudness)} frames, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
