"""A step as a CUDA graph: captured when it is met for the second time, then replayed by one launch.

Without graphs, or where CUDA refuses, its launches are written down instead, each bound to its arrays.
They are then made again and again, without the verbs.

A step must do its work by verbs alone: a list of launches holds nothing else. What it computes must
depend on the contents of arrays alone, with three exceptions. Where a step's rows lie (`Rows`) is the key
that a graph is kept under. A graph holds on to temporary memory. A step's graphs share the memory that
products count in and that cuBLAS works in; they share the step's buffers too, so no two of them run at
the same time.

What a step does `beside` what follows is captured on another stream: a branch of the graph.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...kernels.matmul import ARRIVALS
from ..base import Array, Rows
from .cublas import CublasError

__all__ = ["CannotCaptureError", "CapturedStep", "Recording"]

GRAPHS_KEPT = 8
"""Graphs, or lists of launches, of one step, each for other places of its rows."""

SIDES, SIDE_WORKSPACE_BYTES = 3, 4 * 2**20
"""Branches of a graph beside the main one, and the size of cuBLAS's workspace on each."""

CAPTURES_TRIED = 3
"""Another thread may end a capture by what it does; the next try may succeed."""

Key = tuple[Any, ...]


class CannotCaptureError(Exception):
    """A verb is about to do what no graph can hold."""


class ProductMemory:
    """What products that run one after another share: cuBLAS's workspace, and zeros to count parts with.

    There is no workspace where none of them is cuBLAS's.
    """

    def __init__(self, cupy: Any, workspace_bytes: int) -> None:
        self.workspace = cupy.empty(workspace_bytes, np.uint8) if workspace_bytes else None
        self.arrivals = cupy.zeros(ARRIVALS, np.uint32)


class Recording(threading.local):
    """What the verbs called in this thread tell of themselves.

    Attributes
    ----------
    sources : dict or None
        The fields of `Rows` that gather has read, while they are collected.
    held : list of arrays or None
        Temporary memory of a graph, while it is captured.
    memory, side_memories : ProductMemory or None, sequence of ProductMemory
        What the graph keeps for its products: for those on the main stream, and for those on each side.
    asked : set of str
        Where cuBLAS was asked for products since `sources` began: "main", "beside" or both.
    calls : list of callables or None
        What the verbs would do, while that is written down.
    """

    sources: dict[tuple[int, str], tuple[Rows, str]] | None = None
    held: list[Array] | None = None
    memory: ProductMemory | None = None
    side_memories: Sequence[ProductMemory] = ()
    calls: list[Callable[[], None]] | None = None

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self._streams: list[Any] = []
        self._arrivals: dict[int, Array] = {}
        self._parted: set[int] = set()
        self._next_side = 0
        self._is_beside = False

    def workspace_for_cublas(self) -> Array | None:
        """What cuBLAS's next product is to work in; None where cuBLAS uses memory of its own."""
        if self.memory is None:
            self.asked.add("beside" if self._is_beside else "main")
            return None
        return self.memory.workspace

    def arrivals(self, cupy: Any) -> Array:
        """Zeros to count with, which no other stream uses: those of the graph, or of the stream."""
        if self.memory is not None:
            return self.memory.arrivals
        stream = cupy.cuda.get_current_stream().ptr
        if stream not in self._arrivals:
            self._arrivals[stream] = cupy.zeros(ARRIVALS, np.uint32)
        return self._arrivals[stream]

    def streams(self, cupy: Any) -> list[Any]:
        """The thread's streams to capture on: the main one, then those of its sides.

        CuPy keeps freed memory for the stream that it was used on, so the next capture takes what one gave
        back.
        """
        if not self._streams:
            self._streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(1 + SIDES)]
        return self._streams

    @contextlib.contextmanager
    def beside(self, cupy: Any) -> Iterator[None]:
        """Let what is captured within it run at the same time as what follows, until `meet`."""
        if self.held is None:
            self._is_beside = True
            try:
                yield
            finally:
                self._is_beside = False
            return
        main, *sides = self.streams(cupy)
        number, self._next_side = self._next_side, (self._next_side + 1) % SIDES
        sides[number].wait_event(main.record())
        self._parted.add(number)
        own, self.memory = self.memory, self.side_memories[number]
        try:
            with sides[number]:
                yield
        finally:
            self.memory = own

    def meet(self, cupy: Any) -> None:
        """Let what follows wait for what was captured beside it."""
        if self._parted:
            main, *sides = self.streams(cupy)
            for number in sorted(self._parted):
                main.wait_event(sides[number].record())
            self._parted.clear()

    def end(self) -> None:
        """Forget a capture that has ended, perhaps before its streams met."""
        self.held = self.memory = None
        self.side_memories = ()
        self._parted.clear()
        self._next_side = 0

    def reads(self, rows: Rows, field: str) -> None:
        """Note that gather reads this field."""
        if self.sources is not None:
            self.sources[id(rows), field] = rows, field

    @property
    def is_busy(self) -> bool:
        """Whether a step runs that is to be replayed: what it calls is part of it."""
        return not (self.sources is None and self.held is None and self.calls is None)

    def refuse(self, what: str) -> None:
        """End a capture, if there is one: what comes may not be replayed."""
        if self.held is not None or self.calls is not None:
            raise CannotCaptureError(what)


