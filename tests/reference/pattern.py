"""Pattern weights: numbers that a formula gives, the same here and in tests/support/mod.rs."""

import numpy as np

# Of every stage: dim, heads, local blocks, global blocks.
TOY = [(8, 1, 1, 0), (8, 1, 1, 1), (16, 1, 0, 1)]
TINY = [(64, 2, 3, 0), (128, 4, 3, 3), (256, 8, 0, 3)]
SMALL = [(96, 3, 3, 0), (192, 6, 3, 3), (384, 12, 0, 3)]
CLASSES = 95


def values(name, count):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & (2**64 - 1)
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def weight(name, shape):
    v = values(name, int(np.prod(shape)))
    if name.endswith("running_var"):
        v = 1 + 0.2 * v
    elif name.endswith("running_mean"):
        v = 0.1 * v
    elif len(shape) == 1:
        v = 1 + 0.1 * v if name.endswith(".weight") else 0.1 * v
    else:
        v = v * np.sqrt(3 / np.prod(shape[1:]))
    return v.astype(np.float32).reshape(shape)


def toy_checkpoint():
    return checkpoint(TOY)


def checkpoint(stages):
    """Name -> array of a network, batch norm unfolded."""
    shapes = {}

    def linear(name, i, o, bias=True):
        shapes[f"{name}.weight"] = (o, i)
        if bias:
            shapes[f"{name}.bias"] = (o,)

    def conv(name, i, o, groups=1):
        shapes[f"{name}.weight"] = (o, i // groups, 3, 3)
        shapes[f"{name}.bias"] = (o,)

    def norm(name, dim):
        shapes[f"{name}.weight"] = (dim,)
        shapes[f"{name}.bias"] = (dim,)

    def mlp(name, dim):
        linear(f"{name}.fc1", dim, 4 * dim)
        linear(f"{name}.fc2", 4 * dim, dim)

    dim = stages[0][0]
    for i, (a, b) in enumerate([(3, dim // 2), (dim // 2, dim)]):
        prefix = f"encoder.pope.patch_embed.{i}"
        shapes[f"{prefix}.conv.weight"] = (b, a, 3, 3)
        for part in ["weight", "bias", "running_mean", "running_var"]:
            shapes[f"{prefix}.norm.{part}"] = (b,)
    for s, (dim, heads, local, global_) in enumerate(stages):
        for b in range(local + global_):
            index = b + (1 if local and b >= local else 0)
            prefix = f"encoder.stages.{s}.blocks.{index}"
            if b < local:
                conv(f"{prefix}.mixer.0", dim, dim, heads)
                conv(f"{prefix}.mixer.1", dim, dim, heads)
            else:
                linear(f"{prefix}.mixer.qkv", dim, 3 * dim)
                linear(f"{prefix}.mixer.proj", dim, dim)
            norm(f"{prefix}.norm1", dim)
            norm(f"{prefix}.norm2", dim)
            mlp(f"{prefix}.mlp", dim)
        if s + 1 < len(stages):
            conv(f"encoder.stages.{s}.downsample.conv", dim, stages[s + 1][0])
            norm(f"encoder.stages.{s}.downsample.norm", stages[s + 1][0])
    prefix = "decoder.w_atten_block"
    norm(f"{prefix}.norm1", dim)
    linear(f"{prefix}.attn.qkv", dim, 3 * dim, bias=False)
    linear(f"{prefix}.attn.proj", dim, dim)
    norm(f"{prefix}.norm2", dim)
    mlp(f"{prefix}.mlp", dim)
    shapes["decoder.char_token"] = (1, 1, dim)
    linear("decoder.fc_kv", dim, 2 * dim)
    linear("decoder.fc", dim, CLASSES)
    return {name: weight(name, shape) for name, shape in shapes.items()}


def fold_batch_norm(tensors):
    """The same network with the batch norms folded into the convolutions."""
    folded = dict(tensors)
    for i in range(2):
        prefix = f"encoder.pope.patch_embed.{i}"
        take = lambda part: folded.pop(f"{prefix}.norm.{part}").astype(np.float64)
        gamma, beta, mean, var = map(take, ["weight", "bias", "running_mean", "running_var"])
        scale = gamma / np.sqrt(var + 1e-5)
        kernel = folded[f"{prefix}.conv.weight"].astype(np.float64)
        folded[f"{prefix}.conv.weight"] = (kernel * scale[:, None, None, None]).astype(np.float32)
        folded[f"{prefix}.conv.bias"] = ((0 - mean) * scale + beta).astype(np.float32)
    return folded
