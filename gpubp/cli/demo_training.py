"""The training of `gpubp demo`: a network that learns scikit-learn's handwritten digits."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np

import gpubp

from ..backends import Backend, explain_auto, get_backend

__all__ = ["train"]


def train(options: argparse.Namespace) -> int:
    """Train, print the progress, and test.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, with what is to be said about it; the picture of the epochs so far has been written.
    """
    backend, reason = explain_auto()
    if options.backend != "auto":
        backend, reason = get_backend(options.backend), f"--backend {options.backend} asks for it"
    train, validation, test = _digits(options.seed)
    print(f"backend   {backend.name}: {reason}")
    print(f"device    {backend.device}")
    print(
        f"data      digits, {len(train[0])} to train, {len(validation[0])} to validate,"
        f" {len(test[0])} to test; 64 pixels, 10 classes"
    )
    network = gpubp.Network(
        (64, 256, 256, 10),
        hidden="relu",
        output="softmax",
        cost=gpubp.get_cost("cross_entropy", label_smoothing=0.05),
        dropout=0.3,
        backend=backend,
        seed=options.seed,
    )
    print(f"network   {network}")

    _check_gradient(backend, *train)

    trainer = gpubp.Trainer(
        network,
        gpubp.AdamW(learning_rate=3e-3),
        batch_size=64,
        schedule="cosine",
        callbacks=[_Table()],
        seed=options.seed,
    )
    began = time.perf_counter()
    # Without rich, progress would print each epoch twice.
    bar = find_spec("rich") is not None and sys.stderr is not None and sys.stderr.isatty()
    history = trainer.fit(*train, epochs=options.epochs, validation_data=validation, progress=bar)
    seconds = time.perf_counter() - began

    if not len(history):
        raise KeyboardInterrupt(
            "interrupted before the first epoch was trained; nothing was written"
        )
    accuracy = float(np.mean(network.predict(test[0]).argmax(axis=1) == test[1]))
    steps = len(history) * -(-len(train[0]) // 64)
    stopped = "" if history.stopped == "epochs" else f" ({history.stopped})"
    print(f"\ntrained   {len(history)} epochs, {steps} steps in {seconds:.1f} s{stopped}")
    print(f"accuracy  {100 * accuracy:.2f} % on the {len(test[0])} test digits")
    try:
        history.plot(options.output)
        print(f"picture   {options.output.resolve()}")
    except ImportError as error:
        print(f"picture   absent: {error}")
    if history.stopped == "interrupted":
        raise KeyboardInterrupt(f"interrupted after {len(history)} of {options.epochs} epochs")
    return 0


def _check_gradient(backend: Backend, x: Any, y: Any) -> None:
    """Check the gradient of a small tanh network: with relu, finite differences may straddle a kink."""
    small = gpubp.Network((64, 12, 10), hidden="tanh", output="softmax", seed=0, backend=backend)
    check = gpubp.check_gradients(small, x[:32], y[:32])
    print(
        f"gradient  backprop and finite differences differ by {check.relative_error:.1e} (relative);"
        f" checked with\n          {check.checked} parameters of a small tanh network {small.sizes}"
        f" on {backend.name}, in float64\n"
    )


def _digits(seed: int) -> list[tuple[Any, Any]]:
    """Split the digits for training, validation and test: 70, 10 and 20 % of each class."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415
        from sklearn.model_selection import train_test_split  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("the demo needs scikit-learn; pip install 'gpubp[sklearn]'") from error
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.125, random_state=seed, stratify=y)
    return [(x, y), (x_val, y_val), (x_test, y_test)]


class _Table(gpubp.Callback):
    """Prints a line for each epoch, above the progress bar."""

    def on_fit_begin(self, trainer: gpubp.Trainer, epochs: int, steps_per_epoch: int) -> None:
        print(f"{'epoch':>5} {'cost':>9} {'validation':>11} {'accuracy':>10} {'rate':>9} {'ms':>7}")

    def on_epoch_end(self, trainer: gpubp.Trainer, history: gpubp.History) -> None:
        print(
            f"{len(history):5} {history.cost[-1]:9.4f} {history.validation_cost[-1]:11.4f}"
            f" {100 * history.validation_accuracy[-1]:8.2f} % {history.learning_rate[-1]:9.2e}"
            f" {1e3 * history.seconds[-1]:7.1f}"
        )
