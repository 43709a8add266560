"""The state of a fit between two steps: everything that it needs to go on later."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import about_file, corrupt
from ..kernels.messages import shown
from ..shown import name_of
from ..signals import uninterrupted
from .callbacks import Callback
from .history import History
from .optimizers import OPTIMIZERS, Optimizer
from .order import DataOrder
from .schedules import Function, Schedule
from .state import State
from .step import TrainingStep
from .values import as_read

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = [
    "Snapshot",
    "callback_states",
    "described",
    "generator_with",
    "listed",
    "optimizer_with",
    "restore_callbacks",
    "settings_of",
]

MOST_ORDERS = 1_000_000
"""The most orders that a RandomState may have drawn in a fit that goes on: they are drawn again."""


@dataclass
class Snapshot:
    """The state of a fit between two steps.

    Attributes
    ----------
    settings : dict
        The settings that the fit began with, and what is known of its data. A fit goes on only with the
        same.
    epoch : int
        The number of epochs that have ended.
    costs : float64 array of shape (steps_done,)
        The costs of the steps that the running epoch has done; empty between two epochs.
    seconds : float
        The time that the running epoch has taken, in seconds.
    states : dict of State
        "now", and the monitor's "good", "earlier" (within all epochs but the first) and "best" (with early
        stopping, after the first epoch).
    epochs_waited : int
        The number of epochs since the best one.
    history : History
        The record of the epochs that have ended.
    generator : dict
        The state of the order before that of the running epoch was drawn (`DataOrder.state`).
    order : int
        A checksum of the running epoch's order; 0 between two epochs.
    dropout_seed : int
        The seed of the dropout masks.
    optimizer : dict
        The optimizer at this moment. It is not the one in `settings` if a callback has set another.
    layer_rates : list of float or None
        The layers' factors of the learning rate at this moment, like `optimizer`.
    schedule : dict
        The state of the schedule.
    callbacks : list of dict
        The class and the state of each callback of a class of which one has a state.
    file : str
        The file that the snapshot was read from.
    """

    settings: dict[str, Any]
    epoch: int
    costs: Any
    seconds: float
    states: dict[str, State]
    epochs_waited: int
    history: History
    generator: dict[str, Any]
    order: int
    dropout_seed: int
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    callbacks: list[dict[str, Any]]
    layer_rates: list[float] | None = None
    file: str = ""

    @uninterrupted
    def restore(self, step: TrainingStep, order: DataOrder) -> None:
        """Give the step and the order the state that they had."""
        generator = generator_with(self.generator)
        step.optimizer = optimizer_with(self.optimizer, step.optimizer)
        step.layer_rates = self.layer_rates
        step.dropout_seed = self.dropout_seed
        step.restore(self.states["now"])
        order.go_on(generator, self.generator.get("drawn"))

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Check that these settings, or some of them, are those that the fit began with.

        Raises
        ------
        ValueError
            If one of them is another; the message names it.
        """
        for name, value in settings.items():
            if name in ("optimizer", "layer_rates") and value == getattr(self, name):
                continue  # a callback has set it
            before = self.settings.get(name)
            if name == "early_stopping" and isinstance(before, dict):
                # Files of earlier versions do not tell that they monitored the cost.
                before = {"monitor": "cost", "higher_is_better": None} | before
            what, now, before = _difference(name, value, before)
            if now != before:
                raise ValueError(
                    about_file(
                        self.file,
                        f"is of a fit whose {what} is {shown(before)}, but here it is {shown(now)}",
                    )
                )

    def check_schedule(self, schedule: Schedule) -> None:
        """Check that the snapshot has a state of this schedule, else raise a CorruptFileError."""
        schedule = deepcopy(schedule)
        schedule.begin()  # as a fit does before it restores the state
        try:
            schedule.restore(self.schedule)
        except ValueError as error:
            raise corrupt(self.file, f"is not a whole checkpoint: {error}") from None

    def check_fit(self, settings: Mapping[str, Any], epochs: int, steps_per_epoch: float) -> None:
        """Check that a fit with these settings and these numbers can go on from here.

        Raises
        ------
        ValueError
            If a setting is another, or there are fewer epochs than the checkpoint has.
        """
        self.check_settings(settings)
        least = self.epoch + (len(self.costs) > 0)
        if epochs < least:
            raise ValueError(
                f"epochs is {epochs}, expected at least {least}: those before the checkpoint count"
            )
        if len(self.costs) > steps_per_epoch:
            raise corrupt(
                self.file, f"has an epoch of {len(self.costs)} steps, expected {steps_per_epoch}"
            )

    def check_order(self, order: DataOrder) -> None:
        """Check that the epoch's order has been drawn as it was before, else raise a RuntimeError."""
        if zlib.crc32(order.rows) != self.order:
            raise RuntimeError(
                f"NumPy {np.__version__} draws another order of the rows than the version that wrote"
                f" {self.file}"
            )


