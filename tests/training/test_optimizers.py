"""Optimizers against their textbook formulas, written here in plain NumPy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp import SGD, Adam, AdamW, Lion, Network, Optimizer, RMSProp, Trainer, get_optimizer
from gpubp.backends import Backend

STEPS, ROWS, N_IN, N_OUT = 6, 5, 4, 3
N_WEIGHTS = N_IN * N_OUT

Direction = Callable[[np.ndarray], np.ndarray]

OPTIMIZERS = [
    SGD(learning_rate=0.1),
    SGD(learning_rate=0.1, momentum=0.8),
    SGD(learning_rate=0.1, momentum=0.8, nesterov=True),
    SGD(learning_rate=0.1, nesterov=True),
    SGD(learning_rate=0.1, momentum=0.8, rate_in_velocity=True),
    SGD(learning_rate=0.1, momentum=0.8, nesterov=True, rate_in_velocity=True),
    SGD(learning_rate=0.1, rate_in_velocity=True),
    Adam(learning_rate=0.05, beta1=0.8, beta2=0.95, epsilon=1e-3),
    Adam(learning_rate=0.05, beta1=0.8, beta2=0.95, epsilon=1e-3, epsilon_hat=True),
    AdamW(learning_rate=0.05, weight_decay=0.3),
    RMSProp(learning_rate=0.02, decay=0.7, epsilon=1e-4),
    Lion(learning_rate=0.03, beta1=0.7, beta2=0.9, weight_decay=0.2),
]
OPTIONS = [
    {},
    {"l1": 0.2},
    {"l2": 0.4},
    {"clip_norm": 0.6},
    {"clip_value": 0.1},
    {"l1": 0.1, "l2": 0.2, "clip_norm": 0.9, "clip_value": 0.3},
]


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)
    return [(rng.normal(size=(ROWS, N_IN)), rng.normal(size=(ROWS, N_OUT))) for _ in range(STEPS)]


def linear_network(backend: Backend | str, dtype: str = "float64") -> Network:
    """Make one linear layer with nonzero biases; its gradient is easy to write down."""
    network = Network((N_IN, N_OUT), cost="quadratic", dtype=dtype, backend=backend, seed=1)
    start = np.random.default_rng(5).normal(size=N_WEIGHTS + N_OUT)
    network.parameters[...] = network.backend.asarray(start, network.dtype)
    return network


def linear_gradient(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the gradient of the mean of ½ |w x + b - y|²."""
    weights, biases = theta[:N_WEIGHTS].reshape(N_OUT, N_IN), theta[N_WEIGHTS:]
    delta = (x @ weights.T + biases - y) / len(x)
    return np.concatenate([(delta.T @ x).ravel(), delta.sum(0)])


def textbook(optimizer: Optimizer) -> Direction:
    """Return a function that takes each step's gradient and returns what the step subtracts."""
    o: Any = optimizer
    t, m, v = 0, 0.0, 0.0

    def direction(g: np.ndarray) -> np.ndarray:
        nonlocal t, m, v
        t += 1
        if isinstance(optimizer, SGD):
            v = o.momentum * v + g
            return o.learning_rate * (g + o.momentum * v if o.nesterov else v)
        if isinstance(optimizer, Adam):
            m = o.beta1 * m + (1 - o.beta1) * g
            v = o.beta2 * v + (1 - o.beta2) * g**2
            m_hat, v_hat = m / (1 - o.beta1**t), v / (1 - o.beta2**t)
            if o.epsilon_hat:
                rate = o.learning_rate * np.sqrt(1 - o.beta2**t) / (1 - o.beta1**t)
                return rate * m / (np.sqrt(v) + o.epsilon)
            return o.learning_rate * m_hat / (np.sqrt(v_hat) + o.epsilon)
        if isinstance(optimizer, RMSProp):
            v = o.decay * v + (1 - o.decay) * g**2
            return o.learning_rate * g / (np.sqrt(v) + o.epsilon)
        step = np.sign(o.beta1 * m + (1 - o.beta1) * g)
        m = o.beta2 * m + (1 - o.beta2) * g
        return o.learning_rate * step

    return direction


