"""Training steps by themselves, ready to run: what their tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
from small_networks import classes, parameters

from gpubp import SGD, Adam, Network, Optimizer, RMSProp, Trainer
from gpubp.training import BatchForm, TrainingStep

X, Y = classes(24)
FORM = BatchForm(24, labels=True, weighted=False, block_limit=None)

OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.1),
    "momentum": SGD(learning_rate=0.1, momentum=0.9),
    "nesterov": SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    "clipped momentum": SGD(learning_rate=0.1, momentum=0.9, clip_norm=0.05),
    "penalised momentum": SGD(learning_rate=0.1, momentum=0.9, l2=0.1),
    "adam": Adam(learning_rate=0.01),
    "rmsprop": RMSProp(learning_rate=0.01),
}


def step_on(
    network: Network, optimizer: Optimizer, x: Any = X, y: Any = Y, **options: Any
) -> TrainingStep:
    """Make a training step that is ready to run on all of x and y."""
    step = TrainingStep(network, optimizer, dropout_seed=5, **options)
    backend = network.backend
    step.rows.set(backend.asarray(np.asarray(x, network.dtype)), backend.asarray(y))
    return step


def by_trainer(network: Network, optimizer: Optimizer, steps: int) -> np.ndarray:
    """Make `steps` steps of a trainer on all of X and Y; return the parameters."""
    trainer = Trainer(network, optimizer, seed=0)
    for _ in range(steps):
        trainer.step(X, Y)
    return parameters(network)
