"""Write networks to .safetensors files, and read and check such files.

A file is written completely or not at all. Reading it executes nothing. The arrays of layer k are named
layers.<k>.weights and layers.<k>.biases; all other values are JSON in the metadata.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..kernels import ACTIVATIONS, COSTS, Activation, Cost
from ..layers import Parameters
from ..registry import get_activation, get_cost
from .arguments import check_sizes

__all__ = ["as_content_errors", "content", "load"]

FORMAT = "1"


def content(
    arguments: Mapping[str, Any], layers: Sequence[Parameters]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Write a network.

    Parameters
    ----------
    path : path-like
        The file to write.
    arguments : mapping of str
        The arguments of `Network`: sizes, hidden (a list of `Activation`), output (an `Activation`), cost
        (a `Cost`), dtype, biases and dropout (one for each hidden layer).
    layers : sequence of Parameters
        The weights and biases of each layer except the input, as NumPy arrays.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    IsADirectoryError
        If `path` is a folder.
    """
    tensors = {
        f"layers.{k}.{name}": array
        for k, layer in enumerate(layers)
        for name, array in layer._asdict().items()
        if array is not None
    }
    cost = arguments["cost"]
    description = {
        "sizes": arguments["sizes"],
        "dtype": str(arguments["dtype"]),
        "biases": arguments["biases"],
        "dropout": arguments["dropout"],
        "activations": [_describe(a) for a in (*arguments["hidden"], arguments["output"])],
        "cost": _describe(cost) | {"label_smoothing": cost.label_smoothing},
    }
    metadata = {"gpubp": FORMAT, "network": json.dumps(description)}
    return tensors, metadata


def _describe(entry: Activation | Cost) -> dict[str, Any]:
    return {"name": entry.name, "parameters": dict(entry.parameters)}


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file and rename it to `path`: no reader ever sees half a file."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load(path: Any, custom: Sequence[Activation | Cost]) -> tuple[dict[str, Any], list[Parameters]]:
    """Read and check a file that `save` has written.

    Parameters
    ----------
    path : path-like
        The file to read.
    custom : sequence of Activation and Cost
        The custom activations and costs that the file may name.

    Returns
    -------
    arguments : dict
        The arguments of `Network`, as in `save`.
    layers : list of Parameters
        The weights and biases of each layer, as NumPy arrays; their shapes have been checked.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is not a gpubp network, or if it needs an activation or a cost that is not in `custom`.
    """
    with as_content_errors(path):
        metadata, tensors = _read(path)
        if "gpubp" not in metadata:
            raise ValueError("its metadata has no entry 'gpubp'")
    if metadata["gpubp"] != FORMAT:
        raise ValueError(f"{path} has gpubp format {metadata['gpubp']!r}, expected {FORMAT!r}")
    with as_content_errors(path):
        description = json.loads(metadata["network"])
        layers, last = description["activations"], description["cost"]
        names, cost_name = [str(layer["name"]) for layer in layers], str(last["name"])
    activations = [_find(path, Activation, name, ACTIVATIONS, custom) for name in names]
    cost = _find(path, Cost, cost_name, COSTS, custom)
    with as_content_errors(path):
        arguments = {name: description[name] for name in ("sizes", "dtype", "biases", "dropout")}
        sizes = check_sizes(arguments["sizes"])
        parameters = _layers(tensors, sizes, arguments["biases"])
        *hidden, output = (
            get_activation(activation, **layer["parameters"])
            for activation, layer in zip(activations, layers, strict=True)
        )
        options = dict(last["parameters"])
        if cost.targets == "class":
            options["label_smoothing"] = last["label_smoothing"]
        arguments |= {"hidden": hidden, "output": output, "cost": get_cost(cost, **options)}
    return arguments, parameters


@contextmanager
def as_content_errors(path: Any) -> Iterator[None]:
    """Re-raise content errors as 'not a gpubp network'."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path} is not a gpubp network: it has no {error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a gpubp network: {error}") from None


def _read(path: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the file's metadata and arrays."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    if not os.path.isfile(path):
        raise ValueError("it is not a file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, arrays
    except SafetensorError as error:
        raise ValueError(f"it is no whole safetensors file ({error})") from None


def _layers(
    tensors: Mapping[str, Any], sizes: Sequence[int], biases: Sequence[bool]
) -> list[Parameters]:
    """Find and check each layer's arrays, before a network of the file's sizes is made."""

    def find(name: str, *expected: int) -> Any:
        array = tensors[name]
        if array.shape != expected:
            raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
        return array

    return [
        Parameters(
            find(f"layers.{k}.weights", n_out, n_in),
            find(f"layers.{k}.biases", n_out) if biased else None,
        )
        for k, ((n_in, n_out), biased) in enumerate(zip(pairwise(sizes), biases, strict=False))
    ]


def _find(
    path: Any,
    kind: type[Activation] | type[Cost],
    name: str,
    known: Mapping[str, Any],
    custom: Sequence[Activation | Cost],
) -> Any:
    """Find the entry with this name, in `custom` first, then among the built-in entries."""
    own = {entry.name: entry for entry in custom if isinstance(entry, kind)}
    if name not in own and name not in known:
        raise ValueError(
            f"{path} needs the {kind.__name__.lower()} {name!r}, which gpubp does not have; give it"
            " in custom=[...]"
        )
    return own.get(name) or known[name]
