"""Check a user's arrays, x, y and sample weights, before anything changes.

An error message is one sentence. It names the array, what it holds and where, and what is expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from .arrays import as_array, home_of, is_sparse, namespace
from .backends import Array, SparseRows
from .kernels import Cost
from .sparse import sparse_rows

__all__ = [
    "check_finite",
    "check_fits",
    "check_inputs",
    "check_shapes",
    "check_target_shape",
    "check_targets",
    "check_weights",
]

TEXT_INSTEAD = ", for classes integers from 0; gpubp.MLPClassifier takes text as well"

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _where_it_lies(
    check: Callable[Concatenate[Any, _Arguments], _Result],
) -> Callable[Concatenate[Any, _Arguments], _Result]:
    """Make a check run on the device of its first argument."""

    @wraps(check)
    def run(values: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with home_of(values).use():
            return check(values, *args, **kwargs)

    return run


def check_finite(name: str, given: Array | SparseRows, rows: Any = None) -> None:
    """Check that an array or sparse rows contain no NaN and no infinity.

    Parameters
    ----------
    name : str
        The name of the array in the message.
    given : array or SparseRows
        The numbers.
    rows : int array, optional
        The number of each row in the user's array, if `given` holds some of its rows.

    Raises
    ------
    ValueError
        If it contains one; the message gives the index of the first one.
    """
    array = given.values if isinstance(given, SparseRows) else given
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        # If the sum is finite, all numbers are. The reverse is not true: finite numbers may overflow the
        # sum.
        if math.isfinite(float(array.sum())):
            return
    bad = ~namespace(array).isfinite(array)
    if bool(bad.any()):
        raise ValueError(f"{name} holds {_first(given, bad, rows)}, expected finite numbers")


def _first(given: Array | SparseRows, bad: Array, rows: Any) -> str:
    """Describe the first number where `bad` is true: its value and its index."""
    array = given.values if isinstance(given, SparseRows) else given
    index = tuple(int(k[0]) for k in namespace(array).nonzero(bad))
    place = given.place_of(*index) if isinstance(given, SparseRows) else index
    shown_index = place if rows is None else (int(rows[place[0]]), *place[1:])
    value = array[index].item()
    text = value if isinstance(value, int) else f"{value:g}"
    return f"{text} at [{', '.join(map(str, shown_index))}]"


def check_fits(
    name: str, given: Array | SparseRows, dtype: np.dtype[Any], rows: Any = None
) -> None:
    """Check that finite numbers fit `dtype`, the network's dtype.

    Parameters
    ----------
    name, given, rows
        As in `check_finite`.
    dtype : dtype
        The dtype.

    Raises
    ------
    ValueError
        If one of them is too large; the message gives the index of the first one.
    """
    array = given.values if isinstance(given, SparseRows) else given
    if array.dtype.kind != "f" or array.dtype.itemsize <= dtype.itemsize or not array.size:
        return
    most = float(np.finfo(dtype).max)
    if array.max().item() > most or array.min().item() < -most:
        kind = "dtype" if dtype.itemsize > 2 else "precision"
        first = _first(given, abs(array) > most, rows)
        raise ValueError(f"{name} holds {first}, too large for {dtype}, the network's {kind}")


@_where_it_lies
def check_inputs(
    x: Any,
    n_in: int,
    name: str = "x",
    finite: bool = True,
    dtype: np.dtype[Any] | None = None,
    rows: Any = None,
) -> Array | SparseRows:
    """Check the inputs of a network.

    Parameters
    ----------
    x : array_like of shape (rows, n_in) or (n_in,), or sparse matrix of shape (rows, n_in)
        The inputs, or what this function has returned for them. One example of shape (n_in,) becomes one
        row.
    n_in : int
        Width of the input layer.
    name : str, default "x"
        The name of the argument in messages.
    finite : bool, default True
        Whether to check the values too.
    dtype : dtype, optional
        The dtype that the values must fit; by default any.
    rows : int array, optional
        The number of each row in the user's array, if `x` holds some of its rows.

    Returns
    -------
    array of shape (rows, n_in), or SparseRows
        A NumPy or CuPy array, or sparse rows, on the device of `x`.

    Raises
    ------
    ValueError
        If `x` has a wrong width, no rows or no numbers, or is sparse and stores numbers at places that it
        does not have; or, with `finite`, if it contains NaN, infinity or numbers too large for `dtype`.
    """
    sparse = is_sparse(x)
    array = x if sparse else as_array(name, x)
    if array.ndim == 1 and n_in == array.shape[0] and not sparse:
        array = array[None, :]
    if array.ndim != 2:
        one = "" if sparse else f" or one example ({n_in},)"
        raise ValueError(f"{name} has shape {array.shape}, expected (rows, {n_in}){one}")
    if sparse:  # from here on, the user's matrix may change
        array = sparse_rows(name, array)
    if array.shape[1] != n_in:
        raise ValueError(
            f"{name} has {array.shape[1]} columns, expected {n_in}, the width of the input layer"
        )
    if not array.shape[0]:
        raise ValueError(f"{name} has no rows, expected at least one")
    if finite:
        check_finite(name, array, rows)
        if dtype is not None and dtype != array.dtype:
            check_fits(name, array, dtype, rows)
    return array


def check_shapes(
    x: Any, y: Any, cost: Cost, sizes: Sequence[int]
) -> tuple[Array | SparseRows, Array]:
    """Check the shapes and types of a training step's x and y, but not their values."""
    x = check_inputs(x, sizes[0], finite=False)
    return x, check_targets(y, cost, len(x), sizes[-1], values=False)


