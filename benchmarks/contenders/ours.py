"""gpubp itself, on the CPU and on a GPU."""

from __future__ import annotations

import importlib
from typing import ClassVar

import gpubp

from ...backends import Backend
from ...backends.cupy import device_count, open_cupy
from ...kernels.typing import Array
from ..tasks import EPOCH_ROWS, AlternatingBatch, Architecture, OptimizerSettings, Weights
from .base import AbsentError, Contender, alternated

__all__ = ["GpubpCupy", "GpubpCupyLaunched", "GpubpNumpy", "GpubpNumpyFit", "require_cupy"]


class GpubpNumpy(Contender):
    """gpubp on the CPU."""

    name = "gpubp-numpy"
    library = "gpubp"
    backend: str | Backend = "numpy"

    def open(self) -> str:
        return gpubp.get_backend(self.backend).device

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        rate = optimizer.learning_rate
        self._network = gpubp.Network(
            architecture.sizes,
            hidden=architecture.hidden,
            output=architecture.output,
            backend=self.backend,
            seed=0,
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

    def load_epoch(self, data: AlternatingBatch) -> None:
        self._data = self._own(data.x), self._own(data.targets[0])

    def epoch(self) -> None:
        self._trainer.fit(*self._data, epochs=1)

    def synchronize(self) -> None:
        self._network.backend.synchronize()


class GpubpNumpyFit(GpubpNumpy):
    """gpubp on the CPU, its steps within one `Trainer.fit`.

    The data have as many rows as those of an epoch, or four batches if these are large. More steps are
    several epochs. So a step's time has a part of all that fit does besides: it checks the data, keeps
    copies to roll back to, and records costs.
    """

    name = "gpubp-numpy-fit"
    setting = "in fit"
    works = ("step",)
    for_short_work = True
    steps_at_once = 4096

    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        super().load(architecture, optimizer, batch)
        self._trainer.shuffle = False
        self._tiled: dict[tuple[int, int], tuple[Array, Array]] = {}

    def steps(self, count: int) -> None:
        whole = max(4, EPOCH_ROWS // len(self._x))
        batches = min(
            count, 1 << (whole.bit_length() - 1)
        )  # a power of two, which divides the count
        first = self._steps % 2
        self._steps += count
        if (batches, first) not in self._tiled:
            self._tiled = {(batches, first): alternated(self._x, self._targets, batches, first)}
        self._trainer.fit(*self._tiled[batches, first], epochs=count // batches)


class GpubpCupy(GpubpNumpy):
    """gpubp on the first GPU; a step is a CUDA graph where it can be captured."""

    name = "gpubp-cupy"
    device = "gpu"
    graphs: ClassVar[bool] = True

    def open(self) -> str:
        require_cupy()
        self.backend = backend = open_cupy(graphs=self.graphs)
        return backend.device

    def device_peak_bytes(self) -> int | None:
        # The pool frees nothing while the process runs, so its present size is its peak.
        return int(importlib.import_module("cupy").get_default_memory_pool().total_bytes())


class GpubpCupyLaunched(GpubpCupy):
    """gpubp on the first GPU, without CUDA graphs: kernels are launched one by one."""

    name = "gpubp-cupy-launched"
    setting = "launched"
    graphs: ClassVar[bool] = False


def require_cupy() -> None:
    """Raise `AbsentError` where CuPy finds no device."""
    devices, reason = device_count()
    if not devices:
        raise AbsentError(reason)
