"""Writes the network as an ONNX graph for the comparison with other runtimes.

The graph is as kind to them as can be: static shapes, single operators for layer normalisation and
GELU, nothing but the layers themselves.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import pattern


class Graph:
    def __init__(self, tensors):
        self.tensors, self.nodes, self.constants, self.count = tensors, [], {}, 0

    def const(self, name, array):
        self.constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        out = f"{kind}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def reshape(self, x, *shape):
        name = "shape_" + "_".join(map(str, shape))
        return self.op("Reshape", x, self.const(name, np.array(shape, np.int64)))

    def linear(self, x, name, bias=True):
        weight = self.const(f"{name}.weight.t", self.tensors[f"{name}.weight"].T)
        x = self.op("MatMul", x, weight)
        if bias:
            x = self.op("Add", x, self.const(f"{name}.bias", self.tensors[f"{name}.bias"]))
        return x

    def norm(self, x, name, epsilon):
        w = self.const(f"{name}.weight", self.tensors[f"{name}.weight"])
        b = self.const(f"{name}.bias", self.tensors[f"{name}.bias"])
        return self.op("LayerNormalization", x, w, b, axis=-1, epsilon=epsilon)

    def conv(self, x, name, group=1, strides=(1, 1)):
        w = self.const(f"{name}.weight", self.tensors[f"{name}.weight"])
        b = self.const(f"{name}.bias", self.tensors[f"{name}.bias"])
        return self.op(
            "Conv", x, w, b, group=group, strides=strides, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
        )

    def mlp(self, x, name):
        return self.linear(self.op("Gelu", self.linear(x, f"{name}.fc1")), f"{name}.fc2")

    def attention(self, x, name, batch, tokens, dim, heads, bias):
        d = dim // heads
        qkv = self.linear(x, f"{name}.qkv", bias)
        qkv = self.reshape(qkv, batch, tokens, 3, heads, d)
        qkv = self.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        index = [self.const(f"index_{i}", np.array(i, np.int64)) for i in range(3)]
        q, k, v = (self.op("Gather", qkv, i, axis=0) for i in index)
        q = self.op("Mul", q, self.const(f"scale_{d}", np.array(d**-0.5, np.float32)))
        weights = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        x = self.op("MatMul", self.op("Softmax", weights, axis=-1), v)
        x = self.reshape(self.op("Transpose", x, perm=[0, 2, 1, 3]), batch, tokens, dim)
        return self.linear(x, f"{name}.proj")


def build(stages, checkpoint, batch, height, width):
    """The graph of the network of `stages` for images [batch, 3, height, width]."""
    g = Graph(pattern.fold_batch_norm(checkpoint))
    x = "image"
    h, w = height, width
    for i in range(2):
        x = g.op("Gelu", g.conv(x, f"encoder.pope.patch_embed.{i}.conv", strides=(2, 2)))
        h, w = (h + 1) // 2, (w + 1) // 2
    to_tokens = lambda x, dim: g.op("Transpose", g.reshape(x, batch, dim, h * w), perm=[0, 2, 1])
    to_map = lambda x, dim: g.reshape(g.op("Transpose", x, perm=[0, 2, 1]), batch, dim, h, w)
    for s, (dim, heads, local, global_) in enumerate(stages):
        prefix = f"encoder.stages.{s}"
        tokens = to_tokens(x, dim)
        for b in range(local + global_):
            block = f"{prefix}.blocks.{b + (1 if local and b >= local else 0)}"
            if b < local:
                y = to_map(tokens, dim)
                y = g.conv(g.conv(y, f"{block}.mixer.0", heads), f"{block}.mixer.1", heads)
                mixed = to_tokens(y, dim)
            else:
                mixed = g.attention(tokens, f"{block}.mixer", batch, h * w, dim, heads, True)
            tokens = g.norm(g.op("Add", tokens, mixed), f"{block}.norm1", 1e-6)
            tokens = g.op("Add", tokens, g.mlp(tokens, f"{block}.mlp"))
            tokens = g.norm(tokens, f"{block}.norm2", 1e-6)
        if s + 1 < len(stages):
            x = to_map(tokens, dim)
            stride = [(1, 1), (2, 1)][s]
            x = g.conv(x, f"{prefix}.downsample.conv", strides=stride)
            h = (h + stride[0] - 1) // stride[0]
            dim = stages[s + 1][0]
            tokens = g.norm(to_tokens(x, dim), f"{prefix}.downsample.norm", 1e-5)
            x = to_map(tokens, dim)
    heads = dim // 32
    rows = g.reshape(tokens, batch * h, w, dim)
    block = "decoder.w_atten_block"
    y = g.attention(g.norm(rows, f"{block}.norm1", 1e-5), f"{block}.attn", batch * h, w, dim, heads, False)
    rows = g.op("Add", rows, y)
    rows = g.op("Add", rows, g.mlp(g.norm(rows, f"{block}.norm2", 1e-5), f"{block}.mlp"))
    kv = g.reshape(g.linear(rows, "decoder.fc_kv"), batch, h, w, 2 * dim)
    halves = g.const("halves", np.array([dim, dim], np.int64))
    g.nodes.append(helper.make_node("Split", [kv, halves], ["key", "value"], axis=3))
    token = g.const("token", g.tensors["decoder.char_token"].reshape(dim, 1))
    scores = g.op("Transpose", g.op("MatMul", "key", token), perm=[0, 2, 3, 1])
    weights = g.op("Softmax", scores, axis=-1)
    value = g.op("Transpose", "value", perm=[0, 2, 1, 3])
    columns = g.reshape(g.op("MatMul", weights, value), batch, w, dim)
    logits = g.linear(columns, "decoder.fc")
    g.nodes.append(helper.make_node("Softmax", [logits], ["probs"], axis=-1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, height, width])
    probs = helper.make_tensor_value_info("probs", TensorProto.FLOAT, [batch, w, pattern.CLASSES])
    graph = helper.make_graph(g.nodes, "svtrv2", [image], [probs], list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()
