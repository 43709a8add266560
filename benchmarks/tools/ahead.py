"""Compare kernels built ahead, kernels compiled here and NumPy twins: steps, and first fits.

    python -m gpubp.kernels.cpu.build_ahead FOLDER
    python benchmarks/tools/ahead.py FOLDER
    python benchmarks/tools/ahead.py FOLDER --networks classifier:512 relu-64 --threads 1
    python benchmarks/tools/ahead.py FOLDER --processor avx2
    python benchmarks/tools/ahead.py FOLDER --first

FOLDER has a library that was built ahead, and its record; an unpacked wheel has them in gpubp/kernels/cpu.
Each kind of kernels has a process of its own. The processes measure in turns, and each one's threads sleep
while others measure. With --processor all of them, and OpenBLAS, compute as on a processor without more
instructions. With --first each measurement is a new process, from its start to the end of a fit of one
epoch. docs/cpu.md has the figures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS

Environment = dict[str, str]

TURN = 0.03  # seconds
AS = {"baseline": ("Nehalem", "nehalem"), "avx2": ("Haswell", "haswell")}
"""For each variant but the best one, OpenBLAS's and GCC's names of a processor with these instructions."""
ROWS = {"narrow": 32, "classifier": 128, "regression": 128}
NETWORKS = ("tanh-4", "tanh-24", "relu-10", "relu-64", "gelu-48", "silu-13", "narrow:32", "narrow:512",
            "classifier:32", "classifier:512", "regression:32", "regression:512")  # fmt: skip

WORKER = """
import sys, time
from gpubp.benchmarks.contenders import GpubpNumpyFit
from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS
contenders = {}
for line in sys.stdin:
    network, rows, optimizer, steps = line.split()
    key = network, rows, optimizer
    if key not in contenders:
        contender = contenders[key] = GpubpNumpyFit()
        contender.open()
        architecture = ARCHITECTURES[network]
        contender.load(architecture, OPTIMIZERS[optimizer], architecture.batch(int(rows)))
        contender.steps(8)
    began = time.perf_counter()
    contenders[key].steps(int(steps))
    print((time.perf_counter() - began) / int(steps), flush=True)
"""
"""A process that measures the mean seconds of so many steps within fit, for each line that it reads."""

FIRST = """
import numpy as np, gpubp
rng = np.random.default_rng(0)
x, y = rng.normal(size=(1000, 20)).astype("float32"), rng.integers(0, 5, 1000)
network = gpubp.Network((20, 50, 5), output="softmax", seed=0, backend="numpy")
gpubp.Trainer(network, "adam", batch_size=32, seed=0).fit(x, y, epochs=1)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME[:ROWS]")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument(
        "--threads", type=int, help="threads of each process (default: as it chooses)"
    )
    parser.add_argument("--rounds", type=int, default=61, help="turns of each kind")
    parser.add_argument("--processor", choices=AS, default="", help="instructions of all processes")
    parser.add_argument("--first", action="store_true", help="measure first fits of new processes")
    options = parser.parse_args()
    if options.first:
        compare_first_fits(options.folder.resolve(), min(options.rounds, 7))
    else:
        compare_steps(options)


def kinds(folder: Path, processor: str = "", threads: int | None = None) -> dict[str, Environment]:
    """Return the environment of each kind of kernels."""
    common = {k: v for k, v in os.environ.items() if not k.startswith("GPUBP")}
    if threads is not None:
        common["OPENBLAS_NUM_THREADS"] = str(threads)
    if processor:
        core, march = AS[processor]
        common |= {"OPENBLAS_CORETYPE": core, "CXX": f"g++ -march={march}"}
    here = common | {"GPUBP_BUILT_AHEAD": "0"}
    ahead = common | {"GPUBP_BUILT_AHEAD": str(folder), "GPUBP_PROCESSOR": processor}
    return {
        "compiled here": here,
        "built ahead": ahead | {"GPUBP_COMPILE": "0"},
        "NumPy twins": here | {"GPUBP_COMPILE": "0"},
    }


def compare_steps(options: argparse.Namespace) -> None:
    environments = kinds(options.folder.resolve(), options.processor, options.threads)
    workers = {
        kind: subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind, environment in environments.items()
    }

    def measure(kind: str, task: str, steps: int) -> float:
        worker = workers[kind]
        assert worker.stdin is not None and worker.stdout is not None
        print(task, steps, file=worker.stdin, flush=True)
        return float(worker.stdout.readline())

    print("µs a step within fit, and times that of kernels compiled here (medians)")
    print(f"{'':18}" + "".join(f"{kind:>20}" for kind in workers))
    for name in options.networks:
        network, _, rows = name.partition(":")
        count = int(rows or ARCHITECTURES[network].rows or ROWS.get(network, 128))
        task = f"{network} {count} {options.optimizer}"
        seconds = {kind: np.empty(options.rounds) for kind in workers}
        steps = {kind: max(1, int(TURN / measure(kind, task, 8))) for kind in workers}
        for turn in range(options.rounds):
            for kind in workers:
                time.sleep(0.002)  # the threads of the last turn fall asleep
                seconds[kind][turn] = measure(kind, task, steps[kind])
        base = seconds["compiled here"]
        cells = (
            f"{np.median(t) * 1e6:9.1f} {np.median(t / base):6.2f} x" for t in seconds.values()
        )
        print(f"{name:18}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    for worker in workers.values():
        worker.communicate()


def compare_first_fits(folder: Path, rounds: int) -> None:
    environments = kinds(folder)
    here = environments["compiled here"]
    cases = {
        "built ahead": (environments["built ahead"], False),
        "compiled here, nothing stored": (here, True),
        "compiled here, kernels stored": (here, False),
        "NumPy twins": (environments["NumPy twins"], False),
    }
    print("seconds from the start of a process to the end of its first epoch (median)")
    with tempfile.TemporaryDirectory() as cache:
        seconds: dict[str, list[float]] = {case: [] for case in cases}
        for turn in range(rounds):
            for case, (environment, is_empty) in cases.items():
                if is_empty and turn > 1:
                    continue  # it takes seconds
                with tempfile.TemporaryDirectory() as empty:
                    began = time.perf_counter()
                    subprocess.run(
                        [sys.executable, "-c", FIRST],
                        env=environment | {"XDG_CACHE_HOME": empty if is_empty else cache},
                        check=True,
                    )
                    seconds[case].append(time.perf_counter() - began)
    for case, values in seconds.items():
        print(f"{case:32}{np.median(values[1:] or values):8.2f}")


if __name__ == "__main__":
    main()
