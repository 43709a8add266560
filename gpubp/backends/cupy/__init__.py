"""The backend for CUDA."""

from .backend import PROVEN, CupyBackend, open_cupy

__all__ = ["PROVEN", "CupyBackend", "open_cupy"]
