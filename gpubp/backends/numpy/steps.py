"""Steps on the CPU: cut into shards for threads and blocks for caches, captured as lists of bound calls.

Every verb binds its kernel to its arrays. It then makes the bound call or, during a capture, adds it to the
list. A replay runs little Python and allocates nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, ParamSpec

import numpy as np

from ...kernels.blocks import Scratch
from ...kernels.cpu.background import background
from ...kernels.cpu.build import base
from ...kernels.cpu.calls import Call, joined, together
from ...kernels.cpu.source import Source
from ...kernels.typing import Bound
from ...signals import uninterrupted
from ..base import RowLayout, Rows, Steps
from .blas_threads import get_threads
from .captured import CapturedStep, in_turn
from .shards import run_together

__all__ = ["NumpySteps"]

_Arguments = ParamSpec("_Arguments")

# These constants decide how threads share a step. They come from measurements with the networks of `gpubp
# bench` on two cores, each with 256 KiB to 2 MiB of second-level cache; see docs/benchmarks/cpu.md.

SHARD_ROWS, SHARD_WORK = 64, 500_000
"""The fewest rows and multiply-adds (of the forward pass) of a shard: with fewer, a second gradient costs
more than it saves. The threads then share the matmuls instead."""

PART_WORK, COLUMN_PART_WORK, PART_UNIT = 1_000_000, 250_000, 16
"""The fewest multiply-adds of a part, if threads share a matmul, and one of matrices that lie column by
column. Parts begin at multiples of PART_UNIT."""

WHOLE_ROWS, BLOCK_ELEMENTS = 256, 128 * 1024
"""A batch of at most WHOLE_ROWS rows is not cut into blocks. A block of a larger batch has BLOCK_ELEMENTS
activations in the widest layer, half a MiB of float32: its z, a and δ then stay in a second-level cache."""

SPARSE_ELEMENTS = 4 * 2**20
"""The activations of a block of sparse rows, in the widest layer. The first layer's product and its
gradient pass over all its weights, however few the rows, so blocks are large. There is one shard, whose
products the threads share: a second gradient would cost another pass."""

COLUMN_SHARDS = (32, 150_000), (96, 20_000)
"""For matrices that lie column by column: the fewest rows and multiply-adds of a shard. One of the two
pairs is enough. Smaller shards wait for each other longer than they compute."""

LARGE_WEIGHTS, LARGE_ROWS = 2**16, 128
"""In training, a network of more than LARGE_WEIGHTS weights has shards of at least LARGE_ROWS rows. A
second gradient passes from one core's cache to another's, as do the new parameters; few rows are not worth
it."""

VECTOR_ROWS, COLUMN_ELEMENTS, LEAST_BLOCK = 16, 8192, 64
"""For matrices that lie column by column: the rows of the widest vector, and the activations of a block in
the widest layer, which fit a first-level cache. A block has at least LEAST_BLOCK rows, and at most four
times as many."""


class _Recorder(threading.local):
    """The state of a thread's capture. Verbs append their calls to `tape`; if it is None, they run."""

    def __init__(self) -> None:
        self.tape: list[Bound] | None = None
        self.scratch: dict[Any, Scratch] = {}
        self.sources: dict[tuple[int, str], Source] = {}
        self.in_shard = False


