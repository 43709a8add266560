"""Learning-rate schedules: their formulas, and the rates of the trainer's steps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from gpubp import SGD, Callback, Network, Trainer, schedules
from gpubp.backends import Backend
from gpubp.training import schedules as defined
from gpubp.training.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    OnPlateau,
    Schedule,
    Step,
    get_schedule,
)


def test_the_public_module_has_every_name() -> None:
    assert schedules.__all__ == defined.__all__
    assert all(getattr(schedules, name) is getattr(defined, name) for name in defined.__all__)


def half_cosine(along: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * along)) / 2


@pytest.mark.parametrize(
    ("schedule", "total", "per_epoch", "expected"),
    [
        (Constant(), 100, 10, {0: 1, 50: 1, 99: 1}),
        (Step(every=2, factor=0.5), 60, 10, {0: 1, 19: 1, 20: 0.5, 39: 0.5, 40: 0.25, 59: 0.25}),
        (Exponential(decay=0.81), 40, 10, {0: 1, 5: 0.9, 10: 0.81, 20: 0.81**2}),
        (InverseScaling(power=0.5), 101, 10, {0: 1, 3: 0.5, 99: 0.1}),
        (InverseScaling(power=2), 10, 10, {0: 1, 1: 0.25, 9: 0.01}),
        (Cosine(), 101, 10, {0: 1, 50: 0.5, 100: 0}),
        (Cosine(final=0.2), 101, 10, {0: 1, 50: 0.6, 100: 0.2}),
        (
            Cosine(warmup=0.1),
            101,
            10,
            {0: 0.1, 4: 0.5, 9: 1, 10: 1, 55: half_cosine(0.5, 1, 0), 100: 0},
        ),
        (Cosine(warmup=1), 4, 2, {0: 0.25, 1: 0.5, 3: 1}),
        (
            OneCycle(warmup=0.3, start=0.1, final=0.01),
            101,
            10,
            {0: 0.1, 15: 0.55, 30: 1, 65: half_cosine(0.5, 1, 0.01), 100: 0.01},
        ),
        (OneCycle(warmup=0, final=0.5), 11, 11, {0: 1, 5: 0.75, 10: 0.5}),
        (OneCycle(warmup=1, start=0.5), 11, 11, {0: 0.5, 5: 0.75, 10: 1}),
    ],
    ids=lambda value: repr(value) if isinstance(value, Schedule) else "",
)
def test_factors_follow_the_formula(
    schedule: Schedule, total: int, per_epoch: int, expected: dict[int, float]
) -> None:
    steps = np.array(list(expected))
    factors = schedule.factors(steps, total, per_epoch)
    np.testing.assert_allclose(factors, list(expected.values()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_fit_of_a_single_step_has_a_finite_rate_of_at_most_the_optimizers(name: str) -> None:
    (factor,) = get_schedule(name).factors(np.arange(1), 1, 1)
    assert 0 < factor <= 1


def test_on_plateau_falls_after_more_than_patience_epochs_without_progress() -> None:
    schedule = OnPlateau(factor=0.5, patience=1, min_improvement=0.1, minimum=0.2)
    schedule.begin()
    seen = []
    #                progress   none  none  progress  none  too little  none   none
    for cost in (5.0, 4.0, 4.0, 4.5, 3.0, 3.0, 2.95, 2.96, 3.0):
        schedule.observe(cost)
        seen.append(float(schedule.factors(np.arange(1), 9, 1)[0]))
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]
    schedule.begin()
    assert schedule.factors(np.arange(2), 9, 1).tolist() == [1, 1]


class Rates(Callback):
    """Finds the learning rate of each step from the movement of a single weight."""

    def __init__(self, network: Network) -> None:
        self.network, self.rates = network, []  # type: ignore[var-annotated]

    def weight(self) -> float:
        return float(self.network.backend.to_numpy(self.network.parameters)[0])

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self.before = self.weight()

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        # x = 2 and y = 0: the cost is ½ (2 w)², its gradient 4 w.
        after = self.weight()
        self.rates.append((self.before - after) / (4 * self.before))
        self.before = after


def fitted_rates(
    backend: Backend, schedule: str | Schedule, epochs: int
) -> tuple[list[float], list[float]]:
    """Train; return each step's rate and the history's rate of each epoch, both divided by 1e-3."""
    network = Network((1, 1), biases=False, dtype="float64", backend=backend, seed=0)
    rates = Rates(network)
    optimizer = SGD(learning_rate=1e-3)
    trainer = Trainer(network, optimizer, schedule=schedule, batch_size=2, callbacks=[rates])
    history = trainer.fit(np.full((7, 1), 2.0), np.zeros((7, 1)), epochs=epochs)
    told = [rate / 1e-3 for rate in history.learning_rate]
    return [rate / 1e-3 for rate in rates.rates], told


@pytest.mark.parametrize("name", sorted(SCHEDULES.keys() - {"on_plateau"}))
def test_the_trainer_takes_every_step_at_its_own_rate(backend: Backend, name: str) -> None:
    schedule = Step(every=1, factor=0.3) if name == "step" else get_schedule(name)
    taken, told = fitted_rates(backend, schedule, epochs=3)
    expected = schedule.factors(np.arange(12), 12, 4)
    np.testing.assert_allclose(taken, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(told, expected[3::4])


class OneFactor(Schedule):
    """A user's own, which gives a number for all steps."""

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return 0.5


