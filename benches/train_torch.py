"""One training step of SVTRv2 in PyTorch: what the crate's is compared with.

Reads lines "<threads> <steps>" and answers each with the milliseconds of every step: forward,
CTC loss, backward, AdamW. Usage: train_torch.py {t,s,b} batch height width
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

VARIANTS = {
    "t": ((64, 128, 256), ((3, 0), (3, 3), (0, 3))),
    "s": ((96, 192, 384), ((3, 0), (3, 3), (0, 3))),
    "b": ((128, 256, 384), ((6, 0), (2, 4), (0, 6))),
}
CLASSES = 95


class Attention(nn.Module):
    def __init__(self, dim, bias=True):
        super().__init__()
        self.heads = dim // 32
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, 32).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * 32**-0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if self.rate == 0 or not self.training:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)


class LocalBlock(nn.Module):
    """Takes and gives images, as the reference does."""

    def __init__(self, dim, rate):
        super().__init__()
        conv = lambda: nn.Conv2d(dim, dim, 3, 1, 1, groups=dim // 32)
        self.mixer = nn.Sequential(conv(), conv())
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(dim)
        self.drop = DropPath(rate)

    def forward(self, x):
        _, _, h, w = x.shape
        x = (x + self.drop(self.mixer(x))).flatten(2).transpose(1, 2)
        x = self.norm1(x)
        x = self.norm2(x + self.drop(self.mlp(x)))
        return x.transpose(1, 2).reshape(x.shape[0], -1, h, w)


class GlobalBlock(nn.Module):
    def __init__(self, dim, rate):
        super().__init__()
        self.mixer = Attention(dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(dim)
        self.drop = DropPath(rate)

    def forward(self, x):
        x = self.norm1(x + self.drop(self.mixer(x)))
        return self.norm2(x + self.drop(self.mlp(x)))


class Svtrv2(nn.Module):
    def __init__(self, variant):
        super().__init__()
        dims, depths = VARIANTS[variant]
        stem = []
        for a, b in ((3, dims[0] // 2), (dims[0] // 2, dims[0])):
            stem += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.GELU()]
        self.stem = nn.Sequential(*stem)
        rates = iter(torch.linspace(0, 0.1, sum(map(sum, depths))).tolist())
        self.stages = nn.ModuleList()
        for i, (dim, (local, other)) in enumerate(zip(dims, depths)):
            stage = nn.Module()
            stage.local = nn.ModuleList(LocalBlock(dim, next(rates)) for _ in range(local))
            stage.other = nn.ModuleList(GlobalBlock(dim, next(rates)) for _ in range(other))
            if i < 2:
                stage.conv = nn.Conv2d(dim, dims[i + 1], 3, ((1, 1), (2, 1))[i], 1)
                stage.norm = nn.LayerNorm(dims[i + 1], 1e-5)
            self.stages.append(stage)
        dim = dims[2]
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.mlp = Attention(dim, bias=False), Mlp(dim)
        self.kv, self.fc = nn.Linear(dim, 2 * dim), nn.Linear(dim, CLASSES)
        self.token = nn.Parameter(torch.zeros(dim))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            for block in stage.local:
                x = block(x)
            b, c, h, w = x.shape
            if stage.other:
                x = x.flatten(2).transpose(1, 2)
                for block in stage.other:
                    x = block(x)
                x = x.transpose(1, 2).reshape(b, c, h, w)
            if hasattr(stage, "conv"):
                x = stage.conv(x)
                shape = x.shape
                x = stage.norm(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(shape)
        b, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(b * h, w, c)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        key, value = self.kv(x.reshape(b, h, w, c)).chunk(2, -1)
        weights = (key @ self.token).softmax(1)
        return self.fc((weights.unsqueeze(-1) * value).sum(1))


def main():
    variant, (batch, height, width) = sys.argv[1], map(int, sys.argv[2:5])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Svtrv2(variant).train()
    groups = [[p for p in model.parameters() if (p.dim() > 1) == many] for many in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": 0.05}, {"params": groups[1], "weight_decay": 0}],
        lr=1e-4,
    )
    images = torch.rand(batch, 3, height, width) * 2 - 1
    labels = torch.randint(1, CLASSES, (batch, 8))
    lengths = torch.full((batch,), 8)
    steps = torch.full((batch,), width // 4)

    def step():
        log_probs = model(images).log_softmax(-1).transpose(0, 1)
        loss = F.ctc_loss(log_probs, labels, steps, lengths, zero_infinity=True)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step()
    print(f"PyTorch {torch.__version__}", flush=True)
    for line in sys.stdin:
        threads, count = map(int, line.split())
        torch.set_num_threads(threads)
        times = []
        for _ in range(count):
            start = time.perf_counter()
            step()
            times.append(f"{1000 * (time.perf_counter() - start):.2f}")
        print(" ".join(times), flush=True)


if __name__ == "__main__":
    main()
