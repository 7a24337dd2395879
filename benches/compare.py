"""Compares the crate with its peers, and writes BENCHMARKS.md.

    python3 -m venv weights/venv
    weights/venv/bin/pip install onnxruntime openvino onnx numpy safetensors Pillow \
        pyctcdecode pygtrie fast-ctc-decode
    weights/venv/bin/python benches/compare.py [SECTION ..]

Sections: network, int8 and lines (of this CPU's instruction set), neighbour, resizer, end-to-end, decoding, training
(needs Debian's python3-torch and libopenblas0-pthread); those that are not named keep what
BENCHMARKS.md says of them. Without any, all are measured.

Needs weights/svtrv2_b.safetensors and the ONNX file that it was made from (examples/fetch_weights.sh)
for B; T and S run on pattern weights in graphs that benches/reference_graph.py writes. The section of int8
also takes files of `svtrv2 convert --int8` that are there: weights/svtrv2_b_int8.safetensors (with
weights of 8 bits, of earlier versions), and with weights of 7 bits svtrv2_b_int8_7 (`--calibrate`),
normal_s_int8_7 and normal_t_int8_7 (`--english` of normal_s and normal_t, which the section writes).
Lines takes weights/ppocrv6_small.safetensors (examples/fetch_weights.sh ppocrv6-small) and
weights/ppocrv6_small_int8.safetensors (`svtrv2 convert --int8` of it). Decoding takes the word list of Debian's package wamerican for its language model. Everything runs in turn,
round after round; times are medians over rounds, and ratios medians of the rounds' ratios.
"""

import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/reference"), str(ROOT / "benches")]
import reference_graph  # noqa: E402
import pattern  # noqa: E402

WEIGHTS = ROOT / "weights"
B_ONNX = WEIGHTS / "package/azcrawlerpy_recaptcha_text/svtrv2.onnx"
B_OWN = WEIGHTS / "svtrv2_b.safetensors"
# Files of `svtrv2 convert --int8`, beside the networks that are rounded when they are opened.
INT8_FILES = {
    "B": {"B, calibrated": "svtrv2_b_int8", "B, 7 bits": "svtrv2_b_int8_7"},
    "S": {"S, 7 bits": "normal_s_int8_7"},
    "T": {"T, 7 bits": "normal_t_int8_7"},
}
SMALL_ONNX = WEIGHTS / "package/rapidocr/models/PP-OCRv6_rec_small.onnx"
SMALL_OWN = WEIGHTS / "ppocrv6_small.safetensors"
SMALL_INT8 = WEIGHTS / "ppocrv6_small_int8.safetensors"
SAMPLE = ROOT / "examples/crops/harbour.png"
SIZES = [(32, 128), (40, 112), (48, 96), (64, 64)]
# Runtimes' threads go on spinning for a while after a run: none may run beside the next one.
PAUSE = 0.1
ROUNDS = int(os.environ.get("ROUNDS", 15))


def executable(bench, *options, flags=""):
    command = ["cargo", "bench", "-p", "svtrv2-benches", "--bench", bench, *options, "--no-run", "--message-format=json"]
    env = dict(os.environ)
    if flags:
        env |= {"RUSTFLAGS": flags, "CARGO_TARGET_DIR": str(ROOT / "target/flags")}
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True, env=env).stdout
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == bench and message.get("executable"):
            return message["executable"]
    sys.exit("no bench executable")


def number(word):
    """A number, or the word if it is none."""
    try:
        return float(word)
    except ValueError:
        return word


