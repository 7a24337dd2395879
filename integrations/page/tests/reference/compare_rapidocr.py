#!/usr/bin/env python3
"""Compares svtrv2-page with RapidOCR and Tesseract on labelled pages. Run by hand.

  compare_rapidocr.py boxes PAGES PROGRAM [OPTIONS..]   the detectors: counts, and intersection over union
  compare_rapidocr.py texts PAGES PROGRAM [OPTIONS..]   word F1 and character error rate of each program
  compare_rapidocr.py times PAGES PROGRAM [OPTIONS..]   seconds a page, wall and CPU, in turn

PAGES is a folder with `regions.jsonl`: {"file", "case", "regions": [{"quad", "text"}]} a page. OPTIONS go to
PROGRAM (svtrv2-page). Needs the packages rapidocr 3.10 and numpy; `texts` and `times` also the program
tesseract. ROUNDS, THREADS and LIMIT of the environment say how often, with how many threads, on how many
pages; WHICH names the programs (svtrv2-page, rapidocr, tesseract).
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

MODE, FOLDER, PROGRAM, *OPTIONS = sys.argv[1:]
FOLDER = Path(FOLDER)
PAGES = [json.loads(line) for line in open(FOLDER / "regions.jsonl", encoding="utf-8")]
PAGES = PAGES[:: max(1, len(PAGES) // int(os.environ.get("LIMIT", len(PAGES))))]
FILES = [str(FOLDER / page["file"]) for page in PAGES]
ROUNDS = int(os.environ.get("ROUNDS", "3"))
WHICH = os.environ.get("WHICH", "svtrv2-page rapidocr tesseract").split()


def rapid(threads):
    from rapidocr import RapidOCR

    engine = "EngineConfig.onnxruntime."
    return RapidOCR(params={
        engine + "intra_op_num_threads": threads, engine + "inter_op_num_threads": 1,
        "Global.log_level": "error"})


def own(*options):
    command = [PROGRAM, *OPTIONS, *options, *FILES]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def clip(subject, quad):
    """The part of a convex polygon inside a convex quadrilateral, both clockwise (y downwards)."""
    for (ax, ay), (bx, by) in zip(quad, quad[1:] + quad[:1]):
        side = lambda p: (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax)
        points = []
        for p, q in zip(subject, subject[1:] + subject[:1]):
            a, b = side(p), side(q)
            if a >= 0:
                points.append(p)
            if a * b < 0:
                t = a / (a - b)
                points.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        subject = points
    return subject


def area(points):
    pairs = zip(points, points[1:] + points[:1])
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs)) / 2


def iou(a, b):
    if max(p[0] for p in a) < min(p[0] for p in b) or max(p[0] for p in b) < min(p[0] for p in a):
        return 0.0
    if max(p[1] for p in a) < min(p[1] for p in b) or max(p[1] for p in b) < min(p[1] for p in a):
        return 0.0
    both = area(clip(a, b))
    return both / max(area(a) + area(b) - both, 1e-9)


def boxes():
    from rapidocr.utils.process_img import map_boxes_to_original

    ours = [json.loads(line)["boxes"] for line in own("--boxes").splitlines()]
    engine = rapid(2)
    found, counts, matched = [], [0, 0], 0
    for file, own_boxes in zip(FILES, ours):
        image = engine.load_img(file)
        resized, record = engine.preprocess_img(image)
        _, result = engine.detect_and_crop(resized, record)
        theirs = map_boxes_to_original(result.boxes.copy(), record, *image.shape[:2])
        theirs = [[tuple(map(float, point)) for point in quad] for quad in theirs]
        own_quads = [[tuple(point) for point in box["quad"]] for box in own_boxes]
        pairs = sorted(((iou(a, b), i, j) for i, a in enumerate(own_quads)
                        for j, b in enumerate(theirs)), reverse=True)
        seen = (set(), set())
        here = []
        for share, i, j in pairs:
            if share >= 0.5 and i not in seen[0] and j not in seen[1]:
                seen[0].add(i)
                seen[1].add(j)
                here.append(share)
        found += here
        matched += len(here)
        counts[0] += len(own_quads)
        counts[1] += len(theirs)
        print(f"{Path(file).name}: {len(own_quads)} and {len(theirs)} boxes, {len(here)} in both, "
              f"mean {sum(here) / max(len(here), 1):.3f}")
    print(f"all: {counts[0]} and {counts[1]} boxes ({counts[0] / counts[1] - 1:+.2%}), {matched} in both, "
          f"mean intersection over union {sum(found) / len(found):.4f}, "
          f"equal {sum(share > 0.999 for share in found) / len(found):.1%}")


QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014", "''\"\"--")


def normal(text, upper):
    text = unicodedata.normalize("NFKC", text).translate(QUOTES)
    return text.upper() if upper else text


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def inside(quad, region):
    """Whether the middle of a quadrilateral lies in the rectangle around a region."""
    x, y = (sum(point[axis] for point in quad) / len(quad) for axis in (0, 1))
    (left, right), (upper, lower) = (
        (min(p[axis] for p in region), max(p[axis] for p in region)) for axis in (0, 1))
    return left <= x <= right and upper <= y <= lower


def score(name, results):
    """Words of a page as a multiset; characters of each labelled region against those whose words lie in it."""
    right = found_words = labelled_words = errors = characters = 0
    for page, words in zip(PAGES, results):
        upper = page["case"] == "upper"
        tokens = lambda text: re.findall(r"\w+", normal(text, upper))
        labels = Counter(t for region in page["regions"] for t in tokens(region["text"]))
        found = Counter(t for text, _ in words for t in tokens(text))
        right += sum((labels & found).values())
        labelled_words += sum(labels.values())
        found_words += sum(found.values())
        for region in page["regions"]:
            here = [(sum(p[0] for p in quad), text) for text, quad in words if inside(quad, region["quad"])]
            joined = "".join(text for _, text in sorted(here))
            squeeze = lambda text: re.sub(r"\s+", "", normal(text, upper))
            label = squeeze(region["text"])
            errors += min(distance(label, squeeze(joined)), len(label))
            characters += len(label)
    precision, recall = right / max(found_words, 1), right / max(labelled_words, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    print(f"{name}: word F1 {100 * f1:.1f} (precision {100 * precision:.1f}, recall {100 * recall:.1f}), "
          f"character error rate {100 * errors / max(characters, 1):.1f} %", flush=True)


def texts():
    if "svtrv2-page" in WHICH:
        lines = [json.loads(line)["lines"] for line in own("--json").splitlines()]
        points = lambda quad: [(p["x"], p["y"]) for p in quad]
        score("svtrv2-page", [[(word["text"], points(word["quad"])) for line in page for word in line["words"]]
                              for page in lines])
    if "rapidocr" in WHICH:
        engine, results = rapid(2), []
        for file in FILES:
            result = engine(file, return_word_box=True, return_single_char_box=False)
            words = []
            for line, quad, parts in zip(result.txts or (), result.boxes if result.txts else (), result.word_results or ()):
                words += [(text, box) for text, _, box in parts] if parts else [(line, quad)]
            results.append(words)
        score("RapidOCR 3.10", results)
    if "tesseract" in WHICH:
        results = []
        for file in FILES:
            command = ["tesseract", file, "-", "-l", "eng", "tsv"]
            table = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            words = []
            for row in table.splitlines()[1:]:
                cells = row.split("\t")
                if cells[0] == "5" and cells[11].strip():
                    left, top, width, height = map(int, cells[6:10])
                    words.append((cells[11], [(left, top), (left + width, top + height)]))
            results.append(words)
        score("Tesseract", results)


def times():
    threads = int(os.environ.get("THREADS", "1"))
    child = ["-c", "import sys\nfrom rapidocr import RapidOCR\n"
             "e = 'EngineConfig.onnxruntime.'\n"
             f"r = RapidOCR(params={{e + 'intra_op_num_threads': {threads}, e + 'inter_op_num_threads': 1,"
             " 'Global.log_level': 'error'})\n"
             "for f in sys.argv[1:]: r(f)\n"]
    environment = dict(os.environ, OMP_THREAD_LIMIT=str(threads))
    commands = {
        "svtrv2-page": [PROGRAM, *OPTIONS, "--threads", str(threads), *FILES],
        "rapidocr": [sys.executable, *child, *FILES],
    }
    found = {name: [] for name in commands if name in WHICH}
    for _ in range(ROUNDS):
        for name in found:
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           env=environment)
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found[name].append((wall / len(FILES), cpu / len(FILES)))
            print(name, f"wall {wall / len(FILES):.3f} CPU {cpu / len(FILES):.3f} s a page", flush=True)
    middle = lambda values: sorted(values)[len(values) // 2]
    for name, rounds in found.items():
        print(f"{threads} threads, {name}: medians wall {middle([r[0] for r in rounds]):.3f}, "
              f"CPU {middle([r[1] for r in rounds]):.3f} s a page")


{"boxes": boxes, "texts": texts, "times": times}[MODE]()
