"""`cupy.cublas` of the stand-in: like the real one, it is there once it has been imported."""

from fake_cupy import gemm, gemv

__all__ = ["gemm", "gemv"]
