"""What a new process waits for: imports, and all that comes before the end of its first training step.

Libraries compile, trace or plan at the first step. What they store on disk, they find in a folder that is
either empty or left by an earlier process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gpubp

from .contenders import CONTENDERS, Contender
from .machine import circumstances
from .parts import FirstCall
from .processes import run_whole
from .results import Entrant, Results
from .worker import machine_cpu_seconds

__all__ = ["NEW_CONTENDERS", "ROUNDS", "TRAINING", "in_new_process", "run_first_calls"]

NETWORKS = ("narrow", "width-16")
ROWS, OPTIMIZER = 32, "adam"
ROUNDS = 3
SECONDS = 100.0
"""No process starts that would probably end later; how long a kind takes is known from its last process."""

MODULES = {
    "gpubp": ("gpubp.public",),  # what `import gpubp` imports at the first use of a name
    "torch": ("torch",),
    "jax": ("jax", "jax.numpy"),
    "scikit-learn": ("sklearn.neural_network",),
}
"""What the users of each library import."""

TRAINING = tuple(name for name, kind in CONTENDERS.items() if issubclass(kind, Contender))
"""The contenders that have training steps."""

NEW_CONTENDERS = tuple(
    name for name in TRAINING if CONTENDERS[name].device == "cpu" and not name.endswith("-1-thread")
)
"""Who takes part by default: first steps on one thread and on several do not differ much."""

CACHES = ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUPY_CACHE_DIR",
          "CUDA_CACHE_PATH")  # fmt: skip
"""The variables that name the folders in which libraries store what they compiled."""

SCRIPT = """
import importlib, json, sys, time
name, network, optimizer, rows, *modules = sys.argv[1:]
seconds, began = {}, time.perf_counter()
def note(part):
    global began
    now = time.perf_counter()
    seconds[part], began = now - began, now
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError:
        break  # open() says why
note("imports")
from gpubp.benchmarks.contenders import CONTENDERS, AbsentError
from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS
contender, architecture = CONTENDERS[name](), ARCHITECTURES[network]
batch, _ = architecture.batch(int(rows)), architecture.weights()
step = (lambda: contender.steps(1)) if hasattr(contender, "steps") else contender.step
note("the task")
try:
    detail = contender.open()
except AbsentError as error:
    print(json.dumps({"absent": str(error)}))
    sys.exit()
contender.load(architecture, OPTIMIZERS[optimizer], batch)
for part in ("first", "second"):
    step()
    contender.synchronize()
    note(part)
print(json.dumps({"detail": detail, **seconds}))
"""
"""A new process: the imports, then two training steps of a contender."""


class Kind(NamedTuple):
    """A contender, and what it finds stored.

    Attributes
    ----------
    contender : str
        Its name.
    stored : str
        "nothing stored", "kernels stored", or "" for a library that stores nothing.
    """

    contender: str
    stored: str = ""

    def __str__(self) -> str:
        return f"{self.contender}, {self.stored}" if self.stored else self.contender


def kinds_of(contenders: Sequence[str]) -> list[Kind]:
    """List the kinds of processes: two for a contender that stores what it compiled."""
    kinds = []
    for name in contenders:
        stores = name.startswith("gpubp") or "compile" in name
        found = ("nothing stored", "kernels stored") if stores else ("",)
        kinds += [Kind(name, stored) for stored in found]
    return kinds


def run_first_calls(
    contenders: Sequence[str] = NEW_CONTENDERS,
    rounds: int = ROUNDS,
    tell: Callable[[str], None] = lambda line: None,
    keep: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Measure first calls in new processes, which take turns.

    Parameters
    ----------
    contenders : sequence of str
        The contenders that take part.
    rounds : int
        The most processes of a kind.
    tell : callable
        A function that is called with a line of text on the run's progress.
    keep : callable
        A function that is called after each process with the results so far.

    Returns
    -------
    Results
        Results with first calls and no points.
    """
    results = Results(**circumstances(), settings={"contenders": list(contenders)})
    results.entrants = [Entrant(name, CONTENDERS[name].device) for name in contenders]
    kinds = [(network, kind) for network in NETWORKS for kind in kinds_of(contenders)]
    order = sorted(kinds, key=lambda key: "compile" in key[1].contender)  # the slowest come last
    found = {key: FirstCall(str(key[1]), network=key[0]) for key in kinds}
    began, everyone, own = time.perf_counter(), machine_cpu_seconds(), _own_cpu_seconds()
    took: dict[Kind, float] = {}
    with tempfile.TemporaryDirectory(prefix="gpubp-bench-") as place:
        for number in range(rounds):
            for key in order:
                (network, kind), call = key, found[key]
                entrant = results.entrant(kind.contender)
                assert entrant is not None
                left = SECONDS - (time.perf_counter() - began)
                if entrant.absent or call.failed or took.get(kind, 0.0) > left:
                    continue
                tell(f"first call: {network}, {call.kind}")
                # The folder that the first process left has stored kernels for the others.
                cold = number if kind.stored == "nothing stored" else 0
                folder = Path(place, network, kind.contender, str(cold))
                start = time.perf_counter()
                _measure(call, entrant, folder)
                took[kind] = time.perf_counter() - start
                others = machine_cpu_seconds() - everyone - (_own_cpu_seconds() - own)
                results.machine["others_share"] = max(0.0, others) / (time.perf_counter() - began)
                present = _present(results, found)
                results.first_calls = [known for known in present if known.first or known.failed]
                keep(results)
    results.first_calls = _present(results, found)
    return results


def _present(results: Results, found: Mapping[tuple[str, Kind], FirstCall]) -> list[FirstCall]:
    """List the first calls without those of contenders that are absent."""
    absent = {entrant.name for entrant in results.entrants if entrant.absent}
    return [call for (_, kind), call in found.items() if kind.contender not in absent]


def _measure(call: FirstCall, entrant: Entrant, folder: Path) -> None:
    """Measure one process, and note its seconds, or why there are none."""
    name = entrant.name
    modules = next(m for library, m in MODULES.items() if name.startswith(library))
    arguments = name, call.network, OPTIMIZER, str(ROWS), *modules
    try:
        read = in_new_process(SCRIPT, arguments, folder, on_cpu=entrant.device == "cpu")
    except RuntimeError as error:
        call.failed = str(error)
        return
    entrant.absent, entrant.detail = read.get("absent", ""), read.get("detail", "")
    for part in ("imports", "first", "second") if not entrant.absent else ():
        getattr(call, part).append(read[part])


def in_new_process(
    script: str, arguments: Sequence[str], folder: Path, on_cpu: bool = True
) -> dict[str, Any]:
    """Run a script that prints JSON in a new process.

    Parameters
    ----------
    script : str
        Python's text.
    arguments : sequence of str
        The script's arguments.
    folder : Path
        The folder in which libraries store what they compiled; it is made if it does not exist.
    on_cpu : bool, default True
        Whether JAX shall not look for other devices.

    Raises
    ------
    RuntimeError
        When the process fails.
    """
    package = str(Path(gpubp.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    caches = {name: str(folder / name.lower()) for name in CACHES}
    for path in caches.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    jax = {"JAX_PLATFORMS": "cpu"} if on_cpu else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = run_whole(
        [sys.executable, "-c", script, *arguments],
        os.environ | caches | jax | {"PYTHONPATH": paths},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RuntimeError(f"a new process of {arguments[0]} failed: {last[:200]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _own_cpu_seconds() -> float:
    """Sum the core seconds of this process and of the processes that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
