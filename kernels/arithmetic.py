"""Sums of arrays, and the step counters, compiled for the CPU. CuPy and NumPy have functions for both."""

from __future__ import annotations

from .cpu.build import base
from .cpu.calls import Call, bind
from .typing import Array

__all__ = ["add_cpu", "advance_cpu"]


def add_cpu(values: Array, out: Array) -> Call | None:
    """Bind out ← out + values, by arithmetic.cpp."""
    return bind("add", values.dtype, values, out, values.size)


def advance_cpu(counters: Array) -> Call | None:
    """Bind counters ← counters + 1, by arithmetic.cpp."""
    library = base()
    return None if library is None else Call(library.advance, counters)
