"""CUDA, through CuPy.

The whole suite has passed on a GPU (docs/gpu.md says on which). Where there is none, the tests run this
folder and the kernels' text on CuPy with emulated devices.
"""

from .backend import CupyBackend
from .devices import device_count, find, names, on_device_number, open_cupy, owner

__all__ = [
    "PROVEN",
    "CupyBackend",
    "device_count",
    "find",
    "names",
    "on_device_number",
    "open_cupy",
    "owner",
]

PROVEN = True
"""Whether the whole suite has passed on a GPU; `backend="auto"` takes CuPy only then."""
