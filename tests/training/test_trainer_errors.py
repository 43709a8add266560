"""Settings and data that a trainer refuses, by the text of the error."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from small_networks import classes, classifier, parameters
from sparse_matrices import DAMAGED

import gpubp
from gpubp import EarlyStopping, Network, Trainer
from gpubp.backends import Backend


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (
            {"batch_size": 0},
            ValueError,
            "batch_size is 0, expected a whole number at least 1",
        ),
        ({"batch_size": 1.5}, ValueError, "batch_size is 1.5, expected a whole number"),
        ({"batch_size": True}, ValueError, "batch_size is True, expected a whole number"),
        ({"accumulate": -1}, ValueError, "accumulate is -1, expected a whole number at least 1"),
        ({"seed": -1}, ValueError, "seed is -1, expected a whole number at least 0"),
        ({"seed": "a"}, ValueError, "seed is 'a', expected a whole number"),
        ({"early_stopping": 0}, ValueError, "patience is 0, expected a whole number at least 1"),
        (
            {"early_stopping": "5"},
            TypeError,
            "early_stopping is '5', expected an EarlyStopping, a number of epochs, True, False or None",
        ),
        ({"shuffle": "no"}, ValueError, "shuffle is 'no', expected True or False"),
        ({"shuffle": 1}, ValueError, "shuffle is 1, expected True or False"),
        ({"callbacks": [3]}, TypeError, "callbacks holds 3, expected a Callback or a function"),
        ({"callbacks": 3}, TypeError, "callbacks is 3, expected a list of Callbacks or functions"),
        ({"optimizer": "rmspropp"}, ValueError, "unknown optimizer 'rmspropp'; did you mean"),
        ({"optimizer": None}, ValueError, "unknown optimizer None; known: adam, adamw,"),
        (
            {"schedule": "onecycle"},
            ValueError,
            "unknown schedule 'onecycle'; did you mean 'one_cycle'",
        ),
        ({"schedule": 0.1}, ValueError, "unknown schedule 0.1; known: constant, cosine,"),
    ],
    ids=str,
)
def test_wrong_settings_are_told_by_name(
    settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        Trainer(classifier(), **settings)
    ((name, value),) = settings.items()
    trainer = Trainer(classifier())
    if name != "seed":
        before = getattr(trainer, name)
        with pytest.raises(error, match=f"^{re.escape(text)}"):
            setattr(trainer, name, value)
        assert getattr(trainer, name) == before


def test_settings_may_be_set_anew_as_they_are_given_to_the_trainer() -> None:
    ended: list[int] = []
    trainer = Trainer(classifier(), "sgd", batch_size=2)
    trainer.schedule, trainer.early_stopping = "cosine", True
    trainer.callbacks = [lambda trainer, history: ended.append(1)]
    trainer.callbacks.append(lambda trainer, history: ended.append(2))
    history = trainer.fit(*classes(4), epochs=2)
    assert trainer.schedule == gpubp.schedules.Cosine()
    assert history.learning_rate[-1] == 0
    assert trainer.early_stopping == EarlyStopping()
    assert ended == [1, 2] * 2


@pytest.mark.parametrize("network", [3, "numpy", Network])
def test_a_network_that_is_none_is_told(network: Any) -> None:
    text = f"network is {network!r}, expected a gpubp.Network"
    with pytest.raises(TypeError, match=f"^{re.escape(text)}$"):
        Trainer(network)


X, Y = classes(4)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"epochs": 0}, "epochs is 0, expected a whole number at least 1"),
        ({"epochs": 2.0}, "epochs is 2.0, expected a whole number at least 1"),
        ({"x": X[:, :2]}, "x has 2 columns, expected 3, the width of the input layer"),
        ({"x": X[:0]}, "x has no rows, expected at least one"),
        ({"x": [["a", "b", "c"]]}, "x has dtype <U1, expected real numbers"),
        ({"y": Y[:3]}, "y has 3 rows, expected 4, as x has"),
        ({"y": [0, 1, 2, 3]}, "y holds the label 3 at [3], expected labels from 0 to 2"),
        ({"y": Y + 0.5}, "y has dtype float64, expected integer labels from 0 to 2"),
        ({"y": np.ones((4, 3))}, "y's row 0 sums to 3, expected rows of probabilities"),
        ({"sample_weight": [1, 2]}, "sample_weight has shape (2,), expected (4,)"),
        (
            {"sample_weight": [1, 1, 1, -1]},
            "sample_weight holds -1 at [3], expected no negative number",
        ),
        ({"sample_weight": [0, 0, 0, 0]}, "sample_weight is all zero"),
        ({"x": X * 1e300}, "x holds "),
        ({"validation_data": (X * 1e300, Y)}, "validation x holds "),
        ({"validation_data": (X, Y[:2])}, "validation y has 2 rows, expected 4"),
        (
            {"validation_data": (X, Y, [1])},
            "validation sample_weight has shape (1,), expected (4,)",
        ),
    ],
)
def test_bad_data_is_told_by_name(backend: Backend, changed: dict[str, Any], text: str) -> None:
    network = classifier(backend, dtype="float32")
    before = parameters(network)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        Trainer(network, "sgd").fit(**{"x": X, "y": Y, "epochs": 1, **changed})
    np.testing.assert_array_equal(parameters(network), before)


def test_a_step_looks_at_no_values(backend: Backend) -> None:
    network = classifier(backend, dtype="float32")
    trainer = Trainer(network, "sgd")
    trainer.step(X * 1e300, Y, [-1, 1, 1, 1])
    assert not math.isfinite(trainer.step_cost)


@pytest.mark.parametrize(
    "data", [X, (X,), (X, Y, Y, Y), "xy"], ids=lambda data: type(data).__name__
)
def test_validation_data_that_is_no_pair_is_told(data: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^validation_data .*\(x, y\)"):
        Trainer(classifier()).fit(X, Y, epochs=1, validation_data=data)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((X[:, :2], Y), "x has 2 columns, expected 3"),
        ((X, Y[:3]), "y has 3 rows, expected 4"),
        ((X, Y * 1.0), "y has dtype float64, expected integer labels"),
        ((X, Y, [1, 2]), "sample_weight has shape (2,), expected (4,)"),
        ((np.ma.masked_array(X, X > 0), Y), "x is a masked array, expected a number everywhere"),
        ((DAMAGED["a column too large"][0], [0] * 8), "x stores a number in column 3, expected"),
        ((DAMAGED["places that fall"][0], [0] * 8), "x has an indptr that does not fit"),
        ((X, scipy.sparse.csr_array(X)), "y is sparse, expected a dense array"),
    ],
)
def test_a_step_tells_shapes_and_types_that_are_wrong(
    backend: Backend, arguments: tuple[Any, ...], text: str
) -> None:
    network = classifier(backend)
    before = parameters(network)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        Trainer(network, "sgd").step(*arguments)
    np.testing.assert_array_equal(parameters(network), before)


class OwnArray(np.ndarray[Any, Any]):
    """A subclass of ndarray, like numpy.memmap."""


def test_a_step_looks_at_every_batch_that_is_not_like_the_last_one(backend: Backend) -> None:
    def given(array: np.ndarray) -> Any:
        return backend.asarray(array)

    good: list[tuple[Any, ...]] = [
        (X, Y),
        (X.view(OwnArray), Y.view(OwnArray)),
        (given(X), given(Y)),
        (given(X), given(Y), given(np.ones(4))),
        (given(X[:1]), given(Y[:1])),
    ]
    bad: list[tuple[tuple[Any, ...], str]] = [
        ((given(X[:, :2].copy()), given(Y)), "x has 2 columns, expected 3"),
        ((given(X), given(Y[:3])), "y has 3 rows, expected 4"),
        ((given(X), given(Y * 1.0)), "y has dtype float64, expected integer labels"),
        ((given(X), given(Y), given(np.ones(3))), "sample_weight has shape (3,), expected (4,)"),
        ((np.ma.masked_array(X, X > 0), Y), "x is a masked array"),
        ((X.tolist(), Y.tolist()[:3]), "y has 3 rows, expected 4"),
        ((X[:, :2].tolist(), Y.tolist()), "x has 2 columns, expected 3"),
    ]
    network, twin = classifier(backend), classifier(backend)
    trainer, fresh = Trainer(network, "sgd"), Trainer(twin, "sgd")
    for arguments in good:
        for wrong, text in bad:
            for _ in range(2):
                trainer.step(*arguments)
                fresh.step(*(each.tolist() for each in arguments))
            with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
                trainer.step(*wrong)
        np.testing.assert_array_equal(parameters(network), parameters(twin))


@pytest.mark.parametrize("labels", [True, False])
def test_batches_like_the_last_one_are_not_checked_again(
    backend: Backend, labels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, weights = map(backend.asarray, (X, Y if labels else np.eye(3)[Y], np.ones(4)))
    trainer = Trainer(classifier(backend), "sgd")
    trainer.step(x, y, weights)
    monkeypatch.delattr("gpubp.training.batch_check.check_shapes")
    trainer.step(backend.asarray(X + 1), y, weights)
    with pytest.raises(NameError):
        trainer.step(x, y)


class Switch(gpubp.Callback):
    """Sets another optimizer after two steps, then fails."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if step == 1:
            trainer.optimizer = self.optimizer
            raise KeyError("the callback's own error")


