"""Errors that are not plain ValueError or TypeError, and the one for an unknown name.

This module is below all others, the backends too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = ["BackendUnavailableError", "DivergenceError", "unknown_name"]


class BackendUnavailableError(RuntimeError):
    """A backend that was asked for by name cannot run here; the message says what is missing."""


class DivergenceError(ArithmeticError):
    """The cost stopped being finite during training.

    The network has its last good parameters again.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 0, in which it happened.
    history : History
        The epochs before it.
    """

    def __init__(self, message: str, epoch: int, history: object) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.epoch, self.history)


def unknown_name(what: str, name: object, known: Iterable[str]) -> ValueError:
    """An error that suggests the nearest known name, or lists all where none is near.

    For example: "unknown activation 'rellu'; did you mean 'relu'?".
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"known: {', '.join(known)}" if known else "there are none"
    hint = f"did you mean {near[0]!r}?" if near else hint
    return ValueError(f"unknown {what} {name!r}; {hint}")
