"""What the encoder misreads alike in all frames is found on a few of them."""

from __future__ import annotations

import numpy as np
import torch

from stylecodec.encoding.calibrate import Correction, calibrate
from stylecodec.encoding.codes import CodeUnits
from stylecodec.encoding.feedforward import FrameCodes
from stylecodec.encoding.options import EncodeOptions, FitOptions, RefineOptions
from stylecodec.packs.store import ModelPack

from .test_refine import distance, frame_codes, latent, scene_of

CPU = torch.device("cpu")
REFINE = RefineOptions(steps=30, side=32, rate=0.1, hold=0.0, pose_share=0.0, features=0.0, precision="float32")


def test_other_frames_are_mended_too(tiny_pack: ModelPack) -> None:
    torch.manual_seed(4)
    true, wrong = torch.randn(24, 34) * 0.3, 0.5 * torch.randn(34)
    crops, read = scene_of(tiny_pack, true[:12]), frame_codes(true + wrong, tiny_pack)
    part = FrameCodes(read.w_id[:12], read.pose[:12], read.alpha[:12])
    told: list[int] = []
    options = EncodeOptions(refine=REFINE)
    correct = calibrate(crops, part, latent(), tiny_pack, CPU, options, told.append)
    assert told == [8, 12]
    others = FrameCodes(read.w_id[12:], read.pose[12:], read.alpha[12:])
    mended = correct(others)
    assert mended.alpha.dtype == np.float32
    assert distance(mended, true[12:], tiny_pack) < 0.8 * distance(others, true[12:], tiny_pack)


def test_one_frame_gives_an_offset(tiny_pack: ModelPack) -> None:
    torch.manual_seed(5)
    true = torch.randn(1, 34) * 0.3
    crops, read = scene_of(tiny_pack, true), frame_codes(true + 0.3, tiny_pack)
    options = EncodeOptions(refine=REFINE, fit=FitOptions(damping=0.1))
    correct = calibrate(crops, read, latent(), tiny_pack, CPU, options)
    assert not correct.slope.any()
    assert correct.offset.abs().max() > 0.01


def test_the_map(tiny_pack: ModelPack) -> None:
    units = CodeUnits(tiny_pack, CPU)
    slope = torch.zeros(34, 34)
    slope[5, 6] = 0.5
    correct = Correction(units, torch.zeros(34), torch.full((34,), 0.25), slope)
    codes = torch.zeros(2, 34)
    codes[1, 5] = 2.0
    mended = correct(frame_codes(codes, tiny_pack))
    found = units.units(torch.from_numpy(mended.pose), torch.from_numpy(mended.alpha))
    expected = codes + 0.25
    expected[1, 6] += 1.0
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
