"""Writes what always-run tests compare with.

    pip install Pillow==10.4.0 numpy safetensors onnx
    python tests/reference/make_fixtures.py

- tests/fixtures/resize.safetensors: generated images resized by Pillow 10.4. The images are given
  by a formula that tests/resize.rs repeats; only the results are stored.
- tests/fixtures/toy.onnx: the toy network in the shape of an ONNX export.
"""

from pathlib import Path

import numpy as np
import onnx
import PIL
from PIL import Image
from safetensors.numpy import save_file

import pattern

assert PIL.__version__.startswith("10.4."), f"Pillow 10.4 is the reference, not {PIL.__version__}"

FOLDER = Path(__file__).resolve().parent.parent / "fixtures"

# (width, height) in and out: enlarging, shrinking, each axis alone, single pixels, extremes.
CASES = [
    ((w, h), out)
    for w, h in [(1, 1), (2, 3), (7, 300), (31, 90), (64, 64), (129, 33), (320, 96), (517, 61)]
    for out in [(64, 64), (96, 48), (128, 32)]
] + [
    ((20000, 1), (128, 32)),
    ((1, 20000), (64, 64)),
    ((128, 77), (128, 32)),
    ((77, 32), (128, 32)),
    ((1280, 320), (128, 32)),
    ((90, 31), (1, 1)),
    ((5, 4), (640, 32)),
]


def formula(width, height):
    x, y, c = np.meshgrid(
        np.arange(width, dtype=np.uint32),
        np.arange(height, dtype=np.uint32),
        np.arange(3, dtype=np.uint32),
        indexing="xy",
    )
    with np.errstate(over="ignore"):
        mixed = (
            x * np.uint32(2654435761) ^ y * np.uint32(2246822519) ^ c * np.uint32(3266489917)
        )
        mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)
    kind = (x // 3 + y // 2 + c) % 4
    noise = (mixed >> np.uint32(24)).astype(np.uint8)
    return np.where(kind == 0, 255, np.where(kind == 1, 0, noise)).astype(np.uint8)


tensors = {}
for (width, height), out in CASES:
    image = Image.fromarray(formula(width, height), "RGB")
    resized = image.resize(out, Image.Resampling.BICUBIC)
    tensors[f"{width}x{height}->{out[0]}x{out[1]}"] = np.asarray(resized)
save_file(tensors, FOLDER / "resize.safetensors", metadata={"Pillow": PIL.__version__})
print(f"{len(tensors)} fixtures")

# The toy network as an ONNX export names and stores it: batch norm folded, linear weights
# transposed under generated names, told by the nodes that use them.
nodes, initializers = [], []
toy = pattern.fold_batch_norm(pattern.toy_checkpoint())
number = {name: i for i, name in enumerate(toy)}
for name, array in toy.items():
    module, kind = name.rsplit(".", 1)
    scopes = []
    for part in module.split("."):
        if part.isdigit():
            parent = scopes[-1]
            listed = parent in ("stages", "blocks")
            scopes[-1:] = [f"{parent}.{part}"] if listed else [parent, f"{parent}.{part}"]
        else:
            scopes.append(part)
    scope = "/" + "/".join(scopes)
    linear = array.ndim == 2
    generated = linear or "patch_embed" in name
    stored = f"onnx::MatMul_{number[name]}" if generated else name
    initializers.append(onnx.numpy_helper.from_array(array.T.copy() if linear else array, stored))
    if linear:
        nodes.append(onnx.helper.make_node("MatMul", ["x", stored], ["y"], f"{scope}/MatMul"))
    elif array.ndim == 4:
        bias = f"{module}.bias"
        bias = f"onnx::MatMul_{number[bias]}" if generated else bias
        nodes.append(onnx.helper.make_node("Conv", ["x", stored, bias], ["y"], f"{scope}/Conv"))
initializers.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "onnx::Constant_1"))
graph = onnx.helper.make_graph(nodes, "toy", [], [], initializers)
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
(FOLDER / "toy.onnx").write_bytes(model.SerializeToString())
