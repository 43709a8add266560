"""The contenders: the same training step, prediction and epoch, as each library's users write them.

A contender lives in a process of its own (worker.py).
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import gpubp

from ..backends import Backend, device_count
from ..backends.cupy import open_cupy
from ..kernels.typing import Array
from .tasks import Architecture, Batch, OptimizerSettings

__all__ = ["CONTENDERS", "AbsentError", "Contender", "has_gpu", "require_cupy"]

Weights = list[tuple[Array, Array]]


class AbsentError(RuntimeError):
    """A contender cannot run here; the message says why."""


class Contender(ABC):
    """One way to train a network.

    `open` is called once; `load` gives it a network, an optimizer and a batch, all anew, brought into
    its own kind of array; the rest works on what was loaded.
    """

    name: ClassVar[str]
    device: ClassVar[str] = "cpu"

    @abstractmethod
    def open(self) -> str:
        """Import the library; what it runs on, in words. Raises `AbsentError`."""

    @abstractmethod
    def load(self, architecture: Architecture, optimizer: OptimizerSettings, batch: Batch) -> None:
        """Take the network with its weights as at the start, a fresh optimizer, and the batch."""

    @abstractmethod
    def step(self) -> None:
        """One update on the batch; the two targets take turns."""

    @abstractmethod
    def cost(self) -> float:
        """The cost of the last step, before its update."""

    @abstractmethod
    def parameters(self) -> Weights:
        """The weights now, as NumPy arrays of `load`'s shapes."""

    @abstractmethod
    def predict(self) -> Array:
        """The outputs for the batch, probabilities for a classifier, in its own kind of array."""

    def predict_to_numpy(self) -> Array:
        """`predict`'s result as a NumPy array."""
        return np.asarray(self.predict())

    @abstractmethod
    def epoch(self) -> None:
        """One pass over what `load_epoch` gave, shuffled, in batches as large as the loaded one."""

    @abstractmethod
    def load_epoch(self, data: Batch) -> None:
        """Take a data set."""

    def synchronize(self) -> None:  # noqa: B027
        """Wait until everything asked for has been computed."""

    def device_peak_bytes(self) -> int | None:
        """The most device memory held so far, or None for a contender on the CPU."""
        return None

    _steps = 0

    def _next(self, targets: tuple[Array, Array]) -> Array:
        self._steps += 1
        return targets[(self._steps - 1) % 2]


class GpubpNumpy(Contender):
    """gpubp on the CPU."""

    name = "gpubp-numpy"
    backend: str | Backend = "numpy"

    def open(self) -> str:
        return gpubp.get_backend(self.backend).device

    def load(self, architecture: Architecture, optimizer: OptimizerSettings, batch: Batch) -> None:
        rate = optimizer.learning_rate
        self._network = gpubp.Network(
            architecture.sizes, output=architecture.output, backend=self.backend, seed=0
        )
        for layer, (w, b) in zip(self._network.layers, architecture.weights(), strict=True):
            assert layer.biases is not None
            layer.weights[...] = self._own(w)
            layer.biases[...] = self._own(b)
        chosen = (
            gpubp.SGD(learning_rate=rate, momentum=optimizer.momentum)
            if optimizer.name == "sgd"
            else gpubp.Adam(learning_rate=rate)
        )
        self._trainer = gpubp.Trainer(self._network, chosen, batch_size=len(batch.x), seed=0)
        self._x = self._own(batch.x)
        self._targets = self._own(batch.targets[0]), self._own(batch.targets[1])
        self._steps = 0

    def _own(self, array: Array) -> Array:
        return gpubp.get_backend(self.backend).asarray(array)

    def step(self) -> None:
        self._trainer.step(self._x, self._next(self._targets))

    def cost(self) -> float:
        return self._trainer.step_cost

    def parameters(self) -> Weights:
        to_numpy = self._network.backend.to_numpy
        return [(to_numpy(k.weights), to_numpy(k.biases)) for k in self._network.layers]

    def predict(self) -> Array:
        return self._network.predict(self._x)

    def predict_to_numpy(self) -> Array:
        return self._network.backend.to_numpy(self.predict())

    def load_epoch(self, data: Batch) -> None:
        self._data = self._own(data.x), self._own(data.targets[0])

    def epoch(self) -> None:
        self._trainer.fit(*self._data, epochs=1)

    def synchronize(self) -> None:
        self._network.backend.synchronize()


