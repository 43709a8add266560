"""Objects that stay what they were made with: attributes that are set once, and read-only afterwards."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .synonyms import our_argument, our_arguments, our_method

__all__ = ["Fixed", "MadeOnce"]

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
        return _refusal(self._owner, self._name, self._instead)

    if TYPE_CHECKING:  # At run time Python finds the value in the instance.

        def __get__(self, instance: object, owner: type) -> T: ...


class MadeOnce:
    """A base class that refuses to set what only the constructor takes.

    These are the arguments of the constructor that the class has no settable attribute for, and what other
    libraries call attributes of the class. Without this class, Python would add an attribute that nothing
    reads, or hide a method of the same name. A user's subclass may have attributes of these names.
    """

    _constructor_only: frozenset[str]
    _made_as: type

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if MadeOnce in cls.__bases__:
            arguments = signature(cls).parameters
            unsettable = (a for a in arguments if not hasattr(getattr(cls, a, None), "__set__"))
            cls._constructor_only, cls._made_as = frozenset(unsettable), cls

    def __setattr__(self, name: str, value: Any) -> None:
        made_as = self._made_as
        if type(self) is made_as and name not in vars(self):
            if name in self._constructor_only:
                raise _refusal(made_as.__name__, name)
            if our_arguments(name) and not hasattr(made_as, name):
                ours = our_argument(name, dir(made_as))
                if ours:
                    told = (
                        f"{made_as.__name__} has no attribute {name!r}; did you mean {ours[0]!r}?"
                    )
                    raise AttributeError(told)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a checker would take every attribute for known

        def __getattr__(self, name: str) -> Any:
            """Python calls this where nothing else has found the attribute."""
            owner = type(self).__name__
            ours = our_method(owner, name)
            hint = f"; gpubp has {ours}" if ours else ""
            told = f"{owner!r} object has no attribute {name!r}{hint}"
            raise AttributeError(told, name=name, obj=self)


def _refusal(owner: str, name: str, instead: str = "") -> AttributeError:
    instead = instead or f"make a new {owner} with it"
    return AttributeError(f"a {owner.lower()}'s {name} cannot be changed; {instead}")
