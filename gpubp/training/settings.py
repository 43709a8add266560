"""A trainer's settings. They may be changed between fits and are checked whenever they are set."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ..kernels.messages import shown
from ..validation import check_number

__all__ = ["Setting", "count", "shuffling"]

T = TypeVar("T")


class Setting(Generic[T]):
    """An attribute that is checked, and perhaps converted, whenever it is set.

    Parameters
    ----------
    check : callable
        A function that returns the value to store, or raises an error.
    """

    def __init__(self, check: Callable[[Any], T]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self._name] = self._check(value)

    if TYPE_CHECKING:  # At run time Python finds the value in the instance.

        def __get__(self, instance: object, owner: type) -> T: ...


def count(name: str) -> Setting[int]:
    """Make a setting that is a whole number of at least 1."""
    return Setting(partial(_as_count, name))


def shuffling(name: str) -> Setting[bool | str]:
    """Make a setting that is True, False or "blocks"."""
    return Setting(partial(_as_shuffling, name))


def _as_count(name: str, value: Any) -> int:
    check_number(name, value, 1, math.inf, whole=True)
    return int(value)


def _as_shuffling(name: str, value: Any) -> bool | str:
    if isinstance(value, str) and value == "blocks":
        return "blocks"
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {shown(value)}, expected True or False, or 'blocks'")
    return bool(value)
