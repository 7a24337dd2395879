#!/usr/bin/env python3
"""The training of docs/training.md in PyTorch, for a GPU: the same losses, optimiser and schedule.

The crate loads, renders, augments and resizes; this program reads its batches:

    svtrv2 train english.toml --stream |
        python3 train.py english.toml start.safetensors trained.safetensors --rate 4e-4 --minutes 30

Settings are those of the file, except that gradients are those of one batch, and that the learning
rate is given for it. Several networks may learn from the same batches: START and OUT are given once for
each. Weights are exact files of the crate (`svtrv2 train --export`), batch norms folded; what is written are
the running averages. `--batches N` ends after so many, instead of by time; `--log FILE` takes a table
of losses. `--held FILE` has batches to evaluate on, made once:

    svtrv2 train held.toml --stream --count 918 --set recipe.batch_size=1 > held.batches

On a CPU it computes in f32, on a GPU in bfloat16 with weights and sums of the optimiser in f32.
Needs PyTorch 2, numpy and Python 3.11.
"""
import argparse
import json
import math
import os
import queue
import sys
import threading
import time
import tomllib

import torch
import torch.nn.functional as F

import network


def read_batches(file):
    """Batches of a stream: images `[batch, 3, height, width]` of bytes, and labels."""
    while line := file.readline():
        header = json.loads(line)
        shape = header["shape"]
        pixels = file.read(math.prod(shape))
        if len(pixels) < math.prod(shape):
            return
        yield torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(shape), header["labels"]


class Labels:
    """Labels as CTC wants them: classes `[batch, longest]` and lengths, on the device and beside it."""

    def __init__(self, labels):
        self.host_lengths = torch.tensor([len(label) for label in labels])
        longest = max(map(len, labels))
        self.classes = torch.tensor([label + [0] * (longest - len(label)) for label in labels])
        self.lengths = self.host_lengths

    def to(self, device):
        self.classes = self.classes.to(device, non_blocking=True)
        self.lengths = self.host_lengths.to(device, non_blocking=True)
        return self


def prefetch(file, device, ahead=12):
    """Batches that another thread reads and copies to the device."""
    ready = queue.Queue(ahead)

    def work():
        for images, labels in read_batches(file):
            if device.type == "cuda":
                images = images.pin_memory()
            ready.put((images, Labels(labels)))
        ready.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (batch := ready.get()) is not None:
        images, labels = batch
        yield images.to(device, non_blocking=True), labels.to(device)


def normalized(images, dtype):
    return (images.float() / 127.5 - 1.0).to(dtype, memory_format=torch.channels_last)


def right(logits, labels):
    """Whether greedy decoding gives the label, of every crop."""
    best = logits.argmax(-1)
    kept = best != 0
    kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    # Symbols move to the front; all else goes to a place behind.
    steps = best.shape[1]
    place = torch.where(kept, kept.cumsum(1) - 1, steps)
    symbols = torch.zeros(best.shape[0], steps + 1, dtype=best.dtype, device=best.device)
    symbols.scatter_(1, place, best)
    longest = labels.classes.shape[1]
    same = (symbols[:, :longest] == labels.classes).all(1)
    return same & (kept.sum(1) == labels.lengths)


def losses(logits, labels, teacher, recipe):
    """The loss and its parts: CTC, divergence from the teacher's logits."""
    log_probs = logits.log_softmax(-1)
    batch, steps, _ = logits.shape
    ctc = F.ctc_loss(
        log_probs.transpose(0, 1), labels.classes, torch.full((batch,), steps), labels.host_lengths,
        reduction="none", zero_infinity=True,
    ).mean()
    loss = ctc * recipe.get("ctc_weight", 1.0)
    divergence = torch.zeros((), device=logits.device)
    if teacher is not None:
        temperature = recipe.get("temperature", 1.0)
        target, own = ((x / temperature).log_softmax(-1) for x in (teacher, logits))
        by_crop = (target.exp() * (target - own)).sum(-1).mean(1)
        if recipe.get("distill_where_right", False):
            by_crop = by_crop * right(teacher, labels)
        divergence = by_crop.mean() * temperature**2 * recipe["distillation_weight"]
        loss = loss + divergence
    return loss, ctc, divergence


