"""Networks of Keras's models and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..backends import Backend
from ..kernels import ACTIVATIONS, Activation, Cost
from ..kernels.messages import shown
from ..network import Network
from ..network.arguments import is_sequence
from ..registry import get_activation
from .dense_layers import DenseLayer, network_of, numbers, with_activations, with_output

__all__ = ["from_keras"]


def from_keras(
    model: Any,
    *,
    hidden: str | Activation | Sequence[str | Activation] | None = None,
    output: str | Activation | None = None,
    cost: str | Cost | None = None,
    dtype: Any = None,
    backend: str | Backend = "auto",
) -> Network:
    """Make a network of a Keras model, or of weights.

    Parameters
    ----------
    model : keras.Sequential, functional keras.Model, list or dict
        A model of Dense layers, one after another, each with an activation within it or after it, and
        Dropout after hidden activations. Or the list that ``model.get_weights()`` returns: kernels
        (n_in, n_out), each perhaps followed by a bias (n_out,). Or a dict from the name of each layer, in
        the order of the layers, to a dict with a "kernel" and perhaps a "bias".
    hidden : str, Activation or sequence of them, optional
        For weights, the activations of the hidden layers, as in `Network`; by default "relu". A model has
        its own.
    output : str or Activation, optional
        The output activation; by default that of the model, and "identity" for weights. For a model that
        ends with a linear layer, and was trained with ``from_logits=True``, it is "softmax" or "sigmoid".
    cost : str or Cost, optional
        The cost, as in `Network`. A model's loss is not read.
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
        If it is neither such a model nor weights.
    ValueError
        If a layer is none that gpubp has, or weights do not fit each other; the message names it.

    See Also
    --------
    from_flax : Makes a network of flax's parameters.
    gpubp.torch.from_module : Makes a network of PyTorch's modules.

    Examples
    --------
    >>> import gpubp.exchange, numpy as np
    >>> weights = [np.ones((2, 3)), np.zeros(3), np.ones((3, 1)), np.zeros(1)]
    >>> network = gpubp.exchange.from_keras(weights, hidden="tanh", backend="numpy")
    >>> network.predict([[1.0, 0.5]]).round(3).tolist()  # 3 tanh(1.5)
    [[2.715]]
    """
    if hasattr(model, "layers") and hasattr(model, "get_weights"):
        if hidden is not None:
            raise ValueError(
                f"hidden is {shown(hidden)}, expected None, because a model has its activations"
            )
        layers = with_output("the model", _of_model(model), output)
    else:
        layers = list(_of_dict(model) if isinstance(model, Mapping) else _of_list(model))
        given = "relu" if hidden is None else hidden, "identity" if output is None else output
        layers = with_activations(layers, *given)
    return network_of("model", layers, cost=cost, dtype=dtype, backend=backend)


def _of_list(weights: Any) -> Iterator[DenseLayer]:
    """Make layers of kernels, of which each may have a bias after it."""
    if not is_sequence(weights):
        expected = "expected a Keras model, a list of weights or a dict of layers"
        raise TypeError(f"model is {shown(weights)}, {expected}")
    kernel: tuple[str, Any] | None = None
    for k, values in enumerate(weights):
        name, ndim = f"model[{k}]", getattr(values, "ndim", 2)
        if ndim == 1:
            if kernel is None:
                raise ValueError(f"{name} is a bias, expected a kernel before it")
            yield DenseLayer(*kernel, numbers(name, values, 1))
            kernel = None
        else:
            if kernel is not None:
                yield DenseLayer(*kernel, None)
            kernel = name, numbers(name, values, 2).T
    if kernel is not None:
        yield DenseLayer(*kernel, None)


def _of_dict(layers: Mapping[Any, Any]) -> Iterator[DenseLayer]:
    for name, values in layers.items():
        place = f"model[{name!r}]"
        known = isinstance(values, Mapping) and {"kernel"} <= set(values) <= {"kernel", "bias"}
        if not known:
            expected = "expected a dict with a 'kernel' and perhaps a 'bias'"
            raise ValueError(f"{place} is {shown(values)}, {expected}")
        bias = values.get("bias")
        kernel = numbers(f"{place}['kernel']", values["kernel"], 2)
        biases = None if bias is None else numbers(f"{place}['bias']", bias, 1)
        yield DenseLayer(place, kernel.T, biases)


# A model. Classes are known by their names, so nothing is imported.


def _of_model(model: Any) -> list[DenseLayer]:
    layers: list[DenseLayer] = []
    for layer in _chain(model):
        kind, place = type(layer).__name__, f"layer {layer.name!r}"
        if kind == "Dense" and _is_keras(layer):
            layers.append(_dense_layer(layer, place))
            _add_activation(place, _of_function(layer.activation, place), layers)
        elif kind == "Dropout" and _is_keras(layer):
            _add_dropout(layer, place, layers)
        elif kind in _LAYERS and _is_keras(layer):
            _add_activation(place, _LAYERS[kind](layer, place), layers)
        elif kind not in ("InputLayer", "Flatten", "Identity") or not _is_keras(layer):
            raise ValueError(
                f"{place} is a {kind}, expected Dense, Dropout, Flatten or an activation that gpubp has"
            )
    return layers


_MODELS = "Sequential", "Functional"


def _is_keras(layer: Any) -> bool:
    """Whether the layer's class is Keras's own, and not one that is called the same."""
    return type(layer).__module__.partition(".")[0] == "keras"


def _chain(model: Any) -> Iterator[Any]:
    """Yield the layers of a model in which each has the output of the one before as its input."""
    kind = type(model).__name__
    if kind == "Sequential":
        for layer in model.layers:
            yield from _chain(layer) if type(layer).__name__ in _MODELS else (layer,)
        return
    if kind != "Functional":
        raise TypeError(f"model is a {kind}, expected a Sequential or a functional Model of Keras")
    layers = list(model.layers)
    for layer in layers:
        if type(layer).__name__ in _MODELS:
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__} within a functional model, expected the"
                " layers themselves, or a Sequential of models"
            )
    # A layer that is used twice has the output of its first use.
    joints = [(before.output, after.input) for before, after in pairwise(layers)]
    joints += [(layers[0].output, *model.inputs), (layers[-1].output, *model.outputs)]
    if any(len(joint) != 2 or joint[0] is not joint[1] for joint in joints):
        raise ValueError("model has branches, expected layers of which each follows the one before")
    yield from layers


def _dense_layer(layer: Any, place: str) -> DenseLayer:
    weights = layer.get_weights()
    if len(weights) != 1 + bool(layer.use_bias):
        expected = "expected a kernel and perhaps a bias, as a built model has"
        raise ValueError(f"{place} has {len(weights)} arrays of weights, {expected}")
    kernel = numbers(f"the kernel of {place}", weights[0], 2)
    biases = numbers(f"the bias of {place}", weights[1], 1) if layer.use_bias else None
    return DenseLayer(place, kernel.T, biases)


def _add_dropout(layer: Any, place: str, layers: list[DenseLayer]) -> None:
    if not layer.rate:
        return
    if not layers or layers[-1].dropout:
        expected = "expected one after the activation of a hidden layer"
        raise ValueError(f"{place} is a Dropout, {expected}")
    layers[-1].dropout = float(layer.rate)


def _add_activation(place: str, activation: Activation, layers: list[DenseLayer]) -> None:
    if activation.is_identity:
        return
    if not layers or layers[-1].activation is not None or layers[-1].dropout:
        raise ValueError(f"{place} is an activation, expected it after a Dense layer without one")
    layers[-1].activation = activation


# Keras's names of functions that have another name in gpubp.
_FUNCTIONS = {
    "linear": "identity",
    "hard_silu": "hard_swish",
    "swish": "silu",
}
_SLOPE = 0.2
"""The slope of Keras's function leaky_relu."""


