"""`import gpubp` imports little, and every part of gpubp can be the first that is imported."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

import gpubp
from gpubp import public

MODULES = sorted(
    name
    for _, name, _ in pkgutil.iter_modules(gpubp.__path__)
    if name not in ("__main__", "benchmarks")
)
FEW = (
    "import gpubp.network",
    "from gpubp import Trainer",
    "import gpubp; gpubp.training.Trainer",
    "from gpubp import *; Network",
)
WAYS = (
    *(f"import gpubp.{name}" for name in MODULES),
    *(f"from gpubp import {name}" for name in ("Network", "schedules", "backends")),
    "import gpubp; gpubp.get_backend('numpy')",
    "import gpubp.network.network",
    "import gpubp.training.run",
)
ESTIMATORS = ("from gpubp import MLPClassifier", "import gpubp; gpubp.MLPRegressor")
FORKED = """
import gpubp, os, sys, traceback
import numpy, scipy.linalg, scipy.sparse, scipy.special  # only gpubp's own order matters
for way in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            exec(way)
            gpubp.Network, gpubp.backends.numpy, gpubp.kernels
        except BaseException:
            traceback.print_exc()
            status = 1
        os._exit(status)
    if os.waitpid(pid, 0)[1]:
        print(way)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize(
    "ways", [FEW, pytest.param(WAYS, marks=pytest.mark.slow, id="every module"), ESTIMATORS]
)
def test_every_part_can_be_imported_first(ways: tuple[str, ...]) -> None:
    if ways is ESTIMATORS:
        pytest.importorskip("sklearn", minversion="1.7")
    if find_spec("polars") is None or find_spec("skops") is None:
        ways = tuple(way for way in ways if "tables" not in way)
    if find_spec("torch") is None:
        ways = tuple(way for way in ways if "torch" not in way)
    if find_spec("sklearn") is None:
        ways = tuple(way for way in ways if "estimators" not in way)
    done = subprocess.run(
        [sys.executable, "-c", FORKED, *ways], capture_output=True, text=True, check=True
    )
    assert done.stdout == "", done.stderr


def test_import_gpubp_imports_nothing_heavy() -> None:
    program = (
        "import sys, gpubp\n"
        "gpubp.__version__\n"
        "print([n for n in sys.modules if n.partition('.')[0] in ('numpy', 'scipy', 'typing')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_a_mistyped_name_is_told_with_the_nearest() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import gpubp; gpubp.Netwok"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "has no attribute 'Netwok'. Did you mean: 'Network'?" in done.stderr


def test_the_names_of_public_are_those_of_gpubp() -> None:
    assert gpubp.__all__ == public.__all__
    assert set(public.__all__) <= set(dir(gpubp))
    for name in public.__all__:
        assert getattr(gpubp, name) is getattr(public, name)
    with pytest.raises(AttributeError, match=r"^module 'gpubp' has no attribute 'Netwok'$"):
        gpubp.Netwok  # noqa: B018