class Student:
    """A network with its optimiser and running average."""

    def __init__(self, path, out, recipe, device, dtype):
        self.out, self.recipe = out, recipe
        self.metadata, net = network.load(path)
        net = net.to(device)
        self.names = [name for name, _ in net.named_parameters()]
        self.master = [p.detach().clone() for p in net.parameters()]
        self.average = [p.clone() for p in self.master]
        self.gradients = [torch.zeros_like(p) for p in self.master]
        for p, g in zip(self.master, self.gradients):
            p.grad = g
        self.net = net.to(dtype)
        self.params = list(self.net.parameters())
        decay = recipe.get("weight_decay", 0.05)
        groups = [
            {"params": [p for p in self.master if p.dim() > 1], "weight_decay": decay},
            {"params": [p for p in self.master if p.dim() <= 1], "weight_decay": 0.0},
        ]
        betas = (0.9, recipe.get("beta2", 0.999))
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=device.type == "cuda")
        self.step_number = 0

    def step(self, images, labels, teacher, rate):
        """Learns from a batch; returns the loss, its parts and the norm of the gradients, on the device."""
        found = losses(self.net(images), labels, teacher, self.recipe)
        gradients = torch.autograd.grad(found[0], self.params)
        # In the memory layout of the parameters.
        torch._foreach_copy_(self.gradients, gradients)
        gradients = self.gradients
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        limit = self.recipe.get("clip_norm", 20.0)
        if limit > 0:
            factor = (limit / (norm + 1e-6)).clamp(max=1.0)
            # Of a step that is not finite nothing is learned.
            factor = torch.where(norm.isfinite(), factor, 0.0)
            torch._foreach_mul_(gradients, factor)
            for g in gradients:
                g.nan_to_num_(0.0, 0.0, 0.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.params, self.master)
            decay = min(self.recipe.get("average", 0.0), (1 + self.step_number) / (10 + self.step_number))
            torch._foreach_lerp_(self.average, self.master, 1.0 - decay)
        self.step_number += 1
        return torch.stack([x.detach().float() for x in (*found, norm)])

    @torch.no_grad()
    def evaluate(self, held):
        """The share of words that the averages read, in lower case and without punctuation."""
        torch._foreach_copy_(self.params, self.average)
        read = sum(self.words(images, labels) for images, labels in held)
        torch._foreach_copy_(self.params, self.master)
        return read / sum(len(labels) for _, labels in held)

    def words(self, images, labels):
        logits = self.net(normalized(images, self.params[0].dtype))
        best = logits.argmax(-1).cpu().tolist()
        symbols = json.loads(self.metadata["svtrv2"])["charset"]
        text = lambda classes: "".join(symbols[c - 1] for c in classes)
        plain = lambda s: "".join(c for c in s.lower() if c.isascii() and c.isalnum())
        collapsed = lambda path: [c for i, c in enumerate(path) if c and (i == 0 or path[i - 1] != c)]
        return sum(plain(text(collapsed(p))) == plain(text(label)) for p, label in zip(best, labels))

    def save(self, dtype):
        network.write(self.out, self.metadata, dict(zip(self.names, self.average)), dtype)


def grouped(path, device):
    """The batches of a file, those of one size together."""
    sizes = {}
    with open(path, "rb") as file:
        for images, labels in read_batches(file):
            images_of, labels_of = sizes.setdefault(tuple(images.shape[2:]), ([], []))
            images_of.append(images)
            labels_of.extend(labels)
    return [(torch.cat(images).to(device), labels) for images, labels in sizes.values()]


def rate_at(share, schedule):
    """The learning rate as a share of its peak, after a share of the training."""
    if schedule["kind"] == "constant":
        return 1.0
    warm_up, floor = schedule.get("warm_up", 0.03), schedule.get("floor", 0.0)
    if share < warm_up:
        return share / warm_up
    share = min((share - warm_up) / (1 - warm_up), 1.0)
    return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings")
    parser.add_argument("networks", nargs="+", metavar="START OUT", help="pairs of weights files")
    parser.add_argument("--teacher", help="weights to distil from")
    parser.add_argument("--rate", type=float, required=True, help="peak learning rate")
    parser.add_argument("--minutes", type=float, help="how long to train")
    parser.add_argument("--batches", type=int, help="or how many batches")
    parser.add_argument("--held")
    parser.add_argument("--held-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--log")
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--f16", action="store_true", help="write 16-bit parameters")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if (arguments.minutes is None) == (arguments.batches is None):
        parser.error("either --minutes or --batches")
    if len(arguments.networks) % 2:
        parser.error("a file to write for every network")
    with open(arguments.settings, "rb") as file:
        recipe = tomllib.load(file)["recipe"]
    device = torch.device(arguments.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.backends.cudnn.benchmark = True
    pairs = zip(arguments.networks[::2], arguments.networks[1::2])
    students = [Student(start, out, recipe, device, dtype) for start, out in pairs]
    teacher = None
    if arguments.teacher:
        teacher = network.load(arguments.teacher)[1].to(device, dtype).requires_grad_(False)
    held = grouped(arguments.held, device) if arguments.held else []
    log = open(arguments.log, "w", buffering=1) if arguments.log else sys.stdout
    columns = ["loss", "ctc", "divergence", "gradient_norm"]
    print("step", "seconds", "crops", "rate", *(f"{c}_{i}" for i in range(len(students)) for c in columns),
          sep=",", file=log)

    def evaluate(when):
        found = ", ".join(f"{student.evaluate(held):.4f}" for student in students)
        print(f"{when}: held {found}", file=sys.stderr, flush=True)

    if held:
        evaluate("start")
    began = evaluated = time.monotonic()
    step = crops = 0
    sums, summed = 0.0, 0
    for images, labels in prefetch(sys.stdin.buffer, device):
        seconds = time.monotonic() - began
        share = seconds / (60 * arguments.minutes) if arguments.minutes else (step + 1) / arguments.batches
        if share > 1:
            break
        rate = arguments.rate * rate_at(share, recipe.get("schedule", {"kind": "cosine"}))
        inputs = normalized(images, dtype)
        targets = None
        if teacher is not None:
            with torch.no_grad():
                targets = teacher(inputs)
        sums = sums + torch.stack([s.step(inputs, labels, targets, rate) for s in students])
        summed += 1
        step += 1
        crops += len(images)
        if summed == arguments.log_every or step == arguments.batches:
            values = [f"{value:.5f}" for value in (sums / summed).flatten().tolist()]
            print(step, f"{time.monotonic() - began:.1f}", crops, f"{rate:.3g}", *values, sep=",", file=log)
            sums, summed = 0.0, 0
        if held and time.monotonic() - evaluated > arguments.held_every:
            evaluate(f"{step} steps, {crops} crops, {time.monotonic() - began:.0f} s")
            evaluated = time.monotonic()
    for student in students:
        student.save("F16" if arguments.f16 else "F32")
    if held:
        evaluate(f"end, {step} steps, {crops} crops, {time.monotonic() - began:.0f} s")
    sys.stderr.flush()
    # The reading thread may wait for a batch.
    os._exit(0)


if __name__ == "__main__":
    main()