def described(thing: Any) -> dict[str, Any]:
    """Describe an optimizer, a schedule or early stopping: its class and the arguments of its class.

    The arguments are as a checkpoint gives them back: tuples and arrays are lists. Of a function that is a
    schedule it is the name.

    Raises
    ------
    TypeError
        If a checkpoint cannot hold an argument.
    """
    name, arguments = type(thing).__name__, {}
    if is_dataclass(thing):
        given = {item.name: getattr(thing, item.name) for item in fields(thing) if item.init}
        arguments = {n: described(v) if is_dataclass(v) else v for n, v in given.items()}
    if isinstance(thing, Function):
        arguments["function"] = name_of(thing.function)
    return {"class": name, **as_read(name, arguments)}


def listed(layer_rates: tuple[float, ...] | None) -> list[float] | None:
    """Return factors of the learning rate as a checkpoint gives them back."""
    return None if layer_rates is None else list(layer_rates)


def settings_of(trainer: Trainer) -> dict[str, Any]:
    """Return the settings that a fit can go on with only if they are the same."""
    stopping = trainer.early_stopping
    return {
        "optimizer": described(trainer.optimizer),
        "schedule": described(trainer.schedule),
        "early_stopping": None if stopping is None else described(stopping),
        "batch_size": trainer.batch_size,
        "accumulate": trainer.accumulate,
        "layer_rates": listed(trainer.layer_rates),
        "shuffle": trainer.shuffle,
        "precision": trainer.network.precision,
        "metrics": sorted(trainer.metrics) or None,
    }


def _difference(name: str, now: Any, before: Any) -> tuple[str, Any, Any]:
    """Find the first entry in which two values differ: its name, and both values."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key in (*now, *before):
            if now.get(key) != before.get(key):
                return _difference(f"{name}'s {key}", now.get(key), before.get(key))
    return name, now, before


def generator_with(state: Mapping[str, Any]) -> np.random.BitGenerator:
    """Make a bit generator with this state.

    Raises
    ------
    ValueError
        If it is not the state of one of NumPy's bit generators.
    """
    names = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
    name = state.get("bit_generator")
    if name not in names:
        raise ValueError(f"the bit generator is {shown(name)}, expected one of {', '.join(names)}")
    generator: np.random.BitGenerator = getattr(np.random, name)()
    drawn = state.get("drawn", 0)
    if not isinstance(drawn, int) or not 0 <= drawn <= MOST_ORDERS:
        raise ValueError(f"the number of orders drawn is {shown(drawn)}")
    try:
        generator.state = dict(state)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"the state of the random generator is not {name}'s: {error}") from None
    return generator


def callback_states(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    """Return the class and the state of each callback of a class of which one has a state."""
    states = [
        {"class": type(callback).__name__, "state": callback.state()} for callback in callbacks
    ]
    classes = {state["class"] for state in states if state["state"]}
    return [state for state in states if state["class"] in classes]


def restore_callbacks(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> None:
    """Give each state to the first callback of its class that has not got one; an empty one is not given.

    Raises
    ------
    ValueError
        If there is no callback for a state.
    """
    left = list(callbacks)
    for state in states:
        found = [callback for callback in left if type(callback).__name__ == state["class"]]
        if not found:
            raise ValueError(f"callbacks has no {state['class']}, whose state is in the checkpoint")
        left.remove(found[0])
        if state["state"]:
            found[0].restore(state["state"])


def optimizer_with(description: Mapping[str, Any], current: Optimizer) -> Optimizer:
    """Return the optimizer with this description: the current one, if it has it.

    Raises
    ------
    ValueError, TypeError
        If there is no such optimizer.
    """
    if description == described(current):
        return current
    arguments = {name: value for name, value in description.items() if name != "class"}
    kind = description.get("class")
    if kind == type(current).__name__:
        return replace(current, **arguments)
    classes = {made.__name__: made for made in OPTIMIZERS.values()}
    if kind not in classes:
        raise ValueError(f"its optimizer is {shown(kind)}, which gpubp does not have")
    return classes[kind](**arguments)
