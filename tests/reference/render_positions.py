"""Renders words whose glyphs' boxes are known, for the test of character positions.

    pip install Pillow==10.4.0
    python tests/reference/render_positions.py [--fonts FONT.ttf ...] [--count N] [--out FOLDER]

By default with the font that Pillow carries (Aileron, CC0) into tests/fixtures/positions: crops as
PNG files, and boxes.tsv with a line a crop: file, kind (straight, rotated, curved), text, and for
each glyph the box of its ink, "x0,y0,x1,y1" in pixels, by spaces.
"""

import argparse
import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
WORDS = """Harbour station Bakery museum POLICE Market parking coffee Garden library WINDOW bridge
Theatre orange silver planet MOUNTAIN kitchen Village number river BICYCLE doctor flower Castle
summer Eleven purple LIBERTY thunder""".split()


def glyphs(text, font, kind, rng):
    """Masks of the glyphs on a common canvas."""
    size = font.size
    side = int(size * len(text) * 1.6) + 4 * size
    advance = [font.getlength(text[: i + 1]) - font.getlength(c) for i, c in enumerate(text)]
    length = font.getlength(text)
    angle = rng.choice([-15, 15]) if kind == "rotated" else 0
    # An arc of 100 degrees, bent upwards or downwards.
    bend = rng.choice([-1, 1])
    radius = length / math.radians(100)
    for c, left in zip(text, advance):
        middle = left + font.getlength(c) / 2
        tile = Image.new("L", (4 * size, 4 * size))
        # The baseline's point under the glyph's middle lies in the middle of the tile.
        draw = ImageDraw.Draw(tile)
        draw.text((2 * size - font.getlength(c) / 2, 2 * size), c, 255, font, anchor="ls")
        along = middle - length / 2
        if kind == "curved":
            turn = along / radius
            x, y = radius * math.sin(turn), bend * radius * (1 - math.cos(turn))
            degrees = -bend * math.degrees(turn)
        else:
            x = along * math.cos(math.radians(angle))
            y = -along * math.sin(math.radians(angle))
            degrees = angle
        tile = tile.rotate(degrees, Image.Resampling.BICUBIC)
        canvas = Image.new("L", (side, side))
        canvas.paste(tile, (round(side / 2 + x - 2 * size), round(side / 2 + y - 2 * size)))
        yield canvas


def render(text, font, kind, rng):
    masks = list(glyphs(text, font, kind, rng))
    ink = masks[0]
    for mask in masks[1:]:
        ink = ImageChops.lighter(ink, mask)
    left, top, right, bottom = ink.getbbox()
    margin = rng.randint(2, 2 + font.size // 5)
    frame = (left - margin, top - margin, right + margin, bottom + margin)
    shade = rng.randint(0, 90)
    dark, light = (shade, rng.randint(0, 90), rng.randint(0, 90)), (rng.randint(170, 255),) * 3
    paper, pen = (light, dark) if rng.random() < 0.7 else (dark, light)
    image = Image.new("RGB", ink.size, paper)
    image.paste(pen, mask=ink)
    image = image.crop(frame).filter(ImageFilter.GaussianBlur(rng.choice([0, 0.5, 1])))
    boxes = [mask.point(lambda v: 255 * (v > 64)).getbbox() for mask in masks]
    return image, [(a - frame[0], b - frame[1], c - frame[0], d - frame[1]) for a, b, c, d in boxes]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fonts", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=len(WORDS))
    parser.add_argument("--out", type=Path, default=FIXTURES / "positions")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(3)
    lines = []
    for kind in ("straight", "rotated", "curved"):
        for i in range(arguments.count):
            text, size = WORDS[i % len(WORDS)], rng.randint(24, 40)
            path = rng.choice(arguments.fonts) if arguments.fonts else None
            font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
            image, boxes = render(text, font, kind, rng)
            name = f"{kind}_{i:02}.png"
            image.quantize(32).save(arguments.out / name, optimize=True)
            spelled = " ".join(",".join(map(str, box)) for box in boxes)
            lines.append(f"{name}\t{kind}\t{text}\t{spelled}\n")
    (arguments.out / "boxes.tsv").write_text("".join(lines))


if __name__ == "__main__":
    main()
