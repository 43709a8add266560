"""Methods that exist for some parameters only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from sklearn.utils import metaestimators

__all__ = ["available_if"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def available_if(check: Callable[[Any], bool]) -> Callable[[_Method], _Method]:
    """scikit-learn's `available_if`, which keeps the method's type for editors and type checkers."""
    return cast("Callable[[_Method], _Method]", metaestimators.available_if(check))
