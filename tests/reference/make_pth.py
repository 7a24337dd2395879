"""Writes PyTorch checkpoints, with the PyTorch that Debian packages (python3-torch).

    /usr/bin/python3 tests/reference/make_pth.py fixtures
        tests/fixtures/toy*.pth: pattern weights in every layout that checkpoints come in.
    /usr/bin/python3 tests/reference/make_pth.py trained IN.safetensors FOLDER
        The weights of a file that the crate's `convert` example wrote, as an OpenOCR checkpoint
        (FOLDER/checkpoint.pth) and as OpenOCR safetensors (FOLDER/openocr.safetensors). The
        folded patch embedding gets a batch norm that does nothing.
"""

import collections
import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch

import pattern

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def tensors_of(arrays):
    return collections.OrderedDict((k, torch.from_numpy(v.copy())) for k, v in arrays.items())


def fixtures():
    bare = tensors_of(pattern.toy_checkpoint())
    torch.save(bare, FIXTURES / "toy_bare.pth")
    torch.save(bare, FIXTURES / "toy_legacy.pth", _use_new_zipfile_serialization=False)

    # As a distributed run with semantic guidance writes it, with an optimiser beside it, a
    # transposed (not contiguous) tensor, parameters instead of tensors, and a shared storage.
    guided = collections.OrderedDict()
    for name, tensor in bare.items():
        name = name.replace("decoder.", "decoder.ctc_decoder.", 1)
        guided["module." + name] = torch.nn.Parameter(tensor)
    name = "module.decoder.ctc_decoder.fc_kv.weight"
    guided[name] = bare["decoder.fc_kv.weight"].t().contiguous().t()
    norm1 = "module.decoder.ctc_decoder.w_atten_block.norm1"
    shared = torch.cat([guided[f"{norm1}.weight"], guided[f"{norm1}.bias"]]).detach()
    half = len(shared) // 2
    guided[f"{norm1}.weight"], guided[f"{norm1}.bias"] = shared[:half], shared[half:]
    guided["module.encoder.pope.patch_embed.0.norm.num_batches_tracked"] = torch.tensor(7)
    guided["module.decoder.gtc_decoder.ques1_head.weight"] = torch.zeros(96, 16)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3))], lr=1e-3)
    checkpoint = {
        "epoch": 20,
        "best": {"acc": 0.9, "name": "exp", "flag": True, "none": None, "list": [1, 2.5, "x"]},
        "optimizer": optimizer.state_dict(),
        "big": 2**80,
        "state_dict": guided,
    }
    torch.save(checkpoint, FIXTURES / "toy_guided.pth")


def read_safetensors(path):
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    arrays = {}
    for name, info in header.items():
        start, end = (8 + length + at for at in info["data_offsets"])
        assert info["dtype"] == "F32", info
        arrays[name] = np.frombuffer(data[start:end], dtype="<f4").reshape(info["shape"])
    return arrays


def write_safetensors(path, arrays):
    header, blobs, at = {}, [], 0
    for name, array in arrays.items():
        dtype = {"float32": "F32", "int64": "I64"}[str(array.dtype)]
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [at, at + len(blob)],
        }
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def trained(source, folder):
    arrays = read_safetensors(source)
    for i in range(2):
        prefix = f"encoder.pope.patch_embed.{i}"
        bias = arrays.pop(f"{prefix}.conv.bias")
        ones = np.ones_like(bias)
        arrays[f"{prefix}.norm.weight"] = ones
        arrays[f"{prefix}.norm.bias"] = bias
        arrays[f"{prefix}.norm.running_mean"] = 0 * ones
        # Such that sqrt(variance + eps) rounds to 1.
        arrays[f"{prefix}.norm.running_var"] = ones - np.float32(1e-5)
        arrays[f"{prefix}.norm.num_batches_tracked"] = np.array(1000, dtype=np.int64)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 1, "state_dict": tensors_of(arrays)}, folder / "checkpoint.pth")
    write_safetensors(folder / "openocr.safetensors", arrays)


if __name__ == "__main__":
    if sys.argv[1:] == ["fixtures"]:
        fixtures()
    elif len(sys.argv) == 4 and sys.argv[1] == "trained":
        trained(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