def _of_function(function: Any, place: str) -> Activation:
    """Find the activation that is a function of keras.activations."""
    kind = type(function).__name__
    if kind in _LAYERS and _is_keras(function):  # a layer as an argument
        return _LAYERS[kind](function, place)
    name = getattr(function, "__name__", "")
    own = str(getattr(function, "__module__", "")).partition(".")[0] == "keras"
    activation = ACTIVATIONS.get(_FUNCTIONS.get(name, name))
    if function is None:
        return ACTIVATIONS["identity"]
    if not own or activation is None:
        raise ValueError(
            f"the activation of {place} is {shown(name or function)}, expected one that gpubp has"
        )
    return get_activation(activation, slope=_SLOPE) if name == "leaky_relu" else activation


def _relu(layer: Any, place: str) -> Activation:
    if layer.max_value is not None or layer.threshold:
        raise ValueError(f"{place} is a ReLU with a maximum or a threshold, expected one without")
    slope = float(layer.negative_slope)
    return get_activation("leaky_relu", slope=slope) if slope else ACTIVATIONS["relu"]


def _softmax(layer: Any, place: str) -> Activation:
    if layer.axis not in (-1, 1):
        raise ValueError(f"{place} is a Softmax over axis {layer.axis}, expected -1")
    return ACTIVATIONS["softmax"]


_LAYERS: Mapping[str, Callable[[Any, str], Activation]] = {
    "Activation": lambda layer, place: _of_function(layer.activation, place),
    "ReLU": _relu,
    "LeakyReLU": lambda layer, _: get_activation("leaky_relu", slope=float(layer.negative_slope)),
    "ELU": lambda layer, _: get_activation("elu", alpha=float(layer.alpha)),
    "Softmax": _softmax,
}
