"""Decoding, for compare.py: the crate against pyctcdecode and fast-ctc-decode."""

import logging
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import fast_ctc_decode
import numpy as np
import onnxruntime
from PIL import Image, ImageFilter
from safetensors.numpy import save_file

logging.disable(logging.WARNING)
import pyctcdecode  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights"
MODEL = WEIGHTS / "package/azcrawlerpy_recaptcha_text/svtrv2.onnx"
WORDS = Path("/usr/share/dict/american-english")
BEAM = 10
CHARACTERS = (
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)


def log_softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def of_network():
    """Scores [count, 32, 95] of the sample crops, as they are and more and more degraded."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    random = np.random.default_rng(1)
    scores = []
    for path in sorted((ROOT / "examples/crops").glob("*.[pj][np]g")):
        for level in range(8):
            crop = Image.open(path).convert("RGB")
            crop = crop.filter(ImageFilter.GaussianBlur(0.5 * level)).resize((128, 32))
            pixels = np.asarray(crop, dtype=np.float32) + random.normal(0, 5 * level, (32, 128, 3))
            x = (pixels.clip(0, 255) / 127.5 - 1).transpose(2, 0, 1)[None].astype(np.float32)
            scores.append(np.log(session.run(None, {name: x})[0][0].clip(1e-30)))
    return np.stack(scores)


def flat(count, steps, classes):
    """Scores that say next to nothing: the worst case."""
    random = np.random.default_rng(2)
    return log_softmax(random.normal(0, 2, (count, steps, classes)))


def peaked(count, steps, classes):
    """Scores of a network that is sure of most of its steps, with half of them blank."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 1.5, (count, steps, classes))
    chosen = random.integers(1, classes, (count, steps)) * (random.random((count, steps)) < 0.5)
    height = random.uniform(9, 18, (count, steps, 1))
    np.put_along_axis(logits, chosen[..., None], height, axis=2)
    return log_softmax(logits)


def passes_of(decode, scores):
    """A system in the form that compare.rounds takes: milliseconds a matrix of every pass."""

    def run(passes):
        times = []
        for _ in range(passes):
            start = time.perf_counter()
            for one in scores:
                decode(one)
            times.append((time.perf_counter() - start) * 1e3 / len(scores))
        return times

    return run


def section(crate, rounds, count):
    arpa = WEIGHTS / "words.arpa"
    command = ["cargo", "run", "--release", "-p", "svtrv2-cli", "--", "ngram", "--cases", WORDS, arpa]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    names = [f"{name} {version(name)}" for name in ("pyctcdecode", "fast-ctc-decode")]
    out = ["## Decoding", ""]
    out += [f"Beam width {BEAM}, one thread, milliseconds for the scores of one crop. {names[0]}"]
    out += [f"prunes by its defaults; {names[1]} does not prune, or cuts at 0.001. The crate: not"]
    out += ["pruned, by its defaults, and with a 5-gram model of English words.", ""]
    heads = ["scores", names[0].split()[0], "fast-ctc-decode", "the same, cut"]
    heads += ["svtrv2, not pruned", "svtrv2", "with a language model", "greedy"]
    out += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    ratios = []
    alphabets = {95: ["", *CHARACTERS], 6625: ["", *map(chr, range(0x4E00, 0x4E00 + 6624))]}
    cases = [
        ("network, 32 x 95", of_network()),
        ("flat, 32 x 95", flat(56, 32, 95)),
        ("peaked, 80 x 6625", peaked(10, 80, 6625)),
    ]
    for name, scores in cases:
        scores = scores.astype(np.float32)
        labels = alphabets[scores.shape[2]]
        file = WEIGHTS / "scores.safetensors"
        save_file({"scores": scores}, file)
        python = pyctcdecode.build_ctcdecoder(labels)
        beams = lambda one: python.decode_beams(one, beam_width=BEAM)
        search = fast_ctc_decode.beam_search
        theirs = lambda cut: lambda one: search(one, labels, BEAM, cut)
        own = lambda kind: lambda passes: crate.ask("decode", file, kind, passes)[0]
        probabilities = np.exp(scores)
        small = scores.shape[2] == 95
        systems = {
            "python": passes_of(beams, scores),
            "own unpruned": own("unpruned"),
            "own": own("beam"),
            "greedy": own("greedy"),
        }
        if small:
            systems["unpruned"] = passes_of(theirs(0.0), probabilities)
            systems["cut"] = passes_of(theirs(0.001), probabilities)
            systems["model"] = own(arpa)
        times = dict(zip(systems, rounds(list(systems.values()), count, 1).T))
        order = ["python", "unpruned", "cut", "own unpruned", "own", "model", "greedy"]
        cells = [f"{np.median(times[key]):.3f}" if key in times else "" for key in order]
        out.append(f"| {name} | {' | '.join(cells)} |")
        faster = lambda a, b: np.median(times[a] / times[b])
        ratios.append(f"- {name}: {faster('python', 'own'):.0f} times as fast as pyctcdecode")
        if not small:
            # Seconds a crop, and without a cut more than 13 GB of memory: too much for rounds.
            (once,) = passes_of(theirs(0.0001), probabilities[:1])(1)
            ratios[-1] += f"; fast-ctc-decode, cut at 0.0001, took {once / 1e3:.1f} s for one crop."
            continue
        ratios[-1] += (
            f", {faster('cut', 'own'):.1f} times as fast as fast-ctc-decode (both pruned),"
            f" {faster('unpruned', 'own unpruned'):.1f} times (both not pruned)."
        )
        # They solve the same problem: nearly always with the same text.
        _, texts = crate.ask("decode", file, "unpruned", 1)
        spell = lambda text: "".join(labels[int(c)] for c in text.strip(";").split(",") if c)
        same = sum(
            spell(own) == search(one, labels, BEAM)[0]
            for own, one in zip(texts, probabilities, strict=True)
        )
        ratios[-1] += f" fast-ctc-decode finds the same text in {same} of {len(texts)}."
    return out + [""] + ratios
