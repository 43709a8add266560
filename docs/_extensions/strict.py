"""A warning in an example of the gallery is an error."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Any

filters = ExitStack()
"""Holds the filters that an example has changed."""


def warnings_are_errors(settings: dict[str, Any], file: str, when: str) -> None:
    """Make warnings errors before an example, and bring the old filters back after it."""
    if when == "before":
        filters.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
    else:
        filters.close()
