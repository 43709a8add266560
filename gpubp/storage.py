"""Networks in .safetensors files: written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .backends import Backend, get_backend
from .kernels import ACTIVATIONS, COSTS, Activation, Cost
from .validation import check_precision, check_sizes, get_activation, get_cost

if TYPE_CHECKING:
    from .network import Network

__all__ = ["load", "save"]

FORMAT = "1"


def save(path: Any, network: Network) -> None:
    """Write `network`: each layer's arrays under layers.<k>.weights and .biases, the rest as JSON."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to save {path.name} in")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected the name of a file")
    tensors: dict[str, Any] = {}
    for k, layer in enumerate(network.layers):
        tensors[f"layers.{k}.weights"] = network.backend.to_numpy(layer.weights)
        if layer.biases is not None:
            tensors[f"layers.{k}.biases"] = network.backend.to_numpy(layer.biases)
    cost = network.cost_function
    description = {
        "sizes": network.sizes,
        "dtype": str(network.dtype),
        "biases": network.layout.biases,
        "dropout": [layer.dropout for layer in network.layers[:-1]],
        "activations": [_describe(layer.activation) for layer in network.layers],
        "cost": _describe(cost) | {"label_smoothing": cost.label_smoothing},
    }
    metadata = {"gpubp": FORMAT, "network": json.dumps(description)}
    write_whole(path, to_bytes(tensors, metadata))


def _describe(entry: Activation | Cost) -> dict[str, Any]:
    return {"name": entry.name, "parameters": dict(entry.parameters)}


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and move it there, so that no reader finds half a file."""
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


def load(
    network: type[Network],
    path: Any,
    backend: str | Backend,
    precision: str | None,
    custom: Sequence[Activation | Cost],
) -> Network:
    """Read what `save` wrote."""
    if backend != "auto":
        get_backend(backend)  # which says so where it cannot run, before anything is read
    with _telling(path):
        metadata, tensors = _read(path)
        if "gpubp" not in metadata:
            raise ValueError("its metadata has no entry 'gpubp'")
    if metadata["gpubp"] != FORMAT:
        raise ValueError(f"{path} has gpubp format {metadata['gpubp']!r}, expected {FORMAT!r}")
    with _telling(path):
        description = json.loads(metadata["network"])
        layers, last = description["activations"], description["cost"]
        names, cost_name = [str(layer["name"]) for layer in layers], str(last["name"])
    activations = [_find(path, Activation, name, ACTIVATIONS, custom) for name in names]
    cost = _find(path, Cost, cost_name, COSTS, custom)
    with _telling(path):
        sizes, biases = check_sizes(description["sizes"]), description["biases"]
        _check_shapes(tensors, sizes, biases)
        *hidden, output = (
            get_activation(activation, **layer["parameters"])
            for activation, layer in zip(activations, layers, strict=True)
        )
        parameters = dict(last["parameters"])
        if cost.targets == "class":
            parameters["label_smoothing"] = last["label_smoothing"]
    check_precision(precision, description["dtype"])
    with _telling(path):
        loaded = network(
            sizes,
            hidden=hidden,
            output=output,
            cost=get_cost(cost, **parameters),
            dtype=description["dtype"],
            backend=backend,
            biases=biases,
            initializer="zeros",
            dropout=description["dropout"],
            precision=precision,
        )
    for k, layer in enumerate(loaded.layers):
        for name in ("weights", "biases"):
            if getattr(layer, name) is not None:
                setattr(layer, name, tensors[f"layers.{k}.{name}"])
    return loaded


@contextmanager
def _telling(path: Any) -> Iterator[None]:
    """Say of whatever is wrong with the file's content that it is not a network's."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path} is not a gpubp network: it has no {error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a gpubp network: {error}") from None


def _read(path: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The file's metadata and arrays."""
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


def _check_shapes(tensors: Mapping[str, Any], sizes: Sequence[int], biases: Sequence[bool]) -> None:
    """Every array of these layers is there: before a network is made as large as the file says."""
    for k, ((n_in, n_out), biased) in enumerate(zip(pairwise(sizes), biases, strict=False)):
        for name, shape in (("weights", (n_out, n_in)), ("biases", (n_out,)))[: 1 + bool(biased)]:
            found = tensors[f"layers.{k}.{name}"].shape
            if found != shape:
                raise ValueError(f"layers.{k}.{name} has shape {found}, expected {shape}")


def _find(
    path: Any,
    kind: type[Activation] | type[Cost],
    name: str,
    known: Mapping[str, Any],
    custom: Sequence[Activation | Cost],
) -> Any:
    own = {entry.name: entry for entry in custom if isinstance(entry, kind)}
    if name not in own and name not in known:
        raise ValueError(
            f"{path} needs the {kind.__name__.lower()} {name!r}, which gpubp does not have; give it"
            " in custom=[...]"
        )
    return own.get(name) or known[name]
