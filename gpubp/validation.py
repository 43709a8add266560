"""Check a user's arguments before anything changes.

An error message is one sentence. It names the argument, the value it has, and the value that is expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from .arrays import as_array, home_of, namespace
from .backends import Array
from .kernels import Cost

__all__ = [
    "check_finite",
    "check_fits",
    "check_flag",
    "check_inputs",
    "check_number",
    "check_shapes",
    "check_targets",
    "check_weights",
]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


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
    """Check that `value` is a real number in an interval.

    Parameters
    ----------
    name : str
        The name of the argument in the message.
    value : object
        The value, an int or float of Python or NumPy, but not a bool.
    low, high : float
        The ends of the interval; -inf or inf for no end.
    open_low, open_high : bool, default False and True
        Whether the interval excludes `low`, `high`. An infinite end is never excluded.
    whole : bool, default False
        Whether the value must be an integer.

    Raises
    ------
    ValueError
        If the value is not such a number.
    """
    kind = "a whole number" if whole else "a number"
    real = isinstance(value, (int, np.integer) if whole else (int, float, np.integer, np.floating))
    inside = (
        real
        and not isinstance(value, bool)
        and (value > low if open_low else value >= low)
        and (value < high if open_high and high < math.inf else value <= high)
    )
    if not inside:
        above = f"above {low:g}" if open_low else f"at least {low:g}"
        below = f"below {high:g}" if open_high else f"at most {high:g}"
        bounds = [b for b, limit in ((above, low), (below, high)) if abs(limit) < math.inf]
        raise ValueError(f"{name} is {value!r}, expected {kind} {' and '.join(bounds)}".rstrip())


def check_flag(name: str, value: Any) -> None:
    """Check that `value` is True or False, else raise a ValueError."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}, expected True or False")


def _where_it_lies(
    check: Callable[Concatenate[Any, _Arguments], _Result],
) -> Callable[Concatenate[Any, _Arguments], _Result]:
    """Make a check run on the device of its first argument."""

    @wraps(check)
    def run(values: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with home_of(values).use():
            return check(values, *args, **kwargs)

    return run


def check_finite(name: str, array: Array) -> None:
    """Check that `array` contains no NaN and no infinity.

    Raises
    ------
    ValueError
        If it contains one; the message gives the index of the first one.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        # If the sum is finite, all numbers are. The reverse is not true: finite numbers may overflow the
        # sum.
        if math.isfinite(float(array.sum())):
            return
    xp = namespace(array)
    bad = ~xp.isfinite(array)
    if bool(bad.any()):
        index = tuple(int(k[0]) for k in xp.nonzero(bad))
        value = float(array[index])
        place = ", ".join(map(str, index))
        raise ValueError(f"{name} holds {value} at [{place}], expected finite numbers")


def check_fits(name: str, array: Array | None, dtype: np.dtype[Any]) -> None:
    """Check that the finite numbers of `array` fit `dtype`, the network's dtype.

    Raises
    ------
    ValueError
        If one of them is too large.
    """
    if array is None or array.dtype.kind != "f" or array.dtype.itemsize <= dtype.itemsize:
        return
    most = float(np.finfo(dtype).max)
    for extreme in (array.max().item(), array.min().item()):
        if abs(extreme) > most:
            kind = "dtype" if dtype.itemsize > 2 else "precision"
            raise ValueError(f"{name} holds {extreme}, too large for {dtype}, the network's {kind}")


@_where_it_lies
def check_inputs(
    x: Any,
    n_in: int,
    name: str = "x",
    finite: bool = True,
    dtype: np.dtype[Any] | None = None,
) -> Array:
    """Check the inputs of a network.

    Parameters
    ----------
    x : array_like of shape (rows, n_in) or (n_in,)
        The inputs. One example of shape (n_in,) becomes one row.
    n_in : int
        Width of the input layer.
    name : str, default "x"
        The name of the argument in messages.
    finite : bool, default True
        Whether to check the values too.
    dtype : dtype, optional
        The dtype that the values must fit; by default any.

    Returns
    -------
    array of shape (rows, n_in)
        A NumPy or CuPy array, on the device of `x`.

    Raises
    ------
    ValueError
        If `x` has a wrong width, no rows or no numbers; or, with `finite`, if it contains NaN, infinity or
        numbers too large for `dtype`.
    """
    array = as_array(name, x)
    if array.ndim == 1 and n_in == array.shape[0]:
        array = array[None, :]
    if array.ndim != 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (rows, {n_in}) or one example ({n_in},)"
        )
    if array.shape[1] != n_in:
        raise ValueError(
            f"{name} has {array.shape[1]} columns, expected {n_in}, the width of the input layer"
        )
    if not array.shape[0]:
        raise ValueError(f"{name} has no rows, expected at least one")
    if finite:
        check_finite(name, array)
        if dtype is not None:
            check_fits(name, array, dtype)
    return array


def check_shapes(x: Any, y: Any, cost: Cost, sizes: Sequence[int]) -> tuple[Array, Array]:
    """Check the shapes and types of a training step's x and y, but not their values."""
    x = check_inputs(x, sizes[0], finite=False)
    return x, check_targets(y, cost, len(x), sizes[-1], values=False)


@_where_it_lies
def check_targets(
    y: Any,
    cost: Cost,
    rows: int,
    n_out: int,
    name: str = "y",
    values: bool = True,
    dtype: np.dtype[Any] | None = None,
) -> Array:
    """Check the targets of a cost.

    Parameters
    ----------
    y : array_like of shape (rows, n_out) or (rows,)
        The targets: numbers or, for costs of classes, integer labels of shape (rows,).
    cost : Cost
        The cost that the targets are for.
    rows : int
        The number of rows of x.
    n_out : int
        Width of the output layer.
    name : str, default "y"
        The name of the argument in messages.
    values : bool, default True
        Whether to check the values too.
    dtype : dtype, optional
        The dtype that the values must fit; by default any.

    Returns
    -------
    array of shape (rows,) or (rows, n_out)
        Integer labels or numbers, on the device of `y`.

    Raises
    ------
    ValueError
        If the shape or type is wrong for this cost; or, with `values`, if a label is out of range, the cost
        is not defined for a number, or `y` contains NaN, infinity or numbers too large for `dtype`.
    """
    array = as_array(name, y)
    if rows == 1 and array.ndim == 0:
        array = array.reshape(1)
    if rows == 1 and array.shape == (n_out,) and (n_out > 1 or cost.targets != "class"):
        array = array[None, :]
    takes = (
        f"labels of shape ({rows},) or rows of shape ({rows}, {n_out})"
        if cost.targets == "class"
        else f"shape ({rows}, {n_out})" + (f" or ({rows},)" if n_out == 1 else "")
    )
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has shape {array.shape}, expected {takes}")
    if array.shape[0] != rows:
        raise ValueError(f"{name} has {array.shape[0]} rows, expected {rows}, as x has")
    if array.ndim == 1 and cost.targets == "class":
        return _check_labels(array, cost, n_out, name, values)
    if array.ndim == 1 and n_out == 1:
        array = array[:, None]
    if array.ndim == 1:
        raise ValueError(
            f"{name} has shape {array.shape}, as labels have, but cost {cost.name!r} takes {takes};"
            " one-hot encode it, or take cost 'cross_entropy'"
        )
    if array.shape[1] != n_out:
        raise ValueError(f"{name} has {array.shape[1]} columns, expected {takes}")
    if values:
        check_finite(name, array)
        _check_values(array, cost, name)
        if dtype is not None:
            check_fits(name, array, dtype)
    return array


def _check_labels(labels: Array, cost: Cost, n_out: int, name: str, values: bool) -> Array:
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {labels.dtype}, expected integer labels from 0 to {n_out - 1}"
            f" (or rows of {n_out} probabilities) for cost {cost.name!r}"
        )
    low, high = (int(labels.min()), int(labels.max())) if values else (0, 0)
    if low < 0 or high >= n_out:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} holds the label {wrong}, expected labels from 0 to {n_out - 1}")
    return labels