@_where_it_lies
def check_targets(
    y: Any,
    cost: Cost,
    count: int,
    n_out: int,
    name: str = "y",
    values: bool = True,
    dtype: np.dtype[Any] | None = None,
    rows: Any = None,
) -> Array:
    """Check the targets of a cost.

    Parameters
    ----------
    y : array_like of shape (count, n_out) or (count,)
        The targets: numbers or, for costs of classes, integer labels of shape (count,).
    cost : Cost
        The cost that the targets are for.
    count : int
        The number of rows of x.
    n_out : int
        Width of the output layer.
    name : str, default "y"
        The name of the argument in messages.
    values : bool, default True
        Whether to check the values too.
    dtype : dtype, optional
        The dtype that the values must fit; by default any.
    rows : int array, optional
        The number of each row in the user's array, if `y` holds some of its rows.

    Returns
    -------
    array of shape (count,) or (count, n_out)
        Integer labels or numbers, on the device of `y`.

    Raises
    ------
    ValueError
        If the shape or type is wrong for this cost; or, with `values`, if a label is out of range, the cost
        is not defined for a number, or `y` contains NaN, infinity or numbers too large for `dtype`.
    """
    array = as_array(name, y, TEXT_INSTEAD)
    if count == 1 and array.ndim == 0:
        array = array.reshape(1)
    if count == 1 and array.shape == (n_out,) and (n_out > 1 or cost.targets != "class"):
        array = array[None, :]
    check_target_shape(name, array.shape, cost, count, n_out)
    if array.ndim == 1 and cost.targets == "class":
        return _check_labels(array, cost, n_out, name, values, rows)
    if array.ndim == 1:
        array = array[:, None]
    if values:
        check_finite(name, array, rows)
        _check_values(array, cost, name, rows)
        if dtype is not None:
            check_fits(name, array, dtype, rows)
    return array


