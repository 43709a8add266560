"""ONNX Runtime and OpenVINO, which only predict: they run a network that was trained elsewhere."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...kernels.typing import Array
from ..machine import cores
from ..tasks import AlternatingBatch, Architecture, OptimizerSettings
from .base import Predictor, import_library

__all__ = ["OnnxRuntime", "OnnxRuntimeOneThread", "OpenVino", "OpenVinoOneThread"]

OPSET = 20
"""The first version of ONNX's operators that has gelu; ONNX Runtime has it since 1.17."""
IR_VERSION = 9
"""The version of ONNX's file format that came with these operators."""
FLOAT32 = 1
"""ONNX's number of the type."""


class OnnxRuntime(Predictor):
    """ONNX Runtime on all cores; the package `onnx` writes the network."""

    name = "onnxruntime"
    library = "ONNX Runtime"
    setting: ClassVar[str] = "all cores"
    threads: ClassVar[int | None] = None

    def open(self) -> str:
        self._runtime = import_library("onnxruntime", "onnxruntime")
        self._helper = import_library("onnx.helper", "onnx")
        self._numpy_helper = import_library("onnx.numpy_helper", "onnx")
        self._threads = self.threads or cores()
        return _on(self._threads)

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        self._session = self._runtime.InferenceSession(
            self._model(architecture, len(batch.x)), options, providers=["CPUExecutionProvider"]
        )
        self._x = np.array(batch.x)

    def _model(self, architecture: Architecture, rows: int) -> bytes:
        """Write the network in ONNX's format, for batches of this many rows."""
        node, weights = self._helper.make_node, architecture.weights()
        nodes: list[Any] = []
        arrays: list[Any] = []
        kinds = [architecture.hidden] * (len(weights) - 1) + [architecture.output]
        for k, (layer, kind) in enumerate(zip(weights, kinds, strict=True)):
            names, z, a = (f"w{k}", f"b{k}"), f"z{k}", f"a{k + 1}"
            arrays += map(self._numpy_helper.from_array, layer, names)
            nodes.append(node("Gemm", [f"a{k}", *names], [z], transB=1))
            if kind == "silu":  # ONNX has no operator for it
                nodes += [node("Sigmoid", [z], [f"s{k}"]), node("Mul", [z, f"s{k}"], [a])]
            else:
                nodes.append(node(kind.capitalize(), [z], [a]))
        inputs, outputs = (
            [self._helper.make_tensor_value_info(f"a{k}", FLOAT32, [rows, architecture.sizes[k]])]
            for k in (0, len(weights))
        )
        model = self._helper.make_model(
            self._helper.make_graph(nodes, "network", inputs, outputs, arrays),
            opset_imports=[self._helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        return bytes(model.SerializeToString())

    def predict(self) -> Array:
        (outputs,) = self._session.run(None, {"a0": self._x})
        return outputs


class OnnxRuntimeOneThread(OnnxRuntime):
    """ONNX Runtime on one thread."""

    name = "onnxruntime-1-thread"
    setting = "1 thread"
    threads = 1
    for_short_work = True


class OpenVino(Predictor):
    """OpenVINO on all cores, with its latency hint and one request that is kept, in float32 throughout."""

    name = "openvino"
    library = "OpenVINO"
    setting: ClassVar[str] = "all cores"
    threads: ClassVar[int | None] = None

    def open(self) -> str:
        self._openvino = import_library("openvino", "openvino")
        self._operators = import_library("openvino.opset13", "openvino")
        self._core = self._openvino.Core()
        self._threads = self.threads or cores()
        return _on(self._threads)

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # on some processors the default is bfloat16
            "INFERENCE_NUM_THREADS": self._threads,
        }
        model = self._model(architecture, len(batch.x))
        self._request = self._core.compile_model(model, "CPU", settings).create_infer_request()
        self._x = np.array(batch.x)

    def _model(self, architecture: Architecture, rows: int) -> Any:
        """Build the network from OpenVINO's operators, for batches of this many rows."""
        make = self._operators
        hidden = {
            "relu": make.relu,
            "tanh": make.tanh,
            "gelu": lambda z: make.gelu(z, "erf"),
            "silu": make.swish,
        }[architecture.hidden]
        x = a = make.parameter([rows, architecture.sizes[0]], np.float32)
        *before, (w, b) = architecture.weights()

        def weighted(a: Any, w: Array, b: Array) -> Any:
            product = make.matmul(a, make.constant(w), transpose_a=False, transpose_b=True)
            return make.add(product, make.constant(b))

        for layer in before:
            a = hidden(weighted(a, *layer))
        z = weighted(a, w, b)
        return self._openvino.Model([make.softmax(z, 1) if architecture.is_classifier else z], [x])

    def predict(self) -> Array:
        # The input is read where it is; the outputs are copied out, and belong to the caller.
        return self._request.infer(self._x, share_inputs=True)[0]


class OpenVinoOneThread(OpenVino):
    """OpenVINO on one thread."""

    name = "openvino-1-thread"
    setting = "1 thread"
    threads = 1
    for_short_work = True


def _on(threads: int) -> str:
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"
