"""Networks in .safetensors files: written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from .kernels import ACTIVATIONS, COSTS, Activation, Cost

if TYPE_CHECKING:
    from .backends import Backend
    from .network import Network

__all__ = ["load", "save"]

FORMAT = "1"


def save(path: Any, network: Network) -> None:
    """Write `network`: each layer's arrays under layers.<k>.weights and .biases, the rest as JSON."""
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
    write_whole(Path(path), to_bytes(tensors, metadata))


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
    custom: Sequence[Activation | Cost],
) -> Network:
    """Read what `save` wrote."""
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    if metadata.get("gpubp") != FORMAT:
        raise ValueError(f"{path} has gpubp format {metadata.get('gpubp')!r}, expected {FORMAT!r}")
    description = json.loads(metadata["network"])
    activations: dict[str, Any] = {**ACTIVATIONS}
    activations |= {entry.name: entry for entry in custom if isinstance(entry, Activation)}
    costs: dict[str, Any] = {**COSTS}
    costs |= {entry.name: entry for entry in custom if isinstance(entry, Cost)}
    made = [_find(path, "activation", entry, activations) for entry in description["activations"]]
    cost = _find(path, "cost", description["cost"], costs)
    cost = cost.with_parameters(label_smoothing=description["cost"]["label_smoothing"])
    loaded = network(
        description["sizes"],
        hidden=made[:-1],
        output=made[-1],
        cost=cost,
        dtype=description["dtype"],
        backend=backend,
        biases=description["biases"],
        initializer="zeros",
        dropout=description["dropout"],
    )
    for k, layer in enumerate(loaded.layers):
        for name in ("weights", "biases"):
            target = getattr(layer, name)
            if target is None:
                continue
            values = tensors.get(f"layers.{k}.{name}", np.empty(0))
            if values.shape != target.shape:
                raise ValueError(
                    f"{path} has layers.{k}.{name} of shape {values.shape}, expected {target.shape}"
                )
            target[...] = loaded.backend.asarray(values, loaded.dtype)
    return loaded


def _find(path: Any, kind: str, entry: dict[str, Any], known: dict[str, Any]) -> Any:
    name = entry["name"]
    if name not in known:
        raise ValueError(
            f"{path} needs the {kind} {name!r}, which gpubp does not have; give it in custom=[...]"
        )
    return known[name].with_parameters(**entry["parameters"])
