"""One thread at a time for a trainer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..signals import uninterrupted
from .step import TrainingStep

__all__ = ["in_one_thread", "take"]


class _Trains(Protocol):
    """An object with a training step."""

    _training_step: TrainingStep


_Self = TypeVar("_Self", bound=_Trains)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def in_one_thread(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Refuse a call of the method while another thread is within such a method of the same object."""

    @wraps(method)
    def run(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        lock, taken = self._training_step.in_use, list[Any]()
        try:
            _take(lock, taken)
            return method(self, *args, **kwargs)
        finally:
            if taken:
                lock.release()

    return run


def take(lock: threading.RLock) -> None:
    """Take the lock without waiting, or say that another thread uses the trainer."""
    if not lock.acquire(blocking=False):
        raise RuntimeError("the trainer is in use by another thread; make a Trainer for each")


@uninterrupted
def _take(lock: threading.RLock, taken: list[Any]) -> None:
    """Take the lock and append it to `taken`."""
    take(lock)
    taken.append(lock)
