"""The CPU, through NumPy, SciPy's BLAS and kernels compiled on the spot."""

from .backend import NumpyBackend, find, names, owner

__all__ = ["NumpyBackend", "find", "names", "owner"]
