"""Two devices in one process: each network computes on its own device, whichever device is current."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS

X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 40)


@pytest.fixture
def second(cuda_backend: Backend) -> Backend:
    if "cupy:1" not in gpubp.available_backends():
        pytest.skip("this machine has one GPU")
    return gpubp.get_backend("cupy:1")


def make_network(backend: str | Backend) -> gpubp.Network:
    return gpubp.Network((5, 7, 3), hidden="tanh", output="softmax", backend=backend, seed=0)


def train(backend: str | Backend, **options: Any) -> gpubp.Network:
    network = make_network(backend)
    trainer = gpubp.Trainer(network, "sgd", batch_size=16, seed=0, **options)
    trainer.fit(X, Y, epochs=2, validation_data=(X, Y))
    trainer.step(X, Y)
    assert np.isfinite(trainer.step_cost)
    return network


@pytest.mark.slow
def test_networks_on_two_devices_take_turns(second: Backend) -> None:
    expected = train("numpy")
    networks = [train("cupy"), train(second), train("cupy")]
    for network in networks:
        parameters = network.backend.to_numpy(network.parameters)
        np.testing.assert_allclose(parameters, expected.parameters, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(network.predict(X), expected.predict(X), rtol=1e-4, atol=1e-5)
        assert network.cost(X, Y) == pytest.approx(expected.cost(X, Y), rel=1e-4)
        assert len(network.forward(X).a) == 3
        assert gpubp.check_gradients(network, X, Y, max_parameters=8).relative_error < 1e-6


CALLS: dict[str, Callable[[gpubp.Network], object]] = {
    "predict": lambda network: network.predict(X),
    "backprop": lambda network: network.backprop(X, Y).cost,
    "train": lambda network: gpubp.Trainer(network).fit(X, Y, epochs=1),
    "assign": lambda network: setattr(network, "parameters", np.zeros(network.layout.size)),
    "assign weights": lambda network: setattr(network.layers[0], "weights", np.zeros((7, 5))),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_callers_device_stays_current(second: Backend, name: str) -> None:
    network = make_network(second)
    device = second.xp.cuda.runtime.getDevice
    before = device()
    CALLS[name](network)
    assert device() == before == 0


def test_a_network_works_in_a_thread_that_never_chose_a_device(second: Backend) -> None:
    network, outputs = make_network(second), []
    thread = threading.Thread(target=lambda: outputs.append(network.predict(X)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(outputs[0], network.predict(X))


def test_arrays_of_another_device_are_brought_over_and_results_go_back(second: Backend) -> None:
    network, first = make_network("cupy"), gpubp.get_backend("cupy")
    x = second.asarray(X)
    assert not first.owns(x)
    outputs = network.predict(x)
    assert second.owns(outputs)
    np.testing.assert_allclose(
        second.to_numpy(outputs), make_network("numpy").predict(X), rtol=1e-5
    )


def test_files_pickles_and_estimators_keep_to_their_device(second: Backend, tmp_path: Any) -> None:
    network = make_network(second)
    network.save(tmp_path / "model.safetensors")
    loaded = gpubp.Network.load(tmp_path / "model.safetensors", backend="cupy:1")
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    for solver in ("adam", "lbfgs"):
        model = gpubp.MLPClassifier(
            (4,), solver=solver, max_iter=500, tol=0.1, random_state=0, backend="cupy:1"
        )
        assert model.fit(X, Y).network_.backend.name == "cupy:1"
        assert model.predict(X).shape == Y.shape
    stopping = gpubp.MLPClassifier(
        (4,), early_stopping=True, max_iter=500, tol=0.1, random_state=0, backend="cupy:1"
    )
    assert stopping.fit(X, Y).predict(X).shape == Y.shape


def test_a_copied_trainer_goes_on_on_its_device(second: Backend) -> None:
    trainer = gpubp.Trainer(make_network(second), batch_size=16, seed=0)
    trainer.fit(X, Y, epochs=1)
    copied = copy.deepcopy(trainer)
    for each in (trainer, copied):
        each.fit(X, Y, epochs=1)
    assert copied.backend is second
    outputs = trainer.network.predict(X)
    np.testing.assert_array_equal(copied.network.predict(X), outputs)


def test_parameters_and_optimizers_are_set_across_devices(second: Backend) -> None:
    here, there = make_network("cupy"), make_network(second)
    with second.use():
        there.parameters *= 0.5
    here.parameters = there.parameters
    there.layers[0].weights = here.layers[0].weights
    np.testing.assert_array_equal(here.predict(X), there.predict(X))
    trainer = gpubp.Trainer(there, "adam", batch_size=16, seed=0)
    trainer.fit(X, Y, epochs=1)
    trainer.optimizer = gpubp.SGD(momentum=0.9)
    trainer.fit(X, Y, epochs=1)
    assert np.isfinite(trainer.step_cost)


def test_every_activation_is_there_on_the_second_device(second: Backend) -> None:
    for activation in ACTIVATIONS.values():
        with second.use():
            z = second.asarray(np.ones((2, 3), np.float32))
            second.bias_activate(activation, z, None, z)
        assert np.isfinite(second.to_numpy(z)).all()


def test_streamed_rows_of_another_device_are_taken(second: Backend) -> None:
    class Source:
        shape = X.shape

        def __getitem__(self, rows: Any) -> Any:
            with second.use():
                return second.asarray(X[rows])

    networks = [make_network("cupy") for _ in range(2)]
    for network, x in zip(networks, (X, Source()), strict=True):
        gpubp.Trainer(network, "sgd", batch_size=16, seed=0).fit(x, Y, epochs=1)
    np.testing.assert_array_equal(*(network.predict(X) for network in networks))
