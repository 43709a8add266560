"""Attributes that cannot be changed after they have been set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

__all__ = ["Fixed"]

T = TypeVar("T")


class Fixed(Generic[T]):
    """What an object was made with: it is set once, and setting it again is an error."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner.__name__, name

    def __set__(self, instance: object, value: T) -> None:
        if self._name in vars(instance):
            raise AttributeError(
                f"a {self._owner}'s {self._name} cannot be changed: make a new {self._owner} with it"
            )
        vars(instance)[self._name] = value

    if TYPE_CHECKING:  # Python itself finds what `__set__` left in the instance.

        def __get__(self, instance: object, owner: type | None = None) -> T: ...
