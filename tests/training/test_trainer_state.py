"""What a trainer keeps: its state, also in copies and pickles, and no reference to its data."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from small_networks import classes, classifier, parameters
from traced import traced_memory

import gpubp
from gpubp import SGD, Adam, History, Network, Trainer
from gpubp.backends import Backend
from gpubp.training.callbacks import as_callbacks


@pytest.mark.parametrize(
    ("optimizer", "early_stopping", "copied"),
    [
        (SGD(), None, 3 * 1),
        (SGD(momentum=0.9), None, 3 * 2),
        ("adam", None, 3 * 3),
        ("adam", 5, 4 * 3),
    ],
    ids=["sgd", "momentum", "adam", "adam-stopping"],
)
def test_a_fit_keeps_as_many_copies_of_parameters_and_state_as_the_trainer_says(
    optimizer: Any, early_stopping: int | None, copied: int
) -> None:
    network = Network((400, 500), dtype="float64", backend="numpy", seed=0)
    x, y = np.ones((4, 400)), np.ones((4, 500))
    trainer = Trainer(network, optimizer, early_stopping=early_stopping)
    trainer.fit(x, y, epochs=1)
    with traced_memory():
        start = tracemalloc.get_traced_memory()[0]
        trainer.fit(x, y, epochs=4)
        peak = tracemalloc.get_traced_memory()[1] - start
    assert copied <= peak / network.parameters.nbytes < copied + 0.5


@pytest.mark.parametrize("failing", [False, True])
def test_a_fit_or_a_step_keeps_no_hold_of_its_data(failing: bool) -> None:
    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("oh")

    arrays = [np.ones((6, 3)), np.eye(3)[[0, 1, 2] * 2], np.ones(6)]
    alive = [weakref.ref(array) for array in arrays]
    trainer = Trainer(classifier(), "sgd", batch_size=4)
    if failing:
        trainer.callbacks = as_callbacks([fail])
        with pytest.raises(RuntimeError, match="oh"):
            trainer.fit(*arrays[:2], epochs=1, sample_weight=arrays[2])
    else:
        trainer.step(*arrays)
        trainer.fit(*arrays[:2], epochs=1, sample_weight=arrays[2])
    arrays.clear()
    gc.collect()  # the traceback of a caught error is in a reference cycle
    assert [array() for array in alive] == [None] * 3


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy])
@pytest.mark.parametrize("optimizer", ["adam", SGD(momentum=0.9)], ids=["adam", "momentum"])
def test_a_copy_goes_on_like_the_original(backend: Backend, optimizer: Any, copied: Any) -> None:
    x, y = classes(11)
    trainer = Trainer(
        classifier(backend, dropout=0.3), optimizer, batch_size=2, accumulate=2, schedule="cosine",
        early_stopping=7, seed=3,
    )  # fmt: skip
    trainer.fit(x, y, epochs=2)
    other = copied(trainer)
    assert other.network is not trainer.network
    assert (other.batch_size, other.accumulate, other.early_stopping.patience) == (2, 2, 7)
    assert math.isnan(other.step_cost)
    costs = [each.fit(x, y, epochs=2).cost for each in (trainer, other)]
    assert costs[0] == costs[1]
    for each in (trainer, other):
        each.step(x, y)
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))
    assert other.step_cost == trainer.step_cost


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_a_copy_that_a_callback_makes_is_in_no_fit(copied: Any) -> None:
    x, y = classes(11)
    copies: list[Trainer] = []

    def stop(trainer: Trainer, history: History) -> None:
        trainer.stop("enough")
        callbacks, trainer.callbacks = trainer.callbacks, ()
        copies.append(copied(trainer))
        trainer.callbacks = callbacks

    trainer = Trainer(classifier(), callbacks=[stop])
    assert trainer.fit(x, y, epochs=2).stopped == "enough"
    assert copies[0].fit(x, y, epochs=2).stopped == "epochs"
    assert (trainer.stop_reason, copies[0].stop_reason) == ("enough", "")


def test_a_pickle_of_a_trainer_has_neither_data_nor_buffers() -> None:
    trainer = Trainer(classifier(), "adam", batch_size=5000)
    trainer.fit(*classes(20_000), epochs=1)
    assert len(pickle.dumps(trainer)) < 10_000


def test_other_hyperparameters_go_on_with_the_optimizers_state(backend: Backend) -> None:
    x, y = classes(6)
    results = []
    for change in (False, True):
        network = classifier(backend)
        trainer = Trainer(network, Adam(beta1=0.9), shuffle=False)
        trainer.fit(x, y, epochs=2)
        if change:
            for optimizer in (Adam(beta1=0.5, learning_rate=0.3), Adam(beta1=0.9)):
                trainer.optimizer = optimizer
                assert trainer.optimizer is optimizer
        trainer.fit(x, y, epochs=2)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)
    trainer.optimizer = Adam(learning_rate=1e-300)
    before = parameters(network)
    trainer.fit(x, y, epochs=1)
    np.testing.assert_array_equal(parameters(network), before)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("adam", "rmsprop"),
        (SGD(momentum=0.9, nesterov=True), "adam"),
        (SGD(), SGD(momentum=0.9)),
        (SGD(momentum=0.9), SGD(momentum=0.9, l2=0.1)),
    ],
    ids=str,
)
def test_another_optimizer_begins_with_fresh_state(
    backend: Backend, first: Any, second: Any
) -> None:
    x, y = classes(6)
    network = classifier(backend)
    trainer = Trainer(network, first, shuffle=False)
    trainer.fit(x, y, epochs=3)
    start = parameters(network)
    trainer.optimizer = second
    trainer.fit(x, y, epochs=2)
    fresh = classifier(backend)
    fresh.parameters[...] = fresh.backend.asarray(start)
    Trainer(fresh, second, shuffle=False).fit(x, y, epochs=2)
    np.testing.assert_array_equal(parameters(network), parameters(fresh))


def test_an_optimizer_that_is_none_is_told_and_the_old_one_stays() -> None:
    trainer = Trainer(classifier(), "adam")
    with pytest.raises(ValueError, match=r"^unknown optimizer 'adm'; did you mean 'adam'\?$"):
        trainer.optimizer = "adm"
    assert trainer.optimizer == Adam()


def test_what_a_trainer_needs_is_part_of_the_public_face() -> None:
    assert {"Trainer", "Callback", "EarlyStopping", "History", "schedules"} <= set(dir(gpubp))


def test_a_shallow_copy_of_a_trainer_has_an_optimizer_state_of_its_own(backend: Backend) -> None:
    x, y = classes(9)
    results = []
    for copied in (False, True):
        network = classifier(backend)
        trainer = Trainer(network, "adam", seed=0)
        trainer.step(x, y)
        if copied:
            other, before = copy.copy(trainer), parameters(network)
            assert other.network is network
            other.step(x, y)
            network.parameters = backend.asarray(before)
        trainer.step(x, y)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)
