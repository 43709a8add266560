"""Notes about the verbs that run in a thread, for the capture of a step; the memory that a graph keeps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...kernels.joined import CostSum
from ...kernels.matmul import ARRIVALS, Product
from ..base import Array, Rows

__all__ = [
    "SIDES",
    "SIDE_WORKSPACE_BYTES",
    "CannotCaptureError",
    "ProductMemory",
    "Recording",
    "workspace_bytes",
]

SIDES, SIDE_WORKSPACE_BYTES = 3, 4 * 2**20
"""The number of a graph's side branches, and the size of cuBLAS's workspace on each."""


class CannotCaptureError(Exception):
    """A verb needs an operation that a graph cannot hold."""


class ProductMemory:
    """Memory that products share if they run one after another: cuBLAS's workspace, and arrivals, zeros.

    Without products by cuBLAS there is no workspace.
    """

    def __init__(self, cupy: Any, workspace_bytes: int) -> None:
        self.workspace = cupy.empty(workspace_bytes, np.uint8) if workspace_bytes else None
        self.arrivals = cupy.zeros(ARRIVALS, np.uint32)


class Recording(threading.local):
    """Notes about the verbs that run in this thread, for the capture of a step.

    Attributes
    ----------
    sources : dict or None
        The fields of `Rows` that kernels have read; None unless they are being collected.
    held : list of arrays or None
        The temporary memory of the graph that is being captured; None outside a capture.
    memory, side_memories : ProductMemory or None, sequence of ProductMemory
        The graph's memory for products, on the main stream and on each side stream.
    asked : set of str
        The streams that cuBLAS computed products on since `sources` began: "main", "beside" or both.
    calls : list of callables or None
        The launches of the list that is being recorded; None unless one is.
    holds : bool
        Whether layers' gradients wait for a common launch (`fused.py`).
    held_products : list of callables
        The products that wait, as functions that bind them to a launch's memory.
    held_cost : CostSum or None
        The sum that waits.
    masks : dict of arrays
        Where relu's z is positive, a bit each, for the activations at this address and of this shape, from
        the forward pass of the step that is being noted, captured or recorded.
    """

    sources: dict[tuple[int, str], tuple[Rows, str]] | None = None
    held: list[Array] | None = None
    memory: ProductMemory | None = None
    side_memories: Sequence[ProductMemory] = ()
    calls: list[Callable[[], None]] | None = None
    holds: bool = False
    held_cost: CostSum | None = None

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.held_products: list[Callable[[Any], Product]] = []
        self.masks: dict[tuple[int, tuple[int, ...]], Array] = {}
        self._streams: list[Any] = []
        self._arrivals: dict[int, Array] = {}
        self._workspaces: dict[int, Array] = {}
        self._parted: set[int] = set()
        self._next_side = 0
        self._is_beside = False

    def workspace_for_cublas(self) -> Array | None:
        """Return the workspace for cuBLAS's next product; with None, cuBLAS allocates its memory."""
        if self.memory is None:
            self.asked.add("beside" if self._is_beside else "main")
            return None
        return self.memory.workspace

    def workspace_for_cublaslt(self, cupy: Any) -> Array | None:
        """Return the workspace for cuBLASLt's next product: the graph's, or the current stream's.

        The latter has the size that a graph's will have, because this size is part of what cuBLASLt is
        asked. None means that the graph has none: the step had no such product before.
        """
        given = self.workspace_for_cublas()
        if self.memory is not None:
            return given
        stream = cupy.cuda.get_current_stream().ptr
        if stream not in self._workspaces:
            self._workspaces[stream] = cupy.empty(workspace_bytes(cupy), np.uint8)
        return self._workspaces[stream][: SIDE_WORKSPACE_BYTES if self._is_beside else None]

    def arrivals(self, cupy: Any) -> Array:
        """Return arrivals, zeros, that no other stream uses: the graph's, or the current stream's."""
        if self.memory is not None:
            return self.memory.arrivals
        stream = cupy.cuda.get_current_stream().ptr
        if stream not in self._arrivals:
            self._arrivals[stream] = cupy.zeros(ARRIVALS, np.uint32)
        return self._arrivals[stream]

    def streams(self, cupy: Any) -> list[Any]:
        """Return this thread's streams for captures: the main stream, then the side streams.

        They are made once. CuPy keeps freed memory for the stream that used it, so the next capture can use
        the memory that an earlier one has freed.
        """
        if not self._streams:
            self._streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(1 + SIDES)]
        return self._streams

    @contextlib.contextmanager
    def beside(self, cupy: Any) -> Iterator[None]:
        """Capture the verbs within this context on a side stream, parallel to later verbs, until `meet`."""
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
        """Make later verbs wait for the side streams."""
        if self._parted:
            main, *sides = self.streams(cupy)
            for number in sorted(self._parted):
                main.wait_event(sides[number].record())
            self._parted.clear()

    def end(self) -> None:
        """Reset the notes after a capture, which may have failed before its streams met."""
        self.held = self.memory = None
        self.side_memories = ()
        self._parted.clear()
        self._next_side = 0
        self.forget()

    def forget(self) -> None:
        """Forget what the verbs of one step leave for each other."""
        self.held_products, self.held_cost = [], None
        self.masks.clear()

    def reads(self, rows: Rows, field: str) -> None:
        """Note that a kernel reads this field."""
        if self.sources is not None:
            self.sources[id(rows), field] = rows, field

    @property
    def is_busy(self) -> bool:
        """Whether a step is being noted, captured or recorded; an inner step is then part of it."""
        return not (self.sources is None and self.held is None and self.calls is None)

    def refuse(self, what: str) -> None:
        """Raise CannotCaptureError during a capture or recording, because `what` cannot be replayed."""
        if self.held is not None or self.calls is not None:
            raise CannotCaptureError(what)


def workspace_bytes(cupy: Any) -> int:
    """NVIDIA's recommendation for cuBLAS: 32 MiB from compute capability 9.0 on, else 4 MiB."""
    return (32 if int(cupy.cuda.Device().compute_capability) >= 90 else 4) * 2**20
