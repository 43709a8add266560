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
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ...kernels import Activation, Cost, Precision, Update, UpdateOptions, layers, softmax, sums
from ...kernels import rows as rows_kernels
from ...kernels.blocks import Scratch
from ...kernels.cpu import compiled
from ...kernels.dropout import dropout_numpy, keep_scale
from ...kernels.precision import round_numpy
from ...kernels.scaling import adapt_loss_scale_numpy, multiply_numpy
from ...kernels.typing import Bound
from ...kernels.updates import update_numpy
from ..base import Array, Backend, Rows
from . import blas
from .shards import run_together

__all__ = ["NumpyBackend"]


class _Recorder(threading.local):
    """What the verbs called in this thread do: run (tape is None), or join the tape."""

    def __init__(self) -> None:
        self.tape: list[Bound] | None = None
        self.scratch: dict[Any, Scratch] = {}
        self.sources: dict[tuple[int, str], compiled.Source] = {}
        self.in_shard = False


class _NothingCompiled:
    """Stands in for the compiled kernels where there are none: the NumPy twins do everything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class NumpyBackend(Backend):
    """The verbs on the CPU; with `compile`, by compiled kernels where the machine has a compiler."""

    name = "numpy"
    xp = np

    def __init__(self, compile: bool = True) -> None:
        self._recorder = _Recorder()
        with_compiler = compile and compiled.compiler_version()
        self._compiled: Any = compiled if with_compiler else _NothingCompiled()

    @property
    def device(self) -> str:
        threads = blas.get_threads()
        plural = "thread" if threads == 1 else "threads"
        kernels = getattr(self._compiled, "compiler_version", str)() or f"NumPy {np.__version__}"
        return f"{_processor()}, {threads} {plural}, kernels by {kernels}"

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        array = np.ascontiguousarray(values, dtype)
        return array if array.dtype.kind in "biu" else compiled.readable(array)

    def to_numpy(self, array: Array) -> Any:
        return np.asarray(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    # How a step is laid out.

    def plan(self, rows: int, widths: Sequence[int], limit: int | None) -> list[list[slice]]:
        work = rows * sum(n * m for n, m in pairwise(widths))
        shards = max(1, min(self._threads, rows // SHARD_ROWS, work // SHARD_WORK))
        most = min(limit or rows, rows if rows <= WHOLE_ROWS else block_rows(widths))
        # Whole blocks for every shard, all of nearly the same size: none waits long for another.
        blocks = -(-rows // (most * shards))
        edges = [rows * k // (shards * blocks) for k in range(shards * blocks + 1)]
        cut = [slice(start, stop) for start, stop in pairwise(edges)]
        return [cut[shard * blocks : (shard + 1) * blocks] for shard in range(shards)]

    def run_shards(self, functions: Sequence[Bound]) -> None:
        if len(functions) == 1:
            functions[0]()
            return
        if self._recorder.tape is None:
            self.capture(lambda: self.run_shards(functions))()
            return
        tapes = []
        for function in functions:
            outer, self._recorder.in_shard = self._recorder.in_shard, True
            try:
                tapes.append(self._record(function))
            finally:
                self._recorder.in_shard = outer
        self._do(self._compiled.shards(tapes) or partial(run_together, [_quiet(t) for t in tapes]))

    def capture(self, step: Bound) -> Bound:
        outer, self._recorder.sources = self._recorder.sources, {}
        run = _run(self._record(step))
        sources, self._recorder.sources = tuple(self._recorder.sources.values()), outer

        def replay() -> None:
            try:
                for source in sources:
                    source.refresh()
                with blas.single_threaded:
                    run()
            finally:
                for source in sources:
                    source.release()

        return replay

    def _source(self, rows: Rows, field: str) -> compiled.Source:
        """What the compiled gather reads `rows.<field>` through; brought up to date by each replay."""
        if self._recorder.tape is None:
            source = compiled.Source(rows, field)
            source.refresh()
            return source
        key = id(rows), field
        return self._recorder.sources.setdefault(key, compiled.Source(rows, field))

    def _record(self, step: Bound) -> tuple[Bound, ...]:
        """The calls that `step`'s verbs bind."""
        outer = self._recorder.tape, self._recorder.scratch
        tape: list[Bound] = []
        self._recorder.tape, self._recorder.scratch = tape, {}
        try:
            step()
        finally:
            self._recorder.tape, self._recorder.scratch = outer
        return compiled.sequence(tape)

    def synchronize(self) -> None:
        pass

    def _parts(self, size: int, work: int) -> list[slice]:
        """`size` things of so much `work` each, cut for the threads, if that is worth while."""
        recorder = self._recorder
        shared = self._threads if recorder.tape is not None and not recorder.in_shard else 1
        shared = max(1, min(shared, size * work // PART_WORK))
        edges = [size * k // shared // 16 * 16 for k in range(shared)] + [size]
        return [slice(start, stop) for start, stop in pairwise(edges)]

    @property
    def _threads(self) -> int:
        """How many threads a step may use; without compiled kernels they would wait for the GIL."""
        return blas.get_threads() if self._compiled is compiled else 1

    def _do(self, bound: Bound) -> None:
        if self._recorder.tape is None:
            bound()
        else:
            self._recorder.tape.append(bound)

    def _scratch(self, dtype: Any) -> Scratch:
        if self._recorder.tape is None:
            return Scratch(dtype)
        return self._recorder.scratch.setdefault(dtype, Scratch(dtype))

    # Verbs: the compiled kernel where there is one, else the NumPy twin.

    def gather(
        self,
        rows: Rows,
        field: str,
        counters: Array,
        first: int,
        out: Array,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        source = self._source(rows, field)
        self._do(
            self._compiled.gather(source, counters, first, out, scale, shift)
            or rows_kernels.gather_numpy(rows, field, counters, first, out, scale, shift)
        )

    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        self._do(
            self._compiled.one_hot(labels, out, low, high)
            or rows_kernels.one_hot_numpy(labels, out, low, high)
        )

    def normalize(self, weights: Array) -> None:
        self._do(self._compiled.normalize(weights) or rows_kernels.normalize_numpy(weights))

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
        precision: Precision | None = None,
    ) -> None:
        # Shared among threads by the larger side of `out`: a weight matrix's rows, or its outputs.
        by_rows = out.shape[0] > out.shape[1]
        inner = a.shape[0] if transpose_a else a.shape[1]

        def matmul_part(part: slice) -> None:
            rows, columns = (part, slice(None)) if by_rows else (slice(None), part)
            matmul = blas.Matmul(
                a[:, rows] if transpose_a else a[rows],
                b[columns] if transpose_b else b[:, columns],
                out[rows, columns],
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                alpha=alpha,
                beta=beta,
            )
            self._do(self._compiled.matmul(matmul) or matmul)

        parts = self._parts(max(out.shape), inner * (min(out.shape) + TOUCH_WORK))
        self.run_shards([partial(matmul_part, part) for part in parts])

    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        return np.empty(shape, np.float32)

    def round(self, values: Array, precision: Precision) -> None:
        self._do(round_numpy(precision, values, self._scratch(values.dtype)))

    def convert(self, values: Array, out: Array) -> None:
        self._do(lambda: np.copyto(out, values))

    def bias_activate(
        self,
        activation: Activation,
        z: Array,
        biases: Array | None,
        a: Array,
        keep_z: bool = True,
    ) -> None:
        scratch = self._scratch(z.dtype)
        if activation.rowwise:
            if biases is not None:
                add = self._compiled.add_bias(z, biases)
                self._do(add or (lambda: np.add(z, biases, out=z)))
            self._do(
                self._compiled.bias_activate(activation, z, None, a)
                or softmax.softmax_numpy(z, a, scratch)
            )
        else:
            self._do(
                self._compiled.bias_activate(activation, z, biases, a)
                or layers.bias_activate_numpy(activation, z, biases, a, scratch)
            )

    def dropout(
        self, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        scratch = self._scratch(x.dtype)
        self._do(
            self._compiled.dropout(x, out, counters, seed, layer, first, rate, keep_scale(rate))
            or dropout_numpy(x, out, counters, seed, layer, first, rate, scratch)
        )

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
            self._do(
                self._compiled.softmax_cross_entropy(z, y, scale, delta, costs)
                or softmax.softmax_cross_entropy_numpy(z, y, scale, delta, costs, scratch)
            )
            return
        if costs is not None:
            self._do(
                self._compiled.row_costs(cost, canonical, z, a, y, costs)
                or softmax.row_costs_numpy(cost, canonical, z, a, y, costs, scratch)
            )
        if delta is not None:
            v = a if activation.reads == "a" else z
            self._do(
                self._compiled.output_delta(cost, activation, a, y, scale, v, delta)
                or layers.output_delta_numpy(cost, activation, a, y, scale, v, delta, scratch)
            )
            if activation.rowwise:
                self._do(softmax.softmax_jacobian_numpy(a, delta, scratch))

    def multiply_by_derivative(
        self, activation: Activation, v: Array, product: Array, delta: Array
    ) -> None:
        if product is not delta:
            self.convert(product, delta)
        if activation.name != "identity":
            scratch = self._scratch(delta.dtype)
            self._do(
                self._compiled.multiply_by_derivative(activation, v, delta)
                or layers.multiply_by_derivative_numpy(activation, v, delta, scratch)
            )

    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        ones = np.ones((1, min(len(values), sums.PRODUCT_ROWS)), values.dtype)

        def row_of_sums(chunk: Array, target: Array, beta: float) -> Bound:
            return blas.Matmul(ones[:, : len(chunk)], chunk, target[None, :], beta=beta)

        self._do(
            self._compiled.column_sums(values, out, beta)
            or sums.column_sums_numpy(values, out, beta, row_of_sums)
        )

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        slot, add = (None, False) if counters is None else (counters[1:], True)
        self._do(
            self._compiled.weighted_sum(values, weights, out, slot, add)
            or sums.weighted_sum_numpy(values, weights, out, slot, add)
        )

    def multiply(self, values: Array, factor: Array, out: Array) -> None:
        self._do(multiply_numpy(values, factor, out))

    def adapt_loss_scale(self, loss_scale: Array, squared_norm: Array) -> None:
        self._do(adapt_loss_scale_numpy(loss_scale, squared_norm))

    def add(self, values: Array, out: Array) -> None:
        self._do(self._compiled.add(values, out) or (lambda: np.add(out, values, out=out)))

    def update(
        self,
        update: Update,
        hyperparameters: Mapping[str, float],
        options: UpdateOptions,
        theta: Array,
        gradient: Array,
        shard_gradients: Sequence[Array],
        state: tuple[Array, ...],
        n_weights: int,
        rates: Array,
        counters: Array,
        squared_norm: Array,
    ) -> None:
        def update_part(part: slice) -> None:
            for other in shard_gradients:
                self.add(other[part], gradient[part])
            settings = update, hyperparameters, options
            arrays = theta[part], gradient[part], tuple(array[part] for array in state)
            rest = n_weights - part.start, rates, counters, squared_norm
            self._do(
                self._compiled.update(*settings, *arrays, *rest)
                or update_numpy(*settings, *arrays, *rest, self._scratch(theta.dtype))
            )

        self.run_shards(
            [
                partial(update_part, part)
                for part in self._parts(
                    theta.size, UPDATE_WORK * (1 + len(shard_gradients) + len(state))
                )
            ]
        )

    def advance(self, counters: Array) -> None:
        self._do(self._compiled.advance(counters) or (lambda: np.add(counters, 1, out=counters)))


# How a step is options among threads. Measured on two cores with 256 KiB to 2 MiB of second-level cache
# each, with the networks of `gpubp bench`; see docs/benchmarks.md.

SHARD_ROWS, SHARD_WORK = 64, 500_000
"""What a shard needs to be worth its own gradient: rows, and multiply-adds of its forward pass. Below,
the matmuls are shared instead."""

PART_WORK = 1_000_000
"""Multiply-adds for which it is worth while to share a matmul with another thread."""

TOUCH_WORK = 4
"""What an element of a matmul's weights costs to bring in, in multiply-adds."""

UPDATE_WORK = 4
"""What the update of a parameter costs for each array it reads beside it, in multiply-adds."""

WHOLE_ROWS, BLOCK_ELEMENTS = 256, 128 * 1024
"""A batch of this many rows is never cut into blocks; blocks of larger ones have this many activations
in the widest layer, half a MiB of float32: a block's z, a and δ stay in a second-level cache."""


def block_rows(widths: Sequence[int]) -> int:
    """Rows of a block: as many as fit the cache, in multiples of 32, and enough for BLAS to be fast."""
    return max(WHOLE_ROWS, min(1024, BLOCK_ELEMENTS // max(widths[1:]) // 32 * 32))


def _quiet(calls: tuple[Bound, ...]) -> Bound:
    """The calls in a thread of their own, whose floating-point warnings nobody would see as theirs."""

    def run() -> None:
        with np.errstate(all="ignore"):
            for call in calls:
                call()

    return run


def _run(calls: tuple[Bound, ...]) -> Bound:
    """The calls one after another, as one call."""
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [
                line.partition(":")[2].strip() for line in lines if line.startswith("model name")
            ]
    except OSError:
        names = []
    return (names or [platform.processor() or platform.machine()])[0] + f" ({os.cpu_count()} cores)"
