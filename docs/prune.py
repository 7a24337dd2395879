#!/usr/bin/env python3
"""Cuts hidden units out of the MLPs of an SVTRv2 network and refits what is left.

    prune.py WEIGHTS OUT --keep 1.0 0.5 0.5 0.5 --crops 300 DATASET..

WEIGHTS is a weights file of the crate in f32. `--keep` says which share of the hidden units stays in the
blocks of the three stages and in the feature rearrangement module. A data set is a folder with
`labels.tsv`; crops that training may see, since their activations decide.

Units go one by one (optimal brain surgery): that whose loss changes the layer's output least over the
crops, given that the second layer's other columns make up for it. At the end the second layer is
fitted anew by least squares, its bias takes the means of what went. Layers are cut in the order of the
pass, each on what the ones before it now give.

Needs numpy and Pillow.
"""
import argparse
import json
import os
import random
import struct

import numpy as np
from PIL import Image

KEY = "svtrv2"
SIZES = {1: (64, 64), 2: (96, 48), 3: (112, 40), 4: (128, 32)}


def read(path):
    """Metadata and tensors of a safetensors file."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    metadata = json.loads(header.pop("__metadata__")[KEY])
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise SystemExit(f"{name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        values = np.frombuffer(data, np.float32, (end - start) // 4, start)
        tensors[name] = values.reshape(entry["shape"]).copy()
    return metadata, tensors


def write(path, metadata, tensors):
    header, offset, parts = {"__metadata__": {KEY: json.dumps(metadata)}}, 0, []
    for name in sorted(tensors):
        data = np.ascontiguousarray(tensors[name], np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape),
                        "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def gelu(x):
    # The error function after Abramowitz and Stegun, 7.1.26: errors below 2e-7.
    z = np.abs(x) * np.float32(0.70710678)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (
        1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return (0.5 * x * (1 + np.sign(x) * (1 - poly * np.exp(-z * z)))).astype(np.float32)


class Network:
    def __init__(self, config, tensors, keep):
        self.config, self.tensors, self.keep = config, tensors, keep

    def norm(self, x, name, eps):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(variance + eps)
        return scaled * self.tensors[name + ".weight"] + self.tensors[name + ".bias"]

    def conv(self, x, name, stride=(1, 1), groups=1):
        weight = self.tensors[name + ".weight"]
        batch, height, width, channels = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        high, wide = (height - 1) // stride[0] + 1, (width - 1) // stride[1] + 1
        out = np.zeros((batch, high, wide, len(weight)), np.float32)
        each_in, each_out = channels // groups, len(weight) // groups
        for dy in range(3):
            for dx in range(3):
                rows = slice(dy, dy + (high - 1) * stride[0] + 1, stride[0])
                columns = slice(dx, dx + (wide - 1) * stride[1] + 1, stride[1])
                part = padded[:, rows, columns]
                for g in range(groups):
                    ins = slice(g * each_in, (g + 1) * each_in)
                    outs = slice(g * each_out, (g + 1) * each_out)
                    out[..., outs] += part[..., ins] @ weight[outs, :, dy, dx].T
        return out + self.tensors[name + ".bias"]

    def attention(self, x, name, heads):
        batch, count, channels = x.shape
        qkv = x @ self.tensors[name + ".qkv.weight"].T + self.tensors.get(name + ".qkv.bias", 0)
        q, k, v = qkv.reshape(batch, count, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        scores = q @ k.transpose(0, 1, 3, 2) * (channels // heads) ** -0.5
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ v
        mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, count, channels)
        return mixed @ self.tensors[name + ".proj.weight"].T + self.tensors[name + ".proj.bias"]

    def mlp(self, xs, name, keep):
        if keep < 1:
            self.cut(xs, name, keep)
        t = self.tensors
        return [gelu(x @ t[name + ".fc1.weight"].T + t[name + ".fc1.bias"])
                @ t[name + ".fc2.weight"].T + t[name + ".fc2.bias"] for x in xs]

    def cut(self, xs, name, keep):
        fc1, fc2 = name + ".fc1", name + ".fc2"
        t = self.tensors
        hidden = np.concatenate([
            gelu(x.reshape(-1, x.shape[-1]) @ t[fc1 + ".weight"].T + t[fc1 + ".bias"]) for x in xs])
        mean = hidden.mean(0)
        hidden -= mean
        second = (hidden.T @ hidden).astype(np.float64) / len(hidden)
        ridge = 1e-4 * np.trace(second) / len(second)
        inverse = np.linalg.inv(second + ridge * np.eye(len(second)))
        weight = t[fc2 + ".weight"].T.astype(np.float64)
        alive = np.ones(len(weight), bool)
        for _ in range(len(weight) - round(len(weight) * keep)):
            pivots = np.where(alive, np.diag(inverse), 1)
            gone = int(np.where(alive, (weight ** 2).sum(1) / pivots, np.inf).argmin())
            column, pivot = inverse[:, gone].copy(), inverse[gone, gone]
            weight -= np.outer(column, weight[gone] / pivot)
            inverse -= np.outer(column, column / pivot)
            alive[gone] = False
            weight[gone] = 0
            inverse[gone, :] = inverse[:, gone] = 0
        kept = np.flatnonzero(alive)
        inner = second[np.ix_(kept, kept)] + ridge * np.eye(len(kept))
        old = t[fc2 + ".weight"]
        new = np.linalg.solve(inner, second[kept] @ old.T.astype(np.float64)).T
        lost = old.astype(np.float64).copy()
        lost[:, kept] -= new
        share = np.trace(lost @ second @ lost.T) / np.trace(old @ second @ old.T)
        print(f"{name}: {len(kept)} of {len(alive)} units, {100 * share:.1f} % of the variance lost",
              flush=True)
        t[fc2 + ".bias"] = t[fc2 + ".bias"] + old @ mean - (new @ mean[kept]).astype(np.float32)
        t[fc1 + ".weight"], t[fc1 + ".bias"] = t[fc1 + ".weight"][kept], t[fc1 + ".bias"][kept]
        t[fc2 + ".weight"] = new.astype(np.float32)

    def run(self, xs):
        """Runs groups of images of one size through the network, cutting on the way."""
        for i in range(2):
            xs = [gelu(self.conv(x, f"encoder.pope.patch_embed.{i}.conv", (2, 2))) for x in xs]
        for number, stage in enumerate(self.config["stages"]):
            local = stage["local_blocks"]
            for block in range(local + stage["global_blocks"]):
                # After local blocks the published numbering leaves one number out.
                index = block if block < local or local == 0 else block + 1
                name = f"encoder.stages.{number}.blocks.{index}"
                heads, mixed = stage["heads"], []
                for x in xs:
                    if block < local:
                        y = self.conv(x, name + ".mixer.0", groups=heads)
                        y = self.conv(y, name + ".mixer.1", groups=heads)
                    else:
                        flat = x.reshape(len(x), -1, x.shape[-1])
                        y = self.attention(flat, name + ".mixer", heads).reshape(x.shape)
                    mixed.append(self.norm(x + y, name + ".norm1", 1e-6))
                ys = self.mlp(mixed, name + ".mlp", self.keep[number])
                xs = [self.norm(x + y, name + ".norm2", 1e-6) for x, y in zip(mixed, ys)]
            stage["mlp_dim"] = len(self.tensors[name + ".mlp.fc1.bias"])
            if number < 2:
                name, stride = f"encoder.stages.{number}.downsample", ((1, 1), (2, 1))[number]
                xs = [self.norm(self.conv(x, name + ".conv", stride), name + ".norm", 1e-5) for x in xs]
        name = "decoder.w_atten_block"
        rows = [x.reshape(-1, *x.shape[2:]) for x in xs]
        heads = self.config["frm_heads"]
        rows = [x + self.attention(self.norm(x, name + ".norm1", 1e-5), name + ".attn", heads)
                for x in rows]
        self.mlp([self.norm(x, name + ".norm2", 1e-5) for x in rows], name + ".mlp", self.keep[3])
        self.config["frm_mlp_dim"] = len(self.tensors[name + ".mlp.fc1.bias"])


def crops(folders, count):
    """Crops as the network gets them, grouped by size."""
    files = []
    for folder in folders:
        with open(os.path.join(folder, "labels.tsv"), encoding="utf-8") as lines:
            files += [os.path.join(folder, line.split("\t")[0]) for line in lines if "\t" in line]
    groups = {}
    for file in random.Random(1).sample(files, min(count, len(files))):
        image = Image.open(file).convert("RGB")
        ratio = min(max(round(image.width / image.height), 1), 4)
        pixels = np.asarray(image.resize(SIZES[ratio], Image.BICUBIC), np.float32)
        groups.setdefault(ratio, []).append(pixels / 127.5 - 1)
    return [np.stack(group) for group in groups.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("out")
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--keep", type=float, nargs=4, default=[1.0, 0.5, 0.5, 0.5])
    parser.add_argument("--crops", type=int, default=300)
    arguments = parser.parse_args()
    metadata, tensors = read(arguments.weights)
    Network(metadata["config"], tensors, arguments.keep).run(crops(arguments.sets, arguments.crops))
    write(arguments.out, metadata, tensors)
    print(f"{sum(t.size for t in tensors.values())} parameters -> {arguments.out}")


if __name__ == "__main__":
    main()
