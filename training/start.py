#!/usr/bin/env python3
"""Gives a network another charset, in a student and a teacher.

    python3 training/start.py network.safetensors charset.txt start.safetensors teacher.safetensors

The classifier's rows of the symbols are kept. The student's rows of new symbols are those of the nearest known
symbol, with fewer marks, and a lower bias; the teacher never gives new symbols. The network is in f32, the charset
has a symbol a line. Needs numpy and safetensors.
"""
import json
import sys
import unicodedata

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file

# What new symbols without a base letter look like.
LIKE = {
    "″": '"', "‹": "<", "›": ">", "„": '"', "‚": ",", "−": "-", "‐": "-", "ẞ": "B", "№": "N", "¡": "i", "‘": "'",
    "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": ".", "•": ".", "€": "E", "£": "E", "¥": "Y", "¢": "c",
    "§": "S", "°": "o", "©": "C", "®": "R", "™": "T", "×": "x", "½": "1",
}
# A gap looks like the blank, class 0.
BLANK = {" ": 0}
LOWER_BIAS, NEVER = 4.0, -30.0


def nearest(symbol, known):
    parts = unicodedata.normalize("NFD", symbol)
    for count in range(len(parts) - 1, 0, -1):
        fewer = [parts[:count]] + ([parts[0] + parts[2:]] if len(parts) == 3 else [])
        for candidate in fewer:
            candidate = unicodedata.normalize("NFC", candidate)
            if candidate in known:
                return candidate
    return LIKE[symbol]


def main():
    source, charset, student, teacher = sys.argv[1:]
    with safe_open(source, "np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    stored = json.loads(metadata["svtrv2"])
    rows = {symbol: index + 1 for index, symbol in enumerate(stored["charset"])}
    symbols = open(charset, encoding="utf8").read().split("\n")[:-1]
    stored["charset"], stored["config"]["num_classes"] = symbols, len(symbols) + 1
    metadata = {"svtrv2": json.dumps(stored, ensure_ascii=False)}
    weight, bias = tensors["decoder.fc.weight"], tensors["decoder.fc.bias"]
    known = BLANK | rows
    kept = [known[symbol] if symbol in known else rows[nearest(symbol, rows)] for symbol in symbols]
    new = numpy.array([False] + [symbol not in rows for symbol in symbols])
    print("new:", "".join(symbol for symbol in symbols if symbol not in rows))
    tensors["decoder.fc.weight"] = weight[[0] + kept]
    tensors["decoder.fc.bias"] = bias[[0] + kept] - LOWER_BIAS * new.astype("f4")
    save_file(tensors, student, metadata)
    tensors["decoder.fc.weight"] = tensors["decoder.fc.weight"] * ~new[:, None]
    tensors["decoder.fc.bias"] = numpy.where(new, numpy.float32(NEVER), tensors["decoder.fc.bias"])
    save_file(tensors, teacher, metadata)


if __name__ == "__main__":
    main()
