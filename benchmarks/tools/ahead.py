"""Compare kernels built ahead, kernels compiled here and NumPy twins: steps, and first fits.

    python -m gpubp.kernels.cpu.build_ahead FOLDER
    python benchmarks/tools/ahead.py FOLDER
    python benchmarks/tools/ahead.py FOLDER --networks classifier:512 relu-64 --threads 1
    python benchmarks/tools/ahead.py FOLDER --processor avx2
    python benchmarks/tools/ahead.py FOLDER --first

FOLDER has a library that was built ahead, and its record; an unpacked wheel has them in gpubp/kernels/cpu.
Each kind of kernels has several processes of its own, since chance makes a process fast or slow. The
processes measure in turns, and each one's threads sleep while others measure. With --processor
all of them, and OpenBLAS, compute as on a processor without more instructions. With --first new processes
are measured: from the start to the end of a fit of one epoch, and to the end of `gpubp demo`.
docs/explanation/cpu.md has the figures.
"""

from __future__ import annotations

import argparse
import itertools
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
    parser.add_argument("--rounds", type=int, default=60, help="turns of each kind")
    parser.add_argument("--processes", type=int, default=4, help="processes of each kind")
    parser.add_argument("--processor", choices=AS, default="", help="instructions of all processes")
    parser.add_argument("--first", action="store_true", help="measure first fits of new processes")
    options = parser.parse_args()
    if options.first:
        compare_first_fits(options.folder.resolve(), max(2, min(options.rounds, 5)))
    else:
        compare_steps(options)


def kinds(folder: Path, processor: str = "", threads: int | None = None) -> dict[str, Environment]:
    """Return the environment of each kind of kernels."""
    common = {k: v for k, v in os.environ.items() if not k.startswith("GPUBP")}
    common["PYTHONWARNINGS"] = "error::RuntimeWarning"  # of a library that is not used
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
        kind: [worker_in(environment) for _ in range(options.processes)]
        for kind, environment in environments.items()
    }

    def measure(kind: str, turn: int, task: str, steps: int) -> float:
        worker = workers[kind][turn % options.processes]
        assert worker.stdin is not None and worker.stdout is not None
        print(task, steps, file=worker.stdin, flush=True)
        return float(worker.stdout.readline())

    print("µs a step within fit, and times that of kernels compiled here (medians)")
    print(f"{'':18}" + "".join(f"{kind:>20}" for kind in workers))
    of_networks: list[dict[str, float]] = []
    for name in options.networks:
        network, _, rows = name.partition(":")
        count = int(rows or ARCHITECTURES[network].rows or ROWS.get(network, 128))
        task = f"{network} {count} {options.optimizer}"
        seconds = {kind: np.empty(options.rounds) for kind in workers}
        for turn in range(options.processes):  # each one loads the task
            steps = {kind: max(1, int(TURN / measure(kind, turn, task, 8))) for kind in workers}
        for turn in range(options.rounds):
            for kind in workers:
                time.sleep(0.002)  # the threads of the last turn fall asleep
                seconds[kind][turn] = measure(kind, turn, task, steps[kind])
        medians = {kind: float(np.median(times)) for kind, times in seconds.items()}
        ratios = {kind: median / medians["compiled here"] for kind, median in medians.items()}
        of_networks.append(ratios)
        cells = (f"{medians[kind] * 1e6:9.1f} {ratios[kind]:6.2f} x" for kind in workers)
        print(f"{name:18}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    cells = (
        f"{np.exp(np.mean([np.log(ratios[kind]) for ratios in of_networks])):6.2f} x"
        for kind in workers
    )
    print(f"{'geometric mean':18}" + "".join(f"{cell:>20}" for cell in cells))
    for worker in itertools.chain.from_iterable(workers.values()):
        worker.communicate()


def worker_in(environment: Environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def compare_first_fits(folder: Path, rounds: int) -> None:
    environments = kinds(folder)
    here = environments["compiled here"]
    cases = {
        "built ahead": (environments["built ahead"], False),
        "compiled here, nothing stored": (here, True),
        "compiled here, kernels stored": (here, False),
        "NumPy twins": (environments["NumPy twins"], False),
    }
    print("seconds from the start of a process to its end (medians)")
    print(f"{'':32}{'first epoch':>14}{'gpubp demo':>14}")
    with tempfile.TemporaryDirectory() as folder_of_cache:
        cache = Path(folder_of_cache)
        epoch, demo = ([sys.executable, *do] for do in (["-c", FIRST], ["-m", "gpubp", "demo"]))
        seconds: dict[str, list[list[float]]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case, (environment, is_empty) in cases.items():
                seconds[case].append(
                    [seconds_of(do, environment, cache, is_empty) for do in (epoch, demo)]
                )
    for case, times in seconds.items():
        # The first turn of kernels that are stored compiled them.
        medians = np.median(times[1:], axis=0)
        print(f"{case:32}" + "".join(f"{median:14.2f}" for median in medians))


def seconds_of(command: list[str], environment: Environment, cache: Path, is_empty: bool) -> float:
    """Measure a process, with a cache that is kept, or with an empty one."""
    with tempfile.TemporaryDirectory() as work:
        began = time.perf_counter()
        subprocess.run(
            command,
            env=environment | {"XDG_CACHE_HOME": work if is_empty else str(cache)},
            cwd=work,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # progress bars
            check=True,
        )
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
