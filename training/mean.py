#!/usr/bin/env python3
"""The mean of two weights files in f32 of one shape: 1 - SHARE of the first, SHARE of the second.

    python3 training/mean.py FIRST SECOND SHARE OUT [KNOWN]

Metadata are those of the first. With KNOWN, a weights file with a charset, the classifier's rows of symbols that are
not in that are those of the second alone: where the first never learned them. Needs numpy.
"""
import json
import struct
import sys

import numpy as np


def read(path):
    """The header and a dictionary of arrays by name."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            sys.exit(f"{path}: {name} is not in f32")
        start, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"])
    return header, arrays


def charset(header):
    return json.loads(header["__metadata__"]["svtrv2"])["charset"]


def main():
    first, second, share, out, *known = sys.argv[1:]
    share = float(share)
    (header, a), (_, b) = read(first), read(second)
    if {name: x.shape for name, x in a.items()} != {name: x.shape for name, x in b.items()}:
        sys.exit("the files have other parameters, or of other shapes")
    names = sorted(a, key=lambda name: header[name]["data_offsets"])
    means = {name: ((1 - share) * a[name] + share * b[name]).astype("<f4") for name in names}
    if known:
        symbols = set(charset(read(known[0])[0]))
        new = [False] + [symbol not in symbols for symbol in charset(header)]
        for name in ("decoder.fc.weight", "decoder.fc.bias"):
            means[name][new] = b[name][new]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(means[name].tobytes() for name in names))


if __name__ == "__main__":
    main()
