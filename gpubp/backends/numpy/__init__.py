"""The CPU backend: NumPy, SciPy's BLAS, and kernels that are compiled on the user's machine."""

from .backend import NumpyBackend, find, names, owner

__all__ = ["NumpyBackend", "find", "names", "owner"]
