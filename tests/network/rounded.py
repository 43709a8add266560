"""Data for networks that round their operands."""

from __future__ import annotations

import numpy as np

from gpubp.kernels import PRECISIONS
from gpubp.kernels.typing import Array

NAMES = tuple(PRECISIONS)


def problem(
    sizes: tuple[int, ...], rows: int, seed: int = 0, dtype: str = "float32"
) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], rows)
