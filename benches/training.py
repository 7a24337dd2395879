"""The section of BENCHMARKS.md on training: a step of this crate and of PyTorch."""

import os
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Debian's python3-torch (with libopenblas0-pthread): the system's interpreter has it.
PYTHON = "/usr/bin/python3"
VARIANTS = [("T", 32, 32, 128)]


class Stepper:
    """A process that makes training steps, with a number of threads."""

    def __init__(self, command, threads, shape):
        # PyTorch's matrix products and its other operations have pools of their own.
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        self.threads = threads
        self.process = subprocess.Popen(
            command + [str(x) for x in shape],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
        )
        self.name = self.process.stdout.readline().strip()
        self(2)

    def __call__(self, steps):
        self.process.stdin.write(f"{self.threads} {steps}\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]

    def peak(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def section(own, rounds, count):
    """`own` is the bench executable; `rounds` that of compare.py."""
    torch = [PYTHON, str(ROOT / "benches/train_torch.py")]
    out = ["## Training", ""]
    rows = []
    for letter, *shape in VARIANTS:
        steppers = [
            Stepper(command, threads, [letter.lower(), *shape])
            for threads in (1, 2)
            for command in ([own], torch)
        ]
        times = rounds(steppers, count, 2)
        medians = np.median(times, axis=0)
        for i, threads in enumerate((1, 2)):
            a, b = 2 * i, 2 * i + 1
            both = np.median(times[:, a] / times[:, b])
            peaks = [f"{steppers[j].peak():.0f}" for j in (a, b)]
            batch, height, width = shape
            rows.append(
                f"| {letter} | {batch} | {height}x{width} | {threads} | {medians[a]:.0f} |"
                f" {medians[b]:.0f} | {both:.3f} | {' | '.join(peaks)} |"
            )
        torch_name = steppers[1].name
        for stepper in steppers:
            stepper.close()
    out.append(
        f"A step (forward, CTC loss, backward, AdamW) beside {torch_name} with OpenBLAS and oneDNN,"
        " milliseconds, and the peak of resident memory, MB."
    )
    out += ["", "| model | batch | size | threads | svtrv2 | PyTorch | ratio | MB | PyTorch's MB |"]
    out += ["|---|---|---|---|---|---|---|---|---|"] + rows
    return out