def check_target_shape(
    name: str, shape: tuple[int, ...], cost: Cost, count: int, n_out: int
) -> None:
    """Check the shape of targets for `count` rows of x, else raise a ValueError."""
    takes = (
        f"labels of shape ({count},) or rows of shape ({count}, {n_out})"
        if cost.targets == "class"
        else f"shape ({count}, {n_out})" + (f" or ({count},)" if n_out == 1 else "")
    )
    if len(shape) not in (1, 2):
        raise ValueError(f"{name} has shape {shape}, expected {takes}")
    if shape[0] != count:
        raise ValueError(f"{name} has {shape[0]} rows, expected {count}, as x has")
    if len(shape) == 1 and cost.targets != "class" and n_out > 1:
        raise ValueError(
            f"{name} has shape {shape}, as labels have, expected {takes} for cost {cost.name!r};"
            " one-hot encode it, or take cost 'cross_entropy'"
        )
    if shape == (count, 1) and n_out > 1 and cost.targets == "class":
        raise ValueError(f"{name} has shape {shape}, expected {takes}; .ravel() makes labels of it")
    if len(shape) == 2 and shape[1] != n_out:
        raise ValueError(f"{name} has {shape[1]} columns, expected {takes}")


def _check_labels(
    labels: Array, cost: Cost, n_out: int, name: str, values: bool, rows: Any
) -> Array:
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {labels.dtype}, expected integer labels from 0 to {n_out - 1}"
            f" (or rows of {n_out} probabilities) for cost {cost.name!r}; .astype(int) makes them of it"
        )
    if values and (int(labels.min()) < 0 or int(labels.max()) >= n_out):
        first = _first(labels, (labels < 0) | (labels >= n_out), rows)
        raise ValueError(f"{name} holds the label {first}, expected labels from 0 to {n_out - 1}")
    return labels


def _check_values(y: Array, cost: Cost, name: str, rows: Any) -> None:
    if cost.targets in ("class", "unit") and (float(y.min()) < 0 or float(y.max()) > 1):
        first = _first(y, (y < 0) | (y > 1), rows)
        expected = f"numbers from 0 to 1 for cost {cost.name!r}"
        raise ValueError(f"{name} holds {first}, expected {expected}")
    if cost.targets == "nonnegative" and float(y.min()) < 0:
        expected = f"no negative number for cost {cost.name!r}"
        raise ValueError(f"{name} holds {_first(y, y < 0, rows)}, expected {expected}")
    if cost.targets == "class":
        xp = namespace(y)
        off = xp.abs(xp.sum(y, axis=1, dtype=np.float64) - 1)
        row = int(off.argmax())
        if float(off[row]) > 1e-3:
            total = float(xp.sum(y[row], dtype=np.float64))
            row = row if rows is None else int(rows[row])
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
    places: Any = None,
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
        The network's dtype. Weights that are too large or too small for it are scaled.
    places : int array of shape (rows,), optional
        The number of each row in the user's data, if these are the weights of some of its rows. They may
        all be zero.

    Returns
    -------
    array of shape (rows,) or None
        The weights, on their device.

    Raises
    ------
    ValueError
        If the shape is wrong; or, with `values`, if a weight is negative, NaN or infinite, or all weights
        are zero.
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
    check_finite(name, array, places)
    if float(array.min()) < 0:
        first = _first(array, array < 0, places)
        raise ValueError(f"{name} holds {first}, expected no negative number")
    if not float(array.max()) > 0:
        if places is not None:
            return array
        raise ValueError(f"{name} is all zero, expected at least one positive number")
    return array if dtype is None else _in_range(name, array, dtype)


def _in_range(name: str, weights: Array, dtype: np.dtype[Any]) -> Array:
    """Scale weights that do not fit `dtype` by a power of two, which changes no weighted mean.

    The scale leaves room above the largest weight for sums, which are float64, and below it for small
    weights. Weights that still become 0 in float32 are below 1e-63 of the largest. float32 weights are
    scaled to float32's normal numbers, because a GPU takes smaller ones for 0, also in float64 networks.
    """
    if weights.dtype.kind != "f":
        return weights
    check_fits(name, weights, np.dtype(np.float64))
    narrow = np.dtype(np.float32) in (dtype, weights.dtype)
    limits, largest = np.finfo(np.float32 if narrow else np.float64), float(weights.max())
    least, total = float(weights[weights > 0].min()), largest * len(weights)
    fit = least >= float(limits.smallest_normal) and largest <= float(limits.max)
    if fit and math.isfinite(total):
        return weights
    return namespace(weights).ldexp(weights, limits.maxexp // 2 - math.frexp(largest)[1])
