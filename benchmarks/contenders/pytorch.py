"""PyTorch: eager, compiled, and in a CUDA graph."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from ...kernels.typing import Array
from ..tasks import AlternatingBatch, Architecture, OptimizerSettings, Weights
from .base import AbsentError, Contender, has_gpu, import_library

__all__ = [
    "Torch",
    "TorchCompile",
    "TorchCompileOneThread",
    "TorchCuda",
    "TorchCudaCompile",
    "TorchCudaGraph",
    "TorchOneThread",
]


class Torch(Contender):
    """PyTorch, eager, with its fused optimizers, which are its fastest on most of the grid."""

    name = "torch"
    library = "PyTorch"
    setting: ClassVar[str] = "eager"
    compiles: ClassVar[bool] = False
    threads: ClassVar[int | None] = None

    def open(self) -> str:
        if self.device == "gpu" and not has_gpu():
            raise AbsentError("no NVIDIA GPU here")
        self._torch = torch = import_library("torch", "torch")
        if self.device == "cpu":
            self._where = torch.device("cpu")
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            count = torch.get_num_threads()
            return f"CPU, {count} thread{'s' if count > 1 else ''}"
        if not torch.cuda.is_available():
            raise AbsentError("PyTorch finds no GPU")
        torch.set_float32_matmul_precision("highest")
        self._where = torch.device("cuda")
        return str(torch.cuda.get_device_name())

    _architecture: Architecture | None = None

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        torch = self._torch
        if architecture != self._architecture:
            self._architecture = architecture
            self._build(architecture)
        with torch.no_grad():
            for layer, (w, b) in zip(self._linears, architecture.weights(), strict=True):
                layer.weight.copy_(torch.from_numpy(w))
                layer.bias.copy_(torch.from_numpy(b))
        rate = optimizer.learning_rate
        parameters = list(self._model.parameters())
        for parameter in parameters:
            parameter.grad = None
        if optimizer.name == "sgd":
            self._optimizer = torch.optim.SGD(
                parameters, lr=rate, momentum=optimizer.momentum, fused=True
            )
        else:
            self._optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
        self._x, *targets = (self._own(array) for array in (batch.x, *batch.targets))
        self._targets = targets[0], targets[1]
        self._steps = 0

    def _own(self, array: Array) -> Array:
        return self._torch.from_numpy(array).to(self._where)

    def _build(self, architecture: Architecture) -> None:
        torch, sizes = self._torch, architecture.sizes
        functional = torch.nn.functional
        self._linears = [torch.nn.Linear(n, m, device=self._where) for n, m in pairwise(sizes)]
        kinds = {"relu": "ReLU", "tanh": "Tanh", "gelu": "GELU", "silu": "SiLU"}
        hidden = getattr(torch.nn, kinds[architecture.hidden])
        modules: list[Any] = [self._linears[0]]
        for linear in self._linears[1:]:
            modules += [hidden(), linear]
        model = self._model = torch.nn.Sequential(*modules)

        if architecture.is_classifier:

            def cost(x: Array, y: Array) -> Array:
                return functional.cross_entropy(model(x), y)

            def outputs(x: Array) -> Array:
                return functional.softmax(model(x), dim=1)
        else:

            def cost(x: Array, y: Array) -> Array:
                return functional.mse_loss(model(x), y) * (sizes[-1] / 2)

            def outputs(x: Array) -> Array:
                return model(x)

        if self.compiles:
            # There is one graph for each batch size. With fullgraph, too many graphs are an error.
            torch._dynamo.reset()
            self._cost_of = torch.compile(cost, dynamic=False, fullgraph=True)
            self._outputs = torch.compile(outputs, dynamic=False, fullgraph=True)
        else:
            self._cost_of, self._outputs = cost, outputs

    def step(self) -> None:
        self._train(self._x, self._next(self._targets))

    def _train(self, x: Array, y: Array) -> None:
        self._cost = self._cost_of(x, y)
        self._cost.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

    def cost(self) -> float:
        return float(self._cost.item())

    def parameters(self) -> Weights:
        return [
            (k.weight.detach().cpu().numpy().copy(), k.bias.detach().cpu().numpy().copy())
            for k in self._linears
        ]

    def predict(self) -> Array:
        with self._torch.inference_mode():
            return self._outputs(self._x)

    def predict_to_numpy(self) -> Array:
        return self.predict().cpu().numpy()

    def load_epoch(self, data: AlternatingBatch) -> None:
        self._data = self._own(data.x), self._own(data.targets[0])

    def epoch(self) -> None:
        x, y = self._data
        order = self._torch.randperm(len(x), device=self._where)
        for rows in order.split(len(self._x)):
            self._train(x[rows], y[rows])

    def synchronize(self) -> None:
        if self.device == "gpu":
            self._torch.cuda.synchronize()

    def device_peak_bytes(self) -> int | None:
        return int(self._torch.cuda.max_memory_reserved()) if self.device == "gpu" else None


class TorchCompile(Torch):
    """PyTorch with a compiled cost and derivative, and the fused optimizer."""

    name = "torch-compile"
    setting = "compiled"
    compiles = True


class TorchOneThread(Torch):
    """PyTorch, eager, on one thread: on small networks its threads cost more than they save."""

    name = "torch-1-thread"
    setting = "eager, 1 thread"
    threads = 1
    for_short_work = True


class TorchCompileOneThread(TorchCompile):
    """PyTorch, compiled, on one thread."""

    name = "torch-compile-1-thread"
    setting = "compiled, 1 thread"
    threads = 1
    for_short_work = True


class TorchCuda(Torch):
    """PyTorch, eager, on the GPU."""

    name = "torch-cuda"
    device = "gpu"


class TorchCudaCompile(TorchCuda):
    """PyTorch, compiled, on the GPU."""

    name = "torch-cuda-compile"
    setting = "compiled"
    compiles = True


class TorchCudaGraph(TorchCuda):
    """PyTorch, eager, with the whole step captured in a CUDA graph and replayed."""

    name = "torch-cuda-graph"
    setting = "CUDA graph"

    _graph: Any
    _captured_outputs: Any

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        # Free the results of an earlier graph first, and their memory with them.
        self._cost = self._graph = self._captured_outputs = None
        super().load(architecture, optimizer, batch)
        torch, rate = self._torch, optimizer.learning_rate
        parameters = list(self._model.parameters())
        if optimizer.name == "adam":
            self._optimizer = torch.optim.Adam(parameters, lr=rate, fused=True, capturable=True)
        self._static = self._x.clone(), self._targets[0].clone()
        # A capture needs existing gradients and optimizer state: take a few steps, which are undone below.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._eager()
        torch.cuda.current_stream().wait_stream(side)
        self._cost = None  # its autograd nodes would bring the warm-up's stream into the capture
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._eager()
        with torch.no_grad():
            for layer, (w, b) in zip(self._linears, architecture.weights(), strict=True):
                layer.weight.copy_(torch.from_numpy(w))
                layer.bias.copy_(torch.from_numpy(b))
            for state in self._optimizer.state.values():
                for value in state.values():
                    if torch.is_tensor(value):
                        value.zero_()

    def _eager(self) -> None:
        self._optimizer.zero_grad()
        self._cost = self._cost_of(*self._static)
        self._cost.backward()
        self._optimizer.step()

    def _train(self, x: Array, y: Array) -> None:
        self._static[0].copy_(x)
        self._static[1].copy_(y)
        self._graph.replay()

    def predict(self) -> Array:
        torch = self._torch
        if self._captured_outputs is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side), torch.no_grad():
                for _ in range(3):
                    self._outputs(self._static[0])
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.no_grad(), torch.cuda.graph(graph):
                outputs = self._outputs(self._static[0])
            self._captured_outputs = graph, outputs
        graph, outputs = self._captured_outputs
        self._static[0].copy_(self._x)
        graph.replay()
        return outputs.clone()