class GpubpCupy(GpubpNumpy):
    """gpubp on the first GPU, each step a CUDA graph where it can be one."""

    name = "gpubp-cupy"
    device = "gpu"
    graphs: ClassVar[bool] = True

    def open(self) -> str:
        require_cupy()
        self.backend = backend = open_cupy(graphs=self.graphs)
        return backend.device

    def device_peak_bytes(self) -> int | None:
        # The pool gives nothing back while it runs: what it holds is the most it has held.
        return int(importlib.import_module("cupy").get_default_memory_pool().total_bytes())


class GpubpCupyLaunched(GpubpCupy):
    """gpubp on the first GPU, without CUDA graphs: kernels launched one by one."""

    name = "gpubp-cupy-launched"
    graphs: ClassVar[bool] = False


class Torch(Contender):
    """PyTorch, eager, with its fused optimizers: on most of the grid the fastest that it has."""

    name = "torch"
    compiles: ClassVar[bool] = False

    def open(self) -> str:
        if self.device == "gpu" and not has_gpu():
            raise AbsentError("no NVIDIA GPU here")
        self._torch = torch = _import("torch", "torch")
        if self.device == "cpu":
            self._where = torch.device("cpu")
            return f"CPU, {torch.get_num_threads()} threads"
        if not torch.cuda.is_available():
            raise AbsentError("PyTorch finds no GPU")
        torch.set_float32_matmul_precision("highest")
        self._where = torch.device("cuda")
        return str(torch.cuda.get_device_name())

    _architecture: Architecture | None = None

    def load(self, architecture: Architecture, optimizer: OptimizerSettings, batch: Batch) -> None:
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
        modules: list[Any] = [self._linears[0]]
        for linear in self._linears[1:]:
            modules += [torch.nn.ReLU(), linear]
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
            # A graph for each batch size; fullgraph turns running into the limit of graphs into an error.
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

    def load_epoch(self, data: Batch) -> None:
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
    """PyTorch with cost and its derivative compiled, and the fused optimizer."""

    name = "torch-compile"
    compiles = True


class TorchCuda(Torch):
    """PyTorch, eager, on the GPU."""

    name = "torch-cuda"
    device = "gpu"


class TorchCudaCompile(TorchCuda):
    """PyTorch, compiled, on the GPU."""

    name = "torch-cuda-compile"
    compiles = True


class TorchCudaGraph(TorchCuda):
    """PyTorch, eager, the whole step captured in a CUDA graph and replayed."""

    name = "torch-cuda-graph"

    _graph: Any
    _captured_outputs: Any

    def load(self, architecture: Architecture, optimizer: OptimizerSettings, batch: Batch) -> None:
        # What an earlier graph computed goes first, and its memory with it.
        self._cost = self._graph = self._captured_outputs = None
        super().load(architecture, optimizer, batch)
        torch, rate = self._torch, optimizer.learning_rate
        parameters = list(self._model.parameters())
        if optimizer.name == "adam":
            self._optimizer = torch.optim.Adam(parameters, lr=rate, fused=True, capturable=True)
        self._static = self._x.clone(), self._targets[0].clone()
        # Capture needs gradients and optimizer state that are already there: steps to be undone follow.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._eager()
        torch.cuda.current_stream().wait_stream(side)
        self._cost = None  # whose nodes would bring the warm-up's stream into the capture
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


