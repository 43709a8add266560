"""Early stopping: when a fit ends, and which parameters it leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import classifier, parameters, single_weight

from gpubp import SGD, EarlyStopping, Network, Trainer
from gpubp.backends import Backend


def learn_past_the_best(backend: Backend | str, **options: Any) -> tuple[Network, Trainer, Any]:
    """Train a weight from 0 towards 1. It passes 0.6, where the validation cost is lowest."""
    network = single_weight(backend)
    trainer = Trainer(network, SGD(learning_rate=0.1, momentum=0.5), shuffle=False, **options)
    one = np.ones((1, 1))
    return network, trainer, {"x": one, "y": one, "validation_data": (one, 0.6 * one)}


@pytest.mark.parametrize("yes", [True, np.True_])
def test_early_stopping_is_a_number_of_epochs_or_whether_its_defaults_are_taken(yes: Any) -> None:
    for given, expected in [
        (yes, EarlyStopping()),
        (not yes, None),
        (None, None),
        (np.int64(1), EarlyStopping(patience=1)),
        (EarlyStopping(3, 0.5), EarlyStopping(3, 0.5)),
    ]:
        assert Trainer(classifier(), early_stopping=given).early_stopping == expected


def test_early_stopping_gives_the_best_parameters_back(backend: Backend) -> None:
    network, trainer, data = learn_past_the_best(backend, early_stopping=3)
    history = trainer.fit(**data, epochs=100)
    costs = history.validation_cost
    assert history.stopped == "early stopping"
    assert 0 < history.best_epoch == int(np.argmin(costs)) == len(history) - 4
    assert network.cost(*data["validation_data"]) == min(costs) < costs[-1]


def test_after_early_stopping_training_goes_on_from_the_best_epoch(backend: Backend) -> None:
    network, trainer, data = learn_past_the_best(backend, early_stopping=3)
    best = trainer.fit(**data, epochs=100).best_epoch
    other, other_trainer, _ = learn_past_the_best(backend)
    other_trainer.fit(**data, epochs=best + 1)
    np.testing.assert_array_equal(parameters(network), parameters(other))
    for each in (trainer, other_trainer):
        each.step(data["x"], data["y"])
    np.testing.assert_array_equal(parameters(network), parameters(other))


def test_the_best_parameters_come_back_when_the_epochs_run_out_first() -> None:
    network, trainer, data = learn_past_the_best("numpy", early_stopping=100)
    history = trainer.fit(**data, epochs=20)
    assert history.stopped == "epochs" and len(history) == 20
    assert network.cost(*data["validation_data"]) == min(history.validation_cost)


def test_without_early_stopping_the_last_parameters_stay() -> None:
    network, trainer, data = learn_past_the_best("numpy")
    history = trainer.fit(**data, epochs=20)
    assert history.best_epoch < 19
    assert network.cost(*data["validation_data"]) == history.validation_cost[-1]


def test_early_stopping_without_validation_data_watches_the_training_cost() -> None:
    network = single_weight(weight=1.0)
    trainer = Trainer(network, SGD(learning_rate=2.5), early_stopping=2)  # every step overshoots
    history = trainer.fit(np.ones((1, 1)), np.zeros((1, 1)), epochs=50)
    assert (history.stopped, history.best_epoch, len(history)) == ("early stopping", 0, 3)


def test_a_fall_smaller_than_min_improvement_does_not_count() -> None:
    _, trainer, data = learn_past_the_best(
        "numpy", early_stopping=EarlyStopping(2, min_improvement=9)
    )
    history = trainer.fit(**data, epochs=50)
    assert (history.stopped, history.best_epoch, len(history)) == ("early stopping", 0, 3)


def test_early_stopping_says_what_its_parameters_may_be() -> None:
    with pytest.raises(ValueError, match=r"^patience is 1\.5, expected a whole number at least 1$"):
        EarlyStopping(patience=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^min_improvement is -1, expected a number at least 0$"):
        EarlyStopping(min_improvement=-1)
