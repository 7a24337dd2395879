"""Renders crops of one line and of two, for the test of Recognition::several_lines.

    pip install Pillow==10.4.0
    python tests/reference/render_several_lines.py

With the font that Pillow carries (Aileron, CC0) into tests/fixtures/several_lines: files one_*.png
and two_*.png.
"""

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FOLDER = Path(__file__).resolve().parent.parent / "fixtures/several_lines"
MARGIN = 6


def crop(lines, size=30, second=1.0, align=0.0, spacing=1.25, accents="", below=None, noise=0,
         dark=True):
    """Lines of text below each other. `accents` are strokes above the letters of the first, a character
    for each: `:` two dots, `/` a stroke, `v` a caron, `o` a ring. `below` is drawn below the last:
    "line", "dots"."""
    fonts = [ImageFont.load_default(size if i == 0 else int(size * second)) for i in range(len(lines))]
    boxes = [font.getbbox(text, anchor="ls") for font, text in zip(fonts, lines)]
    width = max(box[2] - box[0] for box in boxes)
    baselines = [-boxes[0][1] + MARGIN + (size // 3 if accents else 0)]
    for font in fonts[1:]:
        baselines.append(baselines[-1] + int(spacing * font.size))
    bottom = baselines[-1] + max(boxes[-1][3], 0)
    extra = 8 if below else 0
    image = Image.new("L", (width + 2 * MARGIN, bottom + MARGIN + extra), 225 if dark else 35)
    draw, ink = ImageDraw.Draw(image), 30 if dark else 240
    for font, text, box, y in zip(fonts, lines, boxes, baselines):
        x = MARGIN + int(align * (width - box[2] + box[0])) - box[0]
        draw.text((x, y), text, ink, font, anchor="ls")
    for i, accent in enumerate(accents):
        text, font = lines[0], fonts[0]
        middle = MARGIN - boxes[0][0] + (font.getlength(text[:i]) + font.getlength(text[: i + 1])) / 2
        top = baselines[0] + font.getbbox(text[i], anchor="ls")[1] - size // 4
        if accent == ":":
            for x in (middle - 5, middle + 2):
                draw.rectangle((x, top, x + 3, top + 3), ink)
        if accent == "/":
            draw.line((middle - 2, top + 4, middle + 3, top - 1), ink, 3)
        if accent == "v":
            draw.line((middle - 4, top, middle, top + 4, middle + 4, top), ink, 2)
        if accent == "o":
            draw.ellipse((middle - 4, top - 3, middle + 4, top + 5), outline=ink, width=2)
    y = image.height - MARGIN
    if below == "line":
        draw.rectangle((MARGIN, y - 2, image.width - MARGIN, y), ink)
    if below == "dots":
        for x in range(MARGIN, image.width - MARGIN, 6):
            draw.rectangle((x, y - 2, x + 2, y), ink)
    if noise:
        rng = random.Random(len(lines[0]))
        image = image.filter(ImageFilter.GaussianBlur(0.6))
        pixels = image.load()
        for y in range(image.height):
            for x in range(image.width):
                pixels[x, y] = max(0, min(255, int(pixels[x, y] + rng.gauss(0, noise))))
    return image


CROPS = {
    "two_equal": crop(["Grand", "Hotel"]),
    "two_short_below": crop(["Conditions of carriage", "apply"]),
    "two_short_below_middle": crop(["Opening hours", "daily"], align=0.5),
    "two_short_below_right": crop(["Platform", "exit"], align=1.0, dark=False),
    "two_short_above": crop(["The", "Garden Museum"]),
    "two_short_above_middle": crop(["from", "Harbour lights"], align=0.5),
    "two_smaller_below": crop(["Restaurant", "Bar"], second=0.8),
    "two_number_below": crop(["Gate and Terminal", "125"]),
    "two_noise": crop(["Parking only", "permit"], noise=12),
    "two_squeezed": crop(["Please keep this door closed at", "night"], align=0.5),
    "one_word": crop(["Station"]),
    "one_descenders": crop(["gypsy jogging quay"]),
    "one_line": crop(["Please keep this door closed"]),
    "one_noise": crop(["Quality plumbing"], noise=25),
    "one_light": crop(["injury jelly"], dark=False),
    "one_underlined": crop(["Egypt"], below="line"),
    "one_underlined_line": crop(["Opening hours daily"], below="line"),
    "one_dotted": crop(["Total amount"], below="dots"),
    "one_leader": crop(["Chapter ........................ 23"]),
    "one_accents": crop(["AOU AEE"], accents="::: o//"),
    "one_many_accents": crop(["Zlutoucky kun"], accents="v    /  / ov"),
    "one_letter_with_dots": crop(["OOOOO"], accents=":::::"),
    "one_dots": crop(["ijijij: iij"]),
    "one_equals": crop(["x = y = 2"]),
    "one_quotes": crop(['"quoted"']),
    "one_degrees": crop(["10°C 20°C"]),
    "one_colons": crop(["12 : 3 :: 8 : 2"]),
    "one_percent": crop(["50 % 100 %"]),
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, image in CROPS.items():
        image.save(FOLDER / f"{name}.png", optimize=True)
