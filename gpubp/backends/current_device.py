"""Methods that compute on their backend's device, and with the same kernels until their end."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from .base import Backend

__all__ = ["on_device", "with_same_kernels"]


class _HasBackend(Protocol):
    @property
    def backend(self) -> Backend: ...


_Self = TypeVar("_Self", bound=_HasBackend)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def on_device(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Make the backend's device current while the method runs, then restore the old one."""

    @wraps(method)
    def run(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with self.backend.use():
            return method(self, *args, **kwargs)

    return run


def with_same_kernels(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Let the method use no kernels that become ready while it runs."""

    @wraps(method)
    def run(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with self.backend.keep_kernels():
            return method(self, *args, **kwargs)

    return run
