"""Checks of what a user gives, before anything changes: one sentence that names the argument, what came
and what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from .backends import Array, Backend, backend_of, get_backend
from .errors import unknown_name
from .kernels import ACTIVATIONS, COSTS, PRECISIONS, Activation, Cost

__all__ = [
    "as_array",
    "check_flag",
    "check_inputs",
    "check_number",
    "check_precision",
    "check_targets",
    "check_weights",
    "get_activation",
    "get_cost",
    "is_sparse",
]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def get_activation(activation: str | Activation, **parameters: float) -> Activation:
    """An activation by name, with other parameters than its defaults if given.

    Raises
    ------
    ValueError : the name or a parameter's is unknown, or a parameter is out of its range.
    TypeError : neither a name nor an `Activation`.

    Examples
    --------
    >>> get_activation("leaky_relu", slope=0.2)
    <activation leaky_relu, slope=0.2: z if z > 0 else slope z, 0 <= slope < 1>
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        activation = ACTIVATIONS[activation]
    elif not isinstance(activation, Activation):
        raise TypeError(f"activation is {activation!r}, expected a name or an Activation")
    owner = f"activation {activation.name!r}"
    return activation.with_parameters(**_checked(owner, parameters, activation.parameters))


def get_cost(cost: str | Cost, **parameters: float) -> Cost:
    """A cost by name, with other parameters than its defaults if given.

    Raises
    ------
    ValueError, TypeError : as `get_activation`.

    Examples
    --------
    >>> get_cost("huber", threshold=2.0).parameters
    {'threshold': 2.0}
    """
    if isinstance(cost, str):
        if cost not in COSTS:
            raise unknown_name("cost", cost, COSTS)
        cost = COSTS[cost]
    elif not isinstance(cost, Cost):
        raise TypeError(f"cost is {cost!r}, expected a name or a Cost")
    smoothing = ("label_smoothing",) if cost.targets == "class" else ()
    known = (*cost.parameters, *smoothing)
    return cost.with_parameters(**_checked(f"cost {cost.name!r}", parameters, known))


# For each parameter of an activation or a cost: lowest, highest, whether the lowest is excluded.
_RANGES: Mapping[str, tuple[float, float, bool]] = {
    "slope": (0, 1, False),
    "alpha": (0, math.inf, True),
    "scale": (0, math.inf, True),
    "threshold": (0, math.inf, True),
    "quantile": (0, 1, True),
    "label_smoothing": (0, 1, False),
}


