"""Runs the examples of a docstring, as the tests of docstrings do."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

__all__ = ["run_examples", "tells_of_a_missing_library"]

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class NotInstalled(Exception):
    """An example needs a library that is not installed."""


class Runner(doctest.DocTestRunner):
    """Runs examples, until one needs a library that is not installed."""

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, exc_info: Any) -> None:
        if tells_of_a_missing_library(exc_info[1]):
            raise NotInstalled(f"{test.name} needs what is not installed: {exc_info[1]}")
        super().report_unexpected_exception(out, test, example, exc_info)


def run_examples(tests: list[doctest.DocTest]) -> None:
    """Run the examples of several docstrings; skip the test if one of them needs a missing library."""
    report: list[str] = []
    missing: list[str] = []
    for test in tests:
        try:
            Runner(verbose=False, optionflags=OPTIONS).run(test, out=report.append)
        except NotInstalled as error:
            missing.append(str(error))
    assert not report, "".join(report)
    if missing:
        pytest.skip("; ".join(missing))


def tells_of_a_missing_library(error: BaseException) -> bool:
    """Whether an error says that a library is missing which is not gpubp."""
    cause = error.__cause__ or error  # gpubp tells the extra, and what was missing is the cause
    return isinstance(cause, ImportError) and not (cause.name or "gpubp").startswith("gpubp")
