"""The NumPy backend: the kernels' NumPy twins, SciPy's BLAS, and row blocks on threads.

Every verb binds its twin to its arrays, which gives a call of no arguments, and runs that at once or,
during a capture, keeps it. A captured step is a list of such calls: replaying it costs little Python,
and allocates nothing.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..kernels import Activation, Cost, Shared, Update, layers, softmax, sums
from ..kernels.blocks import Scratch
from ..kernels.dropout import dropout_numpy
from ..kernels.updates import update_numpy
from . import blas
from .base import Array, Backend, Rows
from .lanes import run_together

__all__ = ["NumpyBackend"]

Bound = Callable[[], None]


class _Recorder(threading.local):
    """What the verbs called in this thread do: run (tape is None), or join the tape."""

    def __init__(self) -> None:
        self.tape: list[Bound] | None = None
        self.scratch: dict[Any, Scratch] = {}


class NumpyBackend(Backend):
    """The verbs on the CPU."""

    name = "numpy"
    xp = np

    def __init__(self) -> None:
        self._recorder = _Recorder()

    @property
    def device(self) -> str:
        threads = blas.get_threads()
        plural = "thread" if threads == 1 else "threads"
        return f"{_processor()}, {threads} {plural}, NumPy {np.__version__}"

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        return np.ascontiguousarray(values, dtype)

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    # How a step is laid out.

    def plan(self, rows: int, widths: Sequence[int], limit: int | None) -> list[list[slice]]:
        threads = blas.get_threads()
        work = rows * sum(n * m for n, m in pairwise(widths))
        threads = threads if work >= LANE_WORK and rows >= 2 * threads else 1
        most = block_rows(widths) if threads > 1 or rows > 2 * block_rows(widths) else rows
        if limit is not None:
            most = min(most, limit)
        # Lanes get whole blocks, all of nearly the same size, so that none waits long for another.
        count = threads * max(1, -(-rows // (most * threads)))
        edges = [rows * k // count for k in range(count + 1)]
        blocks = [slice(start, stop) for start, stop in pairwise(edges)]
        blocks = [block for block in blocks if block.stop > block.start]
        share = -(-len(blocks) // threads)
        return [blocks[k : k + share] for k in range(0, len(blocks), share)]

    def lanes(self, functions: Sequence[Bound]) -> None:
        if len(functions) == 1:
            functions[0]()
            return
        tapes = [self._record(function) for function in functions]
        self._do(lambda: run_together(tapes))

    def capture(self, step: Bound) -> Bound:
        run = self._record(step)

        def replay() -> None:
            with blas.single_threaded():
                run()

        return replay

    def _record(self, step: Bound) -> Bound:
        """The calls that `step`'s verbs bind, as one call."""
        outer = self._recorder.tape, self._recorder.scratch
        tape: list[Bound] = []
        self._recorder.tape, self._recorder.scratch = tape, {}
        try:
            step()
        finally:
            self._recorder.tape, self._recorder.scratch = outer
        calls = tuple(tape)

        def run() -> None:
            for call in calls:
                call()

        return run

    def synchronize(self) -> None:
        pass

    def _do(self, bound: Bound) -> None:
        if self._recorder.tape is None:
            bound()
        else:
            self._recorder.tape.append(bound)

    def _scratch(self, dtype: Any) -> Scratch:
        if self._recorder.tape is None:
            return Scratch(dtype)
        return self._recorder.scratch.setdefault(dtype, Scratch(dtype))

    # Verbs.

    def gather(
        self,
        rows: Rows,
        field: str,
        clock: Array,
        first: int,
        out: Array,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        count = len(out)
        staging: dict[Any, Array] = {}

        def run() -> None:
            source = getattr(rows, field)
            start = int(clock[1]) * rows.stride + first
            if rows.order is None:
                np.copyto(out, source[start : start + count], casting="unsafe")
            else:
                chosen = rows.order[start : start + count]
                target = out
                if source.dtype != out.dtype:
                    if source.dtype not in staging:
                        staging[source.dtype] = np.empty(out.shape, source.dtype)
                    target = staging[source.dtype]
                np.take(source, chosen, axis=0, out=target, mode="clip")
                if target is not out:
                    np.copyto(out, target, casting="unsafe")
            if (scale, shift) != (1.0, 0.0):
                np.multiply(out, scale, out=out)
                np.add(out, shift, out=out)

        self._do(run)

    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        self._do(layers.one_hot_numpy(labels, out, low, high))

    def normalize(self, weights: Array) -> None:
        def run() -> None:
            total = float(np.add.reduce(weights, dtype=np.float64))
            # In float64: the sum, and its inverse, need not fit a smaller type.
            np.divide(weights, total or 1.0, out=weights, dtype=np.float64, casting="same_kind")

        self._do(run)

    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        self._do(
            blas.bind_matmul(
                a,
                b,
                out,
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                alpha=alpha,
                beta=beta,
            )
        )

    def bias_activate(
        self, activation: Activation, z: Array, biases: Array | None, a: Array
    ) -> None:
        scratch = self._scratch(z.dtype)
        if activation.rowwise:
            if biases is not None:
                self._do(lambda: np.add(z, biases, out=z))
            self._do(softmax.softmax_numpy(z, a, scratch))
        else:
            self._do(layers.bias_activate_numpy(activation, z, biases, a, scratch))

    def dropout(
        self, x: Array, out: Array, clock: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        self._do(dropout_numpy(x, out, clock, seed, layer, first, rate, self._scratch(x.dtype)))

    def output_delta(
        self,
        cost: Cost,
        activation: Activation,
        z: Array,
        a: Array,
        y: Array,
        scale: Array,
        delta: Array | None,
        costs: Array | None,
    ) -> None:
        scratch = self._scratch(a.dtype)
        canonical = cost.canonical == activation.name
        if canonical and activation.rowwise:
            self._do(softmax.softmax_cross_entropy_numpy(z, y, scale, delta, costs, scratch))
            return
        if costs is not None:
            self._do(softmax.row_costs_numpy(cost, canonical, z, a, y, costs, scratch))
        if delta is not None:
            v = a if activation.reads == "a" else z
            self._do(layers.output_delta_numpy(cost, activation, a, y, scale, v, delta, scratch))
            if activation.rowwise:
                self._do(softmax.softmax_jacobian_numpy(a, delta, scratch))

    def multiply_by_derivative(self, activation: Activation, v: Array, delta: Array) -> None:
        if activation.name != "identity":
            scratch = self._scratch(delta.dtype)
            self._do(layers.multiply_by_derivative_numpy(activation, v, delta, scratch))

    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        ones = np.ones((1, min(len(values), sums.CHUNK_ROWS)), values.dtype)

        def row_of_sums(chunk: Array, target: Array, beta: float) -> Bound:
            return blas.bind_matmul(ones[:, : len(chunk)], chunk, target[None, :], beta=beta)

        self._do(sums.column_sums_numpy(values, out, beta, row_of_sums))

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, clock: Array | None = None
    ) -> None:
        slot = None if clock is None else clock[1:]
        self._do(sums.weighted_sum_numpy(values, weights, out, slot, add=clock is not None))

    def log_sum_exp(self, z: Array, out: Array) -> None:
        self._do(softmax.log_sum_exp_numpy(z, out, self._scratch(z.dtype)))

    def add(self, values: Array, out: Array) -> None:
        self._do(lambda: np.add(out, values, out=out))

    def update(
        self,
        update: Update,
        hyperparameters: Mapping[str, float],
        shared: Shared,
        theta: Array,
        gradient: Array,
        state: tuple[Array, ...],
        n_weights: int,
        table: Array,
        clock: Array,
        squared_norm: Array,
    ) -> None:
        self._do(
            update_numpy(
                update,
                hyperparameters,
                shared,
                theta,
                gradient,
                state,
                n_weights,
                table,
                clock,
                squared_norm,
                self._scratch(theta.dtype),
            )
        )

    def advance(self, clock: Array) -> None:
        self._do(lambda: np.add(clock, 1, out=clock))


LANE_WORK = 3_000_000
"""Multiply-adds of a forward pass from which a step is worth sharing among threads."""

BLOCK_ELEMENTS = 131072
"""Activations of the widest layer in a block of rows: half a MiB of float32, so that a block's z, a and δ
stay in a second-level cache."""


def block_rows(widths: Sequence[int]) -> int:
    """Rows of a block: as many as fit the cache, in multiples of 32, and enough for BLAS to be fast."""
    return max(128, min(1024, BLOCK_ELEMENTS // max(widths[1:]) // 32 * 32))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return (names or [platform.processor() or platform.machine()])[0] + f" ({os.cpu_count()} cores)"
