"""CuPy arrays on one device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ...kernels import Precision
from ..base import Array, Arrays
from .feed import PinnedFeed

__all__ = ["CupyArrays"]


class CupyArrays(Arrays):
    """Arrays on device number `device`.

    Parameters
    ----------
    cupy : module
        CuPy.
    device : int
        The device's number, from 0.
    """

    def __init__(self, cupy: Any, device: int) -> None:
        self.xp, self._device = cupy, cupy.cuda.Device(device)
        self.name = f"cupy:{device}" if device else "cupy"

    @property
    def device(self) -> str:
        properties = self.xp.cuda.runtime.getDeviceProperties(self._device.id)
        return f"{properties['name'].decode()}, CuPy {self.xp.__version__}"

    def use(self) -> AbstractContextManager[Any]:
        return self._device  # type: ignore[no-any-return]

    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        return self.xp.empty(shape, precision.storage)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        if getattr(values, "dtype", None) == np.longdouble:
            values = values.astype(np.float64)
        with self.use():
            array = self.xp.ascontiguousarray(self.xp.asarray(values, dtype))
            # Otherwise gather would widen it again for every batch.
            return array.astype(np.float32) if array.dtype == np.float16 else array

    def to_numpy(self, array: Array) -> Any:
        return self.xp.asnumpy(array)

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray) and array.device == self._device

    def free_memory(self) -> int:
        with self.use():
            pool = self.xp.get_default_memory_pool()
            free = self.xp.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
            limit = pool.get_limit()
            return int(min(free, limit - pool.used_bytes()) if limit else free)

    def feed(self) -> Callable[[str, Any], Array]:
        with self.use():
            return PinnedFeed(self.xp)

    def synchronize(self) -> None:
        with self.use():
            self.xp.cuda.get_current_stream().synchronize()
