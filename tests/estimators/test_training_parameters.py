"""Parameters of training that scikit-learn's estimators do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_data import examples, not_converged, parameters_of, quick

import gpubp
from gpubp.estimators import progress
from gpubp.estimators.record import Record
from gpubp.training import schedules

X, Y = examples()
EXACT = {"dtype": "float64", "shuffle": False, "alpha": 0.0}


def trained_by_hand(model: Any, optimizer: Any, **settings: Any) -> Any:
    """Train a network with the initial weights of `model` by gpubp.Trainer, as `quick` would."""
    start = clone(model).set_params(max_iter=1, learning_rate_init=1e-300).fit(X, Y)
    network = start.network_
    trainer = gpubp.Trainer(network, optimizer, batch_size=30, shuffle=False, **settings)
    trainer.fit(X, Y, epochs=5)
    return network.parameters


@not_converged
def test_each_hidden_layer_has_an_activation_and_a_dropout_of_its_own() -> None:
    elu = gpubp.get_activation("elu", alpha=0.5)
    model = quick(activation=["tanh", "logistic", elu], dropout=[0.5, 0.0, 0.1])
    model = clone(model.set_params(hidden_layer_sizes=(10, 8, 6))).fit(X, Y)
    layers = model.network_.layers
    assert [layer.activation.name for layer in layers] == ["tanh", "sigmoid", "elu", "softmax"]
    assert layers[2].activation.parameters == {"alpha": 0.5}
    assert [layer.dropout for layer in layers] == [0.5, 0.0, 0.1, 0.0]


@not_converged
def test_an_array_is_a_list_with_one_for_each_hidden_layer() -> None:
    model = quick(activation=np.array(["tanh"]), dropout=np.array([0.5])).fit(X, Y)
    assert (model.network_.layers[0].activation.name, model.network_.layers[0].dropout) == (
        "tanh",
        0.5,
    )
    with pytest.raises(ValueError, match="dropout has 2 entries, expected one, or 1"):
        quick(dropout=np.zeros(2)).fit(X, Y)


@not_converged
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_a_list_of_the_same_activations_is_that_activation(activation: str) -> None:
    one, each = quick(activation=activation), quick(activation=[activation] * 2)
    for model in (one, each):
        model.set_params(hidden_layer_sizes=(10, 8)).fit(X, Y)
    np.testing.assert_array_equal(parameters_of(one), parameters_of(each))


@not_converged
@pytest.mark.parametrize(("place", "sigmoid"), [(0, "logistic"), (1, "logistic"), (1, "sigmoid")])
def test_initial_weights_of_a_sigmoid_are_within_its_bound(place: int, sigmoid: str) -> None:
    names = ["relu", "relu"]
    names[place] = sigmoid
    model = quick(activation=names, learning_rate_init=1e-300, max_iter=1)
    model.set_params(hidden_layer_sizes=(200, 200)).fit(X, Y)
    factors = [6.0 if name == "relu" else 2.0 for name in (*names, names[-1])]
    for weights, factor in zip(model.coefs_, factors, strict=True):
        bound = np.sqrt(factor / sum(weights.shape))
        assert 0.9 * bound < abs(weights).max() <= bound * (1 + 1e-6)


@not_converged
@pytest.mark.parametrize(
    ("solver", "parameters", "optimizer"),
    [
        ("sgd", {"clip_norm": 0.1}, gpubp.SGD(learning_rate=0.001, momentum=0.9, nesterov=True)),
        ("rmsprop", {"clip_norm": 0.05}, gpubp.RMSProp()),
        ("adamw", {"weight_decay": 0.3}, gpubp.AdamW()),
        ("lion", {"weight_decay": 0.3}, gpubp.Lion(learning_rate=1e-3, beta2=0.999)),
    ],
)
def test_clip_norm_and_weight_decay_are_those_of_the_optimizer(
    solver: str, parameters: Any, optimizer: Any
) -> None:
    model = quick(solver=solver, **parameters, **EXACT)
    by_hand = trained_by_hand(model, gpubp.get_optimizer(optimizer, **parameters))
    np.testing.assert_allclose(parameters_of(model.fit(X, Y)), by_hand, rtol=0, atol=1e-12)
    without = quick(solver=solver, **EXACT).fit(X, Y)
    assert abs(parameters_of(without) - by_hand).max() > 1e-5


@not_converged
@pytest.mark.parametrize(
    ("solver", "optimizer"),
    [("sgd", gpubp.SGD(learning_rate=0.001, momentum=0.9, nesterov=True)), ("lion", None)],
)
@pytest.mark.parametrize("layer_rates", [(0, 0.5), [2, 1], np.array([0.5, 0])], ids=str)
def test_each_layer_may_have_a_rate_of_its_own(
    layer_rates: Any, solver: str, optimizer: Any
) -> None:
    model = quick(solver=solver, layer_rates=layer_rates, **EXACT)
    optimizer = optimizer or gpubp.Lion(learning_rate=1e-3, beta2=0.999)
    by_hand = trained_by_hand(model, optimizer, layer_rates=layer_rates)
    np.testing.assert_allclose(parameters_of(model.fit(X, Y)), by_hand, rtol=0, atol=1e-12)
    without = quick(solver=solver, **EXACT).fit(X, Y)
    assert abs(parameters_of(without) - by_hand).max() > 1e-5


@not_converged
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", [gpubp.MLPClassifier, gpubp.MLPRegressor])
def test_a_warm_start_may_freeze_a_layer(kind: Any, how: str) -> None:
    given: dict[str, Any] = {"max_iter": 5, "batch_size": 30, "random_state": 0}
    model = kind(hidden_layer_sizes=(10, 6), warm_start=True, **given).fit(X, Y)
    kept = [part.copy() for part in (*model.coefs_, *model.intercepts_)]
    model.set_params(layer_rates=(0, 0, 1))
    getattr(model, how)(X, Y)
    now = [*model.coefs_, *model.intercepts_]
    assert [bool((a == b).all()) for a, b in zip(now, kept, strict=True)] == [True, True, False] * 2
    model.set_params(layer_rates=None)
    getattr(model, how)(X, Y)
    assert not any((a == b).all() for a, b in zip(model.coefs_, kept, strict=False))


@not_converged
def test_weights_that_are_assigned_may_be_frozen() -> None:
    source, model = quick().fit(X, Y), quick(layer_rates=(0, 1))
    model.coefs_ = [weights.copy() for weights in source.coefs_]
    model.intercepts_ = [biases.copy() for biases in source.intercepts_]
    model.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_array_equal(model.coefs_[0], source.coefs_[0])
    assert (model.coefs_[1] != source.coefs_[1]).all()


@not_converged
def test_a_fit_that_goes_on_from_a_checkpoint_has_its_layer_rates(tmp_path: Path) -> None:
    def model(**parameters: Any) -> Any:
        return quick(checkpoint=tmp_path, warm_start=True, layer_rates=(0, 1), **parameters)

    model(max_iter=3).fit(X, Y)
    whole = quick(layer_rates=(0, 1)).fit(X, Y)
    np.testing.assert_array_equal(parameters_of(model().fit(X, Y)), parameters_of(whole))
    with pytest.raises(ValueError, match=r"layer_rates is \[0.0, 1.0\], but here it is None"):
        quick(checkpoint=tmp_path, warm_start=True).fit(X, Y)


@not_converged
@pytest.mark.parametrize("schedule", [*schedules.SCHEDULES, schedules.Cosine(warmup=0.3)], ids=str)
@pytest.mark.parametrize("solver", ["sgd", "rmsprop"])
def test_a_schedule_of_gpubp_gives_every_solver_its_rates(solver: str, schedule: Any) -> None:
    model = quick(solver=solver, learning_rate=schedule, learning_rate_init=0.01, **EXACT)
    model.fit(X, Y)
    chosen = schedules.get_schedule(schedule)
    factors = chosen.factors(np.arange(20), 20, 4)
    np.testing.assert_allclose(model.history_.learning_rate, 0.01 * factors[3::4])
    assert model._optimizer.learning_rate == model.history_.learning_rate[-1]


@not_converged
def test_a_fit_leaves_the_schedule_it_is_given_as_it_was() -> None:
    schedule = schedules.OnPlateau(patience=0, min_improvement=1.0)
    model = quick(learning_rate=schedule).fit(X, Y)
    assert model.learning_rate is schedule
    assert schedule.state() == schedules.OnPlateau(patience=0, min_improvement=1.0).state()
    assert model.history_.learning_rate[-1] < model.history_.learning_rate[0]


@not_converged
def test_a_fit_begins_a_schedule_that_has_been_used_anew() -> None:
    schedule = schedules.OnPlateau(patience=0, min_improvement=1.0)
    fresh = quick(learning_rate=schedule, learning_rate_init=0.01).fit(X, Y)
    for cost in (2.0, 2.0, 2.0):
        schedule.observe(cost)
    used = quick(learning_rate=schedule, learning_rate_init=0.01).fit(X, Y)
    assert used.history_.learning_rate == fresh.history_.learning_rate
    assert used.history_.learning_rate[0] == 0.01


@not_converged
@pytest.mark.parametrize(
    "schedule", ["cosine", schedules.OnPlateau(patience=0, min_improvement=1.0)]
)
def test_a_fit_with_a_schedule_goes_on_from_its_checkpoint(tmp_path: Path, schedule: Any) -> None:
    ends = [3]

    def stop(trainer: Any, history: Any) -> None:
        if len(history) in ends:
            trainer.stop("enough")

    settings = {"learning_rate": schedule, "callbacks": [stop], "learning_rate_init": 0.01}
    stopped = {"checkpoint": tmp_path, "warm_start": True, **settings}
    assert quick(**stopped).fit(X, Y).n_iter_ == 3
    ends.clear()
    resumed, whole = quick(**stopped).fit(X, Y), quick(**settings).fit(X, Y)
    assert resumed.history_.learning_rate == whole.history_.learning_rate
    np.testing.assert_array_equal(parameters_of(resumed), parameters_of(whole))
    with pytest.raises(ValueError, match="schedule"):
        quick(**{**stopped, "learning_rate": schedules.Cosine(final=0.5)}).fit(X, Y)


@not_converged
def test_callbacks_run_after_each_epoch_and_may_end_training() -> None:
    class Recorder(gpubp.Callback):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
            self.epochs.append(epoch)

    recorder = Recorder()

    def stop_at_three(trainer: Any, history: Any) -> None:
        if len(history) == 3:
            trainer.stop("third epoch")

    model = quick(callbacks=[recorder, stop_at_three]).fit(X, Y)
    assert recorder.epochs == [0, 1, 2]
    assert (model.n_iter_, model.history_.stopped) == (3, "third epoch")
    model.partial_fit(X, Y)
    assert recorder.epochs == [0, 1, 2, 0]


@not_converged
def test_the_progress_bar_shows_loss_score_and_rate_in_a_terminal_and_nothing_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    model = quick(progress=True, early_stopping=True).fit(X, Y)
    assert capsys.readouterr() == ("", "")
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    model.fit(X, Y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 5/5" in err and "rows/s" in err
    assert f"loss {model.loss_:.4f}" in err and f"score {model.validation_scores_[-1]:.4f}" in err
    model.set_params(early_stopping=False).partial_fit(X, Y)
    assert capsys.readouterr() == ("", "")


def test_the_bar_describes_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "progress_callback", lambda describe, in_files: describe)
    history = gpubp.History(seconds=[1.0, 0.05])
    record = Record(loss_curve=[3.0, 2.0])
    describe: Any = progress.bar_of(record, 100)
    assert describe(history) == "loss 2.0000  2,000 rows/s"
    record.scores = [0.5, 0.25]
    assert describe(history) == "loss 2.0000  score 0.2500  2,000 rows/s"


@not_converged
def test_new_parameters_can_be_searched_over() -> None:
    grid = {"activation": [["tanh", "relu"]], "dropout": [0.0, [0.1, 0.2]], "clip_norm": [None, 1]}
    model = quick(learning_rate="cosine").set_params(hidden_layer_sizes=(8, 6))
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 4


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"activation": ["relu", "relu"]}, "activation has 2 entries, expected one, or 1"),
        ({"activation": ["rellu"]}, r"Got \['rellu'\] instead. \(did you mean 'relu'"),
        ({"activation": ["softmax"]}, "'activation' parameter of MLPClassifier must be"),
        ({"dropout": [0.1, 0.2]}, "dropout has 2 entries, expected one, or 1"),
        ({"dropout": [1.5]}, "'dropout' parameter of MLPClassifier must be a float in the range"),
        ({"clip_norm": 0}, "'clip_norm' parameter of MLPClassifier must be"),
        ({"weight_decay": -1, "solver": "adamw"}, "'weight_decay' parameter of MLPClassifier must"),
        ({"weight_decay": 0.1}, "weight_decay is 0.1, expected None with solver 'adam'"),
        ({"weight_decay": 0, "solver": "lbfgs"}, "weight_decay is 0, expected None with solver 'lb"),
        ({"learning_rate": "cosin"}, "did you mean 'cosine'"),
        ({"learning_rate": None}, r"Got None instead.$"),
        ({"learning_rate": len}, "^learning_rate: schedule is <built-in function len>, expected a f"),
        ({"callbacks": print}, "callbacks is "),
        ({"callbacks": [3]}, "callbacks holds 3, expected a Callback or a function"),
        ({"progress": 1}, "'progress' parameter of MLPClassifier must be"),
        ({"solver": "lbfgs", "dropout": [0.5]}, "dropout is .* expected 0 with solver 'lbfgs'"),
        ({"solver": "lbfgs", "clip_norm": 1.0}, "clip_norm is 1.0, expected None with solver"),
        ({"solver": "lbfgs", "learning_rate": "cosine"}, "learning_rate is 'cosine', expected"),
        ({"solver": "lbfgs", "callbacks": [print]}, "callbacks is .* with solver 'lbfgs'"),
        ({"solver": "lbfgs", "progress": True}, "progress is True, expected False with solver"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_told_and_nothing_changes(parameters: Any, told: str) -> None:
    model = quick(**parameters)
    with pytest.raises((ValueError, TypeError), match=told):
        model.fit(X, Y)
    assert not hasattr(model, "network_")


def test_partial_fit_refuses_a_schedule_that_needs_the_number_of_epochs() -> None:
    with pytest.raises(ValueError, match="learning_rate is 'cosine', expected"):
        quick(learning_rate="cosine").partial_fit(X, Y, classes=[0, 1, 2])
