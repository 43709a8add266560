"""Write networks to .safetensors files, and read and check such files.

The arrays of layer k are named layers.<k>.weights and layers.<k>.biases; all other values are JSON in the
metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..data_validation import check_finite
from ..files import TensorFile, about_file, corrupt, parse_json
from ..kernels import ACTIVATIONS, COSTS, Activation, Cost
from ..kernels.messages import shown
from ..layers import Parameters
from ..registry import get_activation, get_cost
from . import arguments as check

if TYPE_CHECKING:
    from .network import Network

__all__ = ["content", "load", "metadata_of", "tensors_of"]

FORMAT = "1"


def content(network: Network) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the file of a network contains.

    Parameters
    ----------
    network : Network
        The network.

    Returns
    -------
    tensors : dict of str to numpy.ndarray
        The weights and biases by their names.
    metadata : dict of str to str
        The format and the description of the network.

    Raises
    ------
    ValueError
        If a parameter is not finite: `load` would refuse it.
    """
    tensors = tensors_of(network)
    for name, array in tensors.items():
        check_finite(name, array)
    return tensors, metadata_of(network)


def tensors_of(network: Network) -> dict[str, Any]:
    """Return the weights and biases by their names, as NumPy arrays."""
    layers = network.layout.views(network.backend.to_numpy(network.parameters))
    return {
        f"layers.{k}.{name}": array
        for k, layer in enumerate(layers)
        for name, array in layer._asdict().items()
        if array is not None
    }


def metadata_of(network: Network) -> dict[str, str]:
    """Return the format and the description of the network."""
    cost = network.cost_function
    description = {
        "sizes": network.sizes,
        "dtype": str(network.dtype),
        "biases": network.layout.biases,
        "dropout": [layer.dropout for layer in network.layers[:-1]],
        "activations": [_describe(layer.activation) for layer in network.layers],
        "cost": _describe(cost) | {"label_smoothing": cost.label_smoothing},
    }
    return {"gpubp": FORMAT, "network": json.dumps(description, sort_keys=True)}


def _describe(entry: Activation | Cost) -> dict[str, Any]:
    return {"name": entry.name, "parameters": dict(entry.parameters)}


def load(path: Any, custom: Sequence[Activation | Cost]) -> tuple[dict[str, Any], list[Parameters]]:
    """Read and check a file that `save` has written. Everything in its header is checked before the arrays.

    Parameters
    ----------
    path : path-like
        The file to read.
    custom : sequence of Activation and Cost
        The custom activations and costs that the file may name.

    Returns
    -------
    arguments : dict
        The checked arguments of `Network`: sizes, hidden, output, cost, dtype, biases and dropout.
    layers : list of Parameters
        The weights and biases of each layer, as NumPy arrays.

    Raises
    ------
    TypeError
        If `path` is no path, or `custom` does not contain activations and costs alone.
    CorruptFileError
        If the file is damaged, or is not a gpubp network.
    ValueError
        If it needs an activation or a cost that is not in `custom`.
    OSError
        If the file cannot be read.
    """
    custom = _check_custom(custom)
    with TensorFile(path) as file:
        with _naming(file.path):
            description = _description(file.metadata)
        activations = [_find(file.path, ACTIVATIONS, a, custom) for a in description["activations"]]
        cost = _find(file.path, COSTS, description["cost"], custom)
        with _naming(file.path):
            arguments = _arguments(description, activations, cost)
            names = _check_tensors(file, arguments)
        tensors = file.read(names)
    with _naming(file.path):
        for name, array in tensors.items():
            check_finite(name, array)
    return arguments, [
        Parameters(tensors[f"layers.{k}.weights"], tensors.get(f"layers.{k}.biases"))
        for k in range(len(activations))
    ]


def _check_custom(custom: Any) -> list[Activation | Cost]:
    wrong = f"custom is {shown(custom)}, expected a sequence of Activation and Cost"
    try:
        entries = list(custom)
    except TypeError:
        raise TypeError(wrong) from None
    if not all(isinstance(entry, Activation | Cost) for entry in entries):
        raise TypeError(wrong)
    return entries


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Give the errors of checks the name of the file."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise corrupt(path, f"is not a gpubp network: {error}") from None


_PARTS = {
    "sizes": list,
    "dtype": str,
    "biases": list,
    "dropout": list,
    "activations": list,
    "cost": dict,
}
"""The description of a network, and the JSON types of its parts."""


