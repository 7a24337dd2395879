#!/usr/bin/env python3
"""States a temperature and the width that narrow lines are padded to in the metadata of a weights file.

    python3 training/latin/finish.py IN OUT TEMPERATURE MIN_WIDTH

Tensors stay as they are. Needs numpy and safetensors.
"""
import json
import sys

from safetensors import safe_open
from safetensors.numpy import save_file


def main():
    source, out, temperature, min_width = sys.argv[1:]
    with safe_open(source, "np") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    stored = json.loads(metadata["svtrv2"])
    stored["temperature"] = float(temperature)
    stored["config"]["resizing"]["lines"]["min_width"] = int(min_width)
    metadata["svtrv2"] = json.dumps(stored, ensure_ascii=False)
    save_file(tensors, out, metadata)


if __name__ == "__main__":
    main()
