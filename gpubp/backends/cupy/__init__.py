"""The CUDA backend, through CuPy.

The whole suite has passed on GPUs; docs/explanation/gpu.md names them. On a machine without a GPU, the
tests run this folder and the kernels' text on CuPy with emulated devices.
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
"""Whether the whole suite has passed on a GPU. Otherwise `backend="auto"` does not choose CuPy."""