def trained_by_the_book(theta: np.ndarray, optimizer: Optimizer) -> np.ndarray:
    theta, direction = theta.copy(), textbook(optimizer)
    is_weight = np.arange(theta.size) < N_WEIGHTS
    for x, y in batches():
        g = linear_gradient(theta, x, y)
        if optimizer.clip_norm is not None:
            g = g * min(1, optimizer.clip_norm / np.linalg.norm(g))
        if optimizer.clip_value is not None:
            g = np.clip(g, -optimizer.clip_value, optimizer.clip_value)
        g = g + is_weight * (optimizer.l1 * np.sign(theta) + optimizer.l2 * theta)
        decay = getattr(optimizer, "weight_decay", 0.0) * optimizer.learning_rate
        theta = theta * (1 - decay * is_weight) - direction(g)
    return theta


def trained(network: Network, optimizer: Optimizer, **options: Any) -> np.ndarray:
    trainer = Trainer(network, optimizer, **options)
    for x, y in batches():
        trainer.step(x, y)
    return network.backend.to_numpy(network.parameters)


def name_of(value: Any) -> str:
    if isinstance(value, Optimizer):
        nesterov = "-nesterov" if getattr(value, "nesterov", False) else ""
        momentum = "-momentum" if getattr(value, "momentum", 0) else ""
        forms = [
            form for form in ("rate_in_velocity", "epsilon_hat") if getattr(value, form, False)
        ]
        return "-".join([type(value).__name__ + momentum + nesterov, *forms])
    return "+".join(value) or "plain"


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_several_steps_follow_the_formula(
    backend: Backend, optimizer: Optimizer, options: dict[str, float]
) -> None:
    optimizer = get_optimizer(optimizer, **options)
    network = linear_network(backend)
    expected = trained_by_the_book(backend.to_numpy(network.parameters), optimizer)
    np.testing.assert_allclose(trained(network, optimizer), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=name_of)
def test_several_steps_follow_the_formula_in_float32(
    backend: Backend, optimizer: Optimizer
) -> None:
    network = linear_network(backend, "float32")
    start = backend.to_numpy(network.parameters).astype("float64")
    result = trained(network, optimizer)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, trained_by_the_book(start, optimizer), rtol=2e-5, atol=2e-5)


def test_the_clipped_cases_above_do_clip() -> None:
    start = linear_network("numpy").parameters.copy()
    for options in OPTIONS[3:5]:
        free = trained_by_the_book(start, SGD(learning_rate=0.1))
        clipped = trained_by_the_book(start, SGD(learning_rate=0.1, **options))
        assert np.abs(free - clipped).max() > 0.01


def test_an_update_larger_than_a_block_of_the_sweep_is_the_same_everywhere() -> None:
    network = Network((200, 150), initializer="zeros", dtype="float64", backend="numpy")
    x, y = np.ones((1, 200)), np.full((1, 150), -1.0)
    Trainer(network, SGD(learning_rate=0.5)).step(x, y)
    assert set(network.parameters) == {-0.5}


@pytest.mark.parametrize(
    "optimizer",
    [
        AdamW(weight_decay=0.5, learning_rate=0.1),
        Lion(weight_decay=0.5, learning_rate=0.1),
        SGD(l2=0.5, learning_rate=0.1),
        SGD(l1=0.5, learning_rate=0.1),
    ],
    ids=["decay-adamw", "decay-lion", "l2", "l1"],
)
def test_decay_and_penalties_shrink_weights_and_leave_biases_alone(
    backend: Backend, optimizer: Optimizer
) -> None:
    network = linear_network(backend)
    before = backend.to_numpy(network.parameters).copy()
    x = np.zeros((1, N_IN))
    Trainer(network, optimizer).step(x, network.predict(x))
    after = backend.to_numpy(network.parameters)
    np.testing.assert_array_equal(after[N_WEIGHTS:], before[N_WEIGHTS:])
    moved = np.abs(before[:N_WEIGHTS]) - np.abs(after[:N_WEIGHTS])
    rate = 0.05 * (1 if getattr(optimizer, "l1", 0) else np.abs(before[:N_WEIGHTS]))
    np.testing.assert_allclose(moved, np.broadcast_to(rate, moved.shape), rtol=1e-9)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_momentum_folded_into_the_gradient_matmul_gives_what_unfolded_momentum_gives(
    backend: Backend, accumulate: int
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(11, 3)), rng.integers(0, 2, 11)
    folded = SGD(learning_rate=0.3, momentum=0.9)
    unfolded = SGD(learning_rate=0.3, momentum=0.9, clip_norm=1e30)
    assert (folded.accumulates, unfolded.accumulates) == (0.9, 0.0)
    results = []
    for optimizer in (folded, unfolded):
        network = Network((3, 4, 2), output="softmax", dtype="float64", backend=backend, seed=2)
        trainer = Trainer(network, optimizer, batch_size=2, accumulate=accumulate, seed=4)
        trainer.fit(x, y, epochs=3)
        results.append(backend.to_numpy(network.parameters))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-11, atol=1e-14)