class WrongCount(Schedule):
    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return np.ones(len(steps) + 1)


class PerRow(Constant):
    """Divides the penalties by the weight of the batch, which it notes."""

    def penalty_factors(self, batch_weights: Any) -> Any:
        self.seen = batch_weights
        return 1 / batch_weights


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 8.0)], ids=["rows", "weights"])
def test_factors_of_penalties_act_on_each_step(backend: Backend, weights: Any) -> None:
    network = Network((1, 1), biases=False, dtype="float64", backend=backend, seed=0)
    w = start = float(backend.to_numpy(network.parameters)[0])
    schedule = PerRow()
    trainer = Trainer(
        network, SGD(learning_rate=0.1, l2=3.0), schedule=schedule, batch_size=3, shuffle=False
    )
    trainer.training_step.sums_squares = True
    trainer.fit(np.zeros((7, 1)), np.ones((7, 1)), epochs=1, sample_weight=weights)
    expected = [3.0, 3.0, 1.0] if weights is None else [6.0, 15.0, 7.0]
    np.testing.assert_allclose(schedule.seen, expected)
    penalties = []
    for total in expected:  # inputs of 0 leave the penalty as the only gradient
        penalties.append(0.5 * 3.0 / total * w**2)
        w -= 0.1 * 3.0 / total * w
    assert w != start
    np.testing.assert_allclose(backend.to_numpy(network.parameters), [w], rtol=1e-13)
    np.testing.assert_allclose(trainer.training_step.penalties(), penalties, rtol=1e-13)


def test_a_schedule_may_give_one_number_for_all_steps(backend: Backend) -> None:
    taken, told = fitted_rates(backend, OneFactor(), epochs=2)
    np.testing.assert_allclose(taken, np.full(8, 0.5), rtol=1e-9)
    np.testing.assert_allclose(told, [0.5, 0.5])


def test_a_schedule_that_gives_another_number_of_factors_trains_nothing(backend: Backend) -> None:
    network = Network((1, 1), backend=backend, seed=0)
    before = backend.to_numpy(network.parameters).copy()
    trainer = Trainer(network, SGD(), schedule=WrongCount(), batch_size=2)
    with pytest.raises(ValueError, match="could not broadcast"):
        trainer.fit(np.ones((7, 1)), np.zeros((7, 1)), epochs=1)
    np.testing.assert_array_equal(backend.to_numpy(network.parameters), before)


