"""A training loop in plain NumPy, with a rate for each layer, and what its tests share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from single_steps import OPTIMIZERS
from small_networks import classes

import gpubp
from gpubp import SGD, Adam, AdamW, Lion, Network, RMSProp, Trainer
from gpubp.backends import Backend
from gpubp.layers import Layout

SIZES = (5, 6, 4, 3)
ROWS = 8
RATES = [(0, 0.1, 1), (0.5, 1, 0), (1, 0, 2), (0, 0, 0.5), (0.3, 0.3, 0.3), (1, 2, 3)]
TEXTBOOK: dict[str, gpubp.Optimizer] = {
    **{name: replace(optimizer) for name, optimizer in OPTIMIZERS.items()},
    "momentum in its rate": SGD(learning_rate=0.1, momentum=0.9, rate_in_velocity=True),
    "nesterov in its rate": SGD(
        learning_rate=0.1, momentum=0.9, nesterov=True, rate_in_velocity=True
    ),
    "adam hat": Adam(learning_rate=0.01, epsilon=1e-3, epsilon_hat=True),
    "clipped adam": Adam(learning_rate=0.01, epsilon=1e-3, clip_norm=0.05, clip_value=0.01),
    "adamw": AdamW(learning_rate=0.01, weight_decay=0.3),
    "lion": Lion(learning_rate=0.01, weight_decay=0.2),
    "penalised rmsprop": RMSProp(learning_rate=0.01, epsilon=1e-3, l1=0.01, l2=0.1),
}


class Loop:
    """A training loop in NumPy, float64: tanh layers, then softmax with cross-entropy."""

    def __init__(self, network: Network, optimizer: gpubp.Optimizer) -> None:
        to_numpy = network.backend.to_numpy
        self.weights = [np.array(to_numpy(layer.weights), float) for layer in network.layers]
        self.biases = [np.array(to_numpy(layer.biases), float) for layer in network.layers]
        self.optimizer: Any = optimizer
        self.steps = 0
        self.m = [[np.zeros_like(p) for p in pair] for pair in self.pairs]
        self.v = [[np.zeros_like(p) for p in pair] for pair in self.pairs]

    @property
    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(zip(self.weights, self.biases, strict=True))

    @property
    def parameters(self) -> np.ndarray:
        return np.concatenate([p.ravel() for p in (*self.weights, *self.biases)])

    def gradients(self, x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        a = [x]
        for w, b in self.pairs[:-1]:
            a.append(np.tanh(a[-1] @ w.T + b))
        z = a[-1] @ self.weights[-1].T + self.biases[-1]
        exp = np.exp(z - z.max(axis=1, keepdims=True))
        delta = (exp / exp.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[y]) / len(x)
        found = []
        for k in reversed(range(len(a))):
            found.append((delta.T @ a[k], delta.sum(axis=0)))
            delta = (delta @ self.weights[k]) * (1 - a[k] ** 2)
        return found[::-1]

    def step(self, x: np.ndarray, y: np.ndarray, factors: Sequence[float]) -> None:
        o, found = self.optimizer, self.gradients(x, y)
        self.steps += 1
        trained = [k for k, factor in enumerate(factors) if factor]
        norm = np.sqrt(sum((g**2).sum() for k in trained for g in found[k]))
        for k in trained:
            rate = o.learning_rate * factors[k]
            for j, (theta, gradient) in enumerate(zip(self.pairs[k], found[k], strict=True)):
                g = gradient * min(1, (o.clip_norm or np.inf) / norm)
                g = np.clip(g, -(o.clip_value or np.inf), o.clip_value or np.inf)
                if j == 0:
                    g += o.l1 * np.sign(theta) + o.l2 * theta
                    np.multiply(theta, 1 - rate * o.weight_decay_rate, out=theta)
                subtracted = self._subtracted(g, rate, self.m[k], self.v[k], j)
                np.subtract(theta, subtracted, out=theta)

    def _subtracted(self, g: np.ndarray, rate: float, m: Any, v: Any, j: int) -> np.ndarray:
        o, t = self.optimizer, self.steps
        if isinstance(o, SGD) and o.rate_in_velocity:
            v[j] = o.momentum * v[j] + rate * g
            return np.asarray(rate * g + o.momentum * v[j] if o.nesterov else v[j])
        if isinstance(o, SGD):
            v[j] = o.momentum * v[j] + g
            return np.asarray(rate * (g + o.momentum * v[j] if o.nesterov else v[j]))
        if isinstance(o, Adam):
            m[j] = o.beta1 * m[j] + (1 - o.beta1) * g
            v[j] = o.beta2 * v[j] + (1 - o.beta2) * g**2
            c1, c2 = 1 - o.beta1**t, 1 - o.beta2**t
            if o.epsilon_hat:
                return np.asarray(rate * np.sqrt(c2) / c1 * m[j] / (np.sqrt(v[j]) + o.epsilon))
            return np.asarray(rate * (m[j] / c1) / (np.sqrt(v[j] / c2) + o.epsilon))
        if isinstance(o, RMSProp):
            v[j] = o.decay * v[j] + (1 - o.decay) * g**2
            return np.asarray(rate * g / (np.sqrt(v[j]) + o.epsilon))
        direction = np.sign(o.beta1 * m[j] + (1 - o.beta1) * g)
        m[j] = o.beta2 * m[j] + (1 - o.beta2) * g
        return np.asarray(rate * direction)


def made(backend: Backend | str = "numpy", sizes: Sequence[int] = SIZES, **options: Any) -> Network:
    options = {"hidden": "tanh", "dtype": "float64", "seed": 2, **options}
    network = Network(sizes, output="softmax", backend=backend, **options)
    for layer in network.layers:
        if layer.biases is not None:
            layer.biases = np.linspace(-0.1, 0.2, layer.n_out)
    return network


def batches(count: int, seed: int = 0, sizes: Sequence[int] = SIZES) -> list[tuple[Any, Any]]:
    return [classes(ROWS, sizes[0], sizes[-1], seed + k) for k in range(count)]


def state_arrays(trainer: Trainer) -> dict[str, np.ndarray]:
    """Copy the parameters, and the optimizer's state in their order."""
    with trainer.backend.use():
        arrays = trainer.training_step.take().arrays
    return {name: np.array(trainer.backend.to_numpy(a)) for name, a in arrays.items()}


def is_frozen(layout: Layout, factors: Sequence[float]) -> np.ndarray:
    """Find the parameters of layers with factor 0."""
    frozen = np.zeros(layout.size, bool)
    for factor, (weights, biases) in zip(factors, layout.views(frozen), strict=True):
        weights[...] = factor == 0
        if biases is not None:
            biases[...] = factor == 0
    return frozen
