"""Networks, data and a callback that the tests of training share."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp import SGD, Callback, History, Network, Trainer
from gpubp.backends import Backend

TINY_RATE = SGD(learning_rate=1e-300)


def parameters(network: Network) -> np.ndarray:
    return np.array(network.backend.to_numpy(network.parameters))


def classes(
    rows: int, n_in: int = 3, n_out: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, n_in)), rng.integers(0, n_out, rows)


def classifier(backend: Backend | str = "numpy", **options: Any) -> Network:
    options = {"hidden": "tanh", "dtype": "float64", "seed": 0, **options}
    return Network((3, 4, 3), output="softmax", backend=backend, **options)


def single_weight(backend: Backend | str = "numpy", weight: float = 0.0) -> Network:
    """Make a network with the output w x and the cost ½ (w x - y)²."""
    network = Network((1, 1), biases=False, dtype="float64", backend=backend)
    network.parameters[...] = weight
    return network


class Log(Callback):
    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log = name, log

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self.log.append((self.name, "fit begins", trainer, epochs, steps_per_epoch))

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self.log.append((self.name, "epoch begins", trainer, epoch))

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.log.append((self.name, "step", trainer, step))

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self.log.append((self.name, "epoch ends", trainer, len(history)))

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        self.log.append((self.name, "fit ends", trainer, len(history)))
