"""Figures of a weights file for models/english/README.md: size, parameters, multiply-accumulates, digest.

    python3 training/english/model_figures.py models/english/english.safetensors

Needs nothing but Python 3. Speed and accuracy come from commands of the crate; the card names them.
"""

import hashlib
import json
import math
import struct
import sys


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = json.loads(header.pop("__metadata__")["svtrv2"])
    quantized = metadata.get("quantized", {}).get("shapes", {})
    shapes = {name: entry["shape"] for name, entry in header.items()}
    for name in quantized:
        for part in (".rans", ".scales"):
            shapes.pop(name + part, None)
    return data, metadata, {**shapes, **quantized}, quantized


def multiply_accumulates(shapes, height, width):
    """Of one crop: matrix products, convolutions and attention."""
    half = lambda n: -(-n // 2)
    fine = half(height) * half(width)
    rows, columns = half(half(height)), half(half(width))
    low_rows = half(rows)
    positions = [rows * columns, rows * columns, low_rows * columns]
    total = 0
    for name, shape in shapes.items():
        if len(shape) < 2 or shape[0] == 1:
            continue
        weights = math.prod(shape)
        if "patch_embed.0" in name:
            total += fine * weights
        elif "patch_embed.1" in name:
            total += rows * columns * weights
        elif name.startswith("encoder.stages."):
            stage = int(name.split(".")[2])
            at = stage + 1 if ".downsample." in name else stage
            total += positions[at] * weights
            if name.endswith("mixer.qkv.weight"):
                # Scores and weighted sums of values.
                total += 2 * positions[stage] ** 2 * shape[1]
        elif name == "decoder.fc.weight":
            total += columns * weights
        else:
            total += low_rows * columns * weights
            if name.endswith("attn.qkv.weight"):
                total += 2 * low_rows * columns**2 * shape[1]
    return total


def main():
    data, metadata, shapes, quantized = read(sys.argv[1])
    parameters = sum(math.prod(shape) for shape in shapes.values())
    print(f"file: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    print(f"parameters: {parameters}, {8 * len(data) / parameters:.2f} bits each in the file")
    print(f"quantised tensors: {len(quantized)} of {len(shapes)}")
    print(f"temperature: {metadata.get('temperature')}")
    print("config:", json.dumps(metadata["config"]))
    for height, width in ((64, 64), (48, 96), (40, 112), (32, 128), (32, 384)):
        gmac = multiply_accumulates(shapes, height, width) / 1e9
        print(f"{height}x{width}: {gmac:.2f} GMAC")


if __name__ == "__main__":
    main()
