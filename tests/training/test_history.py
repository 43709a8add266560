"""History: costs, validation figures, JSON, the plot."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from small_networks import TINY_RATE, classes, classifier

from gpubp import History, Network, Trainer
from gpubp.backends import Backend
from gpubp.training import evaluation


@pytest.mark.parametrize("weighted", [False, True])
def test_the_cost_of_an_epoch_is_the_mean_over_its_rows(backend: Backend, weighted: bool) -> None:
    x, y = classes(11)
    weights = np.linspace(0, 3, 11) if weighted else None
    network = classifier(backend)
    history = Trainer(network, TINY_RATE, batch_size=4, seed=0).fit(
        x, y, epochs=2, sample_weight=weights
    )
    logits = backend.to_numpy(network.forward(x).z[-1])
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(11), y]
    np.testing.assert_allclose(history.cost, np.average(losses, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("chunk", [4, 8192])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "bits", "numbers"])
def test_validation_figures_are_those_of_the_network_after_the_epoch(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK_ROWS", chunk)
    x, labels = classes(10)
    weights = np.linspace(0.1, 1, 10)
    network, y = classifier(backend), labels
    if kind == "one-hot":
        y = np.eye(3)[labels]
    elif kind != "labels":
        y = np.random.default_rng(1).integers(0, 2, (10, 3)).astype(float)
        output = "sigmoid" if kind == "bits" else "identity"
        network = Network((3, 4, 3), output=output, backend=backend, dtype="float64", seed=0)
    history = Trainer(network, "sgd", batch_size=3).fit(
        x, y, epochs=1, validation_data=(x, y, weights)
    )
    assert history.validation_cost == [pytest.approx(network.cost(x, y, weights), rel=1e-12)]
    outputs = network.predict(x)
    if kind == "numbers":
        assert history.validation_accuracy == []
    else:
        right = ((outputs > 0.5) == y).mean(1) if kind == "bits" else outputs.argmax(1) == labels
        assert history.validation_accuracy == [pytest.approx(np.average(right, weights=weights))]


def test_history_has_one_entry_an_epoch_and_is_json() -> None:
    x, y = classes(9)
    history = Trainer(classifier(), "adam").fit(x, y, epochs=4, validation_data=(x, y))
    record = history.to_dict()
    lists = {name: value for name, value in record.items() if isinstance(value, list)}
    assert {name: len(value) for name, value in lists.items()} == dict.fromkeys(
        ["cost", "validation_cost", "validation_accuracy", "learning_rate", "seconds"], 4
    )
    assert len(history) == 4
    assert history.stopped == "epochs"
    assert history.best_epoch == int(np.argmin(history.validation_cost))
    assert history.monitored == history.validation_cost
    assert all(seconds > 0 for seconds in history.seconds)
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("validated", [False, True])
def test_plot_draws_the_history_and_writes_a_picture(tmp_path: Path, validated: bool) -> None:
    pytest.importorskip("matplotlib")
    history = History(cost=[3.0, 2.0, 1.5], best_epoch=2)
    if validated:
        history.validation_cost, history.validation_accuracy = [3.5, 2.5, 2.6], [0.2, 0.5, 0.4]
        history.best_epoch = 1
    path = tmp_path / "history.png"
    figure = history.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    drawn = [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines]
    assert drawn[0] == history.cost
    if validated:
        assert drawn[1:] == [history.validation_cost, [2.5], pytest.approx([20.0, 50.0, 40.0])]
    else:
        assert drawn[1:] == [[1.5]]


@pytest.mark.parametrize("monitor", ["cost", "accuracy", "f1"])
def test_plot_draws_metrics_below_and_marks_the_best_epoch_of_what_is_monitored(
    monitor: str,
) -> None:
    pytest.importorskip("matplotlib", reason="draws pictures")
    history = History(
        cost=[3.0, 2.0], validation_cost=[3.5, 2.5], validation_accuracy=[0.25, 0.5],
        validation_metrics={"f1": [0.75, 0.125], "mae": [9.0, 8.0]}, best_epoch=1, monitor=monitor,
    )  # fmt: skip
    upper, lower, right = history.plot().axes
    found = {
        line.get_label(): line.get_ydata().tolist()
        for axes in (upper, lower, right)
        for line in axes.lines
    }
    marks = {"cost": ("lowest: 2.5", 2.5), "accuracy": ("highest, %: 50", 50.0)}
    label, mark = marks.get(monitor, ("best f1: 0.125", 0.125))
    assert found.pop(label) == [mark]
    assert found == {
        "training cost": [3.0, 2.0],
        "validation cost": [3.5, 2.5],
        "validation accuracy": [25.0, 50.0],
        "f1": [0.75, 0.125],
        "mae": [9.0, 8.0],
    }
    assert [line.get_label() for line in lower.lines][:2] == ["f1", "mae"]


@pytest.mark.parametrize("history", [History(), History(cost=[0.0, -1.0], best_epoch=1)])
def test_plot_takes_an_empty_history_and_costs_that_no_logarithm_has(history: History) -> None:
    pytest.importorskip("matplotlib")
    assert history.plot().axes[0].get_yscale() == "linear"


def test_plot_has_whole_epochs_and_a_logarithm_only_for_costs_that_span_it() -> None:
    pytest.importorskip("matplotlib", reason="draws pictures")
    for lowest, scale in ((0.1, "log"), (0.9, "linear")):
        figure = History(cost=[1.0, 0.95, lowest], best_epoch=2).plot()
        axes = figure.axes[0]
        assert axes.get_yscale() == scale
        assert all(tick == round(tick) for tick in axes.get_xticks())


def test_plot_without_matplotlib_says_which_extra_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'gpubp[plot]'")):
        History(cost=[1.0]).plot()
