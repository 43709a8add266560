"""Compare each verb, and the training of each kind of network, on the device with NumPy.

A case that fails runs again in a separate process with CUDA_LAUNCH_BLOCKING=1, so that the traceback shows
the launch. A process that loses its device ends, and another process continues with the next case.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from functools import partial
from typing import Any

import numpy as np
from gpu_cupy import import_cupy, open_backend
from gpu_report import last_lines, read_records, record
from gpu_verbs import CASES as VERBS
from gpu_verbs import compare

import gpubp
from gpubp.backends.numpy import NumpyBackend
from gpubp.benchmarks.tasks import ARCHITECTURES

CASE_SECONDS, MOST_AGAIN = 15, 8
LOST = 4
ROWS = 96

NETWORKS: dict[str, dict[str, Any]] = {
    "softmax": {"output": "softmax"},
    "sigmoid": {"output": "sigmoid", "cost": "binary_cross_entropy"},
    "identity": {"output": "identity"},
    "huber": {"output": "identity", "cost": "huber", "hidden": "gelu"},
    "dropout": {"output": "softmax", "dropout": 0.2},
    "float64": {"output": "softmax", "dtype": "float64"},
    "bfloat16": {"output": "softmax", "precision": "bfloat16"},
    "float16": {"output": "softmax", "precision": "float16"},
    "tf32": {"output": "softmax", "precision": "tf32"},
}


def train_network(graphs: bool, kind: str) -> None:
    """Check that a small network of this kind trains as on NumPy."""
    options = {"hidden": "tanh", **NETWORKS[kind]}
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 6)), np.eye(3)[rng.integers(0, 3, ROWS)]
    rough = options.get("precision") is not None
    train((6, 17, 8, 3), options, x, y, graphs, rough)


def train_architecture(graphs: bool, name: str) -> None:
    """Check that a network of the benchmark trains for a few steps as on NumPy."""
    architecture = ARCHITECTURES[name]
    batch = architecture.batch(4 * ROWS)
    options = {"output": architecture.output}
    train(architecture.sizes, options, batch.x, batch.targets[0], graphs, rough=False)


def train(sizes: Any, options: Any, x: Any, y: Any, graphs: bool, rough: bool) -> None:
    ends = []
    for backend in (NumpyBackend(), open_backend(graphs)):
        network = gpubp.Network(sizes, backend=backend, seed=0, **options)
        optimizer = gpubp.SGD(learning_rate=0.01, momentum=0.9)
        trainer = gpubp.Trainer(network, optimizer, batch_size=32, seed=0)
        trainer.fit(x.astype(network.dtype), y, epochs=3)
        ends.append((backend.to_numpy(network.parameters), trainer.step_cost))
    (here, cost_here), (there, cost_there) = ends
    tolerance = 0.05 if rough else 2e-3
    assert np.isfinite(there).all()
    np.testing.assert_allclose(there, here, rtol=tolerance, atol=tolerance / 10)
    np.testing.assert_allclose(cost_there, cost_here, rtol=tolerance)


def compare_verb(name: str) -> None:
    compare(name, open_backend(), NumpyBackend(compile=False))


CASES = {
    **{f"verb {name}": partial(compare_verb, name) for name in VERBS},
    **{f"launched {kind}": partial(train_network, False, kind) for kind in NETWORKS},
    **{f"captured {kind}": partial(train_network, True, kind) for kind in NETWORKS},
    **{
        f"{how} {name}": partial(train_architecture, how == "captured", name)
        for how in ("launched", "captured")
        for name, architecture in ARCHITECTURES.items()
        if architecture.parameters < 2_000_000
    },
}


def main() -> int:
    if "--cases" in sys.argv:
        return run_cases(sys.argv[sys.argv.index("--cases") + 1].split(";"))
    left, failed = list(CASES), []
    path = os.environ.get("GPUBP_TRIAL_RECORDS", "")
    while left:
        before = len(list(read_records(path)))
        code = run_apart(left, {})
        new = {r["case"]: r for r in list(read_records(path))[before:] if "case" in r}
        left = [case for case in left if case not in new]
        failed += [case for case, r in new.items() if r["outcome"] != "passed"]
        if left and (code not in (0, LOST) or not new):  # it ended during a case, without a record
            record(case=left[0], outcome="crashed", failure=f"the process ended with {code}")
            failed.append(left.pop(0))
    for case in failed[:MOST_AGAIN]:
        run_apart([case], {"CUDA_LAUNCH_BLOCKING": "1", "GPUBP_TRIAL_AGAIN": "1"})
    print(f"{len(CASES) - len(failed)} of {len(CASES)} cases passed")
    return 1 if failed else 0


def run_apart(cases: list[str], environment: dict[str, str]) -> int:
    """Run cases in a separate process, which is killed if a case takes too long; return its status."""
    command = [sys.executable, __file__, "--cases", ";".join(cases)]
    path = os.environ.get("GPUBP_TRIAL_RECORDS", os.devnull)
    process = subprocess.Popen(command, env={**os.environ, **environment})
    written, since = -1, time.monotonic()
    while True:
        try:
            return process.wait(0.5)
        except subprocess.TimeoutExpired:
            size = os.path.getsize(path) if os.path.exists(path) else 0
            if size != written:
                written, since = size, time.monotonic()
            elif time.monotonic() - since > CASE_SECONDS:
                process.kill()
                return process.wait()


def run_cases(cases: list[str]) -> int:
    """Run cases in this process until the device is lost; return the exit status."""
    cupy, how = import_cupy(), "again" if "GPUBP_TRIAL_AGAIN" in os.environ else "case"
    for case in cases:
        start = time.perf_counter()
        try:
            CASES[case]()
            cupy.cuda.runtime.deviceSynchronize()
        except Exception:
            failure = last_lines(traceback.format_exc())
            record(**{how: case}, outcome="failed", failure=failure)
            if not usable(cupy):
                return LOST
        else:
            record(**{how: case}, outcome="passed", seconds=round(time.perf_counter() - start, 3))
    return 0


def usable(cupy: Any) -> bool:
    """Tell whether the device still answers. CUDA reports an error that came late once, then forgets it."""
    for _ in range(2):
        try:
            cupy.cuda.runtime.deviceSynchronize()
        except Exception:
            continue
        return True
    return False


if __name__ == "__main__":
    raise SystemExit(main())
