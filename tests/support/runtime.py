"""The emulated CUDA runtime: devices, their memory, and the work in their streams.

Work is done as late as CUDA allows: when the host waits for it, or for something that needs it. Faults show
then. After a fault, a device refuses all calls. A call that is forbidden during a capture ends the capture.
Reference: NVIDIA, "CUDA Runtime API", and "CUDA C++ Programming Guide", section "Implicit Synchronization".
"""

from __future__ import annotations

import contextvars
import ctypes
import itertools
import threading
from collections.abc import Iterable, Sequence

from .kernels import Kernel
from .launches import Launch
from .memory import HOST, Memory
from .streams import Capture, CudaError, Event, Fault, Graph, Handles, Status, Stream, Work

__all__ = ["Runtime"]

DEVICES = 2
DEVICE_BYTES = 4 * 2**30
MOST_ASKED = 1024
"""The most pieces of work in a stream's queue. With more, the host waits, as it does for a GPU."""


class Runtime:
    """All devices of the process.

    Attributes
    ----------
    late : str
        Which work is delayed: "steps" (that of null streams), "copies" (that of others), "both" or "".
    exact : bool
        Whether each operation of the text is one IEEE operation, and each launch is examined: for writes
        outside its arrays, and for results that depend on the order of its threads.
    present : bool
        Whether CuPy finds the devices.
    noted : list of Kernel, or None
        If a list, kernels are noted here instead of being compiled and run.
    reports : list of str
        A description of each fault, with more detail than CUDA gives.
    asked : list of str, or None
        If a list, the names of all work that streams are asked for are noted here.
    """

    def __init__(self) -> None:
        self.late, self.exact, self.present = "both", False, False
        self.noted: list[Kernel] | None = None
        self.reports: list[str] = []
        self.asked: list[str] | None = None
        self.memory = Memory([DEVICE_BYTES] * DEVICES)
        self.lock = threading.RLock()
        self._thread = threading.local()
        self._null = [Stream(0, device, True) for device in range(DEVICES)]
        handles = itertools.count(0x1000, 0x10)
        self._streams: Handles[Stream] = Handles(handles)
        self._events: Handles[Event] = Handles(handles)
        self._graphs: Handles[Graph] = Handles(handles)
        self._errors: dict[int, int] = {}
        # Greater than zero while work is done. What Python's garbage collector frees meanwhile is freed
        # afterwards.
        self._works = 0
        self._later: list[Work] = []

    # Devices.

    @property
    def device(self) -> int:
        """The calling thread's current device."""
        return getattr(self._thread, "device", 0)

    @device.setter
    def device(self, number: int) -> None:
        if not 0 <= number < DEVICES:
            raise CudaError(Status.INVALID_DEVICE)
        self._thread.device = number

    def check(self) -> None:
        """Raise the fault of the current device, if it has one."""
        status = self._errors.get(self.device)
        if status:
            raise CudaError(status)

    def forgive(self) -> list[str]:
        """Reset all devices, which real ones cannot do, and return the reports of faults."""
        with self.lock:
            reports, self.reports = self.reports, []
            self._errors.clear()
            for stream in (*self._null, *self._streams.values()):
                stream.queue.clear()
                stream.done, stream.capture, stream.tails = stream.asked, None, frozenset()
            return reports

    def finish(self) -> None:
        """Let all devices finish their work; faults go to `reports`."""
        with self.lock:
            self._finish([*self._null, *self._streams.values()])

    def synchronize(self) -> None:
        """Wait until the current device has finished its work."""
        streams = self.streams_of_device()
        captures = {stream.capture for stream in streams if stream.capture is not None}
        for capture in captures:
            capture.broken = True
        if captures:
            raise CudaError(Status.CAPTURE_UNSUPPORTED)
        self._finish(streams)
        self.check()

    def streams_of_device(self) -> list[Stream]:
        """Return the current device's streams, its null stream first."""
        own = [stream for stream in list(self._streams.values()) if stream.device == self.device]
        return [self._null[self.device], *own]

    # Memory.

    def allocate(self, size: int, device: int) -> int:
        """Allocate memory on a device, or page-locked memory on the host."""
        self.check()
        self._refuse_in_captures()
        address = self.memory.allocate(size, device)
        if address is None:
            raise CudaError(Status.MEMORY_ALLOCATION)
        return address

    def free(self, address: int) -> None:
        """Free memory, after all streams have finished the work that could use it."""
        if address == 0:
            return
        self._refuse_in_captures()
        if self._works:
            self._later.append(lambda: self.free(address))
            return
        self._finish([*self._null, *self._streams.values()])
        if not self.memory.free(address):
            raise CudaError(Status.INVALID_VALUE)

    def _refuse_in_captures(self) -> None:
        """End the captures during which memory may not be allocated or freed."""
        for stream in list(self._streams.values()):
            capture = stream.capture
            if capture is not None and (
                capture.mode == "global"
                or (capture.mode == "thread local" and capture.thread == threading.get_ident())
            ):
                capture.fail(Status.CAPTURE_UNSUPPORTED)

    def copy(self, to: int, source: int, size: int, stream: Stream, wait: bool) -> None:
        """Copy between any two places. Ordinary host memory is read or written before the call returns."""
        if size == 0:
            return
        target, origin = self.memory.find(to, size), self.memory.find(source, size)
        if stream.capture is not None and (target is None or origin is None):
            stream.capture.fail(Status.CAPTURE_UNSUPPORTED)
        if target is None and origin is None:
            ctypes.memmove(to, source, size)
            return
        if origin is None:
            kept = ctypes.string_at(source, size)
            self.ask(stream, lambda: self._write(to, kept))
        else:
            self.ask(stream, lambda: self._copy(to, source, size))
        on_host = any(piece is None or piece.device == HOST for piece in (target, origin))
        if target is None or (wait and on_host):
            self.wait_for(stream)

    def fill(self, address: int, value: int, size: int, stream: Stream) -> None:
        """Write the same byte everywhere."""
        if size == 0:
            return
        kept = bytes([value & 0xFF]) * size
        self.ask(stream, lambda: self._write(address, kept))

    def _write(self, address: int, contents: bytes) -> None:
        self._expect(address, len(contents))
        ctypes.memmove(address, contents, len(contents))

    def _copy(self, to: int, source: int, size: int) -> None:
        self._expect(source, size)
        if self.memory.find(to) is not None:
            self._expect(to, size)
        ctypes.memmove(to, source, size)

    def _expect(self, address: int, size: int) -> None:
        if self.memory.find(address, size) is None:
            raise Fault(Status.ILLEGAL_ADDRESS, f"a copy of {size} bytes is not within memory")

    # Streams.

    def stream(self, handle: int) -> Stream:
        """Find the stream of this handle; 0 and 1 are the current device's null stream."""
        if handle in (0, 1):
            return self._null[self.device]
        return self._streams[handle]

    def new_stream(self, blocking: bool) -> int:
        self.check()
        return self._streams.add(lambda handle: Stream(handle, self.device, blocking))

    def destroy_stream(self, handle: int) -> None:
        stream = self._streams[handle]
        if self._works:
            self._later.append(lambda: self.destroy_stream(handle))
            return
        if stream.capture is not None:
            stream.capture.broken = True
        self._finish([stream])
        del self._streams[handle]

    def ask(self, stream: Stream, work: Work) -> None:
        """Put work at the end of a stream's queue, or into its capture."""
        self.check()
        if self.asked is not None:
            self.asked.append(getattr(work, "__name__", "launch"))
        stream.refuse_if_broken()
        if stream.capture is not None:
            stream.capture.add(stream, work)
            return
        null = self._null[stream.device]
        if stream is null:
            for other in self.streams_of_device()[1:]:
                if other.blocking and other.capture is not None:
                    other.capture.fail(Status.CAPTURE_IMPLICIT)
                if other.blocking:
                    self._put(stream, self._reaching(other, other.asked))
        elif stream.blocking:
            self._put(stream, self._reaching(null, null.asked))
        self._put(stream, work)
        if self._works:
            return
        if self.late not in ("both", "steps" if stream is null else "copies"):
            self._until(stream, stream.asked)
        elif stream.asked - stream.done > MOST_ASKED:
            self._until(stream, stream.asked - MOST_ASKED // 2)

    def launch(
        self, stream: Stream, kernel: Kernel, shape: Sequence[int], parameters: bytes
    ) -> None:
        """Ask a stream to run a kernel; `shape` is the grid, the block and the dynamic shared bytes."""
        if stream.device != self.device:
            raise CudaError(Status.INVALID_RESOURCE_HANDLE)
        *grid_and_block, shared_bytes = shape
        grid, block = tuple(grid_and_block[:3]), tuple(grid_and_block[3:])
        self.ask(stream, Launch(self, stream.device, kernel, grid, block, shared_bytes, parameters))

    def query(self, stream: Stream, position: int) -> int:
        """Return 0 if the stream has reached a position; else do one piece of work and return NOT_READY."""
        self.check()
        if stream.done >= position:
            return 0
        self._until(stream, stream.done + 1)
        return Status.NOT_READY

    def wait_for(self, stream: Stream) -> None:
        """Wait until the stream has finished its work."""
        if stream.capture is not None:
            stream.capture.fail(Status.CAPTURE_UNSUPPORTED)
        self._finish([stream])
        self.check()

    def _finish(self, streams: Iterable[Stream]) -> None:
        for stream in streams:
            if stream.capture is None:
                self._until(stream, stream.asked)

    def _until(self, stream: Stream, position: int) -> None:
        """Let the stream do its work up to a position, and first the work that it waits for.

        The work has a context of its own. It may run within a deallocation by the garbage collector, which
        before Python 3.12 runs wherever an object is made: also while `np.errstate` sets its context
        variable. If the work set this variable in the same context, it would free the map that the outer
        one is reading.
        """
        self._works += 1
        try:
            contextvars.copy_context().run(self._reach, stream, position)
        finally:
            self._works -= 1
        if not self._works:
            later, self._later = self._later, []
            for work in later:
                work()

    def _put(self, stream: Stream, work: Work) -> None:
        stream.queue.append(work)
        stream.asked += 1

    def _reaching(self, stream: Stream, position: int) -> Work:
        return lambda: self._reach(stream, position)

    def _reach(self, stream: Stream, position: int) -> None:
        """Do the stream's work up to a position; after a fault of its device, drop the work instead."""
        while stream.done < position:
            work = stream.queue.popleft()
            stream.done += 1
            if stream.device in self._errors:
                continue
            try:
                work()
            except Fault as fault:
                self._errors[stream.device] = fault.status
                self.reports.append(str(fault))

    # Events.

    def new_event(self) -> int:
        self.check()
        return self._events.add(lambda handle: Event(self.device))

    def destroy_event(self, handle: int) -> None:
        del self._events[handle]

    def record(self, handle: int, stream: Stream) -> None:
        event = self._events[handle]
        if event.device != stream.device:
            raise CudaError(Status.INVALID_RESOURCE_HANDLE)
        stream.refuse_if_broken()
        event.capture, event.tails = stream.capture, stream.tails
        if stream.capture is None:
            self.ask(stream, event.stamp)
            event.stream, event.position = stream, stream.asked

    def _event(self, handle: int) -> Event:
        """Find the event of this handle; an event in a capture is an error."""
        event = self._events[handle]
        if event.capture is not None:
            event.capture.fail(Status.CAPTURED_EVENT)
        return event

    def wait_for_event(self, handle: int) -> None:
        event = self._event(handle)
        if event.stream is not None:
            self._until(event.stream, event.position)
        self.check()

    def query_event(self, handle: int) -> int:
        event = self._event(handle)
        return 0 if event.stream is None else self.query(event.stream, event.position)

    def query_stream(self, stream: Stream) -> int:
        if stream.capture is not None:
            stream.capture.fail(Status.CAPTURE_UNSUPPORTED)
        return self.query(stream, stream.asked)

    def elapsed_time(self, start: int, end: int) -> float:
        """Return the milliseconds between two events that have happened."""
        events = [self._events[handle] for handle in (start, end)]
        for event in events:
            if event.stream is None:
                raise CudaError(Status.INVALID_RESOURCE_HANDLE)
            if event.stream.done < event.position:
                raise CudaError(Status.NOT_READY)
        return (events[1].time - events[0].time) * 1e3

    def make_wait(self, stream: Stream, handle: int) -> None:
        """Make the stream's next work wait for the event."""
        event = self._events[handle]
        stream.refuse_if_broken()
        if event.capture is not None:
            if stream.handle == 0:  # a null stream cannot be captured
                event.capture.fail(Status.CAPTURE_IMPLICIT)
            if event.capture.ended or stream.capture not in (None, event.capture):
                event.capture.fail(Status.CAPTURE_ISOLATION)
            event.capture.join(stream, event.tails)
        elif stream.capture is not None:
            stream.capture.fail(Status.CAPTURE_ISOLATION)
        elif event.stream is not None:
            self.check()
            self._put(stream, self._reaching(event.stream, event.position))

    # Captures and graphs.

    def begin_capture(self, stream: Stream, mode: str) -> None:
        if stream.handle == 0 or stream.capture is not None:
            raise CudaError(Status.CAPTURE_UNSUPPORTED)
        self.check()
        Capture(stream, mode)

    def end_capture(self, stream: Stream) -> int:
        capture = stream.capture
        if capture is None or capture.origin is not stream:
            raise CudaError(Status.CAPTURE_UNMATCHED)
        capture.end()
        return self._graphs.add(lambda handle: Graph(capture.nodes))

    def instantiate(self, handle: int) -> int:
        graph = self._graphs[handle]
        return self._graphs.add(lambda _: graph)

    def destroy_graph(self, handle: int) -> None:
        del self._graphs[handle]

    def launch_graph(self, handle: int, stream: Stream) -> None:
        graph = self._graphs[handle]
        if stream.device != self.device:
            raise CudaError(Status.INVALID_RESOURCE_HANDLE)
        if stream.capture is not None:  # a graph within a graph is not modelled
            stream.capture.fail(Status.CAPTURE_UNSUPPORTED)

        def replay() -> None:
            for work in next(graph.orders):
                work()

        self.ask(stream, replay)
