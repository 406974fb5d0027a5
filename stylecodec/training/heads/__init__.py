"""Procedural heads: an openly licensed face geometry, our own skins, hair, light and expressions, rendered to images.

The pictures (and the truth that comes with them: expression, gaze, pose, landmarks, labels) train the avatar pack.
The geometry is not part of the package: point `--geometry` at a folder made from ICT-FaceKit (MIT).
"""

from __future__ import annotations
