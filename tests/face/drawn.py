"""A drawn face that dlib's detector and predictors take for one: ground truth without anybody's picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SKIN, SHADE, LIGHT, DARK = (205, 160, 135), (165, 120, 100), (220, 178, 152), (60, 40, 35)
# In units of the distance of the eye centres, seen from their middle.
NOSE_BASE, MOUTH = (0.0, 0.74), (0.0, 1.1)


def draw_face(width=480, height=480, center=(240.0, 230.0), eyes=100.0, mouth=0.0, roll=0.0):
    """[H, W, 3] uint8. center: middle of the eyes in pixels; eyes: their distance; mouth: opening 0..1; roll: degrees
    clockwise. Drawn at twice the size in a turned frame, then averaged."""
    zoom, (cx, cy) = 2, center
    picture = Image.new("RGB", (width * zoom, height * zoom), (90, 100, 110))
    draw = ImageDraw.Draw(picture)

    def at(x, y):
        return ((cx + x * eyes) * zoom, (cy + y * eyes) * zoom)

    def oval(x, y, rx, ry, colour):
        draw.ellipse([*at(x - rx, y - ry), *at(x + rx, y + ry)], fill=colour)

    oval(0, 0.15, 1.25, 1.75, DARK)
    oval(0, 2.3, 0.6, 0.9, SHADE)
    oval(0, 0.45, 1.05, 1.4, SKIN)
    for side in (-1, 1):
        oval(side * 0.5, 0, 0.36, 0.2, SHADE)
        oval(side * 0.5, 0, 0.24, 0.11, (240, 235, 230))
        oval(side * 0.5, 0, 0.11, 0.11, (40, 30, 25))
        brow = [at(side * x, y) for x, y in ((0.22, -0.3), (0.5, -0.38), (0.82, -0.27))]
        draw.line(brow, fill=DARK, width=int(0.1 * eyes * zoom))
        oval(side * 0.17, 0.66, 0.1, 0.07, SHADE)
        oval(side * 0.09, 0.69, 0.045, 0.03, DARK)
    draw.polygon([at(-0.06, 0), at(0.06, 0), at(0.2, 0.66), at(-0.2, 0.66)], fill=LIGHT)
    oval(*NOSE_BASE, 0.14, 0.03, SHADE)
    oval(*MOUTH, 0.4, 0.13 + 0.2 * mouth, (150, 70, 70))
    oval(*MOUTH, 0.36, 0.015 + 0.17 * mouth, DARK)
    oval(0, 1.36 + 0.2 * mouth, 0.3, 0.04, SHADE)
    soft = picture.filter(ImageFilter.GaussianBlur(0.035 * eyes * zoom))
    turned = soft.rotate(-roll, Image.Resampling.BICUBIC, center=at(0, 0), fillcolor=(90, 100, 110))
    return np.array(turned.resize((width, height), Image.Resampling.BOX))
