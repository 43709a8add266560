"""A network of PyTorch's modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..backends import Backend
from ..exchange.dense_layers import DenseLayer, network_of, numbers, with_output
from ..kernels import Activation, Cost
from ..kernels.messages import shown
from ..network import Network
from .activations import activation_of, computes_as

__all__ = ["from_module"]


def from_module(
    sequential: nn.Sequential,
    *,
    output: str | Activation | None = None,
    cost: str | Cost | None = None,
    dtype: Any = None,
    backend: str | Backend = "auto",
) -> Network:
    """Make a network that computes what an ``nn.Sequential`` computes.

    It may have Linear layers, each followed by an activation or by none, and Dropout after a hidden
    activation. Identity and Flatten are left out. Sequentials may be nested. A module may stand in several
    places; each place gets a copy of its weights. Hooks are not looked at. A network computes without
    dropout in `predict`, and with it in training, whatever mode the modules are in.

    Parameters
    ----------
    sequential : torch.nn.Sequential
        The modules.
    output : str or Activation, optional
        The output activation, if the modules end with a Linear: "softmax" for a model that was trained by
        ``nn.CrossEntropyLoss``, "sigmoid" for ``nn.BCEWithLogitsLoss``. By default it is that of the
        modules. A LogSoftmax becomes a softmax: the network's outputs are the probabilities.
    cost : str or Cost, optional
        The cost, as in `Network`.
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
        If it is no Sequential.
    ValueError
        If a module is none that gpubp has; the message says which, and where it is.

    See Also
    --------
    to_module : Does the reverse.
    gpubp.exchange.from_keras : Makes a network of a Keras model, or of its weights.

    Examples
    --------
    >>> import gpubp.torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Dropout(0.1), nn.Linear(8, 3))
    >>> gpubp.torch.from_module(model, cost="huber", backend="numpy")
    Network((4, 8, 3), hidden='silu', output='identity', cost='huber', dtype='float32', backend='numpy')
    """
    if not isinstance(sequential, nn.Sequential):
        raise TypeError(f"sequential is {shown(sequential)}, expected a torch.nn.Sequential")
    if not computes_as(sequential, nn.Sequential):
        raise ValueError(
            f"sequential is a {type(sequential).__name__} with a forward of its own, expected"
            " torch.nn.Sequential's"
        )
    layers: list[DenseLayer] = []
    for place, module in _modules(sequential, "sequential"):
        if computes_as(module, nn.Linear):
            layers.append(_dense_layer(place, module, dtype))
        elif computes_as(module, nn.Dropout):
            _add_dropout(place, module, layers)
        else:
            _add_activation(place, module, layers)
    layers = with_output("sequential", layers, output)
    return network_of("sequential", layers, cost=cost, dtype=dtype, backend=backend)


def _modules(sequential: nn.Sequential, place: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield each module that computes something, with its place."""
    for name, module in sequential._modules.items():  # named_children gives each module once
        where = f"{place}[{name}]" if name.isdigit() else f"{place}.{name}"
        if computes_as(module, nn.Sequential):
            yield from _modules(module, where)
        elif not computes_as(module, nn.Identity) and not _keeps_rows(module):
            yield where, module


def _keeps_rows(module: nn.Module) -> bool:
    """Whether a module is a Flatten that makes one row of each example."""
    return computes_as(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)


def _dense_layer(place: str, module: nn.Linear, dtype: Any) -> DenseLayer:
    if isinstance(module.weight, nn.parameter.UninitializedParameter):
        raise ValueError(
            f"{place} is a LazyLinear without weights, expected one that has been called"
        )
    weights = _numbers(f"{place}.weight", module.weight, dtype, 2)
    biases = None if module.bias is None else _numbers(f"{place}.bias", module.bias, dtype, 1)
    return DenseLayer(place, weights, biases)


def _numbers(name: str, tensor: torch.Tensor, dtype: Any, ndim: int) -> Any:
    """Convert a parameter to NumPy; one of a narrow dtype if the network's dtype is given."""
    known = tensor.dtype in (torch.float32, torch.float64)
    if tensor.is_floating_point() and not known:
        if dtype is None:
            found = str(tensor.dtype).removeprefix("torch.")
            expected = "expected float32 or float64; dtype='float32' converts it"
            raise ValueError(f"{name} has dtype {found}, {expected}")
        tensor = tensor.float()
    tensor = tensor.detach()
    return numbers(name, tensor if tensor.is_meta else tensor.cpu(), ndim)


def _add_dropout(place: str, module: nn.Dropout, layers: list[DenseLayer]) -> None:
    if not module.p:
        return
    if module.p >= 1:
        raise ValueError(f"{place} is a {module}, expected one whose p is below 1")
    if not layers:
        raise ValueError(f"{place} is a Dropout before the first Linear, expected it after one")
    if layers[-1].dropout:
        raise ValueError(f"{place} is a second Dropout after {layers[-1].place}, expected one")
    layers[-1].dropout = float(module.p)


def _add_activation(place: str, module: nn.Module, layers: list[DenseLayer]) -> None:
    kind = _name_of(module)
    try:
        found = activation_of(module)
    except ValueError as error:  # a parameter out of range
        raise ValueError(f"{place} is a {module}: {error}") from None
    if found is None:
        raise ValueError(
            f"{place} is a {kind}, expected Linear, Dropout, Flatten, Identity, Sequential or an"
            " activation that gpubp has"
        )
    if isinstance(found, str):
        raise ValueError(f"{place} is a {module}, expected {found}")
    if not layers:
        raise ValueError(f"{place} is a {kind} before the first Linear, expected it after one")
    before = layers[-1]
    if before.activation is not None or before.dropout:
        what = "an activation" if before.activation is not None else "a Dropout"
        raise ValueError(f"{place} is a {kind} after {what}, expected it after a Linear")
    before.activation = found


def _name_of(module: nn.Module) -> str:
    """Name a module's class: with its Python module, if it is not the one of torch.nn with this name."""
    kind = type(module)
    if isinstance(module, nn.Flatten):
        return str(module)  # with its dimensions
    if getattr(nn, kind.__name__, kind) is not kind:
        return f"{kind.__module__}.{kind.__name__}"
    return kind.__name__
