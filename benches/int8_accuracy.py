#!/usr/bin/env python3
"""Word accuracy of a SVTRv2 ONNX export in ONNX Runtime's and OpenVINO's int8, to compare with
`svtrv2 evaluate` of a file made by `svtrv2 convert --int8`.

    venv/bin/pip install onnxruntime onnx openvino nncf pillow opencv-python-headless
    venv/bin/python benches/int8_accuracy.py svtrv2.onnx data/cute80_288 .. --calibrate data/train

Static int8 (QDQ) and NNCF are calibrated on 64 crops of the folder of data sets, which should not be
among the others. Crops are resized as the published preprocessing does. Word accuracy is the published
protocol's (`peers.py`), greedy. Also counts the texts that differ from those in f32.
"""
import argparse
import string
import tempfile
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from PIL import Image

CALIBRATION_CROPS = 64
SYMBOLS = string.digits + string.ascii_letters + string.punctuation
SIZES = {1: (64, 64), 2: (48, 96), 3: (40, 112)}


def network_input(path):
    image = Image.open(path).convert("RGB")
    height, width = SIZES.get(max(1, round(image.width / image.height)), (32, 128))
    pixels = np.asarray(image.resize((width, height), Image.BICUBIC), np.float32)
    return ((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]


def text_of(scores):
    best = scores[0].argmax(1)
    kept = [c for i, c in enumerate(best) if c != 0 and (i == 0 or c != best[i - 1])]
    return "".join(SYMBOLS[c - 1] for c in kept)


class Inputs(CalibrationDataReader):
    def __init__(self, name, inputs):
        self.rest = iter([{name: x} for x in inputs])

    def get_next(self):
        return next(self.rest, None)


def systems(model, inputs, threads):
    """Names and functions from an input to scores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def onnx_runtime(path):
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x})[0]

    name = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    yield "ONNX Runtime f32", onnx_runtime(model)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantize_dynamic(model, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
        yield "its dynamic int8", onnx_runtime(target)
        quantize_static(model, target, Inputs(name, inputs), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        op_types_to_quantize=["MatMul", "Gemm", "Conv"])
        yield "its static int8", onnx_runtime(target)
    core = openvino.Core()
    quantised = nncf.quantize(core.read_model(model), nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER,
                              subset_size=len(inputs))
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(quantised, "CPU", config).create_infer_request()
    yield "OpenVINO int8 (NNCF)", lambda x: request.infer({0: x})[0]


def main():
    from peers import counts, datasets, filtered

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    files = [file for _, _, samples in datasets([arguments.calibrate]) for file, _ in samples]
    count = min(CALIBRATION_CROPS, len(files))
    inputs = [network_input(files[i * len(files) // count]) for i in range(count)]
    sets = list(datasets(arguments.sets))
    exact = {}
    for system, run in systems(arguments.model, inputs, arguments.threads):
        for name, _, samples in sets:
            words = right = changed = 0
            for file, label in samples:
                text = text_of(run(network_input(file)))
                changed += exact.setdefault(file, text) != text
                if counts(label):
                    words += 1
                    right += filtered(text) == filtered(label)
            print(f"{system}  {name}  {100 * right / words:.2f} % of {words}, {changed} texts differ from f32", flush=True)


if __name__ == "__main__":
    main()
