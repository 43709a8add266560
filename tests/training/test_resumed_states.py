"""What callbacks and schedules keep, or change as a fit begins, when the fit goes on from a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import StopAfter, assert_same, fit_in_parts, without_seconds
from small_networks import classes, classifier, parameters

import gpubp
from gpubp import SGD, Adam, Callback, Checkpoint, History, Trainer
from gpubp.training import snapshot_file
from gpubp.training.schedules import Schedule

X, Y = classes(22, seed=3)


def trainer(**options: Any) -> Trainer:
    """Make a trainer of 6 batches an epoch."""
    return Trainer(
        classifier("numpy", dropout=0.3),
        **{"optimizer": Adam(), "batch_size": 4, "seed": 7, **options},
    )


def check(folder: Path, make: Callable[[], Trainer], parts: list[int], epochs: int = 4) -> None:
    """Check that a fit in parts and a whole one give the same."""
    whole = make()
    expected = whole.fit(X, Y, epochs=epochs)
    assert_same(fit_in_parts(make, folder, parts, X, Y, epochs=epochs), (whole, expected))


# Schedules


@dataclass
class Milestones(Schedule):
    """Half the rate after each of some epochs."""

    epochs: Any = (1, 2)

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return 0.5 ** np.searchsorted(np.asarray(self.epochs), steps // per_epoch, side="right")


class Table(Schedule):
    """Factors from an array."""

    def begin(self) -> None:
        self.table = np.linspace(1, 0.1, 24)

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return self.table[steps]


class Fall(Schedule):
    """The ratio of the last cost to the first one, which is None before; and a counter of NumPy's."""

    def begin(self) -> None:
        self.first: float | None = None
        self.last, self.count = 1.0, np.int64(0)

    def observe(self, cost: float) -> None:
        self.first = self.first or cost
        self.last, self.count = cost, self.count + 1

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.full(len(steps), self.last / (self.first or 1.0) / (1 + self.count))


@pytest.mark.parametrize(
    "make", [Milestones, partial(Milestones, np.array([1, 3])), Table, Fall], ids=str
)
def test_a_schedule_of_ones_own_goes_on(tmp_path: Path, make: Callable[[], Schedule]) -> None:
    check(tmp_path, lambda: trainer(schedule=make()), [2, 7, 4])


def test_another_argument_of_a_schedule_of_ones_own_is_refused(tmp_path: Path) -> None:
    trainer(schedule=Milestones(), checkpoint=tmp_path).fit(X, Y, epochs=1)
    with pytest.raises(ValueError, match=r"schedule's epochs is \[1, 2\], but here it is \[1, 3\]"):
        trainer(schedule=Milestones((1, 3))).resume(tmp_path)


def test_an_argument_that_no_file_can_hold_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        TypeError, match=r"^the arguments of Milestones are .*, expected numbers, text and arrays"
    ):
        trainer(schedule=Milestones(lambda: 1), checkpoint=tmp_path).fit(X, Y, epochs=1)
    assert not any(tmp_path.iterdir())


# States of callbacks


class Holder(Callback):
    """Has a state that is given, and notes what it gets back."""

    def __init__(self, held: Mapping[str, Any]) -> None:
        self.held: Mapping[str, Any] = held
        self.got: Any = None

    def state(self) -> dict[str, Any]:
        return dict(self.held)

    def restore(self, state: dict[str, Any]) -> None:
        self.got = state


def test_two_callbacks_of_one_class_get_their_own_states(tmp_path: Path) -> None:
    trainer(checkpoint=tmp_path, callbacks=[Holder({}), Holder({"a": 1})]).fit(X, Y, epochs=1)
    first, second = Holder({}), Holder({})
    again = trainer(callbacks=[first, second])
    again.resume(tmp_path)
    again.fit(X, Y, epochs=1)
    assert (first.got, second.got) == (None, {"a": 1})


def test_a_state_with_an_entry_named_float_comes_back(tmp_path: Path) -> None:
    state = {"float": 1.5, "more": {"float": 2.5}, "infinite": {"float": np.inf}}
    for given in (state, {"float": 1.5}):
        folder, holder = tmp_path / str(len(given)), Holder({})
        trainer(checkpoint=folder, callbacks=[Holder(given)]).fit(X, Y, epochs=1)
        again = trainer(callbacks=[holder])
        again.resume(folder)
        again.fit(X, Y, epochs=1)
        assert holder.got == given