class NumpySteps(Steps):
    """Steps on the CPU.

    Parameters
    ----------
    compile : bool
        Whether kernels may be compiled for the CPU.
    """

    def __init__(self, compile: bool) -> None:
        self._may_compile = compile
        self._recorder = _Recorder()

    @cached_property
    def compiles(self) -> bool:
        """Whether compiled kernels are used: they are allowed, and there is a compiler.

        Without them a step has one thread, because threads would wait for the GIL. The first read of this
        property builds the runtime. So the first step waits for the build, not the creation of a backend.
        """
        return self._may_compile and base() is not None

    @property
    def checks_rows(self) -> bool:  # type: ignore[override]
        """Whether the check is compiled: it then shares the threads and the caches of the prediction."""
        return self.compiles

    def plan(
        self,
        rows: int,
        widths: Sequence[int],
        limit: int | None,
        layout: RowLayout = "rows",
        trains: bool = True,
    ) -> list[list[slice]]:
        work = rows * sum(n * m for n, m in pairwise(widths))
        if layout == "columns":
            useful = max(min(rows // least, work // fewest) for least, fewest in COLUMN_SHARDS)
            if trains and work > rows * LARGE_WEIGHTS:
                useful = min(useful, rows // LARGE_ROWS)
            shards = max(1, min(self._threads, useful))
            fits = COLUMN_ELEMENTS // max(widths[1:]) // VECTOR_ROWS * VECTOR_ROWS
            most = min(limit or rows, max(LEAST_BLOCK, min(4 * LEAST_BLOCK, fits)))
            blocks = -(-rows // (most * shards))
            return _cut(rows, shards, blocks, VECTOR_ROWS if limit is None else 1)
        shards = max(1, min(self._threads, rows // SHARD_ROWS, work // SHARD_WORK))
        most = min(limit or rows, rows if rows <= WHOLE_ROWS else block_rows(widths))
        if layout == "sparse":
            shards = 1
            most = min(limit or rows, max(WHOLE_ROWS, SPARSE_ELEMENTS // max(widths[1:])))
        # Every shard has the same number of blocks, of nearly the same size, so shards end at about one
        # time.
        blocks = -(-rows // (most * shards))
        return _cut(rows, shards, blocks)

    @property
    def kernels(self) -> int:
        return background.number

    def keep_kernels(self, number: int | None = None) -> AbstractContextManager[None]:
        return background.kept(number)

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
        native = together(tapes, self._threads) if self.compiles else None
        self._do(native or partial(run_together, [_quiet(in_turn(tape)) for tape in tapes]))

    def capture(self, step: Bound) -> Bound:
        outer, self._recorder.sources = self._recorder.sources, {}
        try:
            calls = self._record(step)
            sources = tuple(self._recorder.sources.values())
        finally:
            self._recorder.sources = outer
        return CapturedStep(calls, sources, self._do)

    def repeat(self, captured: Bound, times: int, steps: Bound) -> Bound:
        @uninterrupted
        def replay() -> None:
            left = times
            while left:
                left -= self.replay_some(captured, left)

        return partial(self._do, replay)

    def replay_some(self, captured: Bound, most: int) -> int:
        if isinstance(captured, CapturedStep) and captured.is_compiled:
            return captured.replay(most)
        return super().replay_some(captured, most)

    def _record(self, step: Bound) -> tuple[Bound, ...]:
        """Collect the calls that the verbs of `step` bind."""
        outer = self._recorder.tape, self._recorder.scratch
        tape: list[Bound] = []
        self._recorder.tape, self._recorder.scratch = tape, {}
        try:
            step()
        finally:
            self._recorder.tape, self._recorder.scratch = outer
        return joined(tape)

    # For verbs.

    def _do(self, bound: Bound) -> None:
        """Make the call or, during a capture, append it to the tape."""
        if self._recorder.tape is None:
            bound()
        else:
            self._recorder.tape.append(bound)

    def _compiled(
        self,
        bind: Callable[_Arguments, Call | None],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> Call | None:
        """Return the result of `bind`, or None if compiled kernels are not used."""
        return bind(*args, **kwargs) if self.compiles else None

    def _scratch(self, dtype: Any) -> Scratch:
        """Return the scratch memory that all kernels of a step share."""
        if self._recorder.tape is None:
            return Scratch(dtype)
        return self._recorder.scratch.setdefault(dtype, Scratch(dtype))

    def _source(self, rows: Rows, field: str, kind: type[Source] = Source) -> Source:
        """Return the `Source` of `rows.<field>` for compiled kernels; replays refresh it."""
        if self._recorder.tape is None:
            source = kind(rows, field)
            source.refresh()
            return source
        key = id(rows), field
        return self._recorder.sources.setdefault(key, kind(rows, field))

    def _parts(self, size: int, work: int, least: int | None = None) -> list[slice]:
        """Cut `size` items of `work` multiply-adds into parts for the threads.

        A part has at least `least` multiply-adds, by default PART_WORK. None is empty, unless there are no
        items.
        """
        recorder = self._recorder
        threads = self._threads if recorder.tape is not None and not recorder.in_shard else 1
        threads = max(1, min(threads, size * work // (least or PART_WORK), size // PART_UNIT))
        edges = [size * k // threads // PART_UNIT * PART_UNIT for k in range(threads)] + [size]
        return [slice(start, stop) for start, stop in pairwise(edges)]

    @property
    def _threads(self) -> int:
        """The number of threads that a step may use."""
        return get_threads() if self.compiles else 1


def block_rows(widths: Sequence[int]) -> int:
    """Return the rows of a block: a multiple of 32 that fits the cache, and enough for a fast BLAS."""
    return max(WHOLE_ROWS, min(1024, BLOCK_ELEMENTS // max(widths[1:]) // 32 * 32))


def _cut(rows: int, shards: int, blocks: int, unit: int = 1) -> list[list[slice]]:
    """Cut rows into at most `blocks` blocks for each shard, at multiples of `unit`; no block is empty."""
    count = shards * blocks
    edges = [*(rows * k // count // unit * unit for k in range(count)), rows]
    cut = [slice(start, stop) for start, stop in pairwise(edges)]
    parts = [cut[shard * blocks : (shard + 1) * blocks] for shard in range(shards)]
    # Blocks of one row may be more than the rows, if these are no multiple of the shards.
    return [[block for block in part if block.stop > block.start] for part in parts]


def _quiet(call: Bound) -> Bound:
    """Run a call for another thread, without floating-point warnings, which a user could not place."""

    def run() -> None:
        with np.errstate(all="ignore"):
            call()

    return run
