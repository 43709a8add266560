"""What `make gpu-check` reports."""

from __future__ import annotations

from types import SimpleNamespace

import gpu_check
import pytest


def test_gpu_check_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None if name == "autograd" else name)
    monkeypatch.setattr("support.nvidia.nvrtc_version", lambda: None)
    assert gpu_check.missing_oracles() == ["autograd", "NVRTC"]


def test_gpu_check_counts_the_reasons_of_tests_and_files_that_are_skipped() -> None:
    counter = gpu_check.Counter()
    skipped = {"outcome": "skipped", "longrepr": ("test.py", 1, "Skipped: no oracle")}
    counter.pytest_runtest_logreport(
        SimpleNamespace(when="setup", nodeid="test.py::test[cupy]", **skipped)
    )
    counter.pytest_collectreport(SimpleNamespace(nodeid="other.py", **skipped))
    assert counter.skipped == {"no oracle": 2}
    assert (counter.outcomes, counter.on_gpu) == ({"skipped": 1}, 0)
