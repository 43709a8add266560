"""Measure the host time of each launch of `Trainer.step` without CUDA graphs, in microseconds.

    python benchmarks/tools/launches.py
    python benchmarks/tools/launches.py narrow 512

Three ways are timed. First, through the verbs, which look at their arrays and choose a kernel. Second,
bound: from its third time on, a step is replayed as launches that already have their arrays. Third, a bare
`cupy.RawKernel` of six arguments. On a GPU the device works meanwhile. Without a GPU, CuPy runs on emulated
devices (tests/support). They do not run the kernels, and cost one or two microseconds a launch.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gpubp
from gpubp.backends.cupy import CupyBackend, cublas, open_cupy
from gpubp.benchmarks.tasks import ARCHITECTURES

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from support import cupy_on_host

SMALL, CALLS = ("narrow", "classifier", "regression"), 50
BARE = (
    'extern "C" __global__ void bare(float* a, float* b, float* c, float* d, long long n, int m) {}'
)


def main(networks: Sequence[str], rows: int, rounds: int) -> None:
    backend, note = open_backend()
    xp, bare = backend.xp, backend.xp.RawKernel(BARE, "bare")
    arrays = tuple(xp.zeros(4, np.float32) for _ in range(4))

    def launch_bare() -> None:
        bare((1,), (32,), (*arrays, np.int64(4), np.int32(4)))

    def measure(call: Callable[[], None]) -> float:
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            taken.append((time.perf_counter() - start) / CALLS)
            note.clear()
            backend.synchronize()
        return 1e6 * statistics.median(taken)

    print(f"{backend.device}; {rows} rows, µs a launch\n")
    print(f"{'':12}{'launches':>10}{'verbs':>8}{'bound':>8}{'the step, bound':>20}")
    for name in networks:
        architecture = ARCHITECTURES[name]
        network = gpubp.Network(
            architecture.sizes,
            hidden=architecture.hidden,
            output=architecture.output,
            backend=backend,
        )
        trainer = gpubp.Trainer(network, "adam", seed=0)
        batch = architecture.batch(rows)
        x, y = backend.asarray(batch.x), backend.asarray(batch.targets[0])
        step_once = partial(trainer.step, x, y)
        for _ in range(3):
            step_once()
        (step,) = trainer._training_step.captured.values()
        (launches,) = step._lists.values()
        count = len(launches)
        bound = measure(step_once)
        step._lists.clear()
        step._refused = step._met  # the step now goes through the verbs every time
        verbs = measure(step_once)
        print(f"{name:12}{count:10}{verbs / count:8.1f}{bound / count:8.1f}{bound:20.0f}")
    print(f"\nbare RawKernel{measure(launch_bare):15.1f}")


def open_backend() -> tuple[CupyBackend, list[Any]]:
    """Open the backend without graphs, and return the list where emulated devices note their calls."""
    note: list[Any] = []
    if not cupy_on_host.gpus()[0]:
        cuda = cupy_on_host.install()
        cuda.runtime.present, cuda.runtime.noted = True, note
        cublas.load_library = lambda: cuda.cublas
    return open_cupy(graphs=False), note


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", choices=ARCHITECTURES, help="all small ones without")
    parser.add_argument("rows", nargs="?", type=int, default=32, help="of a batch (default 32)")
    parser.add_argument("--rounds", type=int, default=7, help="their median counts (default 7)")
    given = parser.parse_args()
    main([given.network] if given.network else SMALL, given.rows, given.rounds)
