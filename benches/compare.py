"""Compares the crate with ONNX Runtime, OpenVINO and fast_image_resize, and writes BENCHMARKS.md.

    python3 -m venv weights/venv
    weights/venv/bin/pip install onnxruntime openvino onnx numpy safetensors
    weights/venv/bin/python benches/compare.py

Needs weights/svtrv2_b.safetensors and the ONNX file that it was made from (examples/fetch_weights.sh)
for B; T and S run on pattern weights in graphs that benches/onnx_model.py writes. Everything runs in
turn, round after round; times are medians over rounds, and ratios medians of the rounds' ratios.
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
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/reference"), str(ROOT / "benches")]
import onnx_model  # noqa: E402
import pattern  # noqa: E402

WEIGHTS = ROOT / "weights"
B_ONNX = WEIGHTS / "package/azcrawlerpy_recaptcha_text/svtrv2.onnx"
B_OWN = WEIGHTS / "svtrv2_b.safetensors"
SAMPLE = ROOT / "examples/crops/harbour.png"
SIZES = [(32, 128), (40, 112), (48, 96), (64, 64)]
# Runtimes' threads go on spinning for a while after a run: none may run beside the next one.
PAUSE = 0.1
ROUNDS = 15


def executable():
    command = ["cargo", "bench", "--bench", "serve", "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "serve" and message.get("executable"):
            return message["executable"]
    sys.exit("no bench executable")


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
        return [[float(x) for x in part.split()] for part in parts]

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
    network = core.read_model(model)
    network.reshape({network.inputs[0]: shape})
    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
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


def network_rows(crate):
    """Cells of one and two threads, measured in the same rounds.

    The machine's speed drifts by more than the differences at hand, so what counts is the ratio
    within a round: a row holds the median of every system, and the rounds themselves.
    """
    for letter, stages in [("B", None), ("S", pattern.SMALL), ("T", pattern.TINY)]:
        if stages is None:
            own, graph = B_OWN, lambda *_: B_ONNX.read_bytes()
        else:
            checkpoint = pattern.checkpoint(stages)
            own = WEIGHTS / f"pattern_{letter.lower()}.safetensors"
            save_file(checkpoint, own)
            graph = lambda *size: onnx_model.build(stages, checkpoint, *size)
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
                rounds, passes = (ROUNDS, 3) if batch == 1 else (ROUNDS, 1)
                times = np.zeros((rounds, len(systems)))
                for turn in range(rounds):
                    # Nobody always runs behind the same neighbour.
                    for i in np.roll(np.arange(len(systems)), turn):
                        times[turn, i] = statistics.median(systems[i](passes))
                        time.sleep(PAUSE)
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
    """Medians of 1 and 2 threads beside a process that keeps one core busy."""
    x = images(1, 32, 128)
    model = B_ONNX.read_bytes()
    runtimes = {threads: onnx_runtime(model, threads) for threads in (1, 2)}
    process = multiprocessing.Process(target=spin, daemon=True)
    process.start()
    times = {(name, threads): [] for name in ("svtrv2", "ONNX Runtime") for threads in (1, 2)}
    for _ in range(9):
        for threads in (1, 2):
            words = ("network", B_OWN, 32, 128, 1, threads, 4)
            times["svtrv2", threads] += crate.ask(*words)[0]
            time.sleep(PAUSE)
            times["ONNX Runtime", threads] += timed(runtimes[threads], x, 4)
            time.sleep(PAUSE)
    process.terminate()
    process.join()
    return {key: statistics.median(value) for key, value in times.items()}


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def main():
    crate = Crate(executable())
    rows = list(network_rows(crate))
    compiler = subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True).stdout
    out = [
        "# Benchmarks",
        "",
        "Written by `benches/compare.py`. Absolute figures belong to the machine; compare the",
        f"ratios. Runs alternate over {ROUNDS} rounds; times are medians, in milliseconds; a ratio is",
        "the median of the rounds' ratios, because the machine's speed drifts between rounds.",
        "",
        f"- CPU: {cpu_name()}, {os.cpu_count()} cores; {platform.system()} {platform.machine()}",
        f"- {compiler.strip()}, release profile, instruction set chosen at run time",
        f"- ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__.split('-')[0]},"
        f" Python {platform.python_version()}",
        "- B: a trained network and the ONNX file that it came from. T and S: pattern weights, in",
        "  ONNX graphs of static shape with single operators for layer normalisation and GELU.",
        "",
        "## Network",
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

    times = neighbour(crate)
    out += ["", "Beside a process that keeps one of the cores busy (B, 32x128, batch 1):", ""]
    out += ["| | 1 thread | 2 threads |", "|---|---|---|"]
    for name in ("svtrv2", "ONNX Runtime"):
        out.append(f"| {name} | {times[name, 1]:.1f} | {times[name, 2]:.1f} |")

    out += ["", "## Resizer", "", "fast_image_resize 6 is not bit-identical to Pillow.", ""]
    out += ["| from | to | svtrv2 | fast_image_resize | ratio |", "|---|---|---|---|---|"]
    for sizes in [(320, 96, 128, 32), (1280, 320, 128, 32)]:
        own, other = map(statistics.median, crate.ask("resize", *sizes, 300))
        w, h, nw, nh = sizes
        out.append(f"| {w}x{h} | {nw}x{nh} | {own:.3f} | {other:.3f} | {own / other:.2f} |")

    whole, network = map(statistics.median, crate.ask("recognize", B_OWN, SAMPLE, 60))
    out += ["", "## End to end", ""]
    out.append(
        f"B, one thread, from the bytes of `examples/crops/{SAMPLE.name}` to text: {whole:.2f} ms;"
        f" the network alone {network:.2f} ms; ratio {whole / network:.3f}."
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
    (ROOT / "BENCHMARKS.md").write_text("\n".join(out) + "\n")
    print("\n".join(out))


if __name__ == "__main__":
    main()