def test_momentum_lives_on_from_one_fit_to_the_next(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, N_IN)), rng.normal(size=(6, N_OUT))
    results = []
    for epochs in ([4], [1, 3]):
        network = linear_network(backend)
        for optimizer in (SGD(momentum=0.9), Adam()):
            trainer = Trainer(network, optimizer, batch_size=3, seed=1)
            for count in epochs:
                trainer.fit(x, y, epochs=count)
        results.append(backend.to_numpy(network.parameters))
    np.testing.assert_array_equal(results[0], results[1])


def test_names_give_optimizers_with_their_defaults() -> None:
    assert get_optimizer("sgd") == SGD(learning_rate=0.01)
    assert get_optimizer("adam") == Adam(learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert get_optimizer("adamw") == AdamW(weight_decay=0.01)
    assert get_optimizer("rmsprop") == RMSProp(learning_rate=1e-3, decay=0.9)
    assert get_optimizer("lion") == Lion(learning_rate=1e-4, beta2=0.99)
    assert get_optimizer("adam", learning_rate=0.5) == Adam(learning_rate=0.5)
    given = SGD(momentum=0.5)
    assert get_optimizer(given) is given
    assert get_optimizer(given, learning_rate=1.0) == SGD(momentum=0.5, learning_rate=1.0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SGD(learning_rate=0), "learning_rate is 0, expected a number above 0"),
        (lambda: SGD(learning_rate=None), "learning_rate is None, expected a number above 0"),
        (lambda: SGD(learning_rate=True), "learning_rate is True, expected a number above 0"),
        (
            lambda: Adam(learning_rate=math.inf),
            "learning_rate is inf, expected a finite number",
        ),
        (lambda: Adam(learning_rate="1"), "learning_rate is '1', expected a number above 0"),
        (
            lambda: SGD(momentum=1.1),
            "momentum is 1.1, expected a number at least 0 and at most 1",
        ),
        (lambda: SGD(nesterov="yes"), "nesterov is 'yes', expected True or False"),
        (lambda: Adam(beta1=-0.1), "beta1 is -0.1, expected a number at least 0 and below 1"),
        (lambda: Adam(beta2=1), "beta2 is 1, expected a number at least 0 and below 1"),
        (lambda: Adam(epsilon=0), "epsilon is 0, expected a number above 0"),
        (lambda: RMSProp(decay=1.5), "decay is 1.5, expected a number at least 0 and below 1"),
        (lambda: AdamW(weight_decay=-1), "weight_decay is -1, expected a number at least 0"),
        (lambda: Lion(l1=math.nan), "l1 is nan, expected a number at least 0"),
        (lambda: Lion(l2=-1e-9), "l2 is -1e-09, expected a number at least 0"),
        (lambda: SGD(clip_norm=0), "clip_norm is 0, expected a number above 0"),
        (lambda: SGD(clip_value=-2), "clip_value is -2, expected a number above 0"),
        (lambda: get_optimizer("adm"), "unknown optimizer 'adm'; did you mean 'adam'?"),
        (
            lambda: get_optimizer("xyz"),
            "unknown optimizer 'xyz'; known: adam, adamw, lion, rmsprop, sgd",
        ),
        (
            lambda: get_optimizer({"adam": 1}),
            "unknown optimizer {'adam': 1}; known: adam, adamw, lion, rmsprop, sgd",
        ),
    ],
)
def test_wrong_parameters_are_told_by_name(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()


def test_the_optimizers_are_part_of_the_public_face() -> None:
    assert {"SGD", "Adam", "AdamW", "RMSProp", "Lion", "get_optimizer"} <= set(dir(gpubp))


@pytest.mark.parametrize("kind", [Optimizer, SGD, Adam, AdamW, RMSProp, Lion])
def test_the_docstring_names_every_parameter_and_what_is_raised(kind: type[Optimizer]) -> None:
    told, _, raised = (kind.__doc__ or "").partition("Raises\n")
    assert [item.name for item in fields(kind) if item.name not in told] == []
    assert "ValueError" in raised
