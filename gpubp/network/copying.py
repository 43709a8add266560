"""The contents of a pickled or copied network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends import get_backend
from ..kernels import Activation

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
    state["backend"] = backend.name
    state["parameters"] = backend.to_numpy(state.pop("_parameters"))
    state["layers"] = [(layer.activation, layer.dropout) for layer in state["layers"]]
    return state


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
    """
    attributes = {"precision": None} | dict(state)  # older pickles have no precision
    parameters, layers = attributes.pop("parameters"), attributes.pop("layers")
    attributes["backend"] = get_backend(attributes["backend"])
    if not parameters.flags.writeable:  # e.g. in a file that joblib maps; training must write
        parameters = parameters.copy()
    return attributes, parameters, [a for a, _ in layers], [rate for _, rate in layers]