class CapturedStep:
    """A step to be called again and again; its first calls run it, later ones launch a graph.

    Without `graphs`, later calls make its launches one by one; also where CUDA refuses to capture it,
    which a warning tells. Where a verb refuses, or memory is short, the step is run every time.

    Parameters
    ----------
    cupy : module
        CuPy.
    recording : Recording
        What the verbs tell of themselves.
    prepare : callable
        Called before a capture, for what must not be part of it.
    step : callable
        The step: verbs alone.
    graphs : bool
        Whether to make graphs, or lists of launches.
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
        # Launches count in memory of their stream's own: a list is for one stream.
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
            elif self._may_capture(key):  # later, or a verb has refused
                self._run()
            else:
                self._launch(key)
        else:
            self._launch(key)

    def _may_capture(self, key: Key) -> bool:
        return self._makes_graphs and key not in self._without_graph

    @property
    def captured(self) -> int:
        """How many graphs it has."""
        return len(self._graphs)

    @property
    def written_down(self) -> int:
        """How many lists of launches it has."""
        return len(self._lists)

    def _run(self) -> None:
        """Run the step itself, which also compiles its kernels, and note where its rows lie."""
        recording = self._recording
        recording.sources, recording.asked = {}, set()
        try:
            self._step()
            self._sources, self._asked = tuple(recording.sources.values()), recording.asked
        finally:
            recording.sources = None
        if len(self._met) >= 64 * GRAPHS_KEPT:  # rows that never lie in the same place twice
            for known in (self._met, self._refused, self._without_graph, self._failures):
                known.clear()
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
        """Make a graph for this key, or note why there is none."""
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
            if not self._graphs:  # it is not these rows
                self._makes_graphs = False
                self._memories.clear()
            warnings.warn(
                f"a step cannot be captured in a CUDA graph ({error}): its kernels are launched one by"
                " one, which gives the same result more slowly",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self._failures.clear()
        _keep(self._graphs, key, graph)

    def _launch(self, key: Key) -> None:
        """Make the step's launches one by one, or run it where they cannot be written down."""
        place = key, self._cupy.cuda.get_current_stream().ptr
        calls = self._lists.get(place)
        if calls is None:
            try:
                calls = self._write_down()
            except (CannotCaptureError, MemoryError):  # temporary memory of all its launches
                self._refused.add(key)
                self._run()
                return
            _keep(self._lists, place, calls)
        for call in calls:
            call()

    def _write_down(self) -> tuple[Callable[[], None], ...]:
        """The step's launches, none of which is made."""
        recording = self._recording
        recording.calls = []
        try:
            self._step()
            return tuple(recording.calls)
        finally:
            recording.calls = None

    def _record(self) -> tuple[Any, list[Array]]:
        """The step as a graph, and the temporary memory that it uses."""
        cupy, recording = self._cupy, self._recording
        self._prepare()
        if not self._memories:
            main = _workspace_bytes(cupy) if "main" in self._asked else 0
            side = SIDE_WORKSPACE_BYTES if "beside" in self._asked else 0
            sizes = main, *[side] * SIDES
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
                    with contextlib.suppress(Exception):  # the step's error is the one to tell
                        stream.end_capture()
                    raise
                return stream.end_capture(), held
        finally:
            recording.end()


def _keep(kept: dict[Any, Any], key: Any, replay: Any) -> None:
    """Keep it with the latest of the others."""
    while len(kept) >= GRAPHS_KEPT:
        del kept[next(iter(kept))]
    kept[key] = replay


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Turn the garbage collector off: what it destroys may wait for the device, which ends a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _workspace_bytes(cupy: Any) -> int:
    """What NVIDIA recommends for cuBLAS: 32 MiB from compute capability 9.0 on, else 4 MiB."""
    return (32 if int(cupy.cuda.Device().compute_capability) >= 90 else 4) * 2**20