def _description(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Parse the description, and check its names and types."""
    optional = {"checksum", "training"}
    _check_names("its metadata", dict.fromkeys(metadata.keys() - optional), "gpubp", "network")
    if metadata["gpubp"] != FORMAT:
        raise ValueError(f"it has format {shown(metadata['gpubp'])}, expected {FORMAT!r}")
    description: dict[str, Any] = parse_json(metadata["network"])
    _check_names("it", description, *_PARTS)
    for name, kind in _PARTS.items():
        if not isinstance(description[name], kind):
            raise ValueError(f"{name} is {shown(description[name])}, expected a {kind.__name__}")
    for activation in description["activations"]:
        _check_names("an activation", activation, "name", "parameters")
    _check_names("the cost", description["cost"], "name", "parameters", "label_smoothing")
    for entry in (*description["activations"], description["cost"]):
        if not isinstance(entry["name"], str):
            raise ValueError(f"a name is {shown(entry['name'])}, expected a str")
    return description


def _check_names(what: str, value: Any, *names: str) -> None:
    """Check that this is an object with exactly these names."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {shown(value)}, expected an object")
    for name in names:
        if name not in value:
            raise ValueError(f"{what} has no {name!r}")
    unknown = value.keys() - set(names)
    if unknown:
        raise ValueError(f"{what} has the unknown entry {min(unknown)!r}")


def _find(
    path: str, known: Mapping[str, Any], described: Mapping[str, Any], custom: Sequence[Any]
) -> Any:
    """Find the activation or cost with this name, in `custom` first, then among the built-in ones."""
    kind, name = (Activation if known is ACTIVATIONS else Cost), described["name"]
    for entry in custom:
        if isinstance(entry, kind) and entry.name == name:
            return entry
    if name not in known:
        needs = f"needs the {kind.__name__.lower()} {name!r}, which gpubp does not have"
        raise ValueError(about_file(path, f"{needs}; give it in custom=[...]"))
    return known[name]


def _arguments(
    description: Mapping[str, Any], activations: Sequence[Activation], cost: Cost
) -> dict[str, Any]:
    """Check the description as `Network` checks its arguments, and convert it to them."""
    sizes = check.check_sizes(description["sizes"])
    depth = len(sizes) - 1
    if len(activations) != depth:
        raise ValueError(f"activations has {len(activations)} entries, expected {depth}")
    *hidden, output = (
        get_activation(activation, **_parameters(activation, described))
        for activation, described in zip(activations, description["activations"], strict=True)
    )
    check.activation_of_each(hidden, output, depth)
    if description["dtype"] not in ("float32", "float64"):
        raise ValueError(f"dtype is {shown(description['dtype'])}, expected 'float32' or 'float64'")
    options = _parameters(cost, description["cost"])
    if cost.targets == "class":
        options["label_smoothing"] = description["cost"]["label_smoothing"]
    elif description["cost"]["label_smoothing"] != 0:
        raise ValueError(f"cost {cost.name!r} has label_smoothing, which it cannot have")
    return {
        "sizes": sizes,
        "hidden": hidden,
        "output": output,
        "cost": get_cost(cost, **options),
        "dtype": check.check_dtype(description["dtype"]),
        "biases": check.bias_of_each(description["biases"], depth),
        "dropout": check.dropout_of_each(description["dropout"], depth)[:-1],
    }


def _parameters(entry: Activation | Cost, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the described parameters of an activation or cost; no parameter takes its default value."""
    parameters = described["parameters"]
    _check_names(f"parameters of {entry.name!r}", parameters, *entry.parameters)
    return dict(parameters)


def _check_tensors(file: TensorFile, arguments: Mapping[str, Any]) -> list[str]:
    """Check that the file has the tensors of these arguments, and no others; return their names."""
    expected: dict[str, tuple[int, ...]] = {}
    for k, (n_in, n_out) in enumerate(pairwise(arguments["sizes"])):
        expected[f"layers.{k}.weights"] = (n_out, n_in)
        if arguments["biases"][k]:
            expected[f"layers.{k}.biases"] = (n_out,)
    found = file.tensors
    if "training" in file.metadata:  # a checkpoint
        found = {name: found[name] for name in found if not name.startswith("training.")}
    _check_names("it", found, *expected)
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} has shape {found[name].shape}, expected {shape}")
        if found[name].dtype != arguments["dtype"]:
            raise ValueError(f"{name} has dtype {found[name].dtype}, expected {arguments['dtype']}")
    return list(expected)
