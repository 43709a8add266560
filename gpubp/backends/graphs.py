"""A step as a CUDA graph: captured when it is met for the second time, then replayed by one launch.

Not yet run on a GPU, and so only used where GPUBP_CUDA_GRAPHS=1 asks for it; the tests run it on a stand-in
that executes nothing while it captures. What a step computes must then depend on the contents of arrays
alone. Two things do not: where a step's rows lie (`Rows`), which is the key that a graph is kept under,
and scratch memory, which a graph holds on to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .base import Array, Rows

__all__ = ["CannotCaptureError", "CapturedStep", "Recording"]

GRAPHS_KEPT = 8
"""Graphs of one step, each for other places of its rows."""

Key = tuple[Any, ...]


class CannotCaptureError(Exception):
    """A verb was about to do what no graph can hold."""


class Recording(threading.local):
    """What the verbs called in this thread tell of themselves.

    Attributes
    ----------
    sources : the fields of `Rows` that gather has read, while they are collected.
    held : scratch memory, while a graph is captured that uses it.
    """

    sources: dict[tuple[int, str], tuple[Rows, str]] | None = None
    held: list[Array] | None = None

    def reads(self, rows: Rows, field: str) -> None:
        """gather reads this field."""
        if self.sources is not None:
            self.sources[id(rows), field] = rows, field

    def refuse(self, what: str) -> None:
        """End a capture, if there is one: what comes is nothing for a graph."""
        if self.held is not None:
            raise CannotCaptureError(what)


class CapturedStep:
    """`step`, to be called again and again; its first calls run it, later ones launch a graph."""

    def __init__(self, cupy: Any, recording: Recording, step: Callable[[], None]) -> None:
        self._cupy, self._recording, self._step = cupy, recording, step
        self._sources: tuple[tuple[Rows, str], ...] | None = None
        self._met: set[Key] = set()
        self._graphs: dict[Key, tuple[Any, list[Array]]] = {}
        self._refused = False

    def __call__(self) -> None:
        if self._sources is None or self._refused:
            self._run()
            return
        key = self._key()
        if key not in self._graphs and key in self._met:
            self._capture(key)
        if key in self._graphs:
            self._graphs[key][0].launch()
        else:
            self._run()

    @property
    def captured(self) -> int:
        """How many graphs it has."""
        return len(self._graphs)

    def _run(self) -> None:
        """Run the step as it is, which also compiles its kernels, and note where its rows lie."""
        self._recording.sources = {}
        try:
            self._step()
            self._sources = tuple(self._recording.sources.values())
        finally:
            self._recording.sources = None
        if len(self._met) >= 64 * GRAPHS_KEPT:  # rows that never lie in the same place twice
            self._met.clear()
        self._met.add(self._key())

    def _key(self) -> Key:
        """Where the rows lie, of what type they are, and which of them a step takes."""
        assert self._sources is not None
        places = []
        for rows, field in self._sources:
            array, order = getattr(rows, field), rows.order
            place = (array.data.ptr, array.dtype) if array is not None else None
            places.append((place, None if order is None else order.data.ptr, rows.stride))
        return tuple(places)

    def _capture(self, key: Key) -> None:
        stream = self._cupy.cuda.Stream(non_blocking=True)
        held = self._recording.held = []
        try:
            with stream:
                stream.begin_capture()
                try:
                    self._step()
                finally:
                    graph = stream.end_capture()
        except CannotCaptureError:
            self._refused = True
            return
        finally:
            self._recording.held = None
        while len(self._graphs) >= GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[key] = graph, held
