"""Measure what a constant of the CPU backend is worth: training steps with other values take turns.

    python benchmarks/tools/variants.py classifier 32 SHARD_ROWS=128 LEAST_OUT=1e9,LEAST_INNER=1e9 twins

This compares the present constants with each variant. A variant sets constants of the modules of
`gpubp.backends.numpy` to other numbers. The variant `twins` runs the NumPy twins instead of compiled
kernels. docs/benchmarks/cpu.md has the figures.
"""

from __future__ import annotations

import argparse
import time
from types import ModuleType

import numpy as np

from gpubp.backends.numpy import NumpyBackend, blas, columns, steps, verbs
from gpubp.benchmarks.contenders import GpubpNumpy
from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS

TURN = 0.05  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("variants", nargs="+", metavar="NAME=NUMBER,...|twins")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--rounds", type=int, default=25, help="turns of each variant")
    options = parser.parse_args()
    architecture, optimizer = ARCHITECTURES[options.architecture], OPTIMIZERS[options.optimizer]
    batch = architecture.batch(options.batch_size)

    contenders = {}
    for variant in ["as it is", *options.variants]:
        contender = Variant(variant)
        contender.open()
        contender.load(architecture, optimizer, batch)
        contender.measure(3)  # captures the step with this variant's constants
        contender.restore()
        contenders[variant] = contender

    steps = max(1, int(TURN / next(iter(contenders.values())).measure(5)))
    seconds = {variant: np.empty(options.rounds) for variant in contenders}
    for turn in range(options.rounds):
        for variant, contender in contenders.items():
            contender.measure(steps // 4 + 1)
            seconds[variant][turn] = contender.measure(steps)

    print(f"{options.architecture}, {options.batch_size} rows, {options.optimizer}: µs a step")
    for variant, times in seconds.items():
        low, median, high = np.percentile(times, [25, 50, 75]) * 1e6
        ratio = np.median(times / seconds["as it is"])
        print(f"{variant:40s} {median:9.0f} ±{(high - low) / 2 / median:4.0%}   {ratio:.2f} times")


class Variant(GpubpNumpy):
    """gpubp on the CPU with some of its constants changed, until `restore`."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self._kept: list[tuple[ModuleType, str, object]] = []
        if variant == "twins":
            self.backend = NumpyBackend(compile=False)
        elif "=" in variant:
            for setting in variant.split(","):
                self._set(*setting.split("="))

    def _set(self, name: str, value: str) -> None:
        for module in (steps, columns, verbs, blas):
            if hasattr(module, name):
                self._kept.append((module, name, getattr(module, name)))
                setattr(module, name, int(float(value)))
                return
        raise SystemExit(f"no constant called {name}")

    def restore(self) -> None:
        for module, name, value in reversed(self._kept):
            setattr(module, name, value)

    def measure(self, steps: int) -> float:
        """Time steps in a row; return the seconds of one."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
