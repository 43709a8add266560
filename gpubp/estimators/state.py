"""The contents of a pickled or copied estimator: plain values, the network, and what a user has given.

skops writes plain values, and asks its users to trust each class of all other objects in a file. So these
are the estimator's class and `Network`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from ..arrays import to_host
from ..network import Network
from ..training import Trainer
from ..training.history import History
from ..training.optimizers import get_optimizer
from ..training.snapshot import described, optimizer_with
from ..training.state import State
from .rates import Rate, Scheduled
from .record import Record

__all__ = ["HasPlainState"]


class HasPlainState(BaseEstimator):  # type: ignore[misc]
    """A base class of estimators whose pickles have plain values."""

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:
            record, trainer = state["_record"], state["_trainer"]
            dtype, *settings = state["_network_settings"]
            best = to_host(record.best_parameters)
            state |= {
                "history_": dict(vars(state["history_"])),
                "_record": vars(record) | {"best_parameters": best},
                "_network_settings": [str(dtype), *settings],
                "_trainer": None if trainer is None else _plain_trainer(trainer),
            }
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if isinstance(state.get("history_"), Mapping):  # older pickles have objects
            dtype, *settings = state["_network_settings"]
            trainer = state["_trainer"]
            state |= {
                "history_": History(**state["history_"]),
                "_record": Record(**state["_record"]),
                "_network_settings": (np.dtype(dtype), *settings),
                "_trainer": None if trainer is None else _trainer(state["network_"], trainer),
            }
        super().__setstate__(state)


def _plain_trainer(trainer: Trainer) -> dict[str, Any]:
    """Describe what partial_fit goes on with: the optimizer's state and the learning rate."""
    step, rate = trainer.training_step, trainer.schedule
    assert isinstance(rate, Rate)
    arrays = step.state_arrays
    return {
        "optimizer": described(trainer.optimizer),
        "dropout_seed": step.dropout_seed,
        "steps_taken": step.steps_taken,
        "state_of": step.state_of,
        "arrays": {name: to_host(arrays[name]) for name in arrays.keys() - {"parameters"}},
        "rate": rate.initial,
        "current_rate": rate.current,
        "scheduled": isinstance(rate, Scheduled),
    }


def _trainer(network: Network, plain: Mapping[str, Any]) -> Trainer:
    """Make the trainer that was described. The seed does not count: partial_fit gives it a generator."""
    rate = (Scheduled if plain["scheduled"] else Rate)(plain["rate"])
    rate.current = plain["current_rate"]
    optimizer = optimizer_with(plain["optimizer"], get_optimizer("adam"))
    trainer = Trainer(network, optimizer, schedule=rate, seed=0)
    step = trainer.training_step
    step.dropout_seed = plain["dropout_seed"]
    arrays = {"parameters": network.parameters, **plain["arrays"]}
    with network.backend.use():
        step.restore(State(plain["steps_taken"], plain["state_of"], arrays))
    return trainer
