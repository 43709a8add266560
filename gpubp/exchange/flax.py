"""Networks of flax's parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..backends import Backend
from ..kernels import Activation, Cost
from ..kernels.messages import shown
from ..network import Network
from ..network.arguments import is_sequence
from .dense_layers import DenseLayer, network_of, numbers, with_activations

__all__ = ["from_flax"]


def from_flax(
    params: Mapping[str, Any],
    *,
    hidden: str | Activation | Sequence[str | Activation] = "relu",
    output: str | Activation = "identity",
    cost: str | Cost | None = None,
    order: Sequence[str] | None = None,
    dtype: Any = None,
    backend: str | Backend = "auto",
) -> Network:
    """Make a network of a flax model's parameters.

    Flax's parameters do not say which activations a model has: `hidden` and `output` do.

    Parameters
    ----------
    params : mapping
        What ``module.init`` of flax.linen returns, its "params", or ``nnx.state(module, nnx.Param)``: for
        each Dense or Linear layer a "kernel" (n_in, n_out) and perhaps a "bias" (n_out,). Layers may be
        within other modules.
    hidden : str, Activation or sequence of them, default "relu"
        The activations of the hidden layers, as in `Network`.
    output : str or Activation, default "identity"
        The output activation, as in `Network`.
    cost : str or Cost, optional
        The cost, as in `Network`.
    order : sequence of str, optional
        The names of the layers in their order, if numbers in their names do not give it: "Dense_10" comes
        after "Dense_2", but nothing says whether "decoder" comes after "head". The names of layers in other
        modules have dots: "MLP_0.Dense_0".
    dtype : {"float32", "float64"}, optional
        The network's dtype; by default that of the weights.
    backend : str or Backend, default "auto"
        The backend, as in `Network`.

    Returns
    -------
    Network
        The network, with copies of the weights.

    Raises
    ------
    TypeError
        If `params` is no mapping, or `order` is no sequence.
    ValueError
        If the parameters are not those of dense layers, their order is not known, or they do not fit each
        other.

    See Also
    --------
    from_keras : Makes a network of a Keras model, or of its weights.
    gpubp.torch.from_module : Makes a network of PyTorch's modules.

    Examples
    --------
    >>> import gpubp.exchange, numpy as np
    >>> layers = {"Dense_0": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}}
    >>> layers["Dense_1"] = {"kernel": np.ones((3, 1))}
    >>> network = gpubp.exchange.from_flax({"params": layers}, hidden="tanh", backend="numpy")
    >>> network.predict([[1.0, 0.5]]).round(3).tolist()  # 3 tanh(1.5)
    [[2.715]]
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"params is {shown(params)}, expected a mapping of flax's parameters")
    inner = params.get("params")
    layers = dict(_layers(inner if isinstance(inner, Mapping) else params, "", order is None))
    if order is not None:
        if not is_sequence(order):
            raise TypeError(f"order is {shown(order)}, expected a sequence of the layers' names")
        if sorted(map(str, order)) != sorted(layers):
            raise ValueError(
                f"order is {shown(order)}, expected each of {', '.join(map(repr, sorted(layers)))} once"
            )
        layers = {name: layers[name] for name in order}
    made = with_activations(list(layers.values()), hidden, output)
    return network_of("params", made, cost=cost, dtype=dtype, backend=backend)


def _layers(
    params: Mapping[Any, Any], place: str, by_name: bool
) -> Iterator[tuple[str, DenseLayer]]:
    """Yield the dense layers with their names; those of a module in the order of their numbers."""
    inner = {str(name): value for name, value in params.items() if isinstance(value, Mapping)}
    if by_name and len(inner) > 1 and not _are_numbered(inner):
        raise ValueError(
            f"params holds {', '.join(repr(place + name) for name in inner)}, whose order their names"
            " do not give, expected order=[...] with the names of the layers"
        )
    for name in sorted(inner, key=_number):
        value, where = inner[name], place + name
        if "kernel" in value:
            yield where, _dense_layer(where, value)
        else:
            yield from _layers(value, f"{where}.", by_name)
    others = [str(name) for name in params if str(name) not in inner]
    if others:
        raise ValueError(
            f"params holds {place + others[0]!r}, expected dense layers, with a 'kernel' and perhaps a"
            " 'bias'"
        )


def _number(name: str) -> int:
    """Return the number at the end of a name; -1 if there is none."""
    found = re.search(r"\d+$", name)
    return int(found[0]) if found else -1


def _are_numbered(names: Mapping[str, Any]) -> bool:
    """Whether the names differ by the numbers at their ends alone; one may have none, and is the first."""
    stems = {re.sub(r"_?\d+$", "", name) for name in names}
    return len(stems) == 1 and len({_number(name) for name in names}) == len(names)


def _dense_layer(place: str, params: Mapping[str, Any]) -> DenseLayer:
    others = [str(name) for name in params if name not in ("kernel", "bias")]
    if others:
        raise ValueError(
            f"params holds {others[0]!r} in {place!r}, expected a 'kernel' and perhaps a 'bias', as a"
            " dense layer has"
        )
    values = {name: _value(value) for name, value in params.items()}
    kernel = numbers(f"{place}.kernel", values["kernel"], 2)
    bias = values.get("bias")
    biases = None if bias is None else numbers(f"{place}.bias", bias, 1)
    return DenseLayer(place, kernel.T, biases)


def _value(value: Any) -> Any:
    """Return the array of a variable of flax.nnx, or of a box with metadata; anything else unchanged."""
    if type(value).__module__.partition(".")[0] != "flax":
        return value
    if hasattr(value, "unbox"):
        return value.unbox()
    return value.get_value() if hasattr(value, "get_value") else value.value
