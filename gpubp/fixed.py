"""Attributes that are set once, when an object is made, and are read-only afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

__all__ = ["Fixed"]

T = TypeVar("T")


class Fixed(Generic[T]):
    """An attribute that cannot be changed once it has a value.

    The value is stored in the instance's `__dict__`: Python reads it there without a call. Pickles and
    copies fill the `__dict__` directly, so they work.

    Parameters
    ----------
    instead : str, optional
        Advice for the error message: what to do instead of changing the attribute. By default, to make a
        new object of the class.

    Examples
    --------
    >>> class Circle:
    ...     radius = Fixed[float]()
    >>> circle = Circle()
    >>> circle.radius = 2.0
    >>> circle.radius = 3.0
    Traceback (most recent call last):
        ...
    AttributeError: a circle's radius cannot be changed; make a new Circle with it
    """

    def __init__(self, instead: str = "") -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner.__name__, name

    def __set__(self, instance: Any, value: T) -> None:
        values = vars(instance)
        if self._name in values:
            raise self._refusal()
        values[self._name] = value

    def __delete__(self, instance: Any) -> None:
        raise self._refusal()

    def _refusal(self) -> AttributeError:
        instead = self._instead or f"make a new {self._owner} with it"
        return AttributeError(
            f"a {self._owner.lower()}'s {self._name} cannot be changed; {instead}"
        )

    if TYPE_CHECKING:  # At run time Python finds the value in the instance.

        def __get__(self, instance: object, owner: type) -> T: ...
