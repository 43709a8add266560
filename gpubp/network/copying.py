"""The contents of a pickled or copied network: plain values, and custom functions.

Plain values let a pickle meet another version of the kernels. skops can write them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends import get_backend
from ..kernels import ACTIVATIONS, COSTS, Activation, Cost
from ..layers import Layout
from ..registry import get_activation, get_cost
from . import arguments

__all__ = ["state_of", "taken_apart"]


def state_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state to pickle: parameters as a NumPy array, the backend by its name, no captures.

    Parameters
    ----------
    attributes : mapping of str
        The network's `__dict__`.
    """
    state = dict(attributes)
    state.pop("_predictor", None)
    state.pop("_back", None)
    del state["output_head"]
    backend = state["backend"]
    state["backend"], state["dtype"] = backend.name, str(state["dtype"])
    state["layout"] = list(state["layout"].biases)
    state["parameters"] = backend.to_numpy(state.pop("_parameters"))
    state["layers"] = [(_plain(layer.activation), layer.dropout) for layer in state["layers"]]
    state["cost_function"] = _plain(state["cost_function"])
    return state


def _plain(entry: Activation | Cost) -> Any:
    """Describe a built-in activation or cost; return a custom one as it is."""
    known: Mapping[str, Any] = COSTS if isinstance(entry, Cost) else ACTIVATIONS
    if entry.function is not None or entry.name not in known:
        return entry
    described: dict[str, Any] = {"name": entry.name, **entry.parameters}
    if isinstance(entry, Cost) and entry.targets == "class":
        described["label_smoothing"] = entry.label_smoothing
    return described


def taken_apart(
    state: Mapping[str, Any],
) -> tuple[dict[str, Any], Any, list[Activation], list[float]]:
    """Take a state apart.

    Returns
    -------
    attributes : dict of str
        The attributes that the new network has as they are.
    parameters : NumPy array of shape (size,)
        All parameters, in memory that may be written to.
    activations : list of Activation
        The activation of each layer.
    dropout : list of float
        The dropout rate of each layer.

    Raises
    ------
    ValueError, TypeError
        If the values do not fit each other; a skops file may be a stranger's.
    """
    attributes = {"precision": None} | dict(state)  # older pickles have no precision
    parameters, layers = attributes.pop("parameters"), attributes.pop("layers")
    sizes = attributes["sizes"] = arguments.check_sizes(attributes["sizes"])
    dtype = attributes["dtype"] = arguments.check_dtype(attributes["dtype"])
    attributes["precision"] = arguments.check_precision(attributes["precision"], dtype)
    attributes["backend"] = get_backend(attributes["backend"])
    biases = getattr(attributes["layout"], "biases", attributes["layout"])  # older: a Layout
    layout = Layout(sizes, arguments.bias_of_each(biases, len(sizes) - 1))
    attributes["layout"] = layout
    attributes["cost_function"] = _found(get_cost, attributes["cost_function"])
    if parameters.shape != (layout.size,) or parameters.dtype != dtype:
        raise ValueError(
            f"the state of a network has parameters of shape {parameters.shape} and dtype"
            f" {parameters.dtype}, expected ({layout.size},) and {dtype}"
        )
    if not parameters.flags.writeable:  # e.g. in a file that joblib maps; training must write
        parameters = parameters.copy()
    *hidden, output = (_found(get_activation, activation) for activation, _ in layers)
    activations = arguments.activation_of_each(hidden, output, len(layout.biases))
    rates = arguments.dropout_of_each([rate for _, rate in layers[:-1]], len(layers))
    return attributes, parameters, activations, rates


def _found(get: Any, described: Any) -> Any:
    """Find a described activation or cost; one that is not described is there as it is."""
    if not isinstance(described, Mapping):
        return described
    parameters = dict(described)
    return get(parameters.pop("name"), **parameters)
