"""The weights of an estimator: initial ones, scikit-learn's lists of them, and those before an error."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import home_of
from ..backends import Array
from ..kernels.messages import shown
from ..layers import assign
from ..network import Network
from ..network.arguments import is_sequence

__all__ = [
    "ArrayOfEachLayer",
    "ListsOfWeights",
    "check_finite_parameters",
    "draw_parameters",
    "unchanged_by_errors",
]


class ArrayOfEachLayer(list[Any]):
    """Views of a network's weights or biases, one for each layer.

    Arrays that are assigned to items are copied into the network. A copy or a pickle is a plain list of
    arrays of its own.

    Parameters
    ----------
    name : str
        The name of the list in error messages.
    views : iterable of array
        A view for each layer.
    """

    def __init__(self, name: str, views: Iterable[Array]) -> None:
        super().__init__(views)
        self._name = name

    def __setitem__(self, index: Any, values: Any) -> None:
        if isinstance(index, slice):
            self._assign(range(len(self))[index], list(values))
        else:
            self._assign([range(len(self))[index]], [values])

    def _assign(self, layers: Iterable[int], values: list[Any]) -> None:
        layers = list(layers)
        if len(values) != len(layers):
            raise ValueError(
                f"{self._name} is given {len(values)} arrays, expected {len(layers)}, one for each layer"
            )
        before = copy.deepcopy(self)
        try:
            for layer, value in zip(layers, values, strict=True):
                assign(f"{self._name}[{layer}]", self[layer], value)
        except BaseException:
            for layer in layers:
                with home_of(self[layer]).use():
                    self[layer][...] = before[layer]
            raise

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return list, (list(self),)


class ListsOfWeights:
    """A base class with scikit-learn's lists of weights and biases, which can be assigned.

    A list that is assigned before the first fit is kept. partial_fit and fit with warm_start begin with it.
    """

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, (n_in, n_out): transposed views of the network's weights."""
        return self._list("coefs_")

    @coefs_.setter
    def coefs_(self, values: Sequence[Any]) -> None:
        self._assign("coefs_", values)

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, (n_out,): views of the network's biases."""
        return self._list("intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Sequence[Any]) -> None:
        self._assign("intercepts_", values)

    def _list(self, name: str) -> list[Array]:
        known = vars(self)
        if "network_" in known:
            return _views(known["network_"], name)
        if name not in known.get("_given_weights", {}):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        given: list[Array] = known["_given_weights"][name]
        return given

    def _assign(self, name: str, values: Sequence[Any]) -> None:
        if not is_sequence(values):
            raise TypeError(
                f"{name} is {shown(values)}, expected a list of arrays, one for each layer"
            )
        if "network_" in vars(self):
            self._list(name)[:] = values
        else:
            given = vars(self).get("_given_weights", {})
            self._given_weights = {**given, name: list(values)}

    def _begin_with_given_weights(self, network: Network) -> None:
        """Give a new network the weights that were assigned before the first fit."""
        for name, values in vars(self).get("_given_weights", {}).items():
            _views(network, name)[:] = values


def _views(network: Network, name: str) -> ArrayOfEachLayer:
    if name == "coefs_":
        return ArrayOfEachLayer(name, (layer.weights.T for layer in network.layers))
    return ArrayOfEachLayer(name, (layer.biases for layer in network.layers))


def draw_parameters(network: Network, rng: Any, activation: Any) -> None:
    """Draw weights and biases as scikit-learn does, within Glorot and Bengio's bound.

    The bound of the output layer is computed for the activation of the last hidden layer.
    """
    values = np.zeros(network.layout.size, network.dtype)
    hidden = list(activation) if is_sequence(activation) else [activation]
    for number, (weights, biases) in enumerate(network.layout.views(values)):
        near = hidden[min(number, len(hidden) - 1)] if hidden else None
        factor = 2.0 if near in ("logistic", "sigmoid") else 6.0
        bound = math.sqrt(factor / sum(weights.shape))
        weights[...] = rng.uniform(-bound, bound, weights.shape[::-1]).T
        assert biases is not None
        biases[...] = rng.uniform(-bound, bound, len(biases))
    network.parameters = values


def check_finite_parameters(network: Network) -> None:
    """Check that training has given finite parameters, else raise a ValueError."""
    with network.backend.use():
        finite = bool(network.backend.xp.isfinite(network.parameters).all())
    if not finite:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and"
            " need to be preprocessed. A lower learning_rate_init may help too."
        )


@contextmanager
def unchanged_by_errors(estimator: Any) -> Iterator[None]:
    """After an error, restore the estimator's attributes, its network's parameters and its trainer."""
    before = dict(vars(estimator))
    network, trainer = before.get("network_"), before.get("_trainer")
    if network is not None:
        with network.backend.use():
            kept = network.parameters.copy()
    if trainer is not None:
        optimizer, schedule = trainer.optimizer, trainer.schedule
    try:
        yield
    except BaseException:
        for name in vars(estimator).keys() - before.keys():
            delattr(estimator, name)
        estimator.__dict__.update(before)
        if network is not None:
            network.parameters = kept
        if trainer is not None:
            trainer.optimizer, trainer.schedule = optimizer, schedule
        raise
