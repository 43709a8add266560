"""Find activations and costs by name, and check their parameters."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from .errors import unknown_name
from .kernels import ACTIVATIONS, COSTS, Activation, Cost
from .kernels.messages import shown
from .validation import check_number

__all__ = ["check_name", "get_activation", "get_cost", "look_up"]

T = TypeVar("T")


def look_up(what: str, name: Any, known: Mapping[str, T]) -> T:
    """Find the entry of `known` with this name.

    Parameters
    ----------
    what : str
        The kind of the entries, for the error message: "optimizer", for example.
    name : object
        The name, a str.
    known : mapping of str
        The entries by name.

    Returns
    -------
    object
        ``known[name]``.

    Raises
    ------
    ValueError
        If there is no such entry; the message suggests the nearest name, or lists all names.
    """
    check_name(what, name, known)
    return known[name]


def check_name(what: str, name: Any, known: Collection[str]) -> None:
    """Check that `name` is a str in `known`, else raise the ValueError of `look_up`."""
    if not isinstance(name, str) or name not in known:
        raise unknown_name(what, name, known)


def get_activation(activation: str | Activation, **parameters: float) -> Activation:
    """Find an activation by name, and set its parameters.

    Parameters
    ----------
    activation : str or Activation
        An activation, or the name of one.
    **parameters : float
        New values of the activation's parameters.

    Returns
    -------
    Activation
        The activation with these parameters.

    Raises
    ------
    ValueError
        If the name or a parameter is unknown, or a parameter is out of its range.
    TypeError
        If `activation` is neither a name nor an `Activation`.

    Examples
    --------
    >>> import gpubp
    >>> gpubp.get_activation("leaky_relu", slope=0.2)
    <activation leaky_relu, slope=0.2: z if z > 0 else slope z, 0 <= slope < 1>
    >>> gpubp.get_activation("swish")
    Traceback (most recent call last):
        ...
    ValueError: unknown activation 'swish'; gpubp calls it 'silu'
    """
    if isinstance(activation, str):
        activation = look_up("activation", activation, ACTIVATIONS)
    elif not isinstance(activation, Activation):
        raise TypeError(f"activation is {shown(activation)}, expected a name or an Activation")
    owner = f"activation {activation.name!r}"
    return activation.with_parameters(**_checked(owner, parameters, activation.parameters))


def get_cost(cost: str | Cost, **parameters: float) -> Cost:
    """Find a cost by name, and set its parameters.

    Parameters
    ----------
    cost : str or Cost
        A cost, or the name of one.
    **parameters : float
        New values of the cost's parameters; costs of classes also have `label_smoothing`.

    Returns
    -------
    Cost
        The cost with these parameters.

    Raises
    ------
    ValueError
        If the name or a parameter is unknown, or a parameter is out of its range.
    TypeError
        If `cost` is neither a name nor a `Cost`.

    Examples
    --------
    >>> import gpubp
    >>> gpubp.get_cost("quadratic")
    <cost quadratic: ½ Σ (y - a)²>
    >>> gpubp.get_cost("huber", threshold=2.0).parameters
    {'threshold': 2.0}
    >>> gpubp.get_cost("cross_entropy", label_smoothing=0.1).label_smoothing
    0.1
    """
    if isinstance(cost, str):
        cost = look_up("cost", cost, COSTS)
    elif not isinstance(cost, Cost):
        raise TypeError(f"cost is {shown(cost)}, expected a name or a Cost")
    smoothing = ("label_smoothing",) if cost.targets == "class" else ()
    known = (*cost.parameters, *smoothing)
    return cost.with_parameters(**_checked(f"cost {cost.name!r}", parameters, known))


# For each parameter of an activation or a cost: the lowest value, the highest, whether the lowest is
# excluded.
_RANGES: Mapping[str, tuple[float, float, bool]] = {
    "slope": (0, 1, False),
    "alpha": (0, math.inf, True),
    "scale": (0, math.inf, True),
    "threshold": (0, math.inf, True),
    "quantile": (0, 1, True),
    "label_smoothing": (0, 1, False),
}


def _checked(owner: str, given: Mapping[str, float], known: Collection[str]) -> dict[str, float]:
    """Check that `owner` has these parameters, in range; return them as Python floats."""
    for name, value in given.items():
        if name not in known:
            raise unknown_name("parameter", name, known, owner)
        low, high, open_low = _RANGES.get(name, (-math.inf, math.inf, False))
        check_number(name, value, low, high, open_low=open_low)
    return {name: float(value) for name, value in given.items()}