class Jax(Contender):
    """JAX: the step in one jit, parameters and state donated."""

    name = "jax"
    platform: ClassVar[str] = "cpu"

    def open(self) -> str:
        if self.device == "gpu" and not has_gpu():
            raise AbsentError("no NVIDIA GPU here")
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        if self.platform == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
        self._jax = jax = _import("jax", "jax")
        # On a GPU, JAX would otherwise round the factors of a float32 matmul to TF32.
        jax.config.update("jax_default_matmul_precision", "highest")
        try:
            self._device = jax.devices(self.platform)[0]
        except RuntimeError as error:
            raise AbsentError(f"JAX finds no GPU ({str(error).splitlines()[0]})") from None
        return str(self._device.device_kind)

    _compiled_for: Any = None

    def load(self, architecture: Architecture, optimizer: OptimizerSettings, batch: Batch) -> None:
        jax = self._jax
        wanted = architecture, optimizer.name, optimizer.momentum
        if wanted != self._compiled_for:
            self._compiled_for = wanted
            self._build(architecture, optimizer)
        weights = architecture.weights()
        self._parameters = jax.tree.map(self._own, weights)
        zeros = jax.tree.map(np.zeros_like, weights)
        state = (zeros,) if optimizer.name == "sgd" else (zeros, zeros, np.float32(0))
        self._state = jax.tree.map(self._own, state)
        self._rate = self._own(np.float32(optimizer.learning_rate))
        self._x = self._own(batch.x)
        self._targets = self._own(batch.targets[0]), self._own(batch.targets[1])
        self._batch_size, self._steps = len(batch.x), 0

    def _own(self, array: Array) -> Array:
        # Without 64-bit types, JAX's labels have 32.
        dtype = np.int32 if array.dtype == np.int64 else array.dtype
        return self._jax.device_put(np.array(array, dtype), self._device)

    def _build(self, architecture: Architecture, optimizer: OptimizerSettings) -> None:
        jax = self._jax
        jnp = importlib.import_module("jax.numpy")

        def forward(parameters: Any, x: Array) -> Array:
            *hidden, (w, b) = parameters
            for w_k, b_k in hidden:
                x = jnp.maximum(x @ w_k.T + b_k, 0)
            return x @ w.T + b

        def cost(parameters: Any, x: Array, y: Array) -> Array:
            z = forward(parameters, x)
            if architecture.is_classifier:
                chosen = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
                return jnp.mean(jax.nn.logsumexp(z, axis=1) - chosen)
            return 0.5 * jnp.mean(jnp.sum((z - y) ** 2, axis=1))

        def sgd(parameters: Any, g: Any, state: Any, rate: Array) -> Any:
            velocity = jax.tree.map(lambda v, d: optimizer.momentum * v + d, state[0], g)
            return jax.tree.map(lambda p, v: p - rate * v, parameters, velocity), (velocity,)

        def adam(parameters: Any, g: Any, state: Any, rate: Array) -> Any:
            m = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, state[0], g)
            v = jax.tree.map(lambda v, d: 0.999 * v + 0.001 * d * d, state[1], g)
            t = state[2] + 1
            c1, c2 = 1 - 0.9**t, 1 - 0.999**t
            moved = jax.tree.map(
                lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), parameters, m, v
            )
            return moved, (m, v, t)

        update = sgd if optimizer.name == "sgd" else adam

        def step(parameters: Any, state: Any, rate: Array, x: Array, y: Array) -> Any:
            value, g = jax.value_and_grad(cost)(parameters, x, y)
            return (*update(parameters, g, state, rate), value)

        def step_on_rows(
            parameters: Any, state: Any, rate: Array, x: Array, y: Array, rows: Array
        ) -> Any:
            return step(parameters, state, rate, x[rows], y[rows])

        def outputs(parameters: Any, x: Array) -> Array:
            z = forward(parameters, x)
            return jax.nn.softmax(z, axis=1) if architecture.is_classifier else z

        self._step = jax.jit(step, donate_argnums=(0, 1))
        self._step_on_rows = jax.jit(step_on_rows, donate_argnums=(0, 1))
        self._outputs = jax.jit(outputs)

    def step(self) -> None:
        self._parameters, self._state, self._cost = self._step(
            self._parameters, self._state, self._rate, self._x, self._next(self._targets)
        )

    def cost(self) -> float:
        return float(self._cost)

    def parameters(self) -> Weights:
        return [(np.array(w), np.array(b)) for w, b in self._parameters]

    def predict(self) -> Array:
        self._predicted = self._outputs(self._parameters, self._x)
        return self._predicted

    def load_epoch(self, data: Batch) -> None:
        self._data = self._own(data.x), self._own(data.targets[0])
        self._rng = np.random.default_rng(0)

    def epoch(self) -> None:
        x, y = self._data
        order = self._rng.permutation(len(x)).astype(np.int32)
        for start in range(0, len(x), self._batch_size):
            self._parameters, self._state, self._cost = self._step_on_rows(
                self._parameters,
                self._state,
                self._rate,
                x,
                y,
                order[start : start + self._batch_size],
            )

    def synchronize(self) -> None:
        self._jax.block_until_ready((self._parameters, getattr(self, "_predicted", None)))

    def device_peak_bytes(self) -> int | None:
        if self.device == "cpu":
            return None
        return int(self._device.memory_stats()["peak_bytes_in_use"])


