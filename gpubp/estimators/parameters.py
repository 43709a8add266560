"""The parameters of the estimators, checked before anything changes.

The constraints are scikit-learn's objects, which describe themselves in scikit-learn's words. They are not
part of its public interface, so no other module imports them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    make_constraint,
)

from ..errors import suggestion
from ..kernels import ACTIVATIONS, Activation, Cost
from ..kernels.messages import shown
from ..network.arguments import check_dtype, is_sequence
from ..training.callbacks import as_callbacks
from ..training.checkpoint import as_checkpoint
from ..training.layer_rates import as_layer_rates
from ..training.optimizers import OPTIMIZERS
from ..training.schedules import SCHEDULES, Schedule, get_schedule
from ..validation import check_number, fits
from .losses import LOSSES

__all__ = ["CONSTRAINTS", "StrOptions", "check_parameters", "hidden_widths", "set_parameters"]

_FROM_ZERO = Interval(Real, 0, None, closed="left")
_ABOVE_ZERO = Interval(Real, 0, None, closed="neither")
_BELOW_ONE = Interval(Real, 0, 1, closed="left")
_COUNT = Interval(Integral, 1, None, closed="left")
_BETWEEN_ZERO_AND_ONE = Interval(Real, 0, 1, closed="neither")
_HIDDEN = {"logistic", *(name for name, a in ACTIVATIONS.items() if not a.rowwise)}

THEIR_SCHEDULES = ("constant", "invscaling", "adaptive")
"""scikit-learn's values of learning_rate; the others are gpubp's."""

CONSTRAINTS: Mapping[str, Sequence[Any]] = {
    "hidden_layer_sizes": ["array-like", _COUNT],
    "activation": [StrOptions(_HIDDEN), Activation],
    "solver": [StrOptions({"lbfgs", *OPTIMIZERS})],
    "alpha": [_FROM_ZERO],
    "batch_size": [StrOptions({"auto"}), _COUNT],
    "learning_rate": [StrOptions({*THEIR_SCHEDULES, *SCHEDULES}), Schedule, callable],
    "learning_rate_init": [_ABOVE_ZERO],
    "power_t": [_FROM_ZERO],
    "max_iter": [_COUNT],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_FROM_ZERO],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_BELOW_ONE],
    "beta_1": [_BELOW_ONE],
    "beta_2": [_BELOW_ONE],
    "epsilon": [_ABOVE_ZERO],
    "n_iter_no_change": [_COUNT, Options(Real, {math.inf})],
    "max_fun": [_COUNT],
    "dropout": [_BELOW_ONE],
    "output_activation": [StrOptions({"logistic", "exp", *ACTIVATIONS}), Activation, None],
    "clip_norm": [_ABOVE_ZERO, None],
    "weight_decay": [_FROM_ZERO, None],
    "progress": ["boolean"],
}
"""For each parameter its constraints, of which a value must satisfy one."""

_KINDS: Mapping[str, str] = {
    "activation": "activation",
    "output_activation": "activation",
    "solver": "optimizer",
    "loss": "cost",
    "learning_rate": "schedule",
}
"""What the names of a parameter are names of."""
MOST_NAMES = 7
"""The most names that a message lists."""

CLASSIFIER_CONSTRAINTS: Mapping[str, Sequence[Any]] = {
    **CONSTRAINTS,
    "loss": [StrOptions({"log_loss", *LOSSES}), Cost],
    "class_weight": [StrOptions({"balanced"}), dict, list, None],
    "label_smoothing": [_BELOW_ONE],
}

REGRESSOR_CONSTRAINTS: Mapping[str, Sequence[Any]] = {
    **CONSTRAINTS,
    "loss": [StrOptions(set(LOSSES)), Cost],
    "quantile": [_BETWEEN_ZERO_AND_ONE],
}

# Parameters that may be a list, whose entries satisfy the constraints.
_LISTS: Mapping[str, str] = {
    "activation": "a list with one for each hidden layer",
    "dropout": "a list with one for each hidden layer",
    "quantile": "a list of them",
}

# What lbfgs cannot do, with the only value that it takes.
_NOT_WITH_LBFGS: Mapping[str, Any] = {
    "dropout": 0,
    "clip_norm": None,
    "weight_decay": None,
    "callbacks": (),
    "progress": False,
    "checkpoint": None,
    "layer_rates": None,
}


def set_parameters(estimator: Any, given: Mapping[str, Any]) -> None:
    """Store the arguments of an estimator's `__init__`, unchanged, as scikit-learn wants them.

    Parameters
    ----------
    estimator : BaseMLP
        The estimator.
    given : dict of str to object
        The arguments, with `self`: the `locals()` of `__init__`.
    """
    for name, value in given.items():
        if name != "self":
            setattr(estimator, name, value)


def check_parameters(estimator: Any) -> None:
    """Check each parameter of an estimator, then those that exclude each other.

    Raises
    ------
    InvalidParameterError
        If a parameter has a wrong type or value. It is a ValueError and a TypeError.
    ValueError
        If parameters exclude each other.
    """
    for name, allowed in _constraints_of(estimator.__class__).items():
        value = getattr(estimator, name)
        entries = value if name in _LISTS and is_sequence(value) else [value]
        for entry in entries:
            if not any(_satisfies(entry, constraint) for constraint in allowed):
                raise _refusal(estimator, name, entry, allowed)
    _check_layers(estimator, len(hidden_widths(estimator)))
    _check_layer_rates(estimator.layer_rates, len(hidden_widths(estimator)) + 1)
    _check_learning_rate(estimator.learning_rate)
    _check_dtype(estimator.dtype)
    as_callbacks(estimator.callbacks)
    _check_lbfgs(estimator)
    _check_weight_decay(estimator)
    if as_checkpoint(estimator.checkpoint) is None:
        return
    if estimator.early_stopping and estimator.random_state is None:
        raise ValueError(
            "random_state is None, expected a seed with checkpoint and early_stopping: a fit that"
            " goes on must hold out the same rows"
        )


@cache
def _constraints_of(kind: Any) -> dict[str, list[Any]]:
    """Make the constraints of a class of estimators, once: each fit and partial_fit needs them."""
    given = kind._parameter_constraints.items()
    return {name: [make_constraint(one) for one in constraints] for name, constraints in given}


def hidden_widths(estimator: Any) -> list[int]:
    """Return the widths of the hidden layers, each at least 1."""
    given = estimator.hidden_layer_sizes
    widths = list(given) if hasattr(given, "__iter__") else [given]
    for width in widths:
        if isinstance(width, Real) and width <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {shown(widths)}.")
        try:
            check_number("each of hidden_layer_sizes", width, 1, math.inf, whole=True)
        except ValueError as error:
            raise InvalidParameterError(str(error)) from None
    return [int(width) for width in widths]


def _check_dtype(dtype: Any) -> None:
    if dtype is not None:
        try:
            check_dtype(dtype)
        except ValueError as error:
            raise InvalidParameterError(f"{error}, or None for that of X") from None


def _check_layer_rates(layer_rates: Any, depth: int) -> None:
    try:
        as_layer_rates(layer_rates, depth)
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(str(error)) from None


def _check_learning_rate(learning_rate: Any) -> None:
    """Check that a function takes what a schedule's function takes."""
    if isinstance(learning_rate, str | Schedule):
        return
    try:
        get_schedule(learning_rate)
    except TypeError as error:
        raise InvalidParameterError(f"learning_rate: {error}") from None


