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
    "svtrv2 int8, AVX2 alone",
    "svtrv2 f32, AVX2 alone",
    "ONNX Runtime f32",
    "its dynamic int8",
    "its static int8",
    "OpenVINO f32",
    "OpenVINO int8",
]
# Those that others are compared with.
OWN = [0, 2]


def section(title, crates, models, images, tools, rounds, ratio, count):
    """`crates` are the crate and one that takes no instructions above AVX2; `models` gives (name, weights,
    graph); `tools` are compare.py's runners."""
    onnx_runtime, open_vino, timed = tools
    times_of = {}
    for model_name, own, graph in models:
        for batch in (1, 8):
            x = images(batch, 32, 128)
            model = graph(batch, 32, 128)
            with tempfile.TemporaryDirectory() as folder:
                dynamic, static = quantised(model, x, Path(folder))
            nncf_model = quantised_by_nncf(model, x)
            for threads in (1, 2):
                words = (own, 32, 128, batch, threads)
                systems = [
                    lambda n, crate=crate, what=what, words=words: crate.ask(what, *words, n)[0]
                    for crate in crates
                    for what in ("network-int8", "network")
                ]
                runs = [onnx_runtime(graph, threads) for graph in (model, dynamic, static)]
                runs.append(open_vino(model, threads, x.shape))
                runs.append(open_vino(nncf_model, threads, x.shape))
                systems += [lambda n, run=run: timed(run, x, n) for run in runs]
                for system in systems:
                    system(1)
                times_of[model_name, batch, threads] = rounds(systems, count, 3 if batch == 1 else 1)
                print(model_name, batch, threads, np.median(times_of[model_name, batch, threads], axis=0), flush=True)

    def table(columns, cells):
        yield "| model | batch | threads | " + " | ".join(columns) + " |"
        yield "|---" * (3 + len(columns)) + "|"
        for place, times in times_of.items():
            yield "| " + " | ".join([*map(str, place), *cells(times)]) + " |"

    out = [
        title,
        "",
        "32x128. `B, calibrated` has weights of 8 bits, of earlier versions; `7 bits` are weights of",
        "`convert --int8`: for B calibrated, for S and T normally distributed.",
        "",
    ]
    out += table(NAMES, lambda times: [f"{t:.2f}" for t in np.median(times, axis=0)])
    for own in OWN:
        others = [i for i in range(len(NAMES)) if i != own]
        out += ["", f"{NAMES[own]} over the others:", ""]
        out += table([NAMES[i] for i in others], lambda times: [f"{ratio(times, own, i):.3f}" for i in others])
    return out
