"""A trainer's learning rate: set by hand and by callbacks, and found by a range test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import X, Y, fit_in_parts, trainer, without_seconds
from small_networks import Log, classes, classifier, parameters, single_weight

from gpubp import (
    SGD,
    Adam,
    Callback,
    DivergenceError,
    History,
    LearningRateCurve,
    Network,
    Trainer,
)
from gpubp.backends import Backend


def quartered(trainer: Trainer, history: History) -> None:
    trainer.learning_rate /= 4


def test_a_set_rate_keeps_the_other_hyperparameters_and_the_state() -> None:
    made = trainer(optimizer=Adam(0.5, beta1=0.8))
    made.step(X, Y)
    made.learning_rate = 0.25
    assert made.optimizer == Adam(0.25, beta1=0.8)
    assert made.learning_rate == 0.25
    assert made.training_step.steps_taken == 1


def test_a_callback_sets_the_rate_of_the_next_epochs() -> None:
    made = trainer(optimizer=SGD(1.0), callbacks=[quartered])
    assert made.fit(X, Y, epochs=3).learning_rate == [1.0, 0.25, 0.0625]
    assert made.learning_rate == 0.25**3


class Rates(Callback):
    """Sets the rate after each step to a new one; with whole optimizers, or with the rate alone."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if self.whole:
            trainer.optimizer = SGD(0.5 / (step + 2))
        else:
            trainer.learning_rate = 0.5 / (step + 2)


def test_a_rate_that_is_set_after_a_step_counts_from_the_next(backend: Backend) -> None:
    """On w x with x = 1 and y = 0 each step multiplies w by 1 - η."""
    network = single_weight(backend, 1.0)
    made = Trainer(network, SGD(0.5), batch_size=1, callbacks=[Rates(False)])
    made.fit(np.ones((4, 1)), np.zeros((4, 1)), epochs=1)
    expected = math.prod(1 - 0.5 / (step + 1) for step in range(4))
    np.testing.assert_allclose(parameters(network), expected, rtol=1e-14)


def test_the_rate_alone_needs_no_new_capture_and_gives_the_same_bits(backend: Backend) -> None:
    x, y = classes(12)
    fitted = []
    for whole in (True, False):
        made = Trainer(
            classifier(backend), SGD(0.5), batch_size=4, callbacks=[Rates(whole)], seed=0
        )
        made.fit(x, y, epochs=2)
        fitted.append(parameters(made.network))
    assert np.array_equal(*fitted)
    captured = dict(made.training_step.captured)
    made.learning_rate = 0.125
    made.fit(x, y, epochs=1)
    assert captured
    assert made.training_step.captured == captured
    made.optimizer = SGD(0.125, momentum=0.5)
    assert not made.training_step.captured


def test_a_fit_whose_callbacks_set_the_rate_goes_on_from_checkpoints(tmp_path: Path) -> None:
    def make(**options: Any) -> Trainer:
        callbacks = [*options.pop("callbacks", ()), quartered]
        return trainer(optimizer=SGD(1.0), callbacks=callbacks, **options)

    whole = make()
    expected = whole.fit(X, Y, epochs=4)
    resumed, history = fit_in_parts(make, tmp_path, [6, 8], X, Y, epochs=4)
    assert without_seconds(history) == without_seconds(expected)
    assert np.array_equal(parameters(resumed.network), parameters(whole.network))
    assert resumed.learning_rate == whole.learning_rate == 0.25**4


# The range test


def test_the_test_finds_where_the_cost_falls_and_where_it_diverges() -> None:
    """On ½ w² a step multiplies w by 1 - η: it falls fastest near η = 1/2, and grows above 2."""
    x, y = np.ones((40, 1)), np.zeros((40, 1))
    made = Trainer(single_weight(weight=3.0), SGD(1.0), batch_size=4)
    curve = made.find_learning_rate(x, y, low=1e-4, high=100.0, steps=200)
    rates = 1e-4 * 1e6 ** (np.arange(len(curve.costs)) / 199)
    np.testing.assert_allclose(curve.learning_rates, rates, rtol=1e-12)
    factors = np.concatenate([[1], np.cumprod(1 - rates)[:-1]])
    np.testing.assert_allclose(curve.costs, 4.5 * factors**2, rtol=1e-6, atol=1e-300)
    assert curve.diverged
    assert 2 < curve.learning_rates[-1] < 100
    slopes = np.gradient(4.5 * factors**2, np.log(rates))
    steepest = rates[np.argmin(slopes[: np.argmin(factors**2)])]
    assert steepest / 1.5 < curve.suggestion < steepest * 1.5


