"""How near a stream comes to its source: its renderings against the aligned crops that it was made of, at 256²."""

from __future__ import annotations

from pathlib import Path

import torch

from ..bitstream import StreamFile
from ..bitstream.attached import personalizations
from ..decoding.decoder import Decoder
from ..decoding.options import DecodeOptions
from ..decoding.packets import PacketRenderer
from ..encoding.frames import CROP_SIZE, AlignedClip
from ..encoding.identity.cards import IdentityCard
from ..files import reading
from ..metrics.psnr import picture_psnr
from ..metrics.ssim import mean_ssim
from ..packs.store import ModelPack


def scores(
    clip: AlignedClip, stream: Path, pack: ModelPack, device: torch.device, card: IdentityCard | None
) -> dict[str, float | None]:
    """Means over the frames with a face of psnr, in dB, and ssim; and the psnr of the worst frame.

    card: of the person whom the stream only names.
    """
    options = DecodeOptions(device=device, pack=pack, size=CROP_SIZE, pose="aligned", background="render")
    known = {} if card is None else {card.identity.digest: card.identity}
    psnr, ssim = [], []
    with reading(stream), StreamFile.open(str(stream), recall=known.get) as opened:
        decoder = Decoder(opened, PacketRenderer(pack, options, personalizations(opened)))
        for frame, picture in zip(clip, decoder, strict=False):
            if frame.crop is not None:
                rendered = torch.as_tensor(picture).cpu().numpy()
                psnr.append(picture_psnr(rendered, frame.crop))
                ssim.append(mean_ssim(rendered, frame.crop))
    if not psnr:
        return {"psnr": None, "psnr_worst": None, "ssim": None}
    return {
        "psnr": round(sum(psnr) / len(psnr), 3),
        "psnr_worst": round(min(psnr), 3),
        "ssim": round(sum(ssim) / len(ssim), 4),
    }
