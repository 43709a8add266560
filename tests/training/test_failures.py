"""Failed fits: what an error or divergence leaves behind."""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import numpy as np
import pytest
from small_networks import Log, classes, classifier, parameters, single_weight

from gpubp import SGD, Adam, Callback, DivergenceError, History, Network, Trainer
from gpubp.backends import Backend


class Raise(Callback):
    def __init__(self, event: str, error: BaseException) -> None:
        self.error = error
        setattr(self, event, self._raise)

    def _raise(self, *arguments: Any) -> None:
        raise self.error

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        """Do nothing. The trainer looks for this hook on a step only if the class overrides it."""


@pytest.mark.parametrize("error", [RuntimeError("oh"), KeyboardInterrupt("oh")])
@pytest.mark.parametrize(
    "event", ["on_fit_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_fit_end"]
)
@pytest.mark.parametrize("optimizer", ["adam", SGD(momentum=0.9)], ids=["adam", "momentum"])
def test_an_error_in_a_callback_leaves_network_and_optimizer_as_they_were(
    backend: Backend, optimizer: Any, event: str, error: BaseException
) -> None:
    x, y = classes(8)

    def trained(fail: bool) -> np.ndarray:
        network = classifier(backend, dropout=0.2)
        trainer = Trainer(network, optimizer, batch_size=4, seed=1)
        trainer.fit(x, y, epochs=1)
        before = parameters(network)
        if fail:
            trainer.callbacks = [Raise(event, error)]
            with pytest.raises(type(error), match="oh"):
                trainer.fit(x + 1, y, epochs=2)
            np.testing.assert_array_equal(parameters(network), before)
            trainer.callbacks = []
        trainer.fit(x, y, epochs=1)
        return parameters(network)

    np.testing.assert_array_equal(trained(fail=True), trained(fail=False))


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
def test_an_error_in_a_callback_leaves_the_random_generator_as_it_was(kind: Any) -> None:
    x, y = classes(8)
    rng = kind(3)
    trainer = Trainer(classifier("numpy"), batch_size=4, seed=rng)
    trainer.fit(x, y, epochs=2)
    before = pickle.dumps(rng)
    trainer.callbacks = [Raise("on_epoch_end", RuntimeError("oh"))]
    with pytest.raises(RuntimeError, match="oh"):
        trainer.fit(x, y, epochs=2)
    assert pickle.dumps(rng) == before


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "lion"])
def test_an_error_after_another_optimizer_was_set_in_the_fit_is_told_and_rolled_back(
    backend: Backend, optimizer: str
) -> None:
    class SetOptimizer(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            trainer.optimizer = optimizer

    def trained(fail: bool) -> np.ndarray:
        network = classifier(backend)
        trainer = Trainer(network, "adam", batch_size=4, seed=1)
        trainer.fit(*classes(8), epochs=1)
        if fail:
            trainer.callbacks = [SetOptimizer(), Raise("on_epoch_end", RuntimeError("oh"))]
            with pytest.raises(RuntimeError, match="oh"):
                trainer.fit(*classes(8), epochs=1)
            assert trainer.optimizer == Adam()
            trainer.callbacks = []
        trainer.fit(*classes(8), epochs=1)
        return parameters(network)

    np.testing.assert_array_equal(trained(fail=True), trained(fail=False))


def test_the_end_of_a_fit_is_told_even_when_it_fails() -> None:
    log: list[Any] = []
    callbacks = [Raise("on_epoch_begin", RuntimeError("oh")), Log("a", log)]
    with pytest.raises(RuntimeError, match="oh"):
        Trainer(classifier(), "sgd", callbacks=callbacks).fit(*classes(4), epochs=1)
    assert [entry[1] for entry in log] == ["fit begins", "fit ends"]


def test_the_error_of_a_diverged_fit_survives_a_pickle() -> None:
    """Processes hand their errors on as pickles."""

    def spoil(trainer: Trainer, history: History) -> None:
        trainer.network.parameters[...] = math.nan

    with pytest.raises(DivergenceError) as caught:
        Trainer(classifier(), "sgd", callbacks=[spoil]).fit(*classes(8), epochs=2)
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is DivergenceError and str(error) == str(caught.value)
    assert (error.epoch, error.history) == (caught.value.epoch, caught.value.history)


def test_bad_input_changes_nothing(backend: Backend) -> None:
    x, y = classes(8)
    network = classifier(backend)
    trainer = Trainer(network, "adam")
    trainer.step(x, y)
    before = parameters(network)
    spoilt = x.copy()
    spoilt[7, 1] = np.nan
    for arguments, options in [
        ((spoilt, y), {}),
        ((x, y), {"validation_data": (spoilt, y)}),
        ((x, y), {"epochs": 0}),
    ]:
        with pytest.raises(ValueError, match=r"holds nan at \[7, 1\]|epochs"):
            trainer.fit(*arguments, **{"epochs": 1, **options})
    np.testing.assert_array_equal(parameters(network), before)


class Starts(Callback):
    """Records the parameters at the beginning of each epoch."""

    def __init__(self) -> None:
        self.parameters: list[np.ndarray] = []

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.parameters.append(parameters(trainer.network))


@pytest.mark.parametrize("batch_size", [4, 100], ids=["batches", "whole"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_told_and_gives_the_last_good_parameters_back(
    backend: Backend, dtype: str, batch_size: int
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    network = Network((3, 5, 2), dtype=dtype, backend=backend, seed=0)
    starts = Starts()
    options: dict[str, Any] = {"batch_size": batch_size, "callbacks": [starts], "seed": 0}
    text = (
        r"^the (?:cost became (?:nan|inf)|parameters stopped being finite) in epoch (\d+); the network"
        r" has the parameters from before epoch (\d+) \(a lower learning rate or clip_norm may help\)$"
    )
    with pytest.raises(DivergenceError, match=text) as caught:
        Trainer(network, SGD(learning_rate=1e30), **options).fit(x, y, epochs=50)
    match = re.search(text, str(caught.value))
    assert match is not None
    np.testing.assert_array_equal(parameters(network), starts.parameters[int(match[2]) - 1])
    assert math.isfinite(network.cost(x, y))
    history = caught.value.history
    assert isinstance(history, History)
    assert history.stopped == "diverged"
    assert len(history) == caught.value.epoch == int(match[1]) - 1
    assert all(math.isfinite(cost) for cost in history.cost)


def test_divergence_after_good_epochs_keeps_what_they_learnt(backend: Backend) -> None:
    class Spoil(Starts):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            if len(self.parameters) == 4 and step == 0:
                trainer.network.parameters[...] = math.nan

    spoil = Spoil()
    network = classifier(backend)
    trainer = Trainer(network, "sgd", batch_size=3, callbacks=[spoil])
    with pytest.raises(DivergenceError, match=r"nan in epoch 4; .* before epoch 4") as caught:
        trainer.fit(*classes(6), epochs=9)
    np.testing.assert_array_equal(parameters(network), spoil.parameters[3])
    assert isinstance(caught.value.history, History)
    assert caught.value.epoch == len(caught.value.history) == 3


def test_an_epoch_that_begins_with_an_overflowing_cost_goes_back_one_more(
    backend: Backend,
) -> None:
    # Every step replaces w by w - η w. The cost ½ w² overflows from w = 1e155 on.
    for rate, epoch, weight in ((1e200, 2, 1.0), (1e100, 3, -1e100), (1e60, 4, 1e120)):
        network = single_weight(backend, 1.0)
        trainer = Trainer(network, SGD(learning_rate=rate))
        one = np.ones((1, 1))
        text = rf"cost became inf in epoch {epoch}; .* before epoch {epoch - 1} "
        with pytest.raises(DivergenceError, match=text):
            trainer.fit(one, 0 * one, epochs=9)
        assert parameters(network).tolist() == [pytest.approx(weight)]


def test_a_last_update_that_overflows_is_divergence_too(backend: Backend) -> None:
    network = single_weight(backend, 1e10)
    trainer = Trainer(network, SGD(learning_rate=1e300))
    one = np.ones((1, 1))
    with pytest.raises(DivergenceError, match=r"^the parameters stopped being finite in epoch 1"):
        trainer.fit(one, 0 * one, epochs=1)
    assert parameters(network).tolist() == [1e10]


def test_a_validation_cost_that_overflows_is_divergence(backend: Backend) -> None:
    network = single_weight(backend, 1.0)
    one = np.ones((1, 1))
    with pytest.raises(DivergenceError, match=r"^the validation cost became inf in epoch 1"):
        Trainer(network, "sgd").fit(one, 0 * one, epochs=1, validation_data=(1e200 * one, one))
    assert parameters(network).tolist() == [1.0]


def test_training_can_go_on_after_divergence(backend: Backend) -> None:
    x, y = classes(6)
    results = []
    for spoilt in (False, True):
        network = classifier(backend, dropout=0.3)
        trainer = Trainer(network, "adam", shuffle=False, seed=0)
        if spoilt:
            stop = Raise("on_step_end", DivergenceError("one of its own", 0, None))
            trainer.callbacks = [stop]
            with pytest.raises(DivergenceError, match="one of its own"):
                trainer.fit(x, y, epochs=1)
            trainer.callbacks = []
        trainer.fit(x, y, epochs=2)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)
