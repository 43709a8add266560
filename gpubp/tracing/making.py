"""Make a trace: check the row and the names, compute the numbers, and describe the equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import dense, to_host
from ..backends import SparseRows
from ..data_validation import check_inputs, check_targets
from ..kernels import PRECISIONS
from ..kernels.messages import shown
from ..kernels.precision import rounded
from ..kernels.typing import Array
from ..validation import check_number
from .equations import described, formula_of, steps_of, title_of
from .numbers import numbers_of
from .symbols import numbered
from .trace import Trace

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["trace_network"]


def trace_network(
    network: Network,
    x: Any,
    y: Any,
    *,
    learning_rate: float | None = None,
    input_names: Sequence[Any] | None = None,
    output_names: Sequence[Any] | None = None,
    prediction: str | None = None,
    notes: Iterable[str] = (),
) -> Trace:
    """Trace a forward and backward pass of one row; `Network.trace` calls it.

    Parameters
    ----------
    network, x, y, learning_rate, input_names, output_names
        As in `Network.trace`, where the network is `self`.
    prediction : str, optional
        What is predicted, in a sentence; by default of costs of classes the largest output.
    notes : iterable of str, default ()
        Further sentences about the numbers.

    Returns
    -------
    Trace
        The trace.

    Raises
    ------
    ValueError
        If an argument does not fit the network; the message names it.
    """
    row, target = _row(network, x), _target(network, y)
    if learning_rate is not None:
        check_number("learning_rate", learning_rate, 0, float("inf"), open_low=True)
        learning_rate = float(learning_rate)
    n_in, n_out = network.sizes[0], network.sizes[-1]
    names_in = _names("input_names", input_names, n_in, "input", numbered("x", n_in))
    names_out = _names("output_names", output_names, n_out, "output", numbered("a", n_out))
    values = numbers_of(network, row, target, learning_rate)
    sigmas, cost = [layer.activation for layer in network.layers], network.cost_function
    if prediction is None and cost.targets == "class":
        prediction = _largest(values[f"a{len(sigmas)}"], values["y"], names_out)
    return Trace(
        title=title_of(network),
        sizes=network.sizes,
        activations=tuple(map(described, sigmas)),
        activation_formulas=tuple(map(formula_of, sigmas)),
        cost=described(cost),
        cost_formula=f"C = {cost.formula}",
        dtype=str(network.dtype),
        backend=network.backend.name,
        input_names=names_in,
        output_names=names_out,
        learning_rate=learning_rate,
        prediction=None if prediction is None else _on_one_line(prediction),
        notes=(*_notes(network, values), *map(_on_one_line, notes)),
        steps=steps_of(network, values, names_out),
        _values=values,
    )


def _row(network: Network, x: Any) -> Array:
    """Check x and return it on the host, of shape (1, n_in)."""
    given = check_inputs(x, network.sizes[0], dtype=network.input_dtype)
    if isinstance(given, SparseRows):
        given = check_inputs(dense(x), network.sizes[0])
    if len(given) != 1:
        width = network.sizes[0]
        raise ValueError(
            f"x has {len(given)} rows, expected one, of shape ({width},) or (1, {width})"
        )
    return np.ascontiguousarray(to_host(given))


def _target(network: Network, y: Any) -> Array:
    """Check y and return it on the host: a label of shape (1,), or a row of shape (1, n_out)."""
    checked = check_targets(y, network.cost_function, 1, network.sizes[-1], dtype=network.dtype)
    return np.ascontiguousarray(to_host(checked))


def _names(
    argument: str, given: Sequence[Any] | None, count: int, what: str, default: tuple[str, ...]
) -> tuple[str, ...]:
    """Check names, and make them texts of one line."""
    if given is None:
        return default
    expected = f"expected {count} name{'s' * (count > 1)}, one for each {what}"
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ValueError(f"{argument} is {shown(given)}, {expected}")
    names = [str(name) for name in given]
    if len(names) != count:
        raise ValueError(f"{argument} has {len(names)} name{'s' * (len(names) != 1)}, {expected}")
    return tuple(map(_on_one_line, names))


def _on_one_line(text: str) -> str:
    """Replace what a terminal would obey or could not show, such as escape sequences of a column's name."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _largest(a: Array, y: Array, names: Sequence[str]) -> str | None:
    """Say which class has the largest output, and which is the target's."""
    if not np.isfinite(a).all():
        return None
    predicted, actual = int(a.argmax()), int(y.argmax())
    target = ", which is the target" if predicted == actual else f"; the target is {names[actual]}"
    return f"The largest output is that of {names[predicted]} ({a[predicted]:.4g}){target}."


def _notes(network: Network, values: Mapping[str, Any]) -> list[str]:
    notes = []
    if any(layer.dropout for layer in network.layers):
        notes.append("Dropout takes no part, as in predictions: no activation is dropped.")
    if network.precision is not None:
        notes.append(_note_on_precision(network, values))
    smoothing = network.cost_function.label_smoothing
    if smoothing:
        notes.append(f"y is the smoothed target: label_smoothing is {smoothing:g}.")
    return notes


def _note_on_precision(network: Network, values: Mapping[str, Any]) -> str:
    """Say what is rounded; a GPU rounds to tf32 only while it multiplies."""
    precision = PRECISIONS[str(network.precision)]
    told = f"The operands of products are rounded to {precision.name}:"
    weights = [values[f"w{k}"] for k in range(1, len(network.layers) + 1)]
    if not all(np.array_equal(rounded(precision, w), w, equal_nan=True) for w in weights):
        return f"{told} the numbers that are shown are those before the rounding."
    told += " the weights, x, a and δ that are shown are the rounded ones."
    return f"{told} A step changes the weights before the rounding." if "new_w1" in values else told
