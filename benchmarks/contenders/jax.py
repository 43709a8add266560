"""JAX: the whole step in one `jit`, or many steps in one `lax.scan`."""

from __future__ import annotations

import importlib
import os
from typing import Any, ClassVar

import numpy as np

from ...kernels.typing import Array
from ..tasks import AlternatingBatch, Architecture, OptimizerSettings, Weights
from .base import AbsentError, Contender, has_gpu, import_library

__all__ = ["Jax", "JaxCuda", "JaxScan"]


class Jax(Contender):
    """JAX on the CPU, with parameters and optimizer state donated to the step."""

    name = "jax"
    library = "JAX"
    setting: ClassVar[str] = "jit"
    platform: ClassVar[str] = "cpu"

    def open(self) -> str:
        if self.device == "gpu" and not has_gpu():
            raise AbsentError("no NVIDIA GPU here")
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        if self.platform == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
        self._jax = jax = import_library("jax", "jax")
        # By default, JAX rounds the factors of a float32 matmul to TF32 on a GPU.
        jax.config.update("jax_default_matmul_precision", "highest")
        try:
            self._device = jax.devices(self.platform)[0]
        except RuntimeError as error:
            raise AbsentError(f"JAX finds no GPU ({str(error).splitlines()[0]})") from None
        return str(self._device.device_kind)

    _compiled_for: Any = None

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
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
        # JAX has no 64-bit types by default: labels become int32.
        dtype = np.int32 if array.dtype == np.int64 else array.dtype
        return self._jax.device_put(np.array(array, dtype), self._device)

    def _build(self, architecture: Architecture, optimizer: OptimizerSettings) -> None:
        jax = self._jax
        jnp = importlib.import_module("jax.numpy")
        hidden = {
            "relu": lambda z: jnp.maximum(z, 0),
            "tanh": jnp.tanh,
            "gelu": lambda z: jax.nn.gelu(z, approximate=False),
            "silu": jax.nn.silu,
        }[architecture.hidden]

        def forward(parameters: Any, x: Array) -> Array:
            *before, (w, b) = parameters
            for w_k, b_k in before:
                x = hidden(x @ w_k.T + b_k)
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

        def scan_steps(
            parameters: Any, state: Any, rate: Array, x: Array, targets: Array, numbers: Array
        ) -> Any:
            def body(carry: Any, number: Array) -> Any:
                moved, kept, value = step(carry[0], carry[1], rate, x, targets[number % 2])
                return (moved, kept), value

            carry, values = jax.lax.scan(body, (parameters, state), numbers)
            return (*carry, values[-1])

        def scan_rows(
            parameters: Any, state: Any, rate: Array, x: Array, y: Array, rows: Array
        ) -> Any:
            def body(carry: Any, batch: Array) -> Any:
                moved, kept, value = step(carry[0], carry[1], rate, x[batch], y[batch])
                return (moved, kept), value

            carry, values = jax.lax.scan(body, (parameters, state), rows)
            return (*carry, values[-1])

        def outputs(parameters: Any, x: Array) -> Array:
            z = forward(parameters, x)
            return jax.nn.softmax(z, axis=1) if architecture.is_classifier else z

        self._step = jax.jit(step, donate_argnums=(0, 1))
        self._step_on_rows = jax.jit(step_on_rows, donate_argnums=(0, 1))
        self._scan_steps = jax.jit(scan_steps, donate_argnums=(0, 1))
        self._scan_rows = jax.jit(scan_rows, donate_argnums=(0, 1))
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

    def load_epoch(self, data: AlternatingBatch) -> None:
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


class JaxScan(Jax):
    """JAX on the CPU, with many steps, or all batches of an epoch, in one compiled `lax.scan`."""

    name = "jax-scan"
    setting = "scan"
    works = ("step", "epoch")
    for_short_work = True
    steps_at_once = 4096

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        super().load(architecture, optimizer, batch)
        self._both_targets = self._own(np.stack(batch.targets))

    def steps(self, count: int) -> None:
        numbers = np.arange(self._steps, self._steps + count, dtype=np.int32)
        self._steps += count
        self._parameters, self._state, self._cost = self._scan_steps(
            self._parameters, self._state, self._rate, self._x, self._both_targets, numbers
        )

    def epoch(self) -> None:
        x, y = self._data
        order = self._rng.permutation(len(x)).astype(np.int32)
        whole = len(x) // self._batch_size * self._batch_size
        if whole:
            self._parameters, self._state, self._cost = self._scan_rows(
                self._parameters,
                self._state,
                self._rate,
                x,
                y,
                order[:whole].reshape(-1, self._batch_size),
            )
        if whole < len(x):  # the last batch has fewer rows
            self._parameters, self._state, self._cost = self._step_on_rows(
                self._parameters, self._state, self._rate, x, y, order[whole:]
            )


class JaxCuda(Jax):
    """JAX on the GPU."""

    name = "jax-cuda"
    device = "gpu"
    platform = "gpu"
