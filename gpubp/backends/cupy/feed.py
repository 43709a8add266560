"""Batches on their way to the GPU: copied from page-locked memory while the step before runs.

The tests run it on emulated devices too, whose streams do their work as late as events allow.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..base import Array

__all__ = ["PinnedFeed"]


class PinnedFeed:
    """Each call copies a NumPy array on a stream of its own, and the current stream waits for the copy.

    Arrays of one name go to two places in turn: while a step reads one, the other is filled. What a call
    gives is good until the next call but one with that name.
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
        # Every step that reads the other place has been launched by now; the copy after this one waits.
        other.free = steps.record()
        if not place.has_room(values):
            place.make_room(self._cupy, values)
            # Memory from CuPy's pool may still be in use by what the current stream was asked for before.
            place.free = steps.record()
        if place.copied is not None:
            place.copied.synchronize()  # the host must not write to what is being copied
        pinned, array = place.cut(values)
        np.copyto(pinned, values)
        self._stream.wait_event(place.free)
        array.set(pinned, stream=self._stream)
        place.copied = self._stream.record()
        steps.wait_event(place.copied)
        return array


class _Place:
    """Page-locked memory and its like on the device.

    Attributes
    ----------
    free : cupy.cuda.Event or None
        After it, nothing reads the device's part.
    copied : cupy.cuda.Event or None
        After it, nothing reads the host's part.
    """

    def __init__(self) -> None:
        self.pinned: Any = np.empty((0,))
        self.array: Array = None
        self.free: Any = None
        self.copied: Any = None

    def __del__(self) -> None:
        # The page-locked memory goes back to CuPy's pool: whoever takes it next may write to it at once.
        if self.copied is not None and not sys.is_finalizing():
            self.copied.synchronize()

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
        """As many rows of both parts as `values` has."""
        return self.pinned[: len(values)], self.array[: len(values)]
