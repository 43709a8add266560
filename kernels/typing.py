"""Type aliases that all modules use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Array", "Bound"]

Array: TypeAlias = Any
"""A NumPy or CuPy array. CuPy's arrays follow NumPy's interface, but share no base class with NumPy's."""

Bound: TypeAlias = Callable[[], None]
"""A kernel bound to its arrays: a function without arguments. It may be called any number of times."""
