#!/usr/bin/env python3
"""The mean of the Latin network's weights before and after a stage, in f32.

    python3 training/latin/mean.py BEFORE AFTER SHARE PPOCRV6 OUT

SHARE is that of AFTER. The classifier's rows of symbols that PP-OCRv6 does not know are those of AFTER alone: before
they were never right. Needs numpy and safetensors.
"""
import json
import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file


def charset(file):
    return json.loads(file.metadata()["svtrv2"])["charset"]


def main():
    before, after, share, ppocrv6, out = sys.argv[1:]
    with safe_open(before, "np") as first, safe_open(after, "np") as second, safe_open(ppocrv6, "np") as known:
        symbols = set(charset(known))
        new = numpy.array([False] + [symbol not in symbols for symbol in charset(first)])
        means = {}
        for name in first.keys():
            a, b = first.get_tensor(name), second.get_tensor(name)
            shares = numpy.full(a.shape, float(share), "f4")
            if name.startswith("decoder.fc."):
                shares[new] = 1.0
            means[name] = ((1 - shares) * a + shares * b).astype("f4")
        save_file(means, out, first.metadata())


if __name__ == "__main__":
    main()
