"""SVTRv2 in PyTorch, on the crate's weights files.

Parameters have the names of the published checkpoints. Tokens are `[batch, height * width, channels]`.
"""

import json
import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, dim, heads, bias=True):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


def to_image(tokens, grid):
    """Tokens as an image, without a copy: its channels are last in memory."""
    b, _, c = tokens.shape
    return tokens.view(b, *grid, c).permute(0, 3, 1, 2)


def to_tokens(image):
    b, c, h, w = image.shape
    return image.permute(0, 2, 3, 1).reshape(b, h * w, c)


class Block(nn.Module):
    """Post-norm, with two grouped convolutions or with attention."""

    def __init__(self, stage, local):
        super().__init__()
        dim, heads = stage["dim"], stage["heads"]
        if local:
            conv = lambda: nn.Conv2d(dim, dim, 3, padding=1, groups=heads)
            self.mixer = nn.ModuleList([conv(), conv()])
        else:
            self.mixer = Attention(dim, heads)
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.mlp = Mlp(dim, stage["mlp_dim"])

    def forward(self, x, grid):
        if isinstance(self.mixer, nn.ModuleList):
            first, second = self.mixer
            mixed = to_tokens(second(first(to_image(x, grid))))
        else:
            mixed = self.mixer(x)
        x = self.norm1(x + mixed)
        return self.norm2(x + self.mlp(x))


class Downsample(nn.Module):
    def __init__(self, dim, out_dim, stride):
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, 3, stride, 1)
        self.norm = nn.LayerNorm(out_dim, 1e-5)

    def forward(self, x, grid):
        image = self.conv(to_image(x, grid))
        return self.norm(to_tokens(image)), image.shape[2:]


class Stage(nn.Module):
    def __init__(self, stage, out_dim, stride):
        super().__init__()
        local, others = stage["local_blocks"], stage["global_blocks"]
        # Between local and global blocks, the published names skip a number.
        numbers = list(range(local)) + [i + (local > 0) for i in range(local, local + others)]
        self.blocks = nn.ModuleDict({str(n): Block(stage, i < local) for i, n in enumerate(numbers)})
        self.downsample = Downsample(stage["dim"], out_dim, stride) if out_dim else None

    def forward(self, x, grid):
        for block in self.blocks.values():
            x = block(x, grid)
        return self.downsample(x, grid) if self.downsample else (x, grid)


class Encoder(nn.Module):
    def __init__(self, stages):
        super().__init__()
        dims = [stage["dim"] for stage in stages]
        embed = lambda a, b: nn.ModuleDict({"conv": nn.Conv2d(a, b, 3, 2, 1)})
        steps = nn.ModuleList([embed(3, dims[0] // 2), embed(dims[0] // 2, dims[0])])
        self.pope = nn.ModuleDict({"patch_embed": steps})
        after = [(dims[1], (1, 1)), (dims[2], (2, 1)), (None, None)]
        self.stages = nn.ModuleList(Stage(stage, *next_) for stage, next_ in zip(stages, after))

    def forward(self, images):
        x = images
        for step in self.pope["patch_embed"]:
            x = F.gelu(step["conv"](x))
        x, grid = to_tokens(x), x.shape[2:]
        for stage in self.stages:
            x, grid = stage(x, grid)
        return x, grid


class HorizontalBlock(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, bias=False)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """The feature rearrangement module and the classifier."""

    def __init__(self, config):
        super().__init__()
        dim = config["stages"][2]["dim"]
        self.w_atten_block = HorizontalBlock(dim, config["frm_heads"], config["frm_mlp_dim"])
        self.char_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.fc_kv = nn.Linear(dim, 2 * dim)
        self.fc = nn.Linear(dim, config["num_classes"])

    def forward(self, x, grid):
        (b, _, c), (h, w) = x.shape, grid
        x = self.w_atten_block(x.view(b * h, w, c)).view(b, h, w, c)
        key, value = self.fc_kv(x).chunk(2, -1)
        weights = (key * self.char_token).sum(-1, keepdim=True).float().softmax(1)
        pooled = (weights * value).sum(1)
        return F.linear(pooled, self.fc.weight.float(), self.fc.bias.float())


class Svtrv2(nn.Module):
    """Images `[batch, 3, height, width]` in -1..=1 to logits `[batch, width / 4, classes]` in f32."""

    def __init__(self, config):
        super().__init__()
        self.encoder = Encoder(config["stages"])
        self.decoder = Decoder(config)

    def forward(self, images):
        return self.decoder(*self.encoder(images))


TYPES = {"F32": np.float32, "F16": np.float16}


def read(path):
    """The metadata and the parameters of an exact weights file, in f32."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).astype(np.float32)
        tensors[name] = torch.from_numpy(values).reshape(entry["shape"])
    return metadata, tensors


def write(path, metadata, tensors, dtype="F32"):
    """Writes an exact weights file."""
    header, blocks, end = {"__metadata__": metadata}, [], 0
    for name, tensor in sorted(tensors.items()):
        block = tensor.float().cpu().numpy().astype(TYPES[dtype]).tobytes()
        offsets = [end, end + len(block)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        blocks.append(block)
        end += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def load(path):
    """The metadata and the network of an exact weights file."""
    metadata, tensors = read(path)
    network = Svtrv2(json.loads(metadata["svtrv2"])["config"])
    network.load_state_dict(tensors)
    return metadata, network