def test_on_plateau_is_told_the_cost_of_every_epoch(backend: Backend) -> None:
    schedule = OnPlateau(factor=0.5, patience=0, min_improvement=100)
    taken, told = fitted_rates(backend, schedule, epochs=4)
    np.testing.assert_allclose(taken, np.repeat([1, 1, 0.5, 0.25], 4), rtol=1e-9)
    np.testing.assert_allclose(told, [1, 1, 0.5, 0.25])


def test_on_plateau_watches_the_validation_cost_where_there_is_one() -> None:
    class Watching(Constant):
        def observe(self, cost: float) -> None:
            seen.append(cost)

    seen: list[float] = []
    network = Network((1, 1), backend="numpy", seed=0)
    trainer = Trainer(network, "sgd", schedule=Watching())
    x, y = np.ones((4, 1)), np.zeros((4, 1))
    history = trainer.fit(x, y, epochs=2, validation_data=(x, y + 3))
    assert seen == history.validation_cost != history.cost


def test_each_fit_runs_the_schedule_from_its_start() -> None:
    network = Network((1, 1), backend="numpy", seed=0)
    trainer = Trainer(network, SGD(learning_rate=0.1), schedule="inverse_scaling", batch_size=1)
    x, y = np.ones((4, 1)), np.zeros((4, 1))
    first, second = (trainer.fit(x, y, epochs=2).learning_rate for _ in range(2))
    assert first == second == pytest.approx([0.1 / 2, 0.1 / math.sqrt(8)])


def test_each_fit_runs_on_plateau_from_its_start() -> None:
    network = Network((1, 1), backend="numpy", seed=0)
    schedule = OnPlateau(factor=0.5, patience=0, min_improvement=100)
    trainer = Trainer(network, SGD(learning_rate=0.1), schedule=schedule)
    x, y = np.ones((4, 1)), np.zeros((4, 1))
    for _ in range(2):
        assert trainer.fit(x, y, epochs=3).learning_rate == [0.1, 0.1, 0.05]


def test_names_give_schedules_with_their_defaults() -> None:
    assert get_schedule("step") == Step(every=10, factor=0.1)
    assert get_schedule("one_cycle") == OneCycle(warmup=0.3, start=0.04, final=0.0001)
    given = Cosine(warmup=0.5)
    assert get_schedule(given) is given


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Step(every=0), "every is 0, expected a whole number at least 1"),
        (lambda: Step(every=1.5), "every is 1.5, expected a whole number at least 1"),
        (lambda: Step(factor=2), "factor is 2, expected a number above 0 and at most 1"),
        (lambda: Exponential(decay=0), "decay is 0, expected a number above 0 and at most 1"),
        (lambda: InverseScaling(power=-1), "power is -1, expected a number above 0"),
        (
            lambda: Cosine(warmup=1.1),
            "warmup is 1.1, expected a number at least 0 and at most 1",
        ),
        (lambda: Cosine(final=-0.1), "final is -0.1, expected a number at least 0 and at most 1"),
        (lambda: OneCycle(start=0), "start is 0, expected a number above 0 and at most 1"),
        (lambda: OnPlateau(patience=-1), "patience is -1, expected a whole number at least 0"),
        (
            lambda: OnPlateau(min_improvement=-1),
            "min_improvement is -1, expected a number at least 0",
        ),
        (
            lambda: OnPlateau(minimum=3),
            "minimum is 3, expected a number at least 0 and at most 1",
        ),
        (lambda: get_schedule("cosin"), "unknown schedule 'cosin'; did you mean 'cosine'?"),
        (lambda: get_schedule(["step"]), "unknown schedule ['step']; did you mean 'step'?"),
    ],
)
def test_wrong_parameters_are_told_by_name(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        make()


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULES.values() if kind is not Constant])
def test_the_docstring_names_every_parameter_and_what_is_raised(kind: type[Schedule]) -> None:
    told, _, raised = (kind.__doc__ or "").partition("Raises\n")
    names = [item.name for item in fields(kind) if item.init]
    assert [name for name in names if f"\n    {name} : " not in told] == []
    assert "ValueError" in raised
