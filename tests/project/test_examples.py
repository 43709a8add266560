"""The examples in docstrings run and give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_examples import run_examples

import gpubp

# Modules that are not imported here: they need extras, or are commands.
ELSEWHERE = ("gpubp.estimators", "gpubp.cli", "gpubp.benchmarks", "gpubp.__main__")


def modules() -> Iterator[str]:
    yield "gpubp"
    for module in pkgutil.walk_packages(gpubp.__path__, "gpubp.", onerror=lambda name: None):
        if not module.name.startswith(ELSEWHERE):
            yield module.name


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name for test in finder.find(importlib.import_module("gpubp.registry"))}
    assert {"gpubp.registry.get_activation", "gpubp.registry.get_cost"} <= found


@pytest.mark.parametrize("name", [*modules()])
def test_the_examples_of_a_module_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUBP_BACKEND", "numpy")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"the module needs what is not installed: {error}")
    run_examples(doctest.DocTestFinder(exclude_empty=True).find(module))
