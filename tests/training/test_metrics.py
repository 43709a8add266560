"""Metrics on validation data, and early stopping by accuracy and by metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resuming import X, Y, fit_in_parts, trainer, without_seconds
from small_networks import classes, classifier, parameters, single_weight

from gpubp import SGD, EarlyStopping, History, Metric, Network, Trainer
from gpubp.backends import Backend
from gpubp.training.progress import describe

X_VAL, Y_VAL = classes(9, seed=5)


def given_to(
    network: Network, y: Any, *, of: str = "predictions", x: Any = X_VAL
) -> tuple[Any, Any]:
    """Return what a metric gets after one epoch."""
    got: list[Any] = []

    def metric(y: Any, predictions: Any) -> float:
        got.extend((y, predictions))
        return 0.5

    made = Trainer(network, SGD(1e-30), batch_size=4, metrics={"m": Metric(metric, of=of)})
    made.fit(x, y, epochs=1, validation_data=(x, y))
    return got[0], got[1]


def test_for_classes_a_metric_gets_classes(backend: Backend) -> None:
    network = classifier(backend)
    outputs = backend.to_numpy(backend.xp.asarray(network.predict(X_VAL)))
    rows = np.eye(3)[Y_VAL]
    for targets in (Y_VAL, rows):
        y, predictions = given_to(network, targets)
        assert np.array_equal(y, Y_VAL)
        assert np.array_equal(predictions, outputs.argmax(axis=1))
        assert y.shape == predictions.shape == (9,)
    _, given = given_to(network, Y_VAL, of="outputs")
    np.testing.assert_allclose(given, outputs, rtol=1e-12)


def test_for_labels_a_metric_gets_zeros_and_ones() -> None:
    one = Network((3, 1), output="sigmoid", dtype="float64", seed=0)
    for targets in (Y_VAL > 0, (Y_VAL > 0)[:, None], (Y_VAL > 0).astype(float)):
        y, predictions = given_to(one, targets)
        assert np.array_equal(y, (Y_VAL > 0).astype(int))
        assert np.array_equal(predictions, (one.predict(X_VAL)[:, 0] > 0.5).astype(int))
        assert y.dtype == predictions.dtype == np.int64
    several = Network((3, 2), output="sigmoid", dtype="float64", seed=0)
    y, predictions = given_to(several, np.stack([Y_VAL > 0, Y_VAL > 1], axis=1))
    assert y.shape == predictions.shape == (9, 2)


def test_for_numbers_a_metric_gets_the_outputs() -> None:
    network = Network((3, 1), dtype="float64", seed=0)
    y, predictions = given_to(network, X_VAL[:, 0])
    np.testing.assert_allclose(y, X_VAL[:, 0])
    np.testing.assert_allclose(predictions, network.predict(X_VAL)[:, 0], rtol=1e-12)
    y, predictions = given_to(Network((3, 2), dtype="float64", seed=0), X_VAL[:, :2])
    assert y.shape == predictions.shape == (9, 2)


def test_metrics_of_scikit_learn_are_recorded_after_each_epoch() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="computes its metrics")

    def macro_f1(y: Any, predictions: Any) -> float:
        return float(metrics.f1_score(y, predictions, average="macro"))

    seen: list[float] = []

    def note(trainer: Trainer, history: History) -> None:
        seen.append(macro_f1(Y_VAL, trainer.network.predict(X_VAL).argmax(axis=1)))

    made = trainer(metrics={"f1": macro_f1, "right": metrics.accuracy_score}, callbacks=[note])
    history = made.fit(X, Y, epochs=4, validation_data=(X_VAL, Y_VAL))
    assert history.validation_metrics["f1"] == seen
    np.testing.assert_allclose(history.validation_metrics["right"], history.validation_accuracy)
    assert f"f1 {seen[-1]:.4f}" in describe(history)
    assert history.to_dict()["validation_metrics"] == history.validation_metrics


def test_streamed_validation_data_give_the_same_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.training.evaluation.CHUNK_ROWS", 4)
    x = np.memmap(tmp_path / "x", dtype=np.float64, mode="w+", shape=X_VAL.shape)
    x[:] = X_VAL
    found = []
    batches = [(X_VAL[:4], Y_VAL[:4]), (X_VAL[4:], np.eye(3)[Y_VAL[4:]])]
    for validation in ((X_VAL, Y_VAL), (x, Y_VAL), batches):
        made = trainer(metrics={"sum": lambda y, p: float((y * 10 + p) @ np.arange(9))})
        found.append(made.fit(X, Y, epochs=2, validation_data=validation))
    assert found[0].validation_metrics == found[1].validation_metrics == found[2].validation_metrics


@pytest.mark.parametrize("value", [np.ones(1), None, "1", 1j, [0.5]])
def test_a_metric_that_is_no_number_is_told_and_changes_nothing(value: Any) -> None:
    made = trainer(metrics={"m": lambda y, p: value})
    before = parameters(made.network)
    with pytest.raises(TypeError, match=r"^the metric 'm' gave .*, expected a number$"):
        made.fit(X, Y, epochs=1, validation_data=(X_VAL, Y_VAL))
    assert np.array_equal(parameters(made.network), before)


# Early stopping


def sequence(*values: float) -> Callable[[Any, Any], float]:
    """A metric with these values, one after each epoch."""
    left: Iterator[float] = iter(values)
    return lambda y, predictions: next(left)


@pytest.mark.parametrize(
    ("values", "higher", "least", "epochs", "best"),
    [
        ((1.0, 3.0, 2.0, 2.5), True, 0.0, 4, 1),
        ((3.0, 1.0, 2.0, 1.5), False, 0.0, 4, 1),
        ((1.0, 1.4, 1.5, 9.0), True, 0.5, 3, 0),
        ((1.0, 1.6, 1.0, 1.0), True, 0.5, 4, 1),
        ((math.nan, 1.0, math.nan, 0.5), True, 0.0, 4, 1),
        ((1.0, math.nan, math.nan, 2.0), True, 0.0, 3, 0),
        ((math.nan, math.nan, math.nan, 2.0), False, 0.0, 3, 0),
        ((-math.inf, 0.0, math.inf, 1.0, 2.0), True, 0.0, 5, 2),
    ],
)
def test_a_metric_is_monitored(
    values: tuple[float, ...], higher: bool, least: float, epochs: int, best: int
) -> None:
    stopping = EarlyStopping(2, least, monitor="m", higher_is_better=higher)
    kept: list[np.ndarray] = []
    made = trainer(
        metrics={"m": sequence(*values)},
        early_stopping=stopping,
        callbacks=[lambda trainer, history: kept.append(parameters(trainer.network))],
    )
    history = made.fit(X, Y, epochs=9, validation_data=(X_VAL, Y_VAL))
    assert (len(history), history.best_epoch, history.stopped) == (epochs, best, "early stopping")
    assert history.monitor == "m"
    np.testing.assert_equal(history.monitored, values[:epochs])
    assert np.array_equal(parameters(made.network), kept[best])


def test_accuracy_is_monitored() -> None:
    """The cost falls in each epoch; the accuracy stays, as every label is right from the start."""
    network = Network((1, 1), output="sigmoid", biases=False, dtype="float64")
    network.parameters = [1.0]
    x, y = np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
    for monitor, epochs in (("accuracy", 4), ("cost", 10)):
        made = Trainer(network, SGD(0.1), early_stopping=EarlyStopping(3, monitor=monitor))
        history = made.fit(x, y, epochs=10, validation_data=(x, y))
        assert (len(history), history.validation_accuracy[0]) == (epochs, 1.0)


def test_a_schedule_still_watches_the_cost() -> None:
    made = trainer(
        optimizer=SGD(0.5),
        schedule="on_plateau",
        metrics={"m": sequence(*range(9))},
        early_stopping=EarlyStopping(5, monitor="m", higher_is_better=False),
    )
    costs: list[float] = []
    made.schedule.observe = costs.append  # type: ignore[method-assign]
    history = made.fit(X, Y, epochs=3, validation_data=(X_VAL, Y_VAL))
    assert costs == history.validation_cost


def test_a_fit_with_metrics_goes_on_from_checkpoints(tmp_path: Path) -> None:
    def make(**options: Any) -> Trainer:
        stopping = EarlyStopping(3, monitor="m", higher_is_better=True)
        metrics = {"m": lambda y, p: float((y == p).sum()), "other": lambda y, p: math.nan}
        return trainer(metrics=metrics, early_stopping=stopping, **options)

    options = {"epochs": 4, "validation_data": (X_VAL, Y_VAL)}
    whole = make()
    expected = whole.fit(X, Y, **options)
    resumed, history = fit_in_parts(make, tmp_path, [2, 6, 5], X, Y, **options)
    np.testing.assert_equal(without_seconds(history), without_seconds(expected))
    assert np.array_equal(parameters(resumed.network), parameters(whole.network))
    with pytest.raises(ValueError, match=r"metrics is \['m', 'other'\], but here it is None"):
        trainer(early_stopping=whole.early_stopping).resume(tmp_path)
    with pytest.raises(ValueError, match="early_stopping's monitor is 'm', but here it is 'cost'"):
        trainer(metrics=whole.metrics, early_stopping=3).resume(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stopping": EarlyStopping(monitor="accuracy")}, "early_stopping monitors 'accuracy', exp"),
        (
            {"metrics": {"f1": lambda y, p: 1.0}},
            "metrics has ['f1'], expected validation_data or validation_split in fit",
        ),
        (
            {"early_stopping": EarlyStopping(monitor="f1", higher_is_better=True)},
            "unknown monitor 'f1'; known: accuracy, cost",
        ),
    ],
)  # fmt: skip
def test_what_needs_validation_data_is_told_without_them(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        trainer(**options).fit(X, Y, epochs=1)
    assert str(caught.value).startswith(message)


def test_a_cost_without_accuracy_is_told() -> None:
    made = Trainer(single_weight(), early_stopping=EarlyStopping(monitor="accuracy"))
    data = np.ones((4, 1)), np.ones((4, 1))
    with pytest.raises(
        ValueError, match="which cost 'quadratic' does not have, expected 'cost' or"
    ):
        made.fit(*data, epochs=1, validation_data=data)
