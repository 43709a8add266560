"""The types that every module speaks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Array", "Bound"]

Array: TypeAlias = Any
"""A NumPy or CuPy array. CuPy's follow NumPy's interface, but share no class with them."""

Bound: TypeAlias = Callable[[], None]
"""A kernel bound to its arrays: a call without arguments, which may be made again and again."""
