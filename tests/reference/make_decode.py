"""Small files of every kind that Pillow writes, and the pixels that Pillow reads in them.

Usage: python3 make_decode.py tests/fixtures/decode
"""

import json
import sys
from pathlib import Path

from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
width, height = 12, 7


def pattern(x, y, channel):
    return (x * 20 + y * 11 + channel * 60 + (x * y) % 13) % 256


def image(mode, channels):
    out = Image.new(mode, (width, height))
    for y in range(height):
        for x in range(width):
            value = tuple(pattern(x, y, c) for c in range(channels))
            out.putpixel((x, y), value if channels > 1 else value[0])
    return out


# A JPEG's blocks: smooth, so that decoders agree.
def smooth(mode, channels, size=(24, 16)):
    out = Image.new(mode, size)
    for y in range(size[1]):
        for x in range(size[0]):
            value = tuple((40 + 6 * x * (c + 1) // 2 + 4 * y * (3 - c)) % 200 for c in range(channels))
            out.putpixel((x, y), value if channels > 1 else value[0])
    return out


rgb, grey = image("RGB", 3), image("L", 1)
files = {
    "rgb.png": (rgb, {}),
    "rgba.png": (image("RGBA", 4), {}),
    "grey.png": (grey, {}),
    "grey_alpha.png": (image("LA", 2), {}),
    "palette.png": (rgb.quantize(16), {}),
    "palette_transparent.png": (rgb.quantize(4), {"transparency": 1}),
    "one_bit.png": (grey.convert("1"), {}),
    "grey_16.png": (Image.frombytes("I;16", (width, height), bytes(
        b for y in range(height) for x in range(width) for b in (pattern(x, y, 0), x % 2))), {}),
}
exif = Image.Exif()
exif[0x0112] = 6
files["turned.png"] = (rgb, {"exif": exif})
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    files[f"orientation_{orientation}.jpg"] = (
        smooth("RGB", 3), {"exif": exif, "quality": 95, "subsampling": 0})
files["grey.jpg"] = (smooth("L", 1), {"quality": 95})
files["cmyk.jpg"] = (smooth("CMYK", 4), {"quality": 95})
files["progressive.jpg"] = (smooth("RGB", 3), {"quality": 95, "progressive": True, "subsampling": 0})
files["subsampled.jpg"] = (smooth("RGB", 3), {"quality": 95, "subsampling": 2})
expected = {}
for name, (picture, options) in files.items():
    picture.save(folder / name, **options)
# Without Adobe's marker the inks are not inverted.
data = (folder / "cmyk.jpg").read_bytes()
at = data.index(b"\xff\xee")
length = int.from_bytes(data[at + 2:at + 4], "big")
(folder / "cmyk_plain.jpg").write_bytes(data[:at] + data[at + 2 + length:])
# PNGs that Pillow does not write: interlaced, 16-bit colour.
import struct
import zlib


def png(color_type, depth, rows, interlace):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
rows = b""
for x0, y0, dx, dy in passes:
    if x0 < width:
        for y in range(y0, height, dy):
            rows += b"\0" + bytes(pattern(x, y, c) for x in range(x0, width, dx) for c in range(3))
(folder / "interlaced.png").write_bytes(png(2, 8, rows, 1))
for name, color_type, channels in [("rgb_16", 2, 3), ("rgba_16", 6, 4), ("grey_alpha_16", 4, 2)]:
    rows = b"".join(b"\0" + bytes(b for x in range(width) for c in range(channels)
                                  for b in (pattern(x, y, c), 200)) for y in range(height))
    (folder / f"{name}.png").write_bytes(png(color_type, 16, rows, 0))
for path in sorted(folder.glob("*.png")) + sorted(folder.glob("*.jpg")):
    with Image.open(path) as picture:
        from PIL import ImageOps
        plain = picture.convert("RGB")
        turned = ImageOps.exif_transpose(picture).convert("RGB")
        expected[path.name] = {
            "plain": [*plain.size, plain.tobytes().hex()],
            "turned": [*turned.size, turned.tobytes().hex()],
        }
with open(folder / "expected.tsv", "w") as file:
    for name, pixels in expected.items():
        for kind in ["plain", "turned"]:
            w, h, data = pixels[kind]
            file.write(f"{name}\t{kind}\t{w}\t{h}\t{data}\n")