def test_network_and_trainer_stay_as_they_are(backend: Backend) -> None:
    log: list[Any] = []
    made = Trainer(
        classifier(backend, dropout=0.5), Adam(), batch_size=4, schedule="cosine",
        early_stopping=2, callbacks=[Log("a", log)], seed=0,
    )  # fmt: skip
    twin = Trainer(
        classifier(backend, dropout=0.5), Adam(), batch_size=4, schedule="cosine", seed=0
    )
    for each in (made, twin):
        each.step(X, Y)
    before = repr(made), parameters(made.network)
    curves = [made.find_learning_rate(X, Y, steps=20, sample_weight=np.ones(22)) for _ in range(2)]
    assert np.array_equal(curves[0].costs, curves[1].costs)
    assert not log
    assert (repr(made), made.training_step.steps_taken) == (before[0], 1)
    assert np.array_equal(parameters(made.network), before[1])
    made.early_stopping = None
    for each in (made, twin):
        each.fit(X, Y, epochs=2)
    assert np.array_equal(parameters(made.network), parameters(twin.network))


def test_frozen_layers_are_frozen_in_the_test_too() -> None:
    """On ½ (v w)² with w = 1 a step multiplies v by 1 - η, if w stays 1."""
    network = Network((1, 1, 1), hidden="identity", biases=False, dtype="float64", backend="numpy")
    network.parameters[...] = 1.0, 3.0
    made = Trainer(network, SGD(1.0), batch_size=4, layer_rates=[0, 1])
    curve = made.find_learning_rate(
        np.ones((40, 1)), np.zeros((40, 1)), low=0.01, high=0.5, steps=10
    )
    factors = np.cumprod(1 - curve.learning_rates)[:-1]
    np.testing.assert_allclose(curve.costs, 4.5 * np.array([1, *factors]) ** 2, rtol=1e-12)


def test_batches_without_a_length_give_the_costs_of_arrays() -> None:
    made = trainer(shuffle=False)
    curve = made.find_learning_rate(lambda: ((X[k : k + 4], Y[k : k + 4]) for k in range(0, 22, 4)))
    assert np.array_equal(curve.costs, made.find_learning_rate(X, Y).costs)


def test_all_steps_are_made_where_nothing_diverges() -> None:
    curve = trainer().find_learning_rate(X, Y, low=1e-6, high=1e-3, steps=33)
    assert len(curve.costs) == len(curve.smoothed) == len(curve.learning_rates) == 33
    assert not curve.diverged
    assert repr(curve).startswith("<LearningRateCurve of 33 steps from 1e-06 to 0.001: suggestion ")


def test_a_cost_that_is_not_finite_ends_the_test() -> None:
    made = Trainer(single_weight(weight=1.0), SGD(), batch_size=2)
    curve = made.find_learning_rate(np.ones((8, 1)), np.zeros((8, 1)), low=1e200, high=1e201)
    assert curve.diverged
    assert curve.costs.tolist() == [0.5]  # the next is 0.5e400
    assert math.isnan(curve.suggestion)


def test_a_network_that_has_diverged_already_is_told() -> None:
    made = Trainer(single_weight(weight=1e200), SGD(), batch_size=2)
    with pytest.raises(DivergenceError, match="the cost became inf in epoch 1"):
        made.find_learning_rate(np.ones((8, 1)), np.zeros((8, 1)))


def test_without_a_fall_there_is_no_suggestion() -> None:
    made = Trainer(single_weight(weight=1.0), SGD(), batch_size=4)
    curve = made.find_learning_rate(np.zeros((8, 1)), np.ones((8, 1)))
    assert math.isnan(curve.suggestion)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0}, "low is 0, expected a number above 0"),
        ({"low": 1, "high": 0.5}, "high is 0.5, expected a number above 1"),
        ({"high": np.inf}, "high is inf, expected a finite number"),
        ({"steps": 9}, "steps is 9, expected a whole number at least 10"),
        ({"seed": -1}, "seed is -1, expected a whole number at least 0"),
        ({"x": X[:, :2]}, "x has 2 columns, expected 3"),
    ],
)
def test_bad_arguments_of_the_range_test_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        trainer().find_learning_rate(**{"x": X, "y": Y, **options})


def test_the_curve_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws pictures")
    curve = trainer().find_learning_rate(X, Y)
    figure = curve.plot(tmp_path / "curve.png")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    raw, smoothed, *_ = axes.get_lines()
    assert np.array_equal(raw.get_ydata(), curve.costs)
    assert np.array_equal(smoothed.get_ydata(), curve.smoothed)
    assert f"falls fastest at {curve.suggestion:.2g}" in axes.get_legend_handles_labels()[1]
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    flat = LearningRateCurve(np.array([1.0, 2.0]), np.ones(2), np.ones(2), math.nan, False)
    assert len(flat.plot().axes[0].get_lines()) == 2
