"""Valid images of many kinds, read by this crate and by Pillow: which levels differ by more than 2.

Usage: python3 compare_images.py READER [COUNT]

READER is a program that takes paths and writes a line for each: width, height and the hexadecimal
bytes of its RGB pixels, or `error` and a message (`cargo run --release --example pixels`). Pictures are
random: smooth ones, text-like strokes and noise; files are Pillow's, and PNG files written by hand for what
Pillow does not write. Every file is compared with what Pillow reads in it, as the reference
implementation converts it.
"""

import io
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw, features

reader, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000
rng = random.Random(29)


def picture(mode):
    size = (rng.choice([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 90]), rng.choice([1, 2, 5, 8, 13, 16, 17, 32, 47]))
    kind = rng.choice(["smooth", "strokes", "noise"])
    out = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    if kind == "noise":
        out.frombytes(rng.randbytes(size[0] * size[1] * 3))
    elif kind == "strokes":
        draw = ImageDraw.Draw(out)
        for _ in range(6):
            ends = [(rng.randrange(size[0]), rng.randrange(size[1])) for _ in range(2)]
            draw.line(ends, fill=tuple(rng.randrange(256) for _ in range(3)), width=rng.randrange(1, 4))
    else:
        a, b, c = (rng.random() * 4 for _ in range(3))
        out.putdata([(int(a * x + b * y) % 256, int(b * x) % 256, int(c * y + a) % 256)
                     for y in range(size[1]) for x in range(size[0])])
    if mode in ("LA", "RGBA"):
        out = out.convert("RGBA")
        out.putalpha(Image.frombytes("L", size, rng.randbytes(size[0] * size[1])))
    return out.quantize(rng.choice([2, 4, 16, 256])) if mode == "P" else out.convert(mode), kind


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png():
    """Any colour type and depth, every filter, interlaced or not."""
    color = rng.choice([0, 2, 3, 4, 6])
    depth = rng.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(color, [8, 16]))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    width, height, interlace = rng.randrange(1, 40), rng.randrange(1, 40), rng.randrange(2)
    whole = [(0, 0, 1, 1)]
    adam7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for x, y, dx, dy in adam7 if interlace else whole:
        columns = -(-max(width - x, 0) // dx)
        for _ in range(y, height, dy) if columns else []:
            rows += bytes([rng.randrange(5)]) + rng.randbytes(-(-columns * channels * depth // 8))
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))
    if color == 3:
        file += chunk(b"PLTE", rng.randbytes(3 << depth))
    data = zlib.compress(rows, rng.randrange(10))
    cut = rng.randrange(len(data))
    file += chunk(b"IDAT", data[:cut]) + chunk(b"IDAT", data[cut:]) + chunk(b"IEND", b"")
    return f"PNG colour {color}, {depth} bits{', interlaced' if interlace else ''}", file


def variant():
    if rng.random() < 0.35:
        return raw_png()
    if rng.random() < 0.2:
        mode = rng.choice(["1", "L", "LA", "P", "RGB", "RGBA"])
        image, _ = picture(mode)
        file = io.BytesIO()
        image.save(file, "PNG", optimize=rng.random() < 0.5)
        return f"PNG {mode} by Pillow", file.getvalue()
    mode = rng.choice(["L", "RGB", "RGB", "RGB", "CMYK"])
    image, kind = picture(mode)
    options = {"quality": rng.choice([5, 30, 75, 90, 100]), "progressive": rng.random() < 0.4,
               "optimize": rng.random() < 0.3, "restart_marker_blocks": rng.choice([0, 0, 1, 3])}
    name = "JPEG " + mode
    if mode == "RGB":
        subsampling = rng.choice(["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
        options["subsampling"] = subsampling
        options["keep_rgb"] = subsampling == "4:4:4" and rng.random() < 0.3
        name += " " + subsampling
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return f"{name}{', progressive' if options['progressive'] else ''}, {kind}", file.getvalue()


print("Pillow", Image.__version__, "libjpeg-turbo", features.version("libjpeg_turbo"))
files, differences, errors = Counter(), {}, Counter()
with tempfile.TemporaryDirectory() as folder:
    names, paths, expected = [], [], []
    while len(paths) < count:
        name, data = variant()
        try:
            with Image.open(io.BytesIO(data)) as image:
                # Pillow 13 scales 16-bit grey; up to version 12 it was clipped.
                clip = image.mode.startswith("I;16")
                pixels = image.convert("I").point(lambda v: min(v, 255)).convert("L") if clip else image
                pixels = pixels.convert("RGB")
        except Exception as error:
            print("Pillow refuses its own", name, error)
            continue
        path = Path(folder) / f"{len(paths)}"
        path.write_bytes(data)
        names.append(name)
        paths.append(str(path))
        expected.append((pixels.size, pixels.tobytes()))
    lines = []
    for start in range(0, count, 200):
        run = subprocess.run([reader, *paths[start:start + 200]], capture_output=True, text=True, check=True)
        lines += run.stdout.splitlines()
assert len(lines) == count, len(lines)
for name, line, (size, pixels) in zip(names, lines, expected):
    files[name] += 1
    fields = line.split()
    if fields[0] == "error":
        errors[f"{name}: {line}"] += 1
        continue
    assert (int(fields[0]), int(fields[1])) == size, (name, fields[:2], size)
    found = bytes.fromhex(fields[2])
    apart = [abs(a - b) for a, b in zip(found, pixels)]
    most, over = differences.get(name, (0, 0))
    differences[name] = (max(most, max(apart)), over + (max(apart) > 2))
print(f"{count} files of {len(files)} kinds; errors: {sum(errors.values())}")
for name, number in errors.most_common():
    print("  ", number, name)
print("| kind | files | files with levels more than 2 apart | most levels |")
print("|---|---|---|---|")
for name in sorted(files):
    most, over = differences.get(name, (0, 0))
    if over:
        print(f"| {name} | {files[name]} | {over} | {most} |")
print("kinds equal to the level:", sum(most == 0 for most, _ in differences.values()))