def _checked(owner: str, given: Mapping[str, float], known: Iterable[str]) -> dict[str, float]:
    """Parameters that `owner` has, finite and in range, as Python's own numbers."""
    for name, value in given.items():
        if name not in known:
            raise unknown_name(f"parameter of {owner}", name, known)
        low, high, open_low = _RANGES.get(name, (-math.inf, math.inf, False))
        check_number(name, value, low, high, open_low=open_low)
        if not abs(value) < math.inf:
            raise ValueError(f"{name} is {value!r}, expected a finite number")
    return {name: float(value) for name, value in given.items()}


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
    """`value` is a real number in the interval, and whole where asked."""
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
    """`value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}, expected True or False")


def is_sparse(values: Any) -> bool:
    """Whether `values` is a sparse matrix or array, of SciPy, CuPy or whoever names its parts alike."""
    return hasattr(values, "toarray") and hasattr(values, "nnz")


def as_array(name: str, values: Any) -> Array:
    """`values` as a NumPy or CuPy array of numbers in the machine's byte order, where it already lives;
    lists are converted."""
    on_device = backend_of(values)
    if on_device is not None:
        array = on_device.xp.asarray(values)
    elif type(values) is np.ndarray:
        array = values
    elif isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"{name} is a masked array, expected a number everywhere, as its .filled(value) has"
        )
    elif isinstance(values, np.ndarray):
        array = values
    elif is_sparse(values):
        raise ValueError(f"{name} is sparse, expected a dense array, as its .toarray() gives")
    elif hasattr(values, "__dlpack_device__") and not hasattr(values, "__array__"):
        array = _from_dlpack(values)
    else:
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise ValueError(f"{name} is not an array of numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {array.dtype}, expected real numbers")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _from_dlpack(values: Any) -> Array:
    on_cpu = values.__dlpack_device__()[0] == 1
    return np.from_dlpack(values) if on_cpu else get_backend("cupy").xp.from_dlpack(values)


def _namespace(array: Array) -> Any:
    backend = backend_of(array)
    return np if backend is None else backend.xp


def _where_it_lies(
    check: Callable[Concatenate[Any, _Arguments], _Result],
) -> Callable[Concatenate[Any, _Arguments], _Result]:
    """The check, run on the device where its first argument lies."""

    @wraps(check)
    def run(values: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        backend = backend_of(values)
        with nullcontext() if backend is None else backend.use():
            return check(values, *args, **kwargs)

    return run


def check_finite(name: str, array: Array) -> None:
    """No NaN and no infinity; says where the first one is."""
    if array.dtype.kind != "f":
        return
    xp = _namespace(array)
    with np.errstate(all="ignore"):
        # Of finite numbers the sum may overflow, but where it does not there was no NaN or infinity.
        if math.isfinite(float(xp.sum(array))):
            return
    bad = ~xp.isfinite(array)
    if bool(bad.any()):
        index = tuple(int(k[0]) for k in xp.nonzero(bad))
        value = float(array[index])
        place = ", ".join(map(str, index))
        raise ValueError(f"{name} holds {value} at [{place}], expected finite numbers")


def check_fits(name: str, array: Array | None, dtype: np.dtype[Any]) -> None:
    """No finite number that `dtype`, the network's, has no room for."""
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
    """x as a (rows, n_in) array; one example (n_in,) becomes one row.

    Raises
    ------
    ValueError : wrong width, no rows, not numbers, or (unless finite=False) NaN, infinity or numbers
        too large for `dtype`.
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
    """x and y as a training step takes them, checked but for the values they hold."""
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
    """y as integer labels (rows,), for costs that take them, or as (rows, n_out) numbers.

    With values=False, what it holds is not looked at.

    Raises
    ------
    ValueError : wrong shape or type for this cost, labels out of range, values the cost is not
        defined for, NaN, infinity or numbers too large for `dtype`.
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
        xp = _namespace(y)
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
    """Sample weights as (rows,) numbers, none negative and not all zero; None stays None.

    With values=False, what they hold is not looked at; with `dtype`, they must have room in it.
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


def check_precision(precision: Any, dtype: Any) -> str | None:
    """What matmuls round to, if they do: the name of a precision, for a float32 network."""
    if precision is None:
        return None
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if str(dtype) != "float32":
        raise ValueError(f"precision is {precision!r}, expected None for dtype {str(dtype)!r}")
    return precision


def check_sizes(sizes: Any) -> tuple[int, ...]:
    """Layer widths: two or more positive whole numbers."""
    if not isinstance(sizes, Sequence) and not isinstance(sizes, np.ndarray):
        raise TypeError(f"sizes is {sizes!r}, expected layer widths such as (784, 256, 10)")
    if len(sizes) < 2:
        raise ValueError(f"sizes is {tuple(sizes)!r}, expected an input and at least one layer")
    for size in sizes:
        check_number("each of sizes", size, 1, math.inf, whole=True)
    return tuple(int(size) for size in sizes)


def move(array: Array, backend: Backend) -> Array:
    """`array` on `backend`, dense: unchanged if it is so, else copied."""
    if backend.owns(array):
        return array if array.flags.c_contiguous else backend.asarray(array)
    source = backend_of(array)
    return backend.asarray(array if source is None else source.to_numpy(array))
