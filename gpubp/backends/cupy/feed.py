"""Copies batches to the GPU from page-locked memory, while the previous step runs.

The tests run it on emulated devices too. Streams of these devices do their work as late as the events
allow.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..base import Array

__all__ = ["PinnedFeed"]


class PinnedFeed:
    """A function (name, values) -> array: it copies NumPy arrays to the device, on a separate stream.

    The current stream waits for the copy. Arrays with the same name go to two places in turn: while a step
    reads one place, the other is filled. An array is valid until the second later call with its name.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy, self._stream = cupy, cupy.cuda.Stream(non_blocking=True)
        self._places: dict[str, tuple[_Place, _Place]] = {}

    def __call__(self, name: str, values: Any) -> Array:
        if values.dtype == np.longdouble:
            values = values.astype(np.float64)
        steps = self._cupy.cuda.get_current_stream()
        place, other = self._places.setdefault(name, (_Place(), _Place()))
        self._places[name] = other, place
        # All steps that read the other place have been launched. The next copy, to that place, waits for
        # them.
        other.free = steps.record()
        if not place.has_room(values):
            place.make_room(self._cupy, values)
            # The new memory comes from CuPy's pool: earlier work of the current stream may still use it.
            place.free = steps.record()
        if place.copied is not None:
            place.copied.synchronize()  # the host must not write to memory that is being copied
        pinned, array = place.cut(values)
        np.copyto(pinned, values)
        self._stream.wait_event(place.free)
        array.set(pinned, stream=self._stream)
        place.copied = self._stream.record()
        steps.wait_event(place.copied)
        return array


class _Place:
    """Page-locked memory on the host, and an array of the same size on the device.

    Attributes
    ----------
    free : cupy.cuda.Event or None
        After this event, no step reads the device's array.
    copied : cupy.cuda.Event or None
        After this event, no copy reads the host's memory.
    """

    def __init__(self) -> None:
        self.pinned: Any = np.empty((0,))
        self.array: Array = None
        self.free: Any = None
        self._latest: list[Any] = []
        # The page-locked memory returns to CuPy's pool, and its next user may write to it at once. For a
        # __del__ the garbage collector may already have destroyed the event.
        weakref.finalize(self, _wait_for, self._latest).atexit = False

    @property
    def copied(self) -> Any:
        return self._latest[0] if self._latest else None

    @copied.setter
    def copied(self, event: Any) -> None:
        self._latest[:] = [event]

    def has_room(self, values: Any) -> bool:
        fits = self.pinned.dtype == values.dtype and self.pinned.shape[1:] == values.shape[1:]
        return fits and len(self.pinned) >= len(values) and self.array is not None

    def make_room(self, cupy: Any, values: Any) -> None:
        if self.copied is not None:
            self.copied.synchronize()
        memory = cupy.cuda.alloc_pinned_memory(values.nbytes)
        self.pinned = np.frombuffer(memory, values.dtype, values.size).reshape(values.shape)
        self.array = cupy.empty(values.shape, values.dtype)

    def cut(self, values: Any) -> tuple[Any, Array]:
        """Return the first rows of both parts, as many as `values` has."""
        return self.pinned[: len(values)], self.array[: len(values)]


def _wait_for(events: list[Any]) -> None:
    for event in events:
        event.synchronize()
