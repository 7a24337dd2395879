"""The section of int8 in BENCHMARKS.md: B, S and T in int8 beside the same in f32, ONNX Runtime's
dynamic and static int8, and OpenVINO's f32 and int8. `compare.py` calls it.

ONNX Runtime quantises here: dynamically its matrix products, statically (QDQ, calibrated on the images
that are timed) products and convolutions. OpenVINO's int8 is what NNCF makes of the graph with the same
images.
"""

import tempfile
from pathlib import Path

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)


class Images(CalibrationDataReader):
    """Calibration with one batch."""

    def __init__(self, name, x):
        self.rest = iter([{name: x}])

    def get_next(self):
        return next(self.rest, None)


def quantised(model, x, folder):
    """The bytes of a graph with dynamic and with static int8."""
    import onnx

    source, target = folder / "f32.onnx", folder / "int8.onnx"
    source.write_bytes(model)
    name = onnx.load_from_string(model).graph.input[0].name
    quantize_dynamic(source, target, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8)
    dynamic = target.read_bytes()
    quantize_static(
        source,
        target,
        Images(name, x),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm", "Conv"],
    )
    return dynamic, target.read_bytes()


def quantised_by_nncf(model, x):
    """An OpenVINO model in int8."""
    import nncf
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape({network.inputs[0]: x.shape})
    with tempfile.TemporaryDirectory() as folder:
        # NNCF does not find the nodes of a graph that was reshaped in memory.
        path = Path(folder) / "f32.xml"
        openvino.save_model(network, path, compress_to_fp16=False)
        network = core.read_model(path)
        return nncf.quantize(network, nncf.Dataset([x]), model_type=nncf.ModelType.TRANSFORMER, subset_size=1)


NAMES = [
    "svtrv2 int8",
    "svtrv2 f32",
    "ONNX Runtime f32",
    "its dynamic int8",
    "its static int8",
    "OpenVINO f32",
    "OpenVINO int8",
]


def section(title, crate, models, images, tools, rounds, ratio, count):
    """`models` gives (letter, weights, graph); `tools` are compare.py's runners."""
    onnx_runtime, open_vino, timed = tools
    out = [title, "", "32x128. The last columns are svtrv2's int8 over the others.", ""]
    names = NAMES
    out.append("| model | batch | threads | " + " | ".join(names) + " | " + " | ".join("/ " + n for n in names[1:]) + " |")
    out.append("|---" * (3 + 2 * len(names) - 1) + "|")
    for letter, own, graph in models:
        for batch in (1, 8):
            x = images(batch, 32, 128)
            model = graph(batch, 32, 128)
            with tempfile.TemporaryDirectory() as folder:
                dynamic, static = quantised(model, x, Path(folder))
            nncf_model = quantised_by_nncf(model, x)
            for threads in (1, 2):
                words = (own, 32, 128, batch, threads)
                systems = [
                    lambda n, words=words: crate.ask("network-int8", *words, n)[0],
                    lambda n, words=words: crate.ask("network", *words, n)[0],
                ]
                runs = [onnx_runtime(graph, threads) for graph in (model, dynamic, static)]
                runs.append(open_vino(model, threads, x.shape))
                runs.append(open_vino(nncf_model, threads, x.shape))
                systems += [lambda n, run=run: timed(run, x, n) for run in runs]
                for system in systems:
                    system(1)
                times = rounds(systems, count, 3 if batch == 1 else 1)
                cells = [f"{t:.2f}" for t in np.median(times, axis=0)]
                cells += [f"{ratio(times, 0, i):.3f}" for i in range(1, len(names))]
                out.append(f"| {letter} | {batch} | {threads} | {' | '.join(cells)} |")
                print(out[-1], flush=True)
    return out
