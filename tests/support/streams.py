"""Streams, events, captures and graphs of emulated devices.

Reference: NVIDIA, "CUDA Runtime API", and "CUDA C++ Programming Guide", sections "Streams" and "CUDA
Graphs".
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

__all__ = ["Capture", "CudaError", "Event", "Fault", "Graph", "Handles", "Status", "Stream", "Work"]


class Status:
    """Some values of cudaError_t."""

    INVALID_VALUE = 1
    MEMORY_ALLOCATION = 2
    INSUFFICIENT_DRIVER = 35
    INVALID_DEVICE = 101
    INVALID_RESOURCE_HANDLE = 400
    NOT_READY = 600
    ILLEGAL_ADDRESS = 700
    MISALIGNED_ADDRESS = 716
    LAUNCH_FAILURE = 719
    CAPTURE_UNSUPPORTED = 900
    CAPTURE_INVALIDATED = 901
    CAPTURE_UNMATCHED = 903
    CAPTURE_UNJOINED = 904
    CAPTURE_ISOLATION = 905
    CAPTURE_IMPLICIT = 906
    CAPTURED_EVENT = 907


class CudaError(Exception):
    """A function of the runtime fails; `status` is the cudaError_t that it would return."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Fault(Exception):
    """A device fails while it works; the message says more than CUDA's `status`."""

    def __init__(self, status: int, report: str) -> None:
        super().__init__(report)
        self.status = status


Work = Callable[[], None]
T = TypeVar("T")


class Handles(dict[int, T]):
    """Objects by their handles; an unknown handle is an error, as in CUDA."""

    def __init__(self, numbers: Iterator[int]) -> None:
        super().__init__()
        self._numbers = numbers

    def add(self, make: Callable[[int], T]) -> int:
        """Make an object for a new handle, keep it, and return the handle."""
        handle = next(self._numbers)
        self[handle] = make(handle)
        return handle

    def __missing__(self, handle: int) -> NoReturn:
        raise CudaError(Status.INVALID_RESOURCE_HANDLE)

    def __delitem__(self, handle: int) -> None:
        self[handle]
        super().__delitem__(handle)


class Stream:
    """A queue of work. A `blocking` stream and the device's null stream wait for each other."""

    def __init__(self, handle: int, device: int, blocking: bool) -> None:
        self.handle, self.device, self.blocking = handle, device, blocking
        self.queue: deque[Work] = deque()
        self.asked = self.done = 0
        self.capture: Capture | None = None
        # During a capture, the numbers of the pieces for which the next piece waits.
        self.tails: frozenset[int] = frozenset()

    def refuse_if_broken(self) -> None:
        """Raise an error if the stream's capture is broken: it takes no more work."""
        if self.capture is not None and self.capture.broken:
            raise CudaError(Status.CAPTURE_INVALIDATED)


class Event:
    """A position in a stream's queue, or in a capture."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.stream: Stream | None = None
        self.position = 0
        self.capture: Capture | None = None
        self.tails: frozenset[int] = frozenset()
        self.time = 0.0

    def stamp(self) -> None:
        """Note the time: the event has happened."""
        self.time = time.perf_counter()


class Capture:
    """The work that streams were asked for during a capture: each piece, with the pieces it waits for.

    Parameters
    ----------
    origin : Stream
        The stream whose capture begins.
    mode : str
        Which threads may allocate memory meanwhile: all ("relaxed"), all but the one that captures ("thread
        local"), or none ("global").
    """

    def __init__(self, origin: Stream, mode: str) -> None:
        self.origin, self.members = origin, {origin}
        self.mode, self.thread = mode, threading.get_ident()
        self.broken = self.ended = False
        self.nodes: list[tuple[Work, frozenset[int]]] = []
        origin.capture, origin.tails = self, frozenset()

    def add(self, stream: Stream, work: Work) -> None:
        self.nodes.append((work, stream.tails))
        stream.tails = frozenset({len(self.nodes) - 1})

    def join(self, stream: Stream, tails: frozenset[int]) -> None:
        """Let the stream capture from now on; its next work also waits for `tails`."""
        self.members.add(stream)
        stream.capture, stream.tails = self, stream.tails | tails

    def fail(self, status: int) -> NoReturn:
        """Break the capture after a forbidden call, and raise the call's error."""
        self.broken = True
        raise CudaError(status)

    def end(self) -> None:
        """End the capture on all of its streams.

        Raises
        ------
        CudaError
            The capture was broken, or its origin does not wait for all work of the other streams.
        """
        left = set().union(*(stream.tails for stream in self.members))
        reached = self._before(self.origin.tails)
        for stream in self.members:
            stream.capture, stream.tails = None, frozenset()
        self.ended = True
        if self.broken:
            raise CudaError(Status.CAPTURE_INVALIDATED)
        if not left <= reached:
            raise CudaError(Status.CAPTURE_UNJOINED)

    def _before(self, tails: Iterable[int]) -> set[int]:
        reached: set[int] = set()
        ahead = list(tails)
        while ahead:
            node = ahead.pop()
            if node not in reached:
                reached.add(node)
                ahead.extend(self.nodes[node][1])
        return reached


class Graph:
    """Captured work in two orders that its edges allow: as captured, and with the last pieces first.

    Launches take the two orders in turn. So a branch runs before the work beside it, and then after it.
    """

    def __init__(self, nodes: Sequence[tuple[Work, frozenset[int]]]) -> None:
        done: set[int] = set()
        late: list[Work] = []
        while len(late) < len(nodes):
            node = max(k for k, (_, tails) in enumerate(nodes) if k not in done and tails <= done)
            done.add(node)
            late.append(nodes[node][0])
        self.orders = itertools.cycle(([work for work, _ in nodes], late))
