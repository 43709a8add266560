"""What the first fit of a process takes: imports, and compiling with an empty cache."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..first_call import in_new_process
from ..parts import FirstCall

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


def _process(library: str, folder: Path) -> dict[str, float]:
    """Run the script with this folder for stored kernels; return its seconds."""
    keywords = {"dtype": None} if library == "gpubp" else {}
    return in_new_process(SCRIPT, (library, json.dumps(keywords)), folder)