class JaxCuda(Jax):
    """JAX on the GPU."""

    name = "jax-cuda"
    device = "gpu"
    platform = "gpu"


class ScikitLearn(Contender):
    """scikit-learn's `partial_fit`.

    Its Adam adds ε to √v before, not after, the bias correction: ε is set so that the first step is the
    others' first step. A call with more rows than its `batch_size` would be several steps, so that is set
    to the batch's.
    """

    name = "scikit-learn"

    def open(self) -> str:
        self._sklearn = _import("sklearn.neural_network", "scikit-learn")
        return f"CPU, NumPy {np.__version__}"

    def load(self, architecture: Architecture, optimizer: OptimizerSettings, batch: Batch) -> None:
        self._x = batch.x
        targets = batch.targets
        kind = self._sklearn.MLPRegressor
        self._classes: dict[str, Any] = {}
        if architecture.is_classifier:
            kind = self._sklearn.MLPClassifier
            self._classes = {"classes": np.arange(architecture.sizes[-1])}
        elif targets[0].shape[1] == 1:
            targets = targets[0].ravel(), targets[1].ravel()
        self._targets = targets
        self._model = kind(
            hidden_layer_sizes=architecture.sizes[1:-1],
            solver=optimizer.name,
            learning_rate_init=optimizer.learning_rate,
            momentum=optimizer.momentum,
            nesterovs_momentum=False,
            epsilon=1e-8 * (1 - 0.999) ** 0.5,
            alpha=0.0,
            shuffle=False,
            random_state=0,
        )
        self._fit(self._x[:1], self._targets[0][:1])
        for coefficients, intercepts, (w, b) in zip(
            self._model.coefs_, self._model.intercepts_, architecture.weights(), strict=True
        ):
            coefficients[...], intercepts[...] = w.T, b
        # The call above was there to make the arrays; the next one starts a fresh optimizer on them.
        del self._model._optimizer
        self._model.set_params(batch_size=len(batch.x))
        self._steps = 0

    def _fit(self, x: Array, y: Array) -> None:
        self._model.set_params(batch_size=len(x))
        self._model.partial_fit(x, y, **self._classes)

    def step(self) -> None:
        self._model.partial_fit(self._x, self._next(self._targets), **self._classes)

    def cost(self) -> float:
        return float(self._model.loss_)

    def parameters(self) -> Weights:
        return [
            (np.array(w.T), np.array(b))
            for w, b in zip(self._model.coefs_, self._model.intercepts_, strict=True)
        ]

    def predict(self) -> Array:
        if self._classes:
            return self._model.predict_proba(self._x)
        return self._model.predict(self._x).reshape(len(self._x), -1)

    def load_epoch(self, data: Batch) -> None:
        y = data.targets[0]
        self._data = data.x, y.ravel() if y.shape[-1] == 1 else y
        self._rng = np.random.default_rng(0)

    def epoch(self) -> None:
        x, y = self._data
        order = self._rng.permutation(len(x))
        for start in range(0, len(x), len(self._x)):
            rows = order[start : start + len(self._x)]
            self._model.partial_fit(x[rows], y[rows], **self._classes)


def require_cupy() -> None:
    """Raises `AbsentError` where CuPy finds no device."""
    devices, reason = device_count()
    if not devices:
        raise AbsentError(reason)


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded; asks no library."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = "is not installed" if error.name == module.partition(".")[0] else f"fails: {error}"
        raise AbsentError(f"{package} {reason}; pip install 'gpubp[bench]'") from None


CONTENDERS: Mapping[str, type[Contender]] = {
    contender.name: contender
    for contender in (
        GpubpNumpy,
        Torch,
        TorchCompile,
        Jax,
        ScikitLearn,
        GpubpCupy,
        GpubpCupyLaunched,
        TorchCuda,
        TorchCudaCompile,
        TorchCudaGraph,
        JaxCuda,
    )
}
