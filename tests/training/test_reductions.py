"""What happens between the halves of a `TrainingStep`: reductions of the gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from single_steps import FORM, OPTIMIZERS, X, Y, by_trainer, step_on
from small_networks import classifier, parameters

from gpubp import SGD, Adam, Network, Optimizer
from gpubp.backends import Array, Backend


def follow(optimizer: Optimizer, theta: np.ndarray, gradients: Sequence[np.ndarray]) -> np.ndarray:
    """Update `theta` by these gradients, one after another, with the published formulas."""
    theta, v, m = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    rate = optimizer.learning_rate
    for t, given in enumerate(gradients, 1):
        norm = np.linalg.norm(given)
        g = given * min(1.0, (optimizer.clip_norm or np.inf) / norm)
        if isinstance(optimizer, SGD):
            v = optimizer.momentum * v + g
            theta -= rate * (g + optimizer.momentum * v if optimizer.nesterov else v)
        elif isinstance(optimizer, Adam):
            m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
            v = optimizer.beta2 * v + (1 - optimizer.beta2) * g**2
            c1, c2 = 1 - optimizer.beta1**t, 1 - optimizer.beta2**t
            theta -= rate * (m / c1) / (np.sqrt(v / c2) + optimizer.epsilon)
        else:
            raise NotImplementedError(optimizer)
    return theta


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "clipped momentum", "adam"])
def test_a_reduction_may_change_the_gradient_in_place(backend: Backend, name: str) -> None:
    network, seen = classifier(backend), []

    def double(gradient: Array) -> None:
        seen.append(np.array(backend.to_numpy(gradient)))
        gradient *= 2

    step = step_on(network, OPTIMIZERS[name], reduce=double)
    start, expected = parameters(network), []
    with backend.use():
        step.prepare()
        for _ in range(5):
            expected.append(np.array(backend.to_numpy(network.backprop(X, Y).gradient)))
            step.run(FORM)
    # The reduction is given the gradient, not the velocity.
    np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)
    doubled = follow(OPTIMIZERS[name], start, [2 * gradient for gradient in expected])
    np.testing.assert_allclose(parameters(network), doubled, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_averaged_gradients_of_two_halves_of_a_batch_train_as_the_whole_batch(
    backend: Backend, optimizer: Optimizer
) -> None:
    whole = by_trainer(classifier(backend), optimizer, 6)
    left: list[Array] = []

    def leave(gradient: Array) -> None:
        left[:] = [gradient.copy()]

    def average(gradient: Array) -> None:
        gradient += left[0]
        gradient /= 2

    first, second = classifier(backend), classifier(backend)
    leaves = step_on(first, optimizer, X[:12], Y[:12], reduce=leave)
    averages = step_on(second, optimizer, X[12:], Y[12:], reduce=average)
    form = FORM._replace(rows=12)
    with backend.use():
        leaves.prepare()
        averages.prepare()
        for _ in range(6):
            first.parameters = second.parameters
            leaves.run(form)
            averages.run(form)
    np.testing.assert_allclose(parameters(second), whole, rtol=1e-9, atol=1e-12)


def test_a_reduction_finds_the_sum_of_all_shards(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backend, "plan", lambda rows, *_: [[slice(0, 5)], [slice(5, 16)], [slice(16, rows)]]
    )
    for optimizer in (OPTIMIZERS["momentum"], OPTIMIZERS["adam"]):
        network, seen = classifier(backend), []
        step = step_on(
            network,
            optimizer,
            reduce=lambda gradient, seen=seen: seen.append(np.array(backend.to_numpy(gradient))),
        )
        with backend.use():
            step.make_room([FORM], 3)
            step.prepare(3)
            expected = []
            for _ in range(3):
                expected.append(backend.to_numpy(network.backprop(X, Y).gradient).copy())
                step.run(FORM)
        np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", [OPTIMIZERS["momentum"], OPTIMIZERS["adam"]])
def test_a_reduction_finds_a_gradient_without_the_loss_scale(
    backend: Backend, optimizer: Optimizer
) -> None:
    def made() -> Network:
        return classifier(backend, dtype="float32", precision="float16")

    expected = by_trainer(made(), optimizer, 4)
    network, seen = made(), []
    gradient = backend.to_numpy(network.backprop(X, Y).gradient).copy()
    step = step_on(network, optimizer, reduce=lambda g: seen.append(np.array(backend.to_numpy(g))))
    with backend.use():
        step.prepare()
        for _ in range(4):
            step.run(FORM)
        assert step.loss_scale > 1
    np.testing.assert_allclose(seen[0], gradient, rtol=0.02, atol=1e-3)
    np.testing.assert_allclose(parameters(network), expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_another_process_makes_infinite_changes_nothing_but_the_loss_scale(
    backend: Backend,
) -> None:
    network = classifier(backend, dtype="float32", precision="float16")

    def spoil(gradient: Array) -> None:
        gradient[3] = np.inf

    step = step_on(network, OPTIMIZERS["momentum"], reduce=spoil)
    with backend.use():
        step.prepare()
        before, scale = parameters(network), step.loss_scale
        step.run(FORM)
        assert step.loss_scale == scale / 2
    np.testing.assert_array_equal(parameters(network), before)
