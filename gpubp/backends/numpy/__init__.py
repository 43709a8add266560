"""The backend for the CPU."""

from .backend import NumpyBackend

__all__ = ["NumpyBackend"]
