"""What the first fit of a process takes: imports, and compiling with an empty cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gpubp

from .results import FirstCall

__all__ = ["first_calls"]

SCRIPT = """
import json, sys, time, warnings
library, keywords = sys.argv[1], json.loads(sys.argv[2])
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
warnings.simplefilter("ignore")
seconds, began = {}, time.perf_counter()
if library == "gpubp":
    from gpubp import MLPClassifier
else:
    from sklearn.neural_network import MLPClassifier
for name in ("imports", "first", "second"):
    if name != "imports":
        MLPClassifier(max_iter=1, **keywords).fit(x, y)
    now = time.perf_counter()
    seconds[name], began = now - began, now
print(json.dumps(seconds))
"""
"""A new process: the library's import after scikit-learn's data sets, then two fits on the digits."""

KINDS = (
    ("gpubp, nothing stored", "gpubp", True),
    ("gpubp, kernels stored", "gpubp", False),
    ("scikit-learn", "sklearn", False),
)


def first_calls(rounds: int) -> Iterator[FirstCall]:
    """Measure each kind in new processes that take turns.

    Parameters
    ----------
    rounds : int
        The processes of each kind.
    """
    found = {kind: FirstCall(kind) for kind, _, _ in KINDS}
    with tempfile.TemporaryDirectory(prefix="gpubp-bench-") as place:
        warm = Path(place, "warm")
        _process("gpubp", warm)  # it compiles, for the processes that find kernels stored
        for number in range(rounds):
            for kind, library, is_cold in KINDS:
                cache = Path(place, f"cold-{number}") if is_cold else warm
                for part, seconds in _process(library, cache).items():
                    getattr(found[kind], part).append(seconds)
    yield from found.values()


def _process(library: str, cache: Path) -> dict[str, float]:
    """Run the script with this home of caches; return its seconds."""
    cache.mkdir(exist_ok=True)
    package = str(Path(gpubp.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    keywords = {"dtype": None} if library == "gpubp" else {}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, library, json.dumps(keywords)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a first fit of {library} failed: {done.stderr.strip()[-200:]}")
    return dict(json.loads(done.stdout))
