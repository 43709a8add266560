"""Show what Python adds to the steps of a small network: in an epoch, and in Trainer.step.

    python benchmarks/tools/overhead.py 24-8-2:200:1 13-20-20-1:32:32 13-20-20-1:1:256

A point is the network's sizes, the rows of a batch and the batches of an epoch; hidden layers are tanh. The
learning rate is so small that gradients stay normal numbers: a processor is slow at smaller ones. The
figures are microseconds, the least of several rounds:

    in a row      a step, if steps run one after another with as little between them as the backend can
    Trainer.step  a step by this method
    epoch         an epoch of `Trainer.fit`, beyond the first
    beyond        what an epoch takes beyond its steps in a row: Python, the order, rows outside the caches
    first fit     a fit of one epoch by a new trainer, with its network
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import gpubp

STEPS = 64
"""The steps that are timed together."""

NAMES = ("in a row", "Trainer.step", "epoch", "beyond", "first fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", nargs="+", metavar="SIZES:ROWS:BATCHES")
    parser.add_argument("--backend", default="numpy", help="auto, numpy or cupy")
    parser.add_argument("--rounds", type=int, default=40, help="of which the least counts")
    options = parser.parse_args()
    print(f"{'':24}" + "".join(f"{name:>14}" for name in NAMES))
    for point in options.points:
        sizes, rows, batches = point.split(":")
        widths = tuple(map(int, sizes.split("-")))
        figures = measure(widths, int(rows), int(batches), options.backend, options.rounds)
        print(f"{point:24}" + "".join(f"{1e6 * figures[name]:14.2f}" for name in NAMES))


def measure(
    sizes: tuple[int, ...], rows: int, batches: int, backend: str, rounds: int
) -> dict[str, float]:
    """Measure the seconds of each of `NAMES`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows * batches, sizes[0])).astype(np.float32)
    y = rng.normal(size=(rows * batches, sizes[-1])).astype(np.float32)

    def new_trainer() -> gpubp.Trainer:
        network = gpubp.Network(sizes, hidden="tanh", backend=backend, seed=0)
        return gpubp.Trainer(network, gpubp.Adam(learning_rate=1e-7), batch_size=rows, seed=0)

    trainer = new_trainer()
    to_device = trainer.backend.asarray
    each = [slice(k * rows, (k + 1) * rows) for k in range(batches)]
    pairs = [(to_device(x[part]), to_device(y[part])) for part in each]

    def single_steps() -> None:
        for k in range(STEPS):
            trainer.step(*pairs[k % batches])
        trainer.backend.synchronize()

    single_steps()
    single = best(single_steps, rounds) / STEPS
    step, form = trainer.training_step, trainer.form_of(rows, False, False, False)

    def in_a_row() -> float:
        step.rows.set(*pairs[0])
        step.prepare(STEPS)
        began = time.perf_counter()
        while step.steps_done < STEPS:
            step.run_some(form, STEPS - step.steps_done)
        trainer.backend.synchronize()
        seconds = time.perf_counter() - began
        step.release()
        return seconds

    row = min(in_a_row() for _ in range(rounds)) / STEPS
    epochs = max(2, 200 // batches)
    trainer.fit(x, y, epochs=1)
    one, many = (best(lambda n=n: trainer.fit(x, y, epochs=n), rounds) for n in (1, 1 + epochs))
    epoch = (many - one) / epochs
    first = best(lambda: new_trainer().fit(x, y, epochs=1), rounds)
    return dict(zip(NAMES, (row, single, epoch, epoch - batches * row, first), strict=True))


def best(function: Callable[[], object], rounds: int) -> float:
    """Return the least time of several calls, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