def _check_layers(estimator: Any, depth: int) -> None:
    """Check that lists have an entry for each of `depth` hidden layers."""
    for name in ("activation", "dropout"):
        entries = getattr(estimator, name)
        if is_sequence(entries) and len(entries) != depth:
            raise ValueError(f"{name} has {len(entries)} entries, expected one, or {depth}")


def _check_lbfgs(estimator: Any) -> None:
    """Check that lbfgs is not asked for what only training by batches can do."""
    if estimator.solver != "lbfgs":
        return
    for name, only in _NOT_WITH_LBFGS.items():
        value = getattr(estimator, name)
        given = any(value) if is_sequence(value) else value is not None and value != only
        if given:
            raise ValueError(f"{name} is {shown(value)}, expected {only} with solver 'lbfgs'")
    if estimator.learning_rate not in THEIR_SCHEDULES:
        raise ValueError(
            f"learning_rate is {shown(estimator.learning_rate)}, expected 'constant' with solver 'lbfgs'"
        )


def _check_weight_decay(estimator: Any) -> None:
    if estimator.weight_decay is None:
        return
    if not hasattr(OPTIMIZERS[estimator.solver], "weight_decay"):
        raise ValueError(
            f"weight_decay is {shown(estimator.weight_decay)}, expected None with solver"
            f" {estimator.solver!r}; 'adamw' and 'lion' have a decay"
        )


def _satisfies(value: Any, constraint: Any) -> bool:
    """Whether a value satisfies a constraint; a bool is no number, nor is what fits no number type."""
    try:
        if not constraint.is_satisfied_by(value):
            return False
    except Exception:  # for example of a value whose comparison fails
        return False
    if not isinstance(constraint, Interval):
        return not isinstance(value, type)  # a class can be called, but is no function
    return not isinstance(value, bool) and fits(value, constraint.type is Integral)


def _refusal(
    estimator: Any, name: str, entry: Any, allowed: Sequence[Any]
) -> InvalidParameterError:
    """Make the error of a value, or of one of its entries, that satisfies none of the constraints."""
    value = getattr(estimator, name)
    texts = [_text(constraint) for constraint in allowed if not constraint.hidden]
    texts += [_LISTS[name]] if name in _LISTS else []
    expected = " or ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
    names = [n for c in allowed if isinstance(c, StrOptions) for n in c.options]
    hint = suggestion(entry, names, _KINDS.get(name, ""))
    return InvalidParameterError(
        f"The {name!r} parameter of {type(estimator).__name__} must be {expected}."
        f" Got {shown(value)} instead.{hint and f' ({hint})'}"
    )


def _text(constraint: Any) -> str:
    """Describe a constraint in scikit-learn's words, with the names in alphabetical order."""
    if isinstance(constraint, StrOptions):
        names = [repr(name) for name in sorted(constraint.options)]
        return (
            f"a str among {{{', '.join(names[:MOST_NAMES] + ['...'] * (len(names) > MOST_NAMES))}}}"
        )
    return str(constraint)
