"""Renders page.jpg and regions.txt: words on boards that are seen from aside.

    pip install Pillow==10.4.0 numpy
    python examples/page/render.py
"""

from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FOLDER = Path(__file__).resolve().parent
WIDTH, HEIGHT = 640, 420
BOARDS = [
    ("Harbour", (240, 236, 220), (30, 60, 120), [(40, 60), (260, 30), (268, 98), (46, 122)]),
    ("STATION", (30, 70, 50), (250, 250, 240), [(360, 40), (600, 90), (585, 150), (350, 112)]),
    ("Bakery", (250, 220, 150), (120, 30, 20), [(60, 230), (230, 200), (240, 262), (64, 282)]),
    ("museum", (60, 60, 70), (230, 210, 120), [(330, 330), (520, 210), (548, 262), (362, 388)]),
]


def coefficients(source, target):
    """Of the projective mapping from target to source, as Pillow wants them."""
    rows, values = [], []
    for (u, v), (x, y) in zip(source, target):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return numpy.linalg.solve(numpy.array(rows, float), numpy.array(values, float))


def board(text, paper, ink):
    font = ImageFont.load_default(60)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (right - left + 24, bottom - top + 24), paper)
    ImageDraw.Draw(image).text((12 - left, 12 - top), text, ink, font)
    return image


def main():
    x, y = numpy.meshgrid(numpy.arange(WIDTH), numpy.arange(HEIGHT))
    noise = numpy.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 3))
    light = numpy.stack([120 + 40 * numpy.sin(x / 90 + c) + 30 * numpy.cos(y / 70 - c) for c in range(3)], 2)
    page = Image.fromarray((light + noise).clip(0, 255).astype(numpy.uint8))
    lines = []
    for text, paper, ink, corners in BOARDS:
        image = board(text, paper, ink)
        w, h = image.size
        mapping = coefficients([(0, 0), (w, 0), (w, h), (0, h)], corners)
        turned = image.transform(page.size, Image.Transform.PERSPECTIVE, mapping, Image.Resampling.BICUBIC)
        mask = Image.new("L", page.size)
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        page.paste(turned, mask=mask)
        lines.append(",".join(str(c) for corner in corners for c in corner))
    page.filter(ImageFilter.GaussianBlur(0.6)).save(FOLDER / "page.jpg", quality=88)
    (FOLDER / "regions.txt").write_text("\n".join(lines) + "\n")


main()
