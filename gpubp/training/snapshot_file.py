"""Snapshots as files: a network's file with more tensors and one more entry of metadata.

Reading a file executes nothing. Names, dtypes and shapes are checked before a tensor is read.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..data_validation import check_finite
from ..errors import CorruptFileError
from ..files import TensorFile, about_file, corrupt, parse_json, write_tensors
from ..kernels import UPDATES
from ..kernels.messages import shown
from ..network import Network, storage
from ..validation import check_number
from .history import History
from .layer_rates import as_layer_rates
from .snapshot import Snapshot, generator_with, optimizer_with
from .state import State
from .step import TrainingStep
from .values import plain, restored, taken_out

__all__ = ["read_snapshot", "write_snapshot"]

FORMAT = 1

LISTS = ("cost", "validation_cost", "validation_accuracy", "learning_rate", "seconds")
"""The lists of a history."""

ALWAYS = ("parameters", "counters", "loss_scale")
"""The arrays of a state that no optimizer keeps."""

MOST_OTHER_BYTES = 2**28
"""The most bytes of the history, the costs and the states of the schedule and of callbacks, besides 8 for
each parameter."""

_LIMITS: Mapping[str, tuple[type, float, float]] = {
    "epoch": (int, 0, 2**62),
    "epochs_waited": (int, 0, 2**62),
    "seconds": (float, 0, math.inf),
    "order": (int, 0, 2**32),
    "dropout_seed": (int, 0, 2**63),
}
_TYPES: Mapping[str, type] = {
    "settings": dict,
    "history": dict,
    "states": dict,
    "generator": dict,
    "optimizer": dict,
    "schedule": dict,
    "callbacks": list,
}


def write_snapshot(path: Any, snapshot: Snapshot, network: Network) -> None:
    """Write a snapshot and its network, whole or not at all.

    Parameters
    ----------
    path : path-like
        The file to write.
    snapshot : Snapshot
        The snapshot; its state "now" has the network's parameters.
    network : Network
        The network.

    Raises
    ------
    TypeError, ValueError
        If a state is not what a file can hold, or is too large.
    OSError
        If the file cannot be written; an earlier file is unchanged.
    """
    to_numpy = network.backend.to_numpy
    tensors, metadata = storage.content(network)
    described: dict[str, Any] = {"format": FORMAT, "versions": _versions(network), "states": {}}
    for name in (*_LIMITS, "settings", "generator", "optimizer", "layer_rates"):
        described[name] = getattr(snapshot, name)
    history, others = snapshot.history, {"costs": np.asarray(snapshot.costs, np.float64)}
    described["history"] = {name: getattr(history, name) for name in ("best_epoch", "stopped")}
    described["history"] |= {"monitor": history.monitor, "metrics": [*history.validation_metrics]}
    others |= {f"history.{name}": np.array(getattr(history, name), np.float64) for name in LISTS}
    for k, values in enumerate(history.validation_metrics.values()):
        others[f"metrics.{k}"] = np.array(values, np.float64)
    described["schedule"] = taken_out("schedule", snapshot.schedule, others)
    described["callbacks"] = [
        {
            "class": callback["class"],
            "state": taken_out(f"callbacks.{k}", callback["state"], others),
        }
        for k, callback in enumerate(snapshot.callbacks)
    ]
    _check_bytes(sum(array.nbytes for array in others.values()), network)
    arrays: dict[str, Any] = {}
    for name, state in snapshot.states.items():
        described["states"][name] = {"steps_taken": state.steps_taken, "state_of": state.state_of}
        arrays |= {f"{name}.{key}": to_numpy(array) for key, array in state.arrays.items()}
    del arrays["now.parameters"]  # the network's tensors contain them
    tensors |= {f"training.{name}": array for name, array in (others | arrays).items()}
    write_tensors(path, tensors, metadata | {"training": json.dumps(plain(described))})


def read_snapshot(path: Any, step: TrainingStep) -> Snapshot:
    """Read and check a snapshot of training a network of this form.

    Parameters
    ----------
    path : path-like
        The file to read.
    step : TrainingStep
        A step of a network with the same layers.

    Returns
    -------
    Snapshot
        The snapshot, with NumPy arrays.

    Raises
    ------
    CorruptFileError
        If the file is not a whole checkpoint.
    ValueError
        If it is the checkpoint of another network.
    OSError
        If the file cannot be read.
    """
    with TensorFile(path) as file:
        try:
            described = _description(file, step)
            _check_network(file, step.network)
            # Files that were written before trainers had such rates have none.
            as_layer_rates(described.get("layer_rates"), len(step.network.layers))
            _check_tensors(file, described, step)
            return _assembled(file.path, described, file.read(), step)
        except CorruptFileError:
            raise
        except _OtherNetworkError as error:
            raise ValueError(str(error)) from None
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise corrupt(file.path, f"is not a whole checkpoint: {error}") from None


class _OtherNetworkError(ValueError):
    """The file is the checkpoint of another network."""


def _versions(network: Network) -> dict[str, str]:
    """Describe what computed the numbers; for people to read."""
    python = platform.python_version()
    return {"python": python, "numpy": np.__version__, "backend": network.backend.name}


# Reading


def _description(file: TensorFile, step: TrainingStep) -> dict[str, Any]:
    """Parse and check the JSON of the checkpoint."""
    if "training" not in file.metadata:
        raise ValueError("its metadata has no entry 'training'")
    described = restored(parse_json(file.metadata["training"]))
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    for name, (kind, low, high) in _LIMITS.items():
        check_number(name, described[name], low, high, whole=kind is int)
    for name, kind in _TYPES.items():
        _check_type(name, described[name], kind)
    generator_with(described["generator"])
    optimizer_with(described["optimizer"], step.optimizer)
    check_number(
        "best_epoch", described["history"]["best_epoch"], -1, described["epoch"], whole=True
    )
    described["history"] = {"monitor": "cost", "metrics": []} | described["history"]
    _check_type("stopped", described["history"]["stopped"], str)
    _check_type("monitor", described["history"]["monitor"], str)
    _check_type("metrics", described["history"]["metrics"], list)
    for name in described["history"]["metrics"]:
        _check_type("each of metrics", name, str)
    if "training.costs" not in file.tensors:
        raise ValueError("it has no tensor 'training.costs'")
    expected = _states_of(described, within=file.tensors["training.costs"].shape != (0,))
    if described["states"].keys() != expected:
        raise ValueError(
            f"its states are {shown([*described['states']])}, expected {sorted(expected)}"
        )
    for name, state in described["states"].items():
        _check_type(name, state, dict)
        check_number("steps_taken", state["steps_taken"], 0, 2**62, whole=True)
        if state["state_of"] not in UPDATES:
            raise ValueError(f"state_of is {shown(state['state_of'])}")
    for callback in described["callbacks"]:
        _check_type("each of callbacks", callback, dict)
        _check_type("class", callback["class"], str)
        _check_type("state", callback["state"], dict)
    return described


def _states_of(described: Mapping[str, Any], *, within: bool) -> set[str]:
    """Return the names of the states that a snapshot has, `within` an epoch or before its first step."""
    names = {"now", "good"} if within or described["epoch"] else {"now"}
    if described["epoch"]:
        names |= {"earlier"} if within else set()
        names |= {"best"} if described["settings"].get("early_stopping") else set()
    return names


def _check_type(name: str, value: Any, kind: type) -> None:
    if type(value) is not kind:
        raise ValueError(f"{name} is {shown(value)}, expected a {kind.__name__}")


def _check_network(file: TensorFile, network: Network) -> None:
    """Check that the file is a checkpoint of a network of this form."""
    before = parse_json(file.metadata["network"])
    _check_type("network", before, dict)
    now = parse_json(storage.metadata_of(network)["network"])
    for name in ("sizes", *now):  # other sizes may mean another number of activations too
        value = now[name]
        if before.get(name) != value:
            what = f"is of a network with {name} {shown(before.get(name))}, expected {shown(value)}"
            raise _OtherNetworkError(about_file(file.path, what))


def _check_tensors(file: TensorFile, described: Mapping[str, Any], step: TrainingStep) -> None:
    """Check the names, dtypes and shapes of all tensors."""
    kinds = {
        name: (array.dtype, array.shape) for name, array in storage.tensors_of(step.network).items()
    }
    for name, state in described["states"].items():
        arrays: dict[str, Any] = dict.fromkeys(
            UPDATES[state["state_of"]].state, step.network.parameters
        )
        arrays |= {key: a for key, a in step.state_arrays.items() if key in ALWAYS}
        for key, array in arrays.items():
            kinds[f"training.{name}.{key}"] = array.dtype, array.shape
    del kinds["training.now.parameters"]
    free = {"training.costs": np.float64} | {
        f"training.history.{name}": np.float64 for name in LISTS
    }
    free |= dict.fromkeys(
        (f"training.metrics.{k}" for k in range(len(described["history"]["metrics"]))), np.float64
    )
    others = 0
    for name, entry in file.tensors.items():
        if name not in kinds:
            others += entry.stop - entry.start
        if name in free:
            fits = entry.dtype == free.pop(name) and len(entry.shape) == 1
        elif name in kinds:
            fits = (entry.dtype, entry.shape) == kinds.pop(name)
        else:
            fits = name.startswith(("training.callbacks.", "training.schedule."))
        if not fits:
            raise ValueError(
                f"it has a tensor {shown(name)} of {entry.dtype} and shape {entry.shape}"
            )
    _check_bytes(others, step.network)
    for name in (*kinds, *free):
        raise ValueError(f"it has no tensor {shown(name)}")


def _check_bytes(others: int, network: Network) -> None:
    """Check the size of the tensors whose shapes are free: what is written can then be read."""
    most = MOST_OTHER_BYTES + 8 * network.layout.size
    if others > most:
        raise ValueError(
            f"the history, the costs and the states of schedule and callbacks have {others} bytes,"
            f" expected at most {most}"
        )


def _assembled(
    path: str, described: dict[str, Any], tensors: Mapping[str, Any], step: TrainingStep
) -> Snapshot:
    layout, dtype = step.network.layout, step.network.dtype
    parameters = np.empty(layout.size, dtype)
    for k, views in enumerate(layout.views(parameters)):
        for name, view in views._asdict().items():
            if view is not None:
                view[...] = tensors[f"layers.{k}.{name}"]

    def below(prefix: str) -> dict[str, Any]:
        prefix = f"training.{prefix}."
        return {
            name.removeprefix(prefix): a for name, a in tensors.items() if name.startswith(prefix)
        }

    states = {
        name: State(state["steps_taken"], state["state_of"], below(name))
        for name, state in described["states"].items()
    }
    states["now"].arrays["parameters"] = parameters
    for name, state in states.items():
        check_finite(f"{name}.parameters", state.arrays["parameters"])
    given = dict(described["history"])
    metrics, values = given.pop("metrics"), below("metrics")
    history = History(**given, **{n: v.tolist() for n, v in below("history").items()})
    history.validation_metrics = {n: values[f"{k}"].tolist() for k, n in enumerate(metrics)}
    by_name = {name: getattr(history, name) for name in LISTS} | {
        f"validation_metrics {name!r}": values
        for name, values in history.validation_metrics.items()
    }
    for name, listed in by_name.items():
        epochs, optional = len(listed), name in ("validation_cost", "validation_accuracy")
        if epochs != described["epoch"] and (epochs or not optional):
            raise ValueError(
                f"its history.{name} has {epochs} entries, expected {described['epoch']}"
            )
    if len(history.monitored) != described["epoch"]:
        raise ValueError(f"its history has nothing of {shown(history.monitor)}, which it monitors")
    callbacks = [
        {"class": callback["class"], "state": callback["state"] | below(f"callbacks.{k}")}
        for k, callback in enumerate(described["callbacks"])
    ]
    given = {item.name: described[item.name] for item in fields(Snapshot) if item.name in described}
    return Snapshot(
        **given
        | {
            "costs": tensors["training.costs"],
            "states": states,
            "history": history,
            "schedule": described["schedule"] | below("schedule"),
            "callbacks": callbacks,
            "file": path,
        }
    )
