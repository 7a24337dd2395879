"""Renders the sample lines beside it, in DejaVu (Debian: fonts-dejavu-core).

    pip install Pillow
    python examples/lines/render.py
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

FOLDER = Path(__file__).resolve().parent
FONTS = Path("/usr/share/fonts/truetype/dejavu")

LINES = {
    "menu": ("Crème brûlée 4,50 €", "DejaVuSerif", 30, (60, 40, 30), (240, 232, 215)),
    "czech": ("Těší mě, že jsi přišel včas.", "DejaVuSans", 26, (20, 20, 20), (250, 250, 250)),
    "street": ("Gümüşsuyu Caddesi № 14", "DejaVuSans-Bold", 28, (250, 250, 250), (20, 60, 130)),
    "receipt": ("TOTAL      3 x 12.90      38.70", "DejaVuSansMono", 22, (70, 70, 80), (235, 235, 230)),
    "book": (
        "“Where is the straße to the café?” he asked — and nobody in the whole town could tell him.",
        "DejaVuSerif", 24, (40, 35, 30), (245, 240, 228),
    ),
}


def main():
    for name, (text, face, size, ink, paper) in LINES.items():
        font = ImageFont.truetype(FONTS / f"{face}.ttf", size)
        left, top, right, bottom = font.getbbox(text)
        margin = size // 4
        image = Image.new("RGB", (right - left + 2 * margin, bottom - top + 2 * margin), paper)
        ImageDraw.Draw(image).text((margin - left, margin - top), text, ink, font)
        image.filter(ImageFilter.GaussianBlur(0.6)).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