@pytest.mark.parametrize(
    "state",
    [{"counts": {0: 1}}, {0: 1}, {"mask": np.ones(2, bool)}, {"names": np.array(["a"])}],
    ids=str,
)
def test_a_state_that_would_come_back_changed_is_told_before_training(
    tmp_path: Path, state: dict[Any, Any]
) -> None:
    with pytest.raises(TypeError, match=r"^the state of Holder is .*, expected numbers, text and"):
        trainer(checkpoint=tmp_path, callbacks=[Holder(state)]).fit(X, Y, epochs=1)


GROWN: Mapping[str, dict[str, Any]] = {
    "long": {"costs": [0.5] * 400_000},
    "odd": {"lock": {1, 2}},
    "large": {"array": np.zeros(1000)},
}


@pytest.mark.parametrize("name", GROWN)
def test_a_state_that_no_file_can_hold_any_more_is_told_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(snapshot_file, "MOST_OTHER_BYTES", 4000)
    holder = Holder({"costs": [0.5]})

    def grow(trainer: Trainer, history: History) -> None:
        if len(history) == 2:
            holder.held = GROWN[name]

    grown = trainer(checkpoint=Checkpoint(tmp_path, "1 epoch"), callbacks=[holder, grow])
    with pytest.warns(RuntimeWarning, match="no checkpoint could be written: "):
        history = grown.fit(X, Y, epochs=3)
    assert len(history) == 3
    again = trainer(callbacks=[Holder({})])
    assert len(again.resume(tmp_path)) == 1
    holder.held = {}
    grown = trainer(
        checkpoint=Checkpoint(tmp_path / "raise", "1 epoch", on_error="raise"),
        callbacks=[holder, grow],
    )
    before = parameters(grown.network)
    with pytest.raises((TypeError, ValueError)):
        grown.fit(X, Y, epochs=3)
    assert (parameters(grown.network) != before).any()


# What callbacks change as a fit or an epoch begins


class Halve(Callback):
    """Halves the learning rate, and doubles the first parameters, as the fit and each epoch begin."""

    def _change(self, trainer: Trainer) -> None:
        optimizer = trainer.optimizer
        trainer.optimizer = replace(optimizer, learning_rate=optimizer.learning_rate / 2)
        trainer.network.parameters[:3] *= 2

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._change(trainer)

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._change(trainer)


