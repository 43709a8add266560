"""A step as a CUDA graph: captured at its second run, then replayed by one launch.

Without graphs, or if CUDA refuses the capture, the step becomes a list of launches, each bound to its
arrays. The list is then replayed without the verbs.

A step must do all its work in verbs, because a list of launches holds nothing else. Its result may depend
only on the contents of arrays. The addresses of a step's rows (`Rows`) may change: each set of addresses is
a key, and each key has its own graph. A graph holds references to its temporary memory. The graphs of one
step share the memory in which products count arrivals, and cuBLAS's workspace. They also share the step's
buffers, so only one of them runs at a time.

Verbs within `beside` are captured on another stream, as a branch of the graph.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ..base import Array, Rows, SparseRows
from .cublas import CublasError
from .recording import (
    SIDE_WORKSPACE_BYTES,
    CannotCaptureError,
    ProductMemory,
    Recording,
    workspace_bytes,
)

__all__ = ["CapturedStep"]

GRAPHS_KEPT = 8
"""The most graphs, or lists of launches, that a step keeps, each for other addresses of its rows."""

CAPTURES_TRIED = 3
"""The number of attempts to capture a step. Another thread's work may end one, and the next may succeed."""

Key = tuple[Any, ...]


class CapturedStep:
    """A captured step. The first calls run the step; later calls launch a graph.

    Without `graphs`, later calls make the step's launches one by one. They do so too, after a warning, if
    CUDA refuses the capture. If a verb refuses the capture or the memory is too small, every call runs the
    step.

    Parameters
    ----------
    cupy : module
        CuPy.
    recording : Recording
        The notes of the verbs.
    prepare : callable
        A function that is called before a capture, for work that must not be part of it.
    step : callable
        The step; all its work is in verbs.
    graphs : bool, default True
        Whether to make graphs; otherwise the step becomes a list of launches.
    """

    def __init__(
        self,
        cupy: Any,
        recording: Recording,
        prepare: Callable[[], None],
        step: Callable[[], None],
        graphs: bool = True,
    ) -> None:
        self._cupy, self._recording, self._step = cupy, recording, step
        self._prepare, self._makes_graphs = prepare, graphs
        self._memories: list[ProductMemory] = []
        self._asked: set[str] = set()
        self._sources: tuple[tuple[Rows, str], ...] | None = None
        self._graphs: dict[Key, tuple[Any, list[Array]]] = {}
        # A list is valid for one stream, because launches count arrivals in memory of their stream.
        self._lists: dict[tuple[Key, int], tuple[Callable[[], None], ...]] = {}
        self._met: set[Key] = set()
        self._refused: set[Key] = set()
        self._without_graph: set[Key] = set()
        self._failures: dict[Key, int] = {}

    def __call__(self) -> None:
        if self._recording.is_busy:
            self._step()
            return
        if self._sources is None:
            self._run()
            return
        key = self._key()
        graph = self._graphs.get(key)
        if graph is not None:
            graph[0].launch()
        elif key not in self._met or key in self._refused:
            self._run()
        elif self._may_capture(key):
            self._capture(key)
            if key in self._graphs:
                self._graphs[key][0].launch()
            elif self._may_capture(key):  # the capture will be tried again, or a verb refused it
                self._run()
            else:
                self._launch(key)
        else:
            self._launch(key)

    def _may_capture(self, key: Key) -> bool:
        return self._makes_graphs and key not in self._without_graph

    @property
    def captured(self) -> int:
        """The number of graphs."""
        return len(self._graphs)

    @property
    def written_down(self) -> int:
        """The number of lists of launches."""
        return len(self._lists)

    def _run(self) -> None:
        """Run the step, which also compiles its kernels, and note the addresses of its rows."""
        recording = self._recording
        recording.sources, recording.asked = {}, set()
        try:
            self._step()
            self._sources, self._asked = tuple(recording.sources.values()), recording.asked
        finally:
            recording.sources = None
            recording.forget()
        if len(self._met) >= 64 * GRAPHS_KEPT:  # the rows' addresses are new every time
            for known in (self._met, self._refused, self._without_graph, self._failures):
                known.clear()
        self._met.add(self._key())

    def _key(self) -> Key:
        """Return the addresses and types of the rows and of their order, and the stride."""
        assert self._sources is not None
        places = []
        for rows, field in self._sources:
            given, order = getattr(rows, field), rows.order
            arrays = given.arrays if isinstance(given, SparseRows) else (given,)
            place = [(array.data.ptr, array.dtype) for array in arrays if array is not None]
            places.append((*place, None if order is None else order.data.ptr, rows.stride))
        return tuple(places)

    def _capture(self, key: Key) -> None:
        """Make a graph for this key, or note that it has none."""
        cupy = self._cupy
        errors = cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError, CublasError
        try:
            graph = self._record()
        except CannotCaptureError:
            self._refused.add(key)
            return
        except (*errors, MemoryError) as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            if failures < CAPTURES_TRIED and not isinstance(error, MemoryError):
                return
            self._without_graph.add(key)
            if not self._graphs:  # the cause is not these rows
                self._makes_graphs = False
                self._memories.clear()
            self._warn(error)
            return
        self._failures.clear()
        _keep(self._graphs, key, graph)

    def _warn(self, error: Exception) -> None:
        """Say that there will be no graph."""
        warnings.warn(
            f"a step cannot be captured in a CUDA graph ({error}): its kernels are launched one by"
            " one, which gives the same result more slowly",
            RuntimeWarning,
            stacklevel=3,
        )

    def _launch(self, key: Key) -> None:
        """Make the step's launches one by one, or run the step if they cannot be recorded."""
        place = key, self._cupy.cuda.get_current_stream().ptr
        calls = self._lists.get(place)
        if calls is None:
            try:
                calls = self._write_down()
            except (CannotCaptureError, MemoryError):  # a list holds all launches' temporary memory
                self._refused.add(key)
                self._run()
                return
            _keep(self._lists, place, calls)
        for call in calls:
            call()

    def _write_down(self) -> tuple[Callable[[], None], ...]:
        """Record the step's launches without making them."""
        recording = self._recording
        recording.calls = []
        try:
            self._step()
            return tuple(recording.calls)
        finally:
            recording.calls = None
            recording.forget()

    def _record(self) -> tuple[Any, list[Array]]:
        """Capture the step; return its graph and the temporary memory that the graph uses."""
        cupy, recording = self._cupy, self._recording
        self._prepare()
        if not self._memories:
            main = workspace_bytes(cupy) if "main" in self._asked else 0
            side = SIDE_WORKSPACE_BYTES if "beside" in self._asked else 0
            sizes = main, *[side] * (len(recording.streams(cupy)) - 1)
            self._memories = [ProductMemory(cupy, size) for size in sizes]
            cupy.cuda.get_current_stream().synchronize()  # other streams may launch the graph
        held: list[Array] = []
        recording.held = held
        recording.memory, *recording.side_memories = self._memories
        try:
            with recording.streams(cupy)[0] as stream, _no_collection():
                stream.begin_capture()
                try:
                    self._step()
                except BaseException:
                    with contextlib.suppress(Exception):  # report the step's error, not this one
                        stream.end_capture()
                    raise
                return stream.end_capture(), held
        finally:
            recording.end()


def _keep(kept: dict[Any, Any], key: Any, replay: Any) -> None:
    """Add `replay`, and delete the oldest entries beyond GRAPHS_KEPT."""
    while len(kept) >= GRAPHS_KEPT:
        del kept[next(iter(kept))]
    kept[key] = replay


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Turn the garbage collector off: to destroy an object may wait for the device, and end a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
