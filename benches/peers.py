#!/usr/bin/env python3
"""Word accuracy and time of PP-OCR's recognition models and of this crate on labelled crops.

    python3 -m venv venv && venv/bin/pip install rapidocr-onnxruntime==1.4.4 rapidocr==3.10.0 onnxruntime
    venv/bin/python benches/peers.py data/held data/cute80_288 --program target/release/svtrv2 \
        --weights embedded --weights weights/svtrv2_b.safetensors [--csv peers.csv] [--threads 2]

The models are those inside the two packages: PP-OCRv4 mobile and PP-OCRv6 small. A data set is a
folder with `labels.tsv` (path, tab, text), or a folder of such. Every crop goes through the recognition
model alone, greedy. Preprocessing is PaddleOCR's: BGR, bilinear to a height of 48, padded to an aspect
ratio of at least 320:48. Word accuracy is the published protocol's: lower case, 0-9 and a-z only; labels
without any of them or of more than 25 characters do not count.

Every model recognises the crops of a set one by one, then the next model does; `--rounds` repeats that, and the
time is the median of the rounds: of resizing, the network and greedy decoding of a crop, not of its file.
"""
import argparse
import csv
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
import unicodedata

import cv2
import numpy as np
import onnxruntime

PEERS = {
    "PP-OCRv4 mobile": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    "PP-OCRv6 small": ("rapidocr", "models/PP-OCRv6_rec_small.onnx"),
}
HEIGHT = 48
LEAST_RATIO = 320 / 48


def datasets(paths):
    """Names, folders and samples (file, label) of the sets in these folders."""
    for path in paths:
        folders = [path] if os.path.isfile(os.path.join(path, "labels.tsv")) else sorted(
            os.path.join(path, name) for name in os.listdir(path))
        for folder in folders:
            listing = os.path.join(folder, "labels.tsv")
            if not os.path.isfile(listing):
                continue
            with open(listing, encoding="utf-8") as lines:
                pairs = [line.rstrip("\n").split("\t", 1) for line in lines if "\t" in line]
            yield os.path.basename(os.path.normpath(folder)), folder, [
                (os.path.join(folder, file), label) for file, label in pairs]


def filtered(text):
    """What the published protocol compares."""
    return "".join(c for c in text.lower() if c.isascii() and c.isalnum())


def counts(label):
    folded = unicodedata.normalize("NFKD", "".join(label.split()))
    folded = folded.encode("ascii", "ignore").decode()
    return len(folded) <= 25 and filtered(folded) != ""


class Program:
    """This crate's command-line tool with some weights."""

    def __init__(self, program, weights, threads, turn_tall):
        self.command = [program, "evaluate", "--json", "--batch", "1", "--threads", str(threads)]
        if weights != "embedded":
            self.command += ["--weights", weights]
        if turn_tall:
            self.command += ["--orientation", "rotate-tall"]

    def evaluate(self, folder, _samples):
        """Words, word accuracy and exact in percent, milliseconds a crop."""
        # The exit status is 1 also if a sample has no result.
        run = subprocess.run([*self.command, folder], capture_output=True, text=True)
        if not run.stdout:
            sys.exit(run.stderr)
        (row,) = json.loads(run.stdout)["averages"]
        word, exact = (100 * row[name] for name in ("word_accuracy", "exact_accuracy"))
        return row["words"], word, exact, row["milliseconds"]


class Peer:
    """A recognition model of PP-OCR under ONNX Runtime."""

    def __init__(self, package, model, threads, turn_tall):
        self.turn_tall = turn_tall
        spec = importlib.util.find_spec(package)
        if spec is None:
            sys.exit(f"the package {package} is not installed")
        self.path = os.path.join(os.path.dirname(spec.origin), model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            self.path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        symbols = self.session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self.classes = ["", *symbols, " "]

    def read(self, image):
        height, width = image.shape[:2]
        ratio = max(LEAST_RATIO, width / height)
        full = int(HEIGHT * ratio)
        wide = min(full, math.ceil(HEIGHT * width / height))
        pixels = cv2.resize(image, (wide, HEIGHT)).astype(np.float32) / 127.5 - 1
        padded = np.zeros((1, 3, HEIGHT, full), np.float32)
        padded[0, :, :, :wide] = pixels.transpose(2, 0, 1)
        scores = self.session.run(None, {self.input: padded})[0][0]
        best = scores.argmax(1)
        kept = [c for i, c in enumerate(best) if c != 0 and (i == 0 or c != best[i - 1])]
        return "".join(self.classes[c] for c in kept)

    def evaluate(self, _folder, samples):
        """Words, word accuracy and exact in percent, milliseconds a crop."""
        words = right = exact = 0
        spent = 0.0
        for file, label in samples:
            image = cv2.imread(file)
            if image is None or not counts(label):
                continue
            if self.turn_tall and image.shape[0] > 1.5 * image.shape[1]:
                image = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
            start = time.perf_counter()
            text = self.read(image)
            spent += time.perf_counter() - start
            words += 1
            right += filtered(text) == filtered(label)
            exact += text == label
        return words, 100 * right / words, 100 * exact / words, 1000 * spent / words


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--csv", help="writes the table here, too")
    parser.add_argument("--turn-tall", action="store_true",
                        help="turn crops taller than 1.5 times their width against the clock")
    parser.add_argument("--program", help="the command-line tool of this crate")
    parser.add_argument("--weights", action="append", default=[],
                        help="weights for the tool, or `embedded`; may be given more than once")
    arguments = parser.parse_args()
    sets = list(datasets(arguments.sets))
    if not sets:
        sys.exit("no labels.tsv there")
    if arguments.weights and not arguments.program:
        parser.error("--weights needs --program")
    threads, turn_tall = arguments.threads, arguments.turn_tall
    models = {}
    for weights in arguments.weights:
        models[weights] = Program(arguments.program, weights, threads, turn_tall)
    for peer, (package, model) in PEERS.items():
        models[peer] = Peer(package, model, threads, turn_tall)
    measured = {(model, name): [] for model in models for name, *_ in sets}
    for _ in range(arguments.rounds):
        for name, folder, samples in sets:
            for model, recognizer in models.items():
                measured[model, name].append(recognizer.evaluate(folder, samples))
    rows = []
    for model in models:
        of_sets = []
        for name, *_ in sets:
            rounds = measured[model, name]
            words, right, exact, _ = rounds[0]
            spent = statistics.median(round[3] for round in rounds)
            rows.append([model, name, words, f"{right:.2f}", f"{exact:.2f}", f"{spent:.2f}"])
            of_sets.append((right, exact, spent))
        means = [f"{statistics.mean(values):.2f}" for values in zip(*of_sets)]
        rows.append([model, "average", "", *means])
    header = ["model", "set", "words", "word accuracy", "exact", "ms"]
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        cells = [str(c).ljust(w) if i < 2 else str(c).rjust(w)
                 for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
