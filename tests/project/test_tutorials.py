"""The tutorials: their cells run from the top to the end, without Jupyter.

The long form, GPUBP_TEST_LONG=1, runs all of them, and the short form the quick ones. `make docs` runs all
as notebooks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from environment import LONG

import gpubp

FOLDER = Path(__file__).resolve().parents[2] / "docs/tutorials"
TUTORIALS = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
CELL = re.compile(r"^```\{code-cell\} python\n((?:^:[^\n]*\n)*)(.*?)^```$", re.M | re.S)
QUICK = {"backprop-by-hand"}
NEEDED = {  # by gpubp itself, beside what the cells import
    "from-scikit-learn": {"onnx"},
    "your-own-activation": {"onnx"},
    "larger-than-memory": {"polars", "rich", "skops", "sklearn"},
}


def cells(tutorial: Path) -> list[tuple[int, str]]:
    """Return the first line and the code of each cell."""
    text = tutorial.read_text(encoding="utf-8")
    return [(text.count("\n", 0, cell.start(2)), cell[2]) for cell in CELL.finditer(text)]


def test_the_table_of_contents_has_every_tutorial() -> None:
    text = (FOLDER / "index.md").read_text(encoding="utf-8")
    (contents,) = re.findall(r"```\{toctree\}(.*?)```", text, re.S)
    assert sorted(re.findall(r"^([a-z-]+)$", contents, re.M)) == [path.stem for path in TUTORIALS]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_every_cell_is_found_and_fits_the_page(tutorial: Path) -> None:
    text, found = tutorial.read_text(encoding="utf-8"), cells(tutorial)
    assert text.startswith("---\nfile_format: mystnb\n")
    assert len(found) == text.count("{code-cell}") > 3
    for first, code in found:
        compile(code, tutorial.name, "exec")
        for number, line in enumerate(code.splitlines(), first + 1):
            assert len(line) <= 84, f"{tutorial.name}:{number}"


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_the_tutorial_runs(tutorial: Path, tmp_path: Path) -> None:
    """It runs in a process of its own, in an empty folder, and a warning ends it."""
    if tutorial.stem not in QUICK and not LONG:
        pytest.skip("it takes seconds: GPUBP_TEST_LONG=1 and make docs run it")
    found = cells(tutorial)
    imported = re.findall(r"^(?:import|from) (\w+)", "\n".join(code for _, code in found), re.M)
    needed = {*imported, *NEEDED.get(tutorial.stem, ())}
    missing = sorted(name for name in needed if find_spec(name) is None)
    if missing:
        pytest.skip(f"the tutorial needs what is not installed: {', '.join(missing)}")
    script = ""
    for first, code in found:  # on the lines of the document, for tracebacks
        script += "\n" * (first - script.count("\n")) + code
    path = tmp_path / "tutorial.py"
    path.write_text(script, encoding="utf-8")
    root, before = Path(gpubp.__file__).parents[1], os.environ.get("PYTHONPATH")
    environment = {
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), before))),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        check=False,
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, f"{tutorial.name}, by its lines:\n{done.stderr}"
