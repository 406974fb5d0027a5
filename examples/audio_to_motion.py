"""Train a small network that moves a face by its voice, on a corpus of streams, in a minute.

stylecodec corpus encode clips/ --out corpus/
python examples/audio_to_motion.py corpus/
"""

import sys
import time

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stylecodec import datasets

WINDOW = 25  # frames
BANDS = 64


class VoiceToMotion(nn.Module):
    """Log spectrum [N, BANDS, T] -> motion [N, 35, T], in standard deviations from its mean."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(BANDS, width, 5, padding=2), nn.GELU()]
        for dilation in (1, 2):
            layers += [nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv1d(width, 35, 1))

    def forward(self, voice: Tensor) -> Tensor:
        motion: Tensor = self.layers(voice)
        return motion


def spectrum(sound: Tensor, frames: int) -> Tensor:
    """Sound [N, n] -> log spectrum [N, BANDS, frames]: one column for each frame of the video."""
    size = 1024
    power = torch.stft(sound, size, size // 4, window=torch.hann_window(size), return_complex=True).abs().square()
    bands = nn.functional.adaptive_avg_pool2d(power[:, 1 : size // 4 + 1], (BANDS, frames))  # up to 4 kHz
    return torch.log(bands + 1e-4)


def main(corpus: str, seconds: float = 60.0) -> None:
    torch.manual_seed(0)
    clips = datasets.StreamDataset(corpus, window=WINDOW, hop=5, sound=True)
    print(f"{len(clips.places)} streams, {len(clips)} windows of {WINDOW} frames")
    everything = datasets.collate(list(clips))
    mean = everything.motion.mean(dim=(0, 2), keepdim=True)
    spread = everything.motion.std(dim=(0, 2), keepdim=True).clamp_min(1e-3)
    loader = DataLoader(clips, 16, sampler=datasets.GroupSampler(clips), collate_fn=datasets.collate)
    network = VoiceToMotion()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    begun, steps, loss = time.monotonic(), 0, torch.tensor(0.0)
    while time.monotonic() - begun < seconds:
        for batch in loader:
            wanted = (batch.motion - mean) / spread
            loss = (network(spectrum(batch.sound, WINDOW)) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
    one = clips[0]
    with torch.no_grad():
        moved = network(spectrum(one.sound[None], WINDOW)) * spread + mean
    print(f"{steps} steps; mean squared error {loss.item():.2f} (1.00: always the mean)")
    print(f"{one.name}: motion of {tuple(moved[0].shape)} from {len(one.sound)} samples of sound")


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
