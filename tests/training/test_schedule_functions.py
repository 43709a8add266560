"""Functions as schedules of the learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import X, Y, fit_in_parts, trainer, without_seconds
from small_networks import TINY_RATE, classes, classifier, parameters

from gpubp import SGD, Callback, MLPRegressor, Network, Trainer
from gpubp.training import schedules


def halved_each_epoch(step: int, total: int, per_epoch: int) -> float:
    return 0.5 ** (step // per_epoch)


def test_a_function_gives_the_factor_of_each_step() -> None:
    seen: list[Any] = []

    def factor(step: int, total: int, per_epoch: int) -> float:
        seen.append((step, total, per_epoch))
        return step / 2

    history = Trainer(classifier(), SGD(0.1), batch_size=2, schedule=factor).fit(
        *classes(5), epochs=2
    )
    assert seen == [(step, 6, 3) for step in range(6)]
    assert {type(number) for call in seen for number in call} == {int}
    assert history.learning_rate == [0.1 * 2 / 2, 0.1 * 5 / 2]


def test_a_function_trains_as_the_schedule_with_the_same_factors() -> None:
    fitted = []
    for schedule in (halved_each_epoch, schedules.Step(every=1, factor=0.5)):
        made = trainer(schedule=schedule)
        made.fit(X, Y, epochs=3)
        fitted.append(parameters(made.network))
    assert np.array_equal(*fitted)


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (np.nan, "nan"), (np.inf, "inf"), (-0.1, "-0.1"), (None, "None"), (True, "True"),
        ("1", "'1'"), (1j, "1j"), (np.ones(1), r"array\(\[1\.\]\)"), (10**400, "1000"),
    ],
)  # fmt: skip
def test_a_factor_that_is_none_is_told_with_its_step_and_changes_nothing(
    factor: Any, told: str
) -> None:
    made = trainer(schedule=lambda step, total, per_epoch: factor if step == 7 else 1.0)
    before = parameters(made.network)
    with pytest.raises(
        ValueError, match=rf"^schedule gave {told}.* for step 7, expected a finite number at least"
    ):
        made.fit(X, Y, epochs=2)
    assert np.array_equal(parameters(made.network), before)


@pytest.mark.parametrize("factor", [0, 1, np.float32(0.5), np.int64(2), 0.0])
def test_every_kind_of_number_is_a_factor(factor: Any) -> None:
    made = trainer(optimizer=TINY_RATE, schedule=lambda step, total, per_epoch: factor)
    assert made.fit(X, Y, epochs=1).learning_rate == [1e-300 * float(factor)]


@pytest.mark.parametrize("function", [lambda step: 1, lambda: 1, lambda a, b, c, d: 1])
def test_a_function_of_other_arguments_is_told_when_it_is_set(function: Any) -> None:
    with pytest.raises(
        TypeError,
        match=r"^schedule is <function .*, expected a function \(step, total, per_epoch\)",
    ):
        Trainer(classifier(), schedule=function)


def test_a_fit_goes_on_with_a_function_of_the_same_name_alone(tmp_path: Path) -> None:
    def make(**options: Any) -> Trainer:
        return trainer(**{"schedule": halved_each_epoch, **options})

    whole = make()
    expected = whole.fit(X, Y, epochs=3)
    resumed, history = fit_in_parts(make, tmp_path, [2, 5], X, Y, epochs=3)
    assert without_seconds(history) == without_seconds(expected)
    assert np.array_equal(parameters(resumed.network), parameters(whole.network))
    other = make(schedule=lambda step, total, per_epoch: 1.0)
    with pytest.raises(
        ValueError, match=r"schedule's function is 'halved_each_epoch', but here it"
    ):
        other.resume(tmp_path)


def test_a_schedule_shows_the_name_of_its_function() -> None:
    assert repr(schedules.get_schedule(halved_each_epoch)) == "Function(halved_each_epoch)"

    class Halved:
        def __call__(self, step: int, total: int, per_epoch: int) -> float:
            return 0.5

    assert repr(schedules.Function(Halved())).endswith("Halved)")


def test_an_estimator_takes_a_function_too() -> None:
    options: dict[str, Any] = {"max_iter": 3, "tol": 0, "random_state": 0, "batch_size": 4}
    options["hidden_layer_sizes"] = (4,)
    fitted = []
    for rate in (halved_each_epoch, schedules.Step(every=1, factor=0.5)):
        with pytest.warns(UserWarning, match="Maximum iterations"):
            fitted.append(MLPRegressor(learning_rate=rate, **options).fit(X, X[:, 0]))
    assert np.array_equal(fitted[0].coefs_[0], fitted[1].coefs_[0])
    with pytest.raises(TypeError, match="expected a function"):
        MLPRegressor(learning_rate=lambda epoch: 1.0).fit(X, X[:, 0])


def test_a_rate_that_is_set_after_each_step_asks_the_function_no_more_often() -> None:
    asked: list[int] = []

    def schedule(step: int, total: int, per_epoch: int) -> float:
        asked.append(step)
        return 1.0

    class Falling(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            trainer.learning_rate *= 0.5

    network = Network((2, 1), backend="numpy", seed=0)
    trainer = Trainer(network, SGD(0.1), batch_size=2, schedule=schedule, callbacks=[Falling()])
    history = trainer.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2)
    assert asked == [*range(8)]
    np.testing.assert_allclose(history.learning_rate, [0.1 / 2**3, 0.1 / 2**7])
