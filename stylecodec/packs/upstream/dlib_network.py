"""Read the weights of dlib's face recognition network out of its file, known by digest, into nets.recognition.

dlib writes a network layer by layer, from the picture on: a layer's name, behind its length, then its parameters: the
version 2, the four sizes of a tensor as whole numbers (a control byte: how many bytes follow; little-endian), and its
values as float32. A convolution's biases follow its weights; a batch norm is a gain and an offset per channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import ImportRefused
from ...nets.recognition import NUMBERS, RecognitionNet

DIGEST = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"  # SHA-256, of the one file that there is
NAMES = (b"\x01\x05con_4", b"\x01\x07affine_", b"\x01\x04fc_2")
FULLY_CONNECTED = NAMES[2]


def recognition_net(data: bytes) -> RecognitionNet:
    """The network of dlib_face_recognition_resnet_model_v1.dat, frozen; ImportRefused for any other bytes."""
    if hashlib.sha256(data).hexdigest() != DIGEST:
        raise ImportRefused("it is not dlib_face_recognition_resnet_model_v1.dat as it was published")
    net, layers = RecognitionNet(), _layers(data)
    with torch.no_grad():
        for convolution in net.convolutions():
            weights, (gain, offset) = next(layers), np.split(next(layers), 2)
            filters = torch.from_numpy(weights[: convolution.weight.numel()]).view_as(convolution.weight)
            biases = torch.from_numpy(weights[convolution.weight.numel() :])
            scale = torch.from_numpy(gain)
            convolution.weight.copy_(filters * scale[:, None, None, None])
            assert convolution.bias is not None
            convolution.bias.copy_(biases * scale + torch.from_numpy(offset))
        net.output.weight.copy_(torch.from_numpy(next(layers).reshape(-1, NUMBERS)).T)
    return net.eval().requires_grad_(False)


def _layers(data: bytes) -> Iterator[NDArray[np.float32]]:
    """The parameters of one layer after another, those that have any."""
    place = 0
    while True:
        found = [(at, name) for name in NAMES if (at := data.find(name, place)) >= 0]
        if not found:
            return
        at, name = min(found)
        place = at + len(name)
        sizes = []
        for _ in range(7 if name == FULLY_CONNECTED else 5):  # outputs and inputs first; version; four sizes
            length = data[place] & 15
            sizes.append(int.from_bytes(data[place + 1 : place + 1 + length], "little"))
            place += 1 + length
        count = int(np.prod(sizes[-4:]))
        yield np.frombuffer(data, "<f4", count, place).astype(np.float32)
        place += 4 * count
