"""The classes of optimizer updates: an entry of the table, its options, and what it works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .typing import Array

__all__ = ["ParameterArrays", "StepVariables", "Update", "UpdateOptions", "UpdateRule"]


def _no_factors(rate: Any, step: Any, **hyperparameters: float) -> tuple[Any, Any]:
    return 0.0, 0.0


@dataclass(frozen=True, eq=False)
class Update:
    """One optimizer's update of the flat parameter array.

    An optimizer of your own is a subclass of `gpubp.Optimizer` whose `update` is an entry like those of
    `UPDATES`.

    Parameters
    ----------
    name, formula : str
        The update's name, and its formula as text.
    state : tuple of str
        Names of the state arrays, which are shaped like the parameters; two at most.
    hyperparameters : tuple of str
        Names of the hyperparameters; three at most.
    cuda : str
        CUDA statements that update one element. They use ``T theta``, ``T g`` (the gradient), the state by
        its names, ``learning_rate``, ``factor1``, ``factor2`` and the hyperparameters by their names. They
        are compiled for the CPU, too.
    numpy : callable
        The NumPy twin of `cuda`: ``(theta, g, state, scratch, learning_rate, factor1, factor2,
        **hyperparameters) -> None``. It updates arrays of one shape in place, may use the two arrays of
        `scratch`, and must not write to g.
    factors : callable
        ``(learning_rate, step, **hyperparameters) -> factor1, factor2``; steps count from 1. By default
        both are 0.

    Examples
    --------
    The update θ ← θ - η sign g, and an optimizer that uses it:

    >>> import gpubp, numpy as np
    >>> from gpubp.kernels import Update
    >>> def sign_numpy(theta, g, state, scratch, learning_rate, factor1, factor2):
    ...     theta -= learning_rate * np.sign(g)
    >>> sign_cuda = "theta -= learning_rate * (T(g > T(0)) - T(g < T(0)));"
    >>> class SignSGD(gpubp.Optimizer):
    ...     update = Update("sign", "θ ← θ - η sign g", (), (), sign_cuda, sign_numpy)
    >>> network = gpubp.Network((1, 1), backend="numpy", seed=0)
    >>> network.parameters = [0.5, 0.0]
    >>> trainer = gpubp.Trainer(network, SignSGD(0.25), seed=0)
    >>> cost = trainer.step([[1.0]], [[3.0]])  # both derivatives are below 0
    >>> network.parameters.tolist()
    [0.75, 0.25]
    """

    name: str
    formula: str
    state: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    cuda: str
    numpy: Callable[..., None]
    factors: Callable[..., tuple[Any, Any]] = field(default_factory=lambda: _no_factors)

    @cached_property
    def apply_text(self) -> str:
        """CUDA text of the function `apply`, which updates one element with the statements of `cuda`."""
        states = "".join(f"T& {name} = state{k}; " for k, name in enumerate(self.state))
        numbers = "".join(
            f"const double {name}_ = hyperparameters[{k}]; const T {name} = T({name}_); "
            for k, name in enumerate(self.hyperparameters)
        )
        arguments = (
            "T& theta, const T g, T& state0, T& state1, const StepNumbers<T>& step,"
            " const double* hyperparameters"
        )
        rates = (
            "const T learning_rate = step.learning_rate, factor1 = step.factor1,"
            " factor2 = step.factor2;"
        )
        return (
            f"constexpr int STATES = {len(self.state)};\n"
            f"template <typename T> __device__ __forceinline__ void apply({arguments}) {{\n"
            f"    {rates}\n    {states}{numbers}\n    {self.cuda}\n}}\n"
        )


@dataclass(frozen=True)
class UpdateOptions:
    """Options that every update has; the defaults change nothing.

    Attributes
    ----------
    l1, l2 : float
        Factors of the penalty l1 Σ|w| + ½ l2 Σ w².
    weight_decay : float
        Factor of the decoupled decay w ← w - η weight_decay w.
    clip_norm, clip_value : float
        The largest norm of the gradient, and the largest absolute value of its elements.
    skips : bool
        Whether a step is skipped if the gradient's squared norm is not finite.

    Examples
    --------
    >>> import gpubp
    >>> options = gpubp.AdamW(weight_decay=0.1, clip_norm=1.0).update_options
    >>> options.weight_decay, options.clip_norm, options.clip_value, options.l2
    (0.1, 1.0, inf, 0.0)
    >>> options.changes_gradient
    True
    """

    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = float("inf")
    clip_value: float = float("inf")
    skips: bool = False

    @property
    def changes_gradient(self) -> bool:
        """Whether the update clips the gradient or adds penalties to it."""
        return self.l1 > 0 or self.l2 > 0 or min(self.clip_norm, self.clip_value) < float("inf")


@dataclass(frozen=True, eq=False)
class UpdateRule:
    """An update with its hyperparameters and options, which are the same in all steps.

    Attributes
    ----------
    update : Update
        The entry of `UPDATES`.
    hyperparameters : mapping of str to float
        The value of each hyperparameter of the entry.
    options : UpdateOptions
        Penalties, decay and clipping.
    """

    update: Update
    hyperparameters: Mapping[str, float]
    options: UpdateOptions = UpdateOptions()


class ParameterArrays(NamedTuple):
    """The flat arrays that an update works on, of one dtype and one size.

    Attributes
    ----------
    theta : array of shape (size,)
        The parameters, weights first.
    gradient : array of shape (size,)
        The gradient of the cost.
    state : tuple of arrays of shape (size,)
        The optimizer's state.
    n_weights : int
        The number of weights.
    """

    theta: Array
    gradient: Array
    state: tuple[Array, ...]
    n_weights: int

    def part(self, part: slice) -> ParameterArrays:
        """Return the same arrays for a part of the parameters."""
        state = tuple(array[part] for array in self.state)
        return ParameterArrays(
            self.theta[part], self.gradient[part], state, self.n_weights - part.start
        )


class StepVariables(NamedTuple):
    """Numbers that change from step to step, in arrays that a captured step reads.

    Attributes
    ----------
    rates : array of float64, shape (steps, 4)
        The learning rate, the update's two factors, and the factor of the penalties, for each step.
    counters : array of int64, shape (2,)
        The steps since training began, and the row of `rates` for this step.
    squared_norm : array of float64, shape (1,)
        The gradient's squared norm; read only if the rule clips by the norm or may skip a step.
    """

    rates: Array
    counters: Array
    squared_norm: Array