def _check_values(y: Array, cost: Cost, name: str) -> None:
    low, high = float(y.min()), float(y.max())
    if cost.targets in ("class", "unit") and (low < 0 or high > 1):
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name} holds {wrong:g}, expected numbers from 0 to 1 for cost {cost.name!r}"
        )
    if cost.targets == "nonnegative" and low < 0:
        raise ValueError(
            f"{name} holds {low:g}, expected no negative number for cost {cost.name!r}"
        )
    if cost.targets == "class":
        xp = namespace(y)
        off = xp.abs(xp.sum(y, axis=1, dtype=np.float64) - 1)
        row = int(off.argmax())
        if float(off[row]) > 1e-3:
            total = float(xp.sum(y[row], dtype=np.float64))
            raise ValueError(
                f"{name}'s row {row} sums to {total:g}, expected rows of probabilities that sum to 1"
            )


@_where_it_lies
def check_weights(
    weights: Any,
    rows: int,
    name: str = "sample_weight",
    values: bool = True,
    dtype: np.dtype[Any] | None = None,
) -> Array | None:
    """Check sample weights.

    Parameters
    ----------
    weights : array_like of shape (rows,), or None
        The sample weights; None is returned as None.
    rows : int
        The number of rows of x.
    name : str, default "sample_weight"
        The name of the argument in messages.
    values : bool, default True
        Whether to check the values too.
    dtype : dtype, optional
        The dtype that the values must fit; by default any.

    Returns
    -------
    array of shape (rows,) or None
        The weights, on their device.

    Raises
    ------
    ValueError
        If the shape is wrong; or, with `values`, if a weight is negative, NaN, infinite or too large for
        `dtype`, or all weights are zero.
    """
    if weights is None:
        return None
    array = as_array(name, weights)
    if array.shape != (rows,):
        raise ValueError(
            f"{name} has shape {array.shape}, expected ({rows},), one for each row of x"
        )
    if not values:
        return array
    check_finite(name, array)
    if float(array.min()) < 0:
        raise ValueError(f"{name} holds {float(array.min()):g}, expected no negative number")
    if not float(array.max()) > 0:
        raise ValueError(f"{name} is all zero, expected at least one positive number")
    if dtype is not None:
        check_fits(name, array, dtype)
    return array
