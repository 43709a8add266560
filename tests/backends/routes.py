"""The routes of a training step on CUDA, and networks that take them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse
from environment import rounds
from oracles import st

import gpubp
from gpubp.backends import Backend
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, Activation, Cost
from gpubp.kernels.typing import Array

STEPS = rounds(16, 50)
"""The steps of a training: at least so many."""


class Route(NamedTuple):
    """How steps are launched, and what computes products."""

    graphs: bool
    cublas: bool
    fused: bool

    def __str__(self) -> str:
        words = "graphs" if self.graphs else "lists", "cublas" if self.cublas else "own"
        return "-".join((*words, *(["fused"] if self.fused else [])))


ROUTES = [
    Route(graphs, cublas, fused)
    for cublas in (False, True)
    for fused in (False, True)
    for graphs in (False, True)
]


def open_route(route: Route, device: int = 0) -> CupyBackend:
    """Open a backend of this route, whose new arrays hold numbers that no result may contain."""
    backend = open_cupy(device, route.graphs, route.fused)
    empty = backend.empty

    def spoiled(shape: Any, dtype: Any) -> Array:
        array = empty(shape, dtype)
        array.fill(np.nan if array.dtype.kind == "f" else 0x7F)
        return array

    backend.empty = spoiled  # type: ignore[method-assign]
    return backend


TWINS = NumpyBackend(compile=False)
"""The NumPy twins, which have no text in common with the CUDA kernels."""

CUSTOM = Activation.from_functions(
    "custom", lambda xp, z: z / xp.sqrt(1 + z * z), lambda xp, z: (1 + z * z) ** -1.5
)
TEXT = Activation.from_functions(
    *("with text", lambda xp, z: z / (1 + z * z), lambda xp, z: (1 - z * z) / (1 + z * z) ** 2),
    cuda="return z / (T(1) + z * z);",
    cuda_derivative="const T q = T(1) + z * z; return (T(1) - z * z) / (q * q);",
)
FOURTH = Cost.from_functions(
    "fourth power", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
)
HEADS: list[tuple[Any, Any]] = [
    *(("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")),
    *(("identity", "quadratic"), ("identity", "huber"), ("softmax", "quadratic")),
    *(("exponential", "poisson"), ("tanh", "absolute_error"), ("gelu", "log_cosh")),
    *(("sigmoid", "quantile"), ("silu", "quadratic"), ("sigmoid", "cross_entropy")),
    *((TEXT, "huber"), (CUSTOM, "quadratic"), ("tanh", FOURTH)),
]
CHAOTIC = "softmax", "exponential"
"""No hidden layer has these; after exponential, rounding errors grow without bound."""
HIDDEN = [*(name for name in ACTIVATIONS if name not in CHAOTIC), CUSTOM, TEXT]
WIDTHS = [1, 2, 3, 4, 5, 8, 10, 17, 32, 33, 40, 64, 65, 70]
OPTIMIZERS = [
    gpubp.SGD(learning_rate=0.05, momentum=0.9, clip_norm=1.0),
    gpubp.SGD(learning_rate=0.05, momentum=0.9, nesterov=True, clip_value=0.1),
    gpubp.SGD(learning_rate=0.1, l2=0.01, clip_norm=1.0),
    # The gradients' rounding errors are small beside this epsilon.
    gpubp.Adam(learning_rate=0.01, epsilon=1e-3),
    gpubp.AdamW(learning_rate=0.01, epsilon=1e-3, weight_decay=0.1, clip_norm=0.5),
    gpubp.RMSProp(learning_rate=0.01, epsilon=1e-3, l1=0.001),
    gpubp.Lion(learning_rate=0.001, weight_decay=0.1),
]
FACTORS = [0.0, 0.0, 0.5, 1.0, 2.0]
SMOOTH = {"identity", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "mish", "softplus", "sine"}


@dataclass(frozen=True)
class Training:
    """A training to do on a route; `options` are the network's and `settings` the trainer's.

    `wide` says to treat layers as wide ones: no gradients beside δ, and each layer's update by itself.
    """

    sizes: tuple[int, ...]
    hidden: list[Any] = field(default_factory=list)
    head: tuple[Any, Any] = ("softmax", "cross_entropy")
    dtype: str = "float64"
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    optimizer: Any = field(default_factory=lambda: gpubp.SGD(learning_rate=0.05, momentum=0.9))
    rows: int = 50
    labels: bool = True
    weighted: bool = False
    density: float = 1.0
    converted: bool = False
    wide: bool = False
    seed: int = 0

    @property
    def cost(self) -> str:
        """The cost's name."""
        return str(getattr(self.head[1], "name", self.head[1]))

    @property
    def is_smooth(self) -> bool:
        """Whether no derivative jumps, and no update divides by a gradient."""
        names = {getattr(entry, "name", entry) for entry in (*self.hidden, *self.head)}
        jumps = {"huber", "absolute_error", "quantile"}
        return (
            isinstance(self.optimizer, gpubp.SGD)
            and names
            <= SMOOTH
            | {
                *("softmax", "cross_entropy", "quadratic", "binary_cross_entropy", "log_cosh"),
                *("custom", "with text", "fourth power"),
            }
            - jumps
        )

    @property
    def epochs(self) -> int:
        """The number of epochs that make `STEPS` steps."""
        rows_of_step = self.settings["batch_size"] * self.settings.get("accumulate", 1)
        return -(-STEPS // -(-self.rows // rows_of_step))

    def data(self) -> tuple[Any, Any, Any]:
        """Draw x, y and weights, which float32 holds exactly; x has the network's type or is float32."""
        rng, n_out = np.random.default_rng(self.seed), self.sizes[-1]
        x = rng.normal(size=(self.rows, self.sizes[0])).astype(np.float32)
        x = x if self.converted else x.astype(self.dtype)
        if self.density < 1:
            x = scipy.sparse.csr_array(x * (rng.random(x.shape) < self.density))
        y: Any = rng.uniform(0.05, 0.95, (self.rows, n_out)).astype(np.float32)
        if self.cost == "cross_entropy":
            y = rng.dirichlet(np.ones(n_out), self.rows)
            y = rng.integers(0, n_out, self.rows) if self.labels else y
        weights = rng.uniform(0.5, 2, self.rows).astype(np.float32)
        return x, y, weights if self.weighted else None

    def network(self, backend: str | Backend, dtype: str = "", **options: Any) -> gpubp.Network:
        """Make the network; its first parameters are the same in every dtype."""
        output, cost = self.head
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
            network = gpubp.Network(
                *(self.sizes,), hidden=self.hidden, output=output, cost=cost, seed=self.seed,
                dtype=dtype or self.dtype, backend=backend, **self.options | options,
            )  # fmt: skip
        rng = np.random.default_rng(self.seed)
        values = rng.normal(0, 1, network.layout.size)
        for weights, biases in network.layout.views(values):
            np.divide(weights, np.sqrt(weights.shape[1]), out=weights)
            if biases is not None:
                np.divide(biases, 10, out=biases)
        network.parameters = values.astype(np.float32)
        return network

    def trainer(self, backend: str | Backend, dtype: str = "", **options: Any) -> gpubp.Trainer:
        network = self.network(backend, dtype, **options)
        return gpubp.Trainer(network, self.optimizer, seed=self.seed, **self.settings)


@st.composite
def trainings(draw: Any) -> Training:
    """Draw a training in float64."""
    choose = lambda choices: draw(st.sampled_from(choices))  # noqa: E731
    depth, rows = draw(st.integers(1, 4)), draw(st.integers(1, 150))
    head = choose(HEADS)
    widths = [choose(WIDTHS) for _ in range(depth + 1)]
    if head[0] == "softmax":  # one output would always be 1, and lion follow the sign of noise
        widths[-1] = max(widths[-1], 2)
    options = {
        "biases": [draw(st.booleans()) or draw(st.booleans()) for _ in range(depth)],
        "dropout": [choose([0.0, 0.0, 0.3]) for _ in range(depth - 1)],
    }
    cost = head[1]
    if cost == "cross_entropy" and draw(st.booleans()):
        head = head[0], gpubp.get_cost("cross_entropy", label_smoothing=0.1)
    return Training(
        tuple(widths),
        [choose(HIDDEN) for _ in range(depth - 1)],
        head,
        options=options,
        settings={
            "batch_size": draw(st.integers(max(1, rows // choose([1, 6, 40])), rows)),
            "shuffle": draw(st.booleans()),
            "accumulate": choose([1, 1, 1, 2]),
            "layer_rates": choose([None, None, [*map(choose, [FACTORS] * (depth - 1)), 1.0]]),
        },
        optimizer=choose(OPTIMIZERS),
        rows=rows,
        labels=draw(st.booleans()),
        weighted=draw(st.booleans()),
        density=choose([1.0, 1.0, 1.0, 0.3]),
        converted=choose([False, False, True]),
        wide=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


@contextmanager
def limits(training: Training, cublas: bool) -> Iterator[None]:
    """Set the sizes from which on cuBLAS computes, and layers are wide."""
    with pytest.MonkeyPatch.context() as patch:
        if cublas:
            patch.setattr("gpubp.kernels.matmul.SMALL_WORK", 0)
        if training.wide:
            patch.setattr("gpubp.workspace.APART_ELEMENTS", 0)
            patch.setattr("gpubp.training.update_parts.LEAST_WEIGHTS", 64)
        yield


class Trained(NamedTuple):
    """What a training gives, and the length of the way from the first parameters to the last."""

    parameters: Array
    costs: Array
    validation: float
    accuracy: float | None
    outputs: Array
    way: float


def train(training: Training, backend: str | Backend, dtype: str = "", **options: Any) -> Trained:
    """Run the training's fit; evaluate and predict afterwards."""
    trainer = training.trainer(backend, dtype, **options)
    places = [values_of(trainer)]

    class Places(gpubp.Callback):
        def on_step_end(self, trainer: gpubp.Trainer, step: int) -> None:
            places.append(values_of(trainer))

    x, y, weights = training.data()
    trainer.callbacks = [Places()] if backend is TWINS else []
    held_out = training.rows // 3 + 1
    history = trainer.fit(
        *(x, y), epochs=training.epochs, sample_weight=weights,
        validation_data=(x[:held_out], y[:held_out]),
    )  # fmt: skip
    way = sum(float(np.linalg.norm(b - a)) for a, b in pairwise(places))
    outputs = trainer.network.predict(x[:held_out])
    scores = history.validation_cost[-1], (history.validation_accuracy or [None])[-1]
    return Trained(values_of(trainer), np.array(history.cost), *scores, outputs, way)


def values_of(trainer: gpubp.Trainer) -> Array:
    """Return the network's parameters on the host."""
    return np.array(trainer.backend.to_numpy(trainer.network.parameters))
