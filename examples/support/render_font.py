"""Renders font.png beside it: the glyphs of Basic Latin to Latin Extended-A in cells of 12x24
pixels, 32 a row, from U+0020 on, white on black.

    pip install Pillow
    python examples/support/render_font.py DejaVuSansMono.ttf
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, COLUMNS, FIRST, END = 12, 24, 32, 0x20, 0x180

font = ImageFont.truetype(sys.argv[1], 20)
sheet = Image.new("L", (WIDTH * COLUMNS, HEIGHT * (END - FIRST) // COLUMNS))
for code in range(FIRST, END):
    if 0x7F <= code < 0xA0:
        continue
    cell = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(cell).text((0, 0), chr(code), 255, font)
    row, column = divmod(code - FIRST, COLUMNS)
    sheet.paste(cell, (column * WIDTH, row * HEIGHT))
sheet.save(Path(__file__).resolve().parent / "font.png", optimize=True)
