"""Steps on the CPU: cut into shards for threads and blocks for caches, and kept as lists of bound calls.

Every verb binds its kernel to its arrays, which gives a call without arguments, and makes that call at once
or, during a capture, keeps it. To replay a captured step costs little Python and allocates nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, ParamSpec

import numpy as np

from ...kernels.blocks import Scratch
from ...kernels.cpu.build import compiler_version
from ...kernels.cpu.calls import Call, joined, together
from ...kernels.cpu.source import Source
from ...kernels.typing import Bound
from ..base import Rows, Steps
from . import blas
from .shards import run_together

__all__ = ["NumpySteps"]

_Arguments = ParamSpec("_Arguments")

# How a step is shared among threads. Measured on two cores with 256 KiB to 2 MiB of second-level cache
# each, with the networks of `gpubp bench`; see docs/benchmarks.md.

SHARD_ROWS, SHARD_WORK = 64, 500_000
"""What a shard needs to be worth its own gradient: rows, and multiply-adds of its forward pass. Below,
the matmuls are shared instead."""

PART_WORK = 1_000_000
"""Multiply-adds for which it is worth while to share a matmul with another thread."""

WHOLE_ROWS, BLOCK_ELEMENTS = 256, 128 * 1024
"""A batch of this many rows is never cut into blocks. A block of a larger one has this many activations
in the widest layer, half a MiB of float32: its z, a and δ stay in a second-level cache."""


class _Recorder(threading.local):
    """What the verbs called in this thread do: run (tape is None), or join the tape."""

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
        """Whether compiled kernels are used: where they may be, and there is a compiler.

        Without them threads would wait for the GIL, so a step has one. Asking builds the runtime: the first
        step waits for it, not whoever makes a backend.
        """
        return bool(self._may_compile and compiler_version())

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
        native = together(tapes) if self.compiles else None
        self._do(native or partial(run_together, [_quiet(tape) for tape in tapes]))

    def capture(self, step: Bound) -> Bound:
        outer, self._recorder.sources = self._recorder.sources, {}
        try:
            run = _run(self._record(step))
            sources = tuple(self._recorder.sources.values())
        finally:
            self._recorder.sources = outer

        def replay() -> None:
            try:
                for source in sources:
                    source.refresh()
                with blas.single_threaded:
                    run()
            finally:
                for source in sources:
                    source.release()

        return partial(self._do, replay)  # within another capture, it is part of that

    def _record(self, step: Bound) -> tuple[Bound, ...]:
        """The calls that `step`'s verbs bind."""
        outer = self._recorder.tape, self._recorder.scratch
        tape: list[Bound] = []
        self._recorder.tape, self._recorder.scratch = tape, {}
        try:
            step()
        finally:
            self._recorder.tape, self._recorder.scratch = outer
        return joined(tape)

    # What verbs use.

    def _do(self, bound: Bound) -> None:
        """Make the call, or keep it during a capture."""
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
        """What `bind` gives, or None where no compiled kernels are used."""
        return bind(*args, **kwargs) if self.compiles else None

    def _scratch(self, dtype: Any) -> Scratch:
        """Memory that the kernels of a step share."""
        if self._recorder.tape is None:
            return Scratch(dtype)
        return self._recorder.scratch.setdefault(dtype, Scratch(dtype))

    def _source(self, rows: Rows, field: str) -> Source:
        """What the compiled gather reads `rows.<field>` through; brought up to date by each replay."""
        if self._recorder.tape is None:
            source = Source(rows, field)
            source.refresh()
            return source
        key = id(rows), field
        return self._recorder.sources.setdefault(key, Source(rows, field))

    def _parts(self, size: int, work: int) -> list[slice]:
        """`size` things of so much `work` each, cut for the threads, if that is worth while."""
        recorder = self._recorder
        threads = self._threads if recorder.tape is not None and not recorder.in_shard else 1
        threads = max(1, min(threads, size * work // PART_WORK))
        edges = [size * k // threads // 16 * 16 for k in range(threads)] + [size]
        return [slice(start, stop) for start, stop in pairwise(edges)]

    @property
    def _threads(self) -> int:
        """How many threads a step may use."""
        return blas.get_threads() if self.compiles else 1


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
