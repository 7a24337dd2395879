"""Renders the sample crops beside it, with the font that Pillow carries (Aileron, CC0).

    pip install Pillow==10.4.0 numpy
    python examples/crops/render.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FOLDER = Path(__file__).resolve().parent


def word(text, size, ink, paper, *, angle=0, shear=0.0, curve=0.0, blur=0.0, noise=0, margin=8):
    """A word on a gradient from one paper colour to the other."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).text((margin - left, margin - top), text, 255, font)
    if shear:
        wide = width + int(abs(shear) * height)
        mask = mask.transform(
            (wide, height), Image.Transform.AFFINE, (1, shear, -shear * height, 0, 1, 0),
            Image.Resampling.BICUBIC,
        )
    if curve:
        columns = np.asarray(mask)
        w = columns.shape[1]
        lift = curve * (1 - (2 * np.arange(w) / w - 1) ** 2)
        tall = np.zeros((columns.shape[0] + int(curve) + 1, w), np.uint8)
        for x in range(w):
            at = int(curve - lift[x])
            tall[at : at + columns.shape[0], x] = columns[:, x]
        mask = Image.fromarray(tall)
    if angle:
        mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    w, h = mask.size
    blend = np.linspace(0, 1, w)[None, :, None]
    background = np.array(paper[0]) * (1 - blend) + np.array(paper[1]) * blend
    background = np.broadcast_to(background, (h, w, 3)).astype(np.uint8)
    image = Image.composite(Image.new("RGB", mask.size, ink), Image.fromarray(background), mask)
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    if noise:
        grain = np.random.default_rng(7).normal(0, noise, (h, w, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return image


WHITE, CREAM, NAVY, GREEN = (255, 255, 255), (240, 228, 200), (20, 30, 90), (30, 90, 60)
word("Harbour", 40, NAVY, (CREAM, WHITE)).save(FOLDER / "harbour.png")
word("OPEN", 48, (200, 30, 30), (WHITE, CREAM), angle=12, blur=1).save(FOLDER / "open.png")
word("Bakery", 44, WHITE, (NAVY, GREEN), shear=0.3, noise=12).save(FOLDER / "bakery.jpg", quality=80)
word("24/7", 36, (250, 200, 40), ((40, 40, 40), (90, 90, 90))).save(FOLDER / "hours.png")
word("RESTAURANT", 40, WHITE, (GREEN, NAVY), curve=26).save(FOLDER / "restaurant.png")
word("international", 22, (60, 60, 60), (CREAM, CREAM), blur=0.6, margin=4).save(FOLDER / "international.png")
word("Hotel", 40, WHITE, (NAVY, NAVY)).rotate(-90, expand=True).save(FOLDER / "hotel_downwards.png")
