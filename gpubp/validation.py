"""Check a user's numbers and flags before anything changes.

An error message is one sentence. It names the argument, the value it has, and the value that is expected.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .kernels.messages import shown

__all__ = ["check_flag", "check_number", "check_seed", "fits"]


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    open_high: bool = True,
    whole: bool = False,
) -> None:
    """Check that `value` is a finite real number in an interval.

    Parameters
    ----------
    name : str
        The name of the argument in the message.
    value : object
        The value, an int or float of Python or NumPy, but not a bool.
    low, high : float
        The ends of the interval; -inf or inf for no end.
    open_low, open_high : bool, default False and True
        Whether the interval excludes `low`, `high`.
    whole : bool, default False
        Whether the value must be an integer.

    Raises
    ------
    ValueError
        If the value is not such a number, or does not fit an int64 or a float64.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    real = isinstance(value, kinds) and not isinstance(value, bool)
    inside = (
        real
        and (value > low if open_low else value >= low)
        and (value < high if open_high and high < math.inf else value <= high)
    )
    if not inside:
        kind = "a whole number" if whole else "a number"
        above = f"above {low:g}" if open_low else f"at least {low:g}"
        below = f"below {high:g}" if open_high else f"at most {high:g}"
        bounds = [b for b, limit in ((above, low), (below, high)) if abs(limit) < math.inf]
        expected = f"{kind} {' and '.join(bounds)}".rstrip()
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")
    if not fits(value, whole):
        expected = "a whole number below 2**63" if whole else "a finite number"
        raise ValueError(f"{name} is {shown(value)}, expected {expected}")


def fits(value: Any, whole: bool) -> bool:
    """Whether a number fits an int64 (if it must be whole) or a float64, as loops and kernels need it."""
    try:
        return -(2**63) <= value < 2**63 if whole else math.isfinite(value)
    except OverflowError:  # an int above the largest float64
        return False


def check_seed(seed: Any) -> None:
    """Check that `seed` is a whole number of at least 0, of any size, else raise a ValueError."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed is {shown(seed)}, expected a whole number at least 0")


def check_flag(name: str, value: Any) -> None:
    """Check that `value` is True or False, else raise a ValueError."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {shown(value)}, expected True or False")