OPTIMIZERS = [
    "adam",
    "lion",
    gpubp.SGD(),
    gpubp.SGD(momentum=0.9),
    gpubp.SGD(momentum=0.9, nesterov=True),
    gpubp.SGD(momentum=0.9, clip_norm=1.0),
]


@pytest.mark.parametrize("precision", [None, "float16"])
@pytest.mark.parametrize("before", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("after", OPTIMIZERS, ids=str)
def test_the_error_of_a_callback_that_set_another_optimizer_is_told_and_the_network_is_restored(
    before: Any, after: Any, precision: str | None
) -> None:
    network = classifier(dtype="float32", precision=precision)
    trainer = Trainer(network, before, batch_size=1, callbacks=[Switch(after)])
    trainer.step(X, Y)
    expected = parameters(network)
    with pytest.raises(KeyError, match="the callback's own error"):
        trainer.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(parameters(network), expected)


@pytest.mark.parametrize("reason", ["", None, 0, True, b"why"])
def test_to_stop_needs_a_reason(reason: Any) -> None:
    def stop(trainer: Trainer, history: gpubp.History) -> None:
        trainer.stop(reason)

    trainer = Trainer(classifier(), callbacks=[stop])
    text = f"reason is {reason!r}, expected a text that says why"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        trainer.fit(X, Y, epochs=2)


def test_the_seed_of_a_trainer_cannot_be_changed() -> None:
    trainer = Trainer(classifier(), "sgd", seed=1)
    message = r"^a trainer's seed cannot be changed; make a new Trainer with it$"
    with pytest.raises(AttributeError, match=message):
        trainer.seed = 2
    trainer.batch_size, trainer.optimizer = 16, "adam"  # the settings can
    assert (trainer.batch_size, type(trainer.optimizer).__name__) == (16, "Adam")


def test_the_network_of_a_trainer_cannot_be_changed() -> None:
    x, y = classes(9)
    network, other = classifier(), classifier(seed=1)
    trainer = Trainer(network, "sgd")
    text = "^a trainer's network cannot be changed; make a new Trainer with it$"
    for copied in (trainer, copy.copy(trainer), copy.deepcopy(trainer)):
        with pytest.raises(AttributeError, match=text):
            copied.network = other
    before = parameters(network)
    trainer.step(x, y)
    assert trainer.network is network
    assert (parameters(network) != before).any()
    np.testing.assert_array_equal(parameters(other), parameters(classifier(seed=1)))