class Crate:
    def __init__(self, path):
        self.path = path
        self.start()

    def start(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([self.path], stdin=pipe, stdout=pipe, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        parts = self.process.stdout.readline().split("|")
        return [[number(x) for x in part.split()] for part in parts]

    def fresh(self):
        self.process.stdin.close()
        self.process.wait()
        self.start()


def images(batch, height, width):
    values = np.sin(np.arange(batch * 3 * height * width, dtype=np.float32) * np.float32(0.37))
    return values.reshape(batch, 3, height, width).astype(np.float32)


def onnx_runtime(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def open_vino(model, threads, shape):
    core = openvino.Core()
    network = model if isinstance(model, openvino.Model) else core.read_model(model)
    network.reshape({network.inputs[0]: shape})
    # Where the CPU has bf16, OpenVINO would compute in it.
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(network, "CPU", config)
    request = compiled.create_infer_request()
    return lambda x: request.infer({0: x})[0]


def timed(run, x, passes):
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        run(x)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def rounds(systems, count, passes):
    """Times [round, system], each the median of some passes. `systems` take a number of passes."""
    times = np.zeros((count, len(systems)))
    for turn in range(count):
        # Nobody always runs behind the same neighbour.
        for i in np.roll(np.arange(len(systems)), turn):
            times[turn, i] = statistics.median(systems[i](passes))
            time.sleep(PAUSE)
    return times


def models():
    """The letter, the weights file, and what makes the ONNX graph of a batch, height and width."""
    for letter, stages in [("B", None), ("S", pattern.SMALL), ("T", pattern.TINY)]:
        if stages is None:
            own, graph = B_OWN, lambda *_: B_ONNX.read_bytes()
        else:
            checkpoint = pattern.checkpoint(stages)
            own = WEIGHTS / f"pattern_{letter.lower()}.safetensors"
            save_file(checkpoint, own)
            graph = lambda *size, s=stages, c=checkpoint: reference_graph.build(s, c, *size)
        yield letter, own, graph


def bell_shaped(checkpoint):
    """The same network with matrices of normally distributed weights, as those of trained networks are nearly.

    (Pattern weights are uniform.) How fast weights of 7 bits are depends on how many are large.
    """
    random = np.random.default_rng(0)
    draw = lambda x: (random.standard_normal(x.shape) * x.std()).astype(np.float32)
    return {name: draw(x) if x.ndim > 1 else x for name, x in checkpoint.items()}


def network_rows(crate):
    """Cells of one and two threads, measured in the same rounds.

    The machine's speed drifts by more than the differences at hand, so what counts is the ratio
    within a round: a row holds the median of every system, and the rounds themselves.
    """
    for letter, own, graph in models():
        for batch in (1, 8):
            for height, width in SIZES:
                model = graph(batch, height, width)
                x = images(batch, height, width)
                systems = []
                for threads in (1, 2):
                    words = ("network", own, height, width, batch, threads)
                    ours = lambda passes, words=words: crate.ask(*words, passes)[0]
                    ours(1)
                    others = [onnx_runtime(model, threads), open_vino(model, threads, x.shape)]
                    assert np.abs(others[1](x) - others[0](x)).max() < 1e-3
                    systems.append(ours)
                    systems += [lambda n, run=run: timed(run, x, n) for run in others]
                times = rounds(systems, ROUNDS, 3 if batch == 1 else 1)
                row = (letter, batch, f"{height}x{width}", times)
                print(*row[:3], np.median(times, axis=0).round(2), flush=True)
                yield row


def ratio(times, a, b):
    """The median over rounds of one system's time divided by another's."""
    return np.median(times[:, a] / times[:, b])


def spin():
    while True:
        pass


def neighbour(crate):
    """1 and 2 threads beside a process that keeps one core busy, in the same rounds."""
    x = images(1, 32, 128)
    model = B_ONNX.read_bytes()
    systems = []
    for threads in (1, 2):
        words = ("network", B_OWN, 32, 128, 1, threads)
        systems.append(lambda n, words=words: crate.ask(*words, n)[0])
        systems.append(lambda n, run=onnx_runtime(model, threads): timed(run, x, n))
    process = multiprocessing.Process(target=spin, daemon=True)
    process.start()
    times = rounds(systems, ROUNDS, 5)
    process.terminate()
    process.join()
    medians = np.median(times, axis=0)
    out = ["## Beside a busy neighbour", ""]
    out += ["B, 32x128, batch 1, while a process keeps one of the cores busy:", ""]
    out += ["| | 1 thread | 2 threads | 2 threads / 1 thread |", "|---|---|---|---|"]
    for i, name in enumerate(("svtrv2", "ONNX Runtime")):
        both = ratio(times, i + 2, i)
        out.append(f"| {name} | {medians[i]:.1f} | {medians[i + 2]:.1f} | {both:.3f} |")
    return out


def cpu_name():
    """The processor and the widest vectors that it has."""
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", "").split()
    widest = next((f"with {w}" for w in ("avx512f", "avx2") if w in flags), "")
    return f"{fields.get('model name', platform.processor())} {widest}".strip()


def head():
    compiler = subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True).stdout
    return [
        "# Benchmarks",
        "",
        "Written by `benches/compare.py`. Absolute figures belong to the machine; compare the",
        "ratios. Runs alternate over rounds; times are medians, in milliseconds; a ratio is the median",
        "of the rounds' ratios, because the machine's speed drifts between rounds.",
        "",
        f"- {os.cpu_count()} cores; {platform.system()} {platform.machine()}; the CPU is named below",
        "  every section",
        f"- {compiler.strip()}, release profile, instruction set chosen at run time",
        f"- ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__.split('-')[0]},"
        f" Python {platform.python_version()}",
        "- B: a trained network and the ONNX file that it came from. T and S: pattern weights, in",
        "  ONNX graphs of static shape with single operators for layer normalisation and GELU.",
    ]


def network(crate):
    rows = list(network_rows(crate))
    out = [
        SECTIONS["network"][0],
        "",
        "| model | batch | size | threads | svtrv2 | ONNX Runtime | OpenVINO | / ONNX Runtime |"
        " / OpenVINO |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for letter, batch, size, times in rows:
        for threads in (1, 2):
            own = 3 * (threads - 1)
            cells = [f"{t:.2f}" for t in np.median(times, axis=0)[own : own + 3]]
            cells += [f"{ratio(times, own, own + i):.3f}" for i in (1, 2)]
            out.append(f"| {letter} | {batch} | {size} | {threads} | {' | '.join(cells)} |")
    out += ["", "What a second thread brings:", ""]
    out += ["| model | batch | size | svtrv2 | ONNX Runtime | OpenVINO |"]
    out.append("|---|---|---|---|---|---|")
    for letter, batch, size, times in rows:
        gains = " | ".join(f"{ratio(times, i, i + 3):.2f}" for i in range(3))
        out.append(f"| {letter} | {batch} | {size} | {gains} |")
    return out


def without_softmax(path):
    """A model of PP-OCRv6 whose output are the logits, which is what ours gives here."""
    import onnx

    model = onnx.load(path)
    (last,) = [n for n in model.graph.node if model.graph.output[0].name in n.output]
    assert last.op_type == "Softmax"
    model.graph.output[0].name = last.input[0]
    model.graph.node.remove(last)
    return model.SerializeToString()


def lines(crate):
    """PP-OCRv6 small, in f32 and from an int8 file, beside ONNX Runtime in f32."""
    avx2 = Crate(executable("serve", flags='--cfg svtrv2_isa="avx2"'))
    model = without_softmax(SMALL_ONNX)
    out = [SECTIONS["lines"][0], ""]
    out += [
        "PP-OCRv6 small to the logits of its 18 710 classes; int8 is a file of `svtrv2 convert --int8`;",
        "with AVX2 alone both are this crate built with `--cfg svtrv2_isa=\"avx2\"`.",
        "",
        "| batch | size | threads | f32 | int8 | ONNX Runtime | f32, AVX2 | int8, AVX2 | f32 / ONNX Runtime"
        " | int8 / f32 | int8 / f32, AVX2 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for batch in (1, 8):
        for width in (192, 320, 960):
            x = images(batch, 48, width)
            for threads in (1, 2):
                systems = []
                for kind, own, program in [
                    ("network", SMALL_OWN, crate),
                    ("network-int8", SMALL_INT8, crate),
                    (None, None, None),
                    ("network", SMALL_OWN, avx2),
                    ("network-int8", SMALL_INT8, avx2),
                ]:
                    if kind is None:
                        run = onnx_runtime(model, threads)
                        run(x)
                        systems.append(lambda n, run=run: timed(run, x, n))
                        continue
                    words = (kind, own, 48, width, batch, threads)
                    ask = lambda n, words=words, program=program: program.ask(*words, n)[0]
                    ask(1)
                    systems.append(ask)
                times = rounds(systems, ROUNDS, 3 if batch == 1 else 1)
                cells = [f"{t:.2f}" for t in np.median(times, axis=0)]
                cells += [f"{ratio(times, a, b):.3f}" for a, b in ((0, 2), (1, 0), (4, 3))]
                out.append(f"| {batch} | 48x{width} | {threads} | {' | '.join(cells)} |")
                print(out[-1], flush=True)
    return out


def resizer(crate):
    out = ["## Resizer", "", "fast_image_resize 6 is not bit-identical to Pillow.", ""]
    out += ["| from | to | svtrv2 | fast_image_resize | ratio |", "|---|---|---|---|---|"]
    for sizes in [(320, 96, 128, 32), (1280, 320, 128, 32)]:
        times = np.array([crate.ask("resize", *sizes, 40) for _ in range(ROUNDS)])
        times = np.median(times, axis=2)
        own, other = np.median(times, axis=0)
        w, h, nw, nh = sizes
        both = ratio(times, 0, 1)
        out.append(f"| {w}x{h} | {nw}x{nh} | {own:.3f} | {other:.3f} | {both:.2f} |")
    return out


def end_to_end(crate):
    whole, alone = map(statistics.median, crate.ask("recognize", B_OWN, SAMPLE, 60))
    out = ["## End to end", ""]
    out.append(
        f"B, one thread, from the bytes of `examples/crops/{SAMPLE.name}` to text: {whole:.2f} ms;"
        f" the network alone {alone:.2f} ms; ratio {whole / alone:.3f}."
    )
    firsts, warms, peaks = [], [], []
    for _ in range(7):
        crate.fresh()
        first, warm, peak = crate.ask("open", B_OWN, SAMPLE)
        firsts += first
        warms += warm
        peaks += peak
    out.append("")
    out.append(
        f"From the path of the weights file to the first text: {statistics.median(firsts):.0f} ms"
        f" (a warm recognition takes {statistics.median(warms):.0f} ms). Peak resident memory:"
        f" {max(peaks):.0f} MB, of which the weights are 79 MB."
    )
    return out


def decoding(crate):
    import decoders

    return decoders.section(crate, rounds, ROUNDS)


def train(crate):
    import training

    return training.section(executable("train_step", "--features", "train"), rounds, ROUNDS)


def in_int8(crate):
    import int8

    def with_files():
        for letter, own, graph in models():
            yield letter, own, graph
            if own != B_OWN:
                save_file(bell_shaped(load_file(own)), WEIGHTS / f"normal_{letter.lower()}.safetensors")
            for name, file in INT8_FILES[letter].items():
                path = WEIGHTS / f"{file}.safetensors"
                if path.exists():
                    yield name, path, graph

    tools = (onnx_runtime, open_vino, timed)
    title = SECTIONS["int8"][0]
    avx2 = Crate(executable("serve", flags='--cfg svtrv2_isa="avx2"'))
    return int8.section(title, (crate, avx2), with_files(), images, tools, rounds, ratio, ROUNDS)


SECTIONS = {
    "network": (f"## Network, {cpu_name().split()[-1]}", network),
    "int8": (f"## int8, {cpu_name().split()[-1]}", in_int8),
    "lines": (f"## PP-OCRv6, {cpu_name().split()[-1]}", lines),
    "neighbour": ("## Beside a busy neighbour", neighbour),
    "resizer": ("## Resizer", resizer),
    "end-to-end": ("## End to end", end_to_end),
    "decoding": ("## Decoding", decoding),
    "training": ("## Training", train),
}


def main():
    wanted = sys.argv[1:] or list(SECTIONS)
    if unknown := set(wanted) - set(SECTIONS):
        sys.exit(f"no such section: {', '.join(unknown)}")
    file = ROOT / "BENCHMARKS.md"
    old = {}
    for part in file.read_text().split("\n## ")[1:] if file.exists() else []:
        old["## " + part.split("\n")[0]] = ("## " + part).rstrip("\n")
    crate = Crate(executable("serve"))
    parts = ["\n".join(head())]
    for name, (title, measure) in SECTIONS.items():
        if name in wanted:
            source = f"Measured on {cpu_name()}, {ROUNDS} rounds."
            parts.append("\n".join(measure(crate) + ["", source]))
            print(parts[-1], flush=True)
            old.pop(title, None)
        elif title in old:
            parts.append(old.pop(title))
    # Of another CPU, or by another name.
    parts += old.values()
    file.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
