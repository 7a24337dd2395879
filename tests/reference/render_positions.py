"""Renders texts whose glyphs' boxes are known, for the test of character positions.

    pip install Pillow==10.4.0
    python tests/reference/render_positions.py [--kinds KIND ...] [--fonts FONT.ttf ...] [--count N]
        [--out FOLDER]

By default with the font that Pillow carries (Aileron, CC0) into tests/fixtures/positions: crops as
PNG files, and boxes.tsv with a line a crop: file, kind, text, and for each glyph but spaces the box
of its ink, "x0,y0,x1,y1" in pixels, by spaces.

The kinds straight, rotated and curved are words that are rendered glyph by glyph. The kinds words
(3 to 16 letters), digits (numbers and serial numbers) and lines (20 to 80 characters) are set with
kerning, one crop in five with wider spacing, and go through all fonts in turn:

    find /usr/share/fonts -name '*.ttf' | sort | xargs python tests/reference/render_positions.py \\
        --kinds words digits lines --count 300 --out positions --fonts
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
LONG_WORDS = """air Sky the Inn fish Lake moon Fuel juice Pixel exit HOTEL Office Airport bicycle willing
AVENUE Waterfall mountain Furniture yesterday jellyfish EMERGENCY Lighthouse television Information
temperature illustrated Supermarket Professional international architecture Championship
independent Refrigerator kindergarten Entertainment communication CONSTRUCTION Transformation
responsibility Administration recommendation Representation Characteristics""".split()
SHORT_WORDS = "of in on at the and for with by to or is it as from that a be are was".split()
# Ligatures are one glyph for two characters, which then have no boxes of their own.
SINGLE = ["-liga", "-clig", "-dlig", "-calt"]


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


def spell(kind, rng):
    """A text of one of the kinds that are set as lines."""
    if kind == "words":
        return rng.choice(LONG_WORDS)
    if kind == "digits":
        digits = lambda count: "".join(rng.choice("0123456789") for _ in range(count))
        letters = lambda count: "".join(rng.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(count))
        return rng.choice([
            digits(rng.randint(3, 14)),
            digits(rng.randint(1, 4)) + "." + digits(2),
            f"{digits(2)}-{digits(2)}-{digits(4)}",
            f"{digits(2)}/{digits(2)}/{digits(2)}",
            f"{digits(2)}:{digits(2)}",
            letters(2) + digits(rng.randint(4, 8)),
            f"{letters(3)}-{digits(4)}-{letters(1)}{digits(2)}",
            f"${digits(1)},{digits(3)}.{digits(2)}",
        ])
    wanted, text = rng.randint(20, 80), rng.choice(WORDS)
    while len(text) < wanted:
        word = rng.choice(rng.choice([WORDS, LONG_WORDS, SHORT_WORDS, SHORT_WORDS]))
        text += " " + rng.choice([word, word, word.lower(), word.lower(), str(rng.randint(0, 2030))])
        text += rng.choice(["", "", "", "", ",", "."])
    return text[:80].rstrip()


def set_line(text, font, rng):
    """Masks of the glyphs of a text that is set with kerning, but for its spaces: each with its
    place on a common canvas, which has a size."""
    spacing = rng.choice([0, 0, 0, 0, rng.uniform(0.05, 0.3)]) * font.size
    size = font.size
    width = math.ceil(font.getlength(text, features=SINGLE) + spacing * len(text)) + 4 * size
    placed = []
    for i, c in enumerate(text):
        if c == " ":
            continue
        length = lambda part: font.getlength(part, features=SINGLE)
        left = 2 * size + length(text[: i + 1]) - length(c) + spacing * i
        start = math.floor(left) - size
        tile = Image.new("L", (4 * size, 4 * size))
        draw = ImageDraw.Draw(tile)
        draw.text((left - start, 2.5 * size), c, 255, font, anchor="ls", features=SINGLE)
        placed.append((tile, start))
    return placed, (width + 4 * size, 4 * size)


def layers(text, font, kind, rng):
    """The ink of a text, and the box of each glyph's ink."""
    if kind in ("words", "digits", "lines"):
        placed, size = set_line(text, font, rng)
    else:
        placed = [(mask, 0) for mask in glyphs(text, font, kind, rng)]
        size = placed[0][0].size
    ink = Image.new("L", size)
    boxes = []
    for mask, left in placed:
        area = (left, 0, left + mask.width, mask.height)
        ink.paste(ImageChops.lighter(ink.crop(area), mask), area)
        a, b, c, d = mask.point(lambda v: 255 * (v > 64)).getbbox()
        boxes.append((a + left, b, c + left, d))
    return ink, boxes


def render(text, font, kind, rng):
    ink, boxes = layers(text, font, kind, rng)
    left, top, right, bottom = ink.getbbox()
    margin = rng.randint(2, 2 + font.size // 5)
    frame = (left - margin, top - margin, right + margin, bottom + margin)
    shade = rng.randint(0, 90)
    dark, light = (shade, rng.randint(0, 90), rng.randint(0, 90)), (rng.randint(170, 255),) * 3
    paper, pen = (light, dark) if rng.random() < 0.7 else (dark, light)
    image = Image.new("RGB", ink.size, paper)
    image.paste(pen, mask=ink)
    image = image.crop(frame).filter(ImageFilter.GaussianBlur(rng.choice([0, 0.5, 1])))
    return image, [(a - frame[0], b - frame[1], c - frame[0], d - frame[1]) for a, b, c, d in boxes]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="*", default=["straight", "rotated", "curved"])
    parser.add_argument("--fonts", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=len(WORDS))
    parser.add_argument("--out", type=Path, default=FIXTURES / "positions")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(3)
    lines = []
    for kind in arguments.kinds:
        for i in range(arguments.count):
            is_set = kind in ("words", "digits", "lines")
            text, size = spell(kind, rng) if is_set else WORDS[i % len(WORDS)], rng.randint(24, 40)
            if is_set and arguments.fonts:
                path = arguments.fonts[i % len(arguments.fonts)]
            else:
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
