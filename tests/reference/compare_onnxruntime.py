"""Counts the texts in which this crate and ONNX Runtime differ on labelled crops.

    pip install Pillow==10.4.0 numpy onnxruntime opencv-python-headless
    SVTRV2_PREDICTIONS=FOLDER ... cargo test --release --features data --test trained word_accuracy -- --ignored
    python tests/reference/compare_onnxruntime.py MODEL.onnx DATA PREDICTIONS/SET.tsv ...

DATA holds a folder SET with labels.tsv for every PREDICTIONS/SET.tsv, whose lines are a path and a
text. Images are decoded by Pillow. For SVTRv2 they are resized by Pillow, at max_ratio 4; for a model
whose metadata hold a dictionary (PP-OCRv6) by OpenCV, to a height of 48. PNG and JPEG are counted
apart: decoders of JPEG may differ.
"""

import math
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime
import PIL
from PIL import Image

CHARSET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)
SIZES = {1: (64, 64), 2: (48, 96), 3: (40, 112), 4: (32, 128)}


def multi_size(image):
    height, width = SIZES[min(max(round(image.width / image.height), 1), 4)]
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return ((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]


def line(image):
    import cv2

    ratio = image.width / image.height
    whole = int(48 * max(320 / 48, ratio))
    width = min(whole, math.ceil(48 * ratio))
    pixels = np.asarray(image)[:, :, ::-1]  # BGR
    pixels = cv2.resize(pixels, (width, 48)).astype(np.float32)
    padded = np.zeros((1, 3, 48, whole), np.float32)
    padded[0, :, :, :width] = ((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1)
    return padded


def read(session, dictionary, path):
    image = Image.open(path).convert("RGB")
    pixels = line(image) if dictionary else multi_size(image)
    (probabilities,) = session.run(None, {session.get_inputs()[0].name: pixels})
    best = probabilities[0].argmax(1)
    kept = [c for i, c in enumerate(best) if c and (i == 0 or c != best[i - 1])]
    symbols = dictionary or CHARSET
    return unicodedata.normalize("NFC", "".join(symbols[c - 1] for c in kept))


def ascii_of(text):
    text = unicodedata.normalize("NFKD", "".join(text.split()))
    return text.encode("ascii", "ignore").decode()


def fold(text):
    return "".join(c for c in ascii_of(text).lower() if c in CHARSET[:36])


def main(model, data, *predictions):
    assert PIL.__version__.startswith("10.4."), PIL.__version__
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    dictionary = session.get_modelmeta().custom_metadata_map.get("character")
    dictionary = dictionary.split("\n") if dictionary else []
    if dictionary:
        dictionary.append(" ")
    print(f"onnxruntime {onnxruntime.__version__}, Pillow {PIL.__version__}")
    failed = False
    for file in map(Path, predictions):
        folder = Path(data).resolve() / file.stem
        labels = dict(
            line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines()
        )
        counts = {"PNG": [0, 0], "JPEG": [0, 0]}
        correct = counted = 0
        for line in file.read_text().splitlines():
            path, text = line.split("\t")
            expected = read(session, dictionary, path)
            kind = counts[Image.open(path).format]
            kind[0] += 1
            kind[1] += text != expected
            if text != expected:
                print(f"  {path}: {text!r}, ONNX Runtime {expected!r}")
            label = labels[str(Path(path).resolve().relative_to(folder))]
            if fold(label) and len(ascii_of(label)) <= 25:
                counted += 1
                correct += fold(expected) == fold(label)
        kinds = ", ".join(f"{d} of {n} {k}" for k, (n, d) in counts.items() if n)
        share = 100 * correct / counted
        print(f"{file.stem}: {kinds} texts differ; ONNX Runtime's word accuracy {share:.2f} %")
        failed |= counts["PNG"][1] > 0
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