class Noise(Callback):
    """Draws noise as each epoch begins, which the steps of the epoch add."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._noise = self._rng.normal(size=3)

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        trainer.network.parameters[:3] += self._noise

    def state(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "noise": getattr(self, "_noise", np.zeros(3))}

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state, self._noise = state["rng"], state["noise"]


@pytest.mark.parametrize("kind", [Halve, Noise])
@pytest.mark.parametrize("parts", [[2], [6], [2, 7, 4]], ids=str)
def test_what_a_callback_does_as_an_epoch_begins_is_not_done_twice(
    tmp_path: Path, kind: type[Callback], parts: list[int]
) -> None:
    check(tmp_path, lambda: trainer(callbacks=[kind()]), parts)


class Switch(Callback):
    """Sets another optimizer after some step of the first epoch."""

    def __init__(self, optimizer: gpubp.Optimizer) -> None:
        self._optimizer, self._steps = optimizer, 0

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self._steps += 1
        if self._steps == 2:
            trainer.optimizer = self._optimizer


@pytest.mark.parametrize(
    ("before", "optimizer"),
    [(Adam(), Adam(learning_rate=0.01)), (Adam(), SGD(momentum=0.9)), (SGD(), Adam())],
    ids=str,
)
def test_an_optimizer_that_is_set_after_a_step_counts_from_the_next_step_on(
    tmp_path: Path, before: gpubp.Optimizer, optimizer: gpubp.Optimizer
) -> None:
    check(tmp_path, lambda: trainer(optimizer=before, callbacks=[Switch(optimizer)]), [3, 4])
    switched = trainer(optimizer=before, callbacks=[Switch(optimizer)])
    switched.fit(X, Y, epochs=1)
    by_steps = trainer(optimizer=before)
    by_steps._order.draw(len(X), 4, shuffle=True)
    for k, rows in enumerate(by_steps._order):
        by_steps.step(X[rows], Y[rows])
        if k == 1:
            by_steps.optimizer = optimizer
    np.testing.assert_array_equal(parameters(switched.network), parameters(by_steps.network))


def test_a_fit_whose_callback_has_set_the_optimizer_is_resumed_again_and_again(
    tmp_path: Path,
) -> None:
    first = trainer(checkpoint=tmp_path, callbacks=[Switch(SGD(learning_rate=0.1)), StopAfter(8)])
    first.fit(X, Y, epochs=4)
    first.callbacks = []
    for again in (first, trainer()):
        for _ in range(2):
            again.resume(tmp_path)
        again.checkpoint = None
        assert again.optimizer == SGD(learning_rate=0.1)
        assert len(again.fit(X, Y, epochs=4)) == 4
    np.testing.assert_array_equal(parameters(first.network), parameters(again.network))


# What is between resume and fit


def stopped(folder: Path, **options: Any) -> None:
    trainer(checkpoint=folder, callbacks=[StopAfter(15)], **options).fit(X, Y, epochs=4)


def test_a_step_between_resume_and_fit_changes_no_bit(tmp_path: Path) -> None:
    stopped(tmp_path)
    whole, again = trainer(), trainer()
    again.resume(tmp_path)
    again.step(X[:4], Y[:4])
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


def test_the_copy_of_a_resumed_trainer_goes_on_like_the_original(tmp_path: Path) -> None:
    options = {"early_stopping": 1, "optimizer": SGD(learning_rate=0.5)}
    stopped(tmp_path, **options)
    again = trainer(**options)
    again.resume(tmp_path)
    other = copy.copy(again)
    history = again.fit(X, Y, epochs=9)
    best = parameters(again.network)
    assert without_seconds(other.fit(X, Y, epochs=9)) == without_seconds(history)
    np.testing.assert_array_equal(parameters(other.network), best)


class FailAt(Callback):
    """Fails as the fit, or an epoch that goes on, begins."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        if self._moment == "fit":
            raise RuntimeError("no")

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if self._moment == "epoch":
            raise RuntimeError("no")

    def restore(self, state: dict[str, Any]) -> None:
        raise RuntimeError("no")


@pytest.mark.parametrize("moment", ["fit", "epoch", "state"])
def test_a_fit_that_fails_as_it_goes_on_can_be_tried_again(tmp_path: Path, moment: str) -> None:
    holder = type("FailAt", (Holder,), {})
    trainer(checkpoint=tmp_path, callbacks=[StopAfter(15), holder({"a": 1})]).fit(X, Y, epochs=4)
    whole, again = trainer(), trainer(callbacks=[FailAt(moment)])
    again.resume(tmp_path)
    before = parameters(again.network)
    with pytest.raises(RuntimeError, match="no"):
        again.fit(X, Y, epochs=4)
    np.testing.assert_array_equal(parameters(again.network), before)
    again.callbacks = [holder({})]
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


def test_checkpoints_of_another_fit_are_not_removed_by_one_that_goes_on(tmp_path: Path) -> None:
    stopped(tmp_path / "ours")
    trainer(checkpoint=Checkpoint(tmp_path / "others", "1 epoch")).fit(X, Y, epochs=3)
    before = sorted((tmp_path / "others").iterdir())
    again = trainer(checkpoint=Checkpoint(tmp_path / "others", keep=1))
    again.resume(tmp_path / "ours")
    with pytest.raises(ValueError, match="others, which has checkpoints of another fit"):
        again.fit(X, Y, epochs=4)
    assert sorted((tmp_path / "others").iterdir()) == before
    (tmp_path / "link").symlink_to("ours")
    again.checkpoint = tmp_path / "link"  # type: ignore[assignment]
    assert len(again.fit(X, Y, epochs=4)) == 4
