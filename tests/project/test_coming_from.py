"""The page for users of other libraries: their code runs, and its names are those that errors know."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gpubp import synonyms

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/coming-from.md").read_text(encoding="utf-8")
OTHERS = [
    pytest.param(library, block, id=library)
    for library, block in re.findall(r"```python (\w+)\n(.*?)```", PAGE, re.DOTALL)
]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "block"), OTHERS)
def test_the_block_of_another_library_runs(library: str, block: str, tmp_path: Path) -> None:
    if find_spec(library) is None:  # not imported here: this process has other settings
        pytest.skip(f"{library} is not installed")
    run = [sys.executable, "-c", block]
    settings = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    env = os.environ | settings
    done = subprocess.run(run, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_for_newcomers_has_the_tables() -> None:
    _, *sections = re.split(r"^### (?=Names of )", PAGE, flags=re.MULTILINE)
    shown: dict[str, dict[str, set[str]]] = {}
    for section in sections:
        what = section.partition("\n")[0].removeprefix("Names of ").rstrip("s")
        rows = re.findall(r"^\| `([^|]+)` \| (.*) \|$", section, flags=re.MULTILINE)
        shown[what] = {
            ours.replace("`", ""): set(re.findall(r"`([^`]+)`", theirs)) for ours, theirs in rows
        }
    every = {**synonyms.NAMES, "argument": synonyms.ARGUMENTS}
    assert shown == {
        what: {ours: set(names.split()) for ours, names in table.items()}
        for what, table in every.items()
    }
