"""Costs: formula, CUDA text and NumPy twin of each, side by side.

A cost is a sum over outputs, C = Σ_j c(a_j, y_j): one number for each example. `cuda` is the body of `T
cost(T z, T a, T y)`, the term c of one output. `cuda_derivative` is the body of `T derivative(T a, T y)`,
its derivative ∂c/∂a. `numpy(z, a, y, c, s)` and `numpy_derivative(a, y, g, s)` are the twins; `s` is a
tuple of two scratch arrays. All of them read `a`. `canonical` may name an activation. With that activation
in the output layer, δ^L is a - y, and `canonical_cuda` and `canonical_numpy` compute the cost from z, which
keeps digits that a has lost. (For softmax with cross-entropy, softmax.cu and softmax.py compute both.)

To add a cost, add an entry here. Nothing else changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from .activations import softplus
from .custom import CustomFunction, check_choice, check_custom_name, check_interval, check_texts
from .typing import Array

__all__ = ["COSTS", "Cost"]

Scratch = tuple[Array, ...]

# Costs with log(a) clamp a: to TINY at least, and to the largest number below 1 that the type has.
TINY = 1e-30
_CLAMP = f"""
    const T tiny = T({TINY});
    const T almost_one = T(1) - (sizeof(T) == 4 ? T(6e-8) : T(1.2e-16));
"""


@dataclass(frozen=True, eq=False)
class Cost:
    """A cost and its derivative with respect to the outputs, as CUDA text and as NumPy twins.

    Attributes
    ----------
    name, formula, derivative_formula : str
        The cost's name, and the formulas of C and ∂C/∂a as text; the latter is "" for custom functions.
    cuda, cuda_derivative : str
        Bodies of CUDA functions; "" for custom functions without text.
    numpy, numpy_derivative : callable
        The NumPy twins of `cuda` and `cuda_derivative`.
    canonical : str
        The name of the activation with which δ^L is a - y, or "".
    canonical_cuda, canonical_numpy : str, callable
        The cost computed from z, for use with the `canonical` activation.
    domain : tuple of float
        Lower and upper bound of the outputs for which the cost is defined.
    targets : {"real", "class", "unit", "nonnegative"}
        The values that y may have: any number; labels or rows of probabilities; numbers from 0 to 1;
        numbers of at least 0.
    parameters : mapping of str to float
        Constants of the formula.
    label_smoothing : float
        ε, for classes: a target y becomes (1 - ε) y + ε / n_classes before any kernel reads it
        (Szegedy et al. 2016).
    function, function_derivative : callable or None
        The functions of a custom cost; None for a built-in one.

    See Also
    --------
    get_cost : Finds a cost by its name.

    Notes
    -----
    Label smoothing is that of Szegedy et al. [1]_.

    References
    ----------
    .. [1] C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the Inception
       Architecture for Computer Vision", CVPR 2016.

    Examples
    --------
    >>> import gpubp
    >>> cost = gpubp.get_cost("cross_entropy")
    >>> cost
    <cost cross_entropy: -Σ y log(a)>
    >>> cost.canonical, cost.targets  # its usual output, and what y means
    ('softmax', 'class')
    >>> gpubp.Network((4, 3), output="softmax").cost_function.name
    'cross_entropy'
    """

    name: str
    formula: str
    cuda: str = ""
    cuda_derivative: str = ""
    numpy: Callable[..., None] | None = None
    numpy_derivative: Callable[..., None] | None = None
    canonical: str = ""
    canonical_cuda: str = ""
    canonical_numpy: Callable[..., None] | None = None
    domain: tuple[float, float] = (-math.inf, math.inf)
    targets: Literal["real", "class", "unit", "nonnegative"] = "real"
    parameters: Mapping[str, float] = field(default_factory=dict)
    label_smoothing: float = 0.0
    function: Callable[..., Array] | None = None
    function_derivative: Callable[..., Array] | None = None
    derivative_formula: str = ""

    @property
    def has_cuda_derivative(self) -> bool:
        """Whether ∂C/∂a has CUDA text; a custom function may have none."""
        return bool(self.cuda_derivative)

    def __repr__(self) -> str:
        arguments = "".join(f", {key}={value!r}" for key, value in self.parameters.items())
        return f"<cost {self.name}{arguments}: {self.formula}>"

    def with_parameters(self, **parameters: float) -> Cost:
        """Return the same cost with other parameters; the caller has checked their names.

        Parameters
        ----------
        **parameters : float
            New values of the cost's parameters, and of `label_smoothing`.

        Returns
        -------
        Cost
            A new cost.

        See Also
        --------
        get_cost : The same with checks.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.get_cost("huber").with_parameters(threshold=2.0).parameters
        {'threshold': 2.0}
        """
        smoothing = parameters.pop("label_smoothing", self.label_smoothing)
        merged = {**self.parameters, **parameters}
        return replace(self, parameters=merged, label_smoothing=smoothing)

    @classmethod
    def from_functions(
        cls,
        name: str,
        function: Callable[[Any, Array, Array], Array],
        derivative: Callable[[Any, Array, Array], Array],
        *,
        cuda: str = "",
        cuda_derivative: str = "",
        domain: tuple[float, float] = (-math.inf, math.inf),
        targets: Literal["real", "class", "unit", "nonnegative"] = "real",
    ) -> Cost:
        """Make a custom cost from two functions that serve both backends.

        Parameters
        ----------
        name : str
            The cost's name, also in files. It must not be a built-in cost's name.
        function : callable
            (xp, a, y) -> the terms c(a_j, y_j), shaped like a; xp is the array namespace, numpy or cupy.
        derivative : callable
            (xp, a, y) -> ∂c/∂a, shaped like a.
        cuda, cuda_derivative : str, default ""
            Bodies of `T cost(T z, T a, T y)`, which must not use z, and of `T derivative(T a, T y)`. With
            both, one kernel replaces several, on the CPU too.
        domain : tuple of float, default (-inf, inf)
            Lower and upper bound of the outputs for which the cost is defined.
        targets : {"real", "class", "unit", "nonnegative"}, default "real"
            The values that y may have: any number; labels or rows of probabilities; numbers from 0 to 1;
            numbers of at least 0.

        Returns
        -------
        Cost
            A cost for `Network`.

        Raises
        ------
        ValueError
            If the name is empty or a built-in cost's, `domain` is no interval, or `targets` is not one of
            the words above. A function that returns something else than real numbers shaped like a is an
            error when the network calls it.
        TypeError
            If `function` or `derivative` does not take three arguments, or a CUDA text is not a str.

        Examples
        --------
        (a - y)⁴, whose derivative is 4 (a - y)³:

        >>> import gpubp
        >>> quartic = gpubp.Cost.from_functions(
        ...     "quartic", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
        ... )
        >>> network = gpubp.Network((1, 1), cost=quartic, biases=False)
        >>> network.parameters = [3.0]
        >>> back = network.backprop([[1.0]], [[1.0]])
        >>> back.cost, back.gradient.tolist()
        (16.0, [32.0])
        """
        check_custom_name("cost", name, COSTS)
        check_choice("targets", targets, ("real", "class", "unit", "nonnegative"))
        check_texts(cuda=cuda, cuda_derivative=cuda_derivative)
        owner = f"cost {name!r}"
        function = CustomFunction.of(owner, "function", function, "xp, a, y")
        derivative = CustomFunction.of(owner, "derivative", derivative, "xp, a, y")
        return cls(
            name=name,
            formula=f"Σ {name}(a, y), user-defined",
            cuda=cuda,
            cuda_derivative=cuda_derivative,
            numpy=partial(_write, function),
            numpy_derivative=partial(_write_derivative, derivative),
            domain=check_interval("domain", domain),
            targets=targets,
            function=function,
            function_derivative=derivative,
        )


# Custom functions as NumPy twins. These two are at module level, because pickles need that.


def _write(
    function: Callable[..., Array], z: Array, a: Array, y: Array, c: Array, s: Scratch
) -> None:
    c[...] = function(np, a, y)


def _write_derivative(
    derivative: Callable[..., Array], a: Array, y: Array, g: Array, s: Scratch
) -> None:
    g[...] = derivative(np, a, y)


def _quadratic(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.subtract(a, y, out=c)
    np.multiply(c, c, out=c)
    np.multiply(c, 0.5, out=c)


def _difference(a: Array, y: Array, g: Array, s: Scratch) -> None:
    np.subtract(a, y, out=g)


QUADRATIC = Cost(
    name="quadratic",
    formula="½ Σ (y - a)²",
    derivative_formula="a - y",
    cuda="return T(0.5) * (a - y) * (a - y);",
    cuda_derivative="return a - y;",
    numpy=_quadratic,
    numpy_derivative=_difference,
    canonical="identity",
    canonical_cuda="return T(0.5) * (a - y) * (a - y);",
    canonical_numpy=_quadratic,
)


def _cross_entropy(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.maximum(a, TINY, out=c)
    np.log(c, out=c)
    np.multiply(c, y, out=c)
    np.negative(c, out=c)


def _cross_entropy_derivative(a: Array, y: Array, g: Array, s: Scratch) -> None:
    _one_where_not_clamped(a, s[0])
    np.maximum(a, TINY, out=g)
    np.divide(y, g, out=g)
    np.multiply(g, s[0], out=g)
    np.negative(g, out=g)


def _one_where_not_clamped(a: Array, out: Array) -> None:
    np.greater(a, TINY, out=out)


CROSS_ENTROPY = Cost(
    name="cross_entropy",
    formula="-Σ y log(a)",
    derivative_formula="-y / a",
    cuda=_CLAMP + "return -y * log(a < tiny ? tiny : a);",
    cuda_derivative=_CLAMP + "return a <= tiny ? T(0) : -y / a;",
    numpy=_cross_entropy,
    numpy_derivative=_cross_entropy_derivative,
    canonical="softmax",
    domain=(0.0, math.inf),
    targets="class",
)


def _clamp_to_unit(a: Array, out: Array) -> None:
    almost_one = 1 - (6e-8 if a.dtype == np.float32 else 1.2e-16)
    np.clip(a, TINY, almost_one, out=out)


def _binary_cross_entropy(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    p, q = s
    _clamp_to_unit(a, p)
    np.negative(p, out=q)
    np.log1p(q, out=q)
    np.log(p, out=p)
    np.subtract(q, p, out=c)  # -y log p - (1 - y) log q = y (log q - log p) - log q
    np.multiply(c, y, out=c)
    np.subtract(c, q, out=c)


def _binary_cross_entropy_derivative(a: Array, y: Array, g: Array, s: Scratch) -> None:
    p, q = s
    _clamp_to_unit(a, p)
    np.equal(p, a, out=q, casting="unsafe")
    np.subtract(p, y, out=g)
    np.multiply(g, q, out=g)
    np.subtract(1, p, out=q)
    np.multiply(q, p, out=q)
    np.divide(g, q, out=g)


def _sigmoid_cross_entropy(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.multiply(y, z, out=s[1])
    softplus(z, c, s[0])
    np.subtract(c, s[1], out=c)


BINARY_CROSS_ENTROPY = Cost(
    name="binary_cross_entropy",
    formula="-Σ y log(a) + (1 - y) log(1 - a)",
    derivative_formula="(a - y) / (a (1 - a))",
    cuda=_CLAMP
    + """
    const T p = a < tiny ? tiny : a > almost_one ? almost_one : a;
    return -y * log(p) - (T(1) - y) * log1p(-p);
    """,
    cuda_derivative=_CLAMP
    + "return a < tiny || a > almost_one ? T(0) : (a - y) / (a * (T(1) - a));",
    numpy=_binary_cross_entropy,
    numpy_derivative=_binary_cross_entropy_derivative,
    canonical="sigmoid",
    canonical_cuda="return (z > T(0) ? z : T(0)) + log1p(exp(z > T(0) ? -z : z)) - y * z;",
    canonical_numpy=_sigmoid_cross_entropy,
    domain=(0.0, 1.0),
    targets="unit",
)


# With d = min(max(a - y, -t), t), both branches of the cost are d (a - y - d/2).
def _huber(z: Array, a: Array, y: Array, c: Array, s: Scratch, *, threshold: float) -> None:
    np.subtract(a, y, out=c)
    np.clip(c, -threshold, threshold, out=s[0])
    np.multiply(s[0], 0.5, out=s[1])
    np.subtract(c, s[1], out=c)
    np.multiply(c, s[0], out=c)


def _huber_derivative(a: Array, y: Array, g: Array, s: Scratch, *, threshold: float) -> None:
    np.subtract(a, y, out=g)
    np.clip(g, -threshold, threshold, out=g)


HUBER = Cost(
    name="huber",
    formula="Σ ½ (a - y)² where |a - y| <= threshold, else threshold (|a - y| - threshold / 2)",
    derivative_formula="min(max(a - y, -threshold), threshold)",
    cuda="""
        const T r = a - y;
        const T d = r < -threshold ? -threshold : r > threshold ? threshold : r;
        return d * (r - T(0.5) * d);
    """,
    cuda_derivative="""
        const T r = a - y;
        return r < -threshold ? -threshold : r > threshold ? threshold : r;
    """,
    numpy=_huber,
    numpy_derivative=_huber_derivative,
    parameters={"threshold": 1.0},
)


def _absolute_error(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.subtract(a, y, out=c)
    np.abs(c, out=c)


def _absolute_error_derivative(a: Array, y: Array, g: Array, s: Scratch) -> None:
    np.subtract(a, y, out=g)
    np.sign(g, out=g)


ABSOLUTE_ERROR = Cost(
    name="absolute_error",
    formula="Σ |a - y|",
    derivative_formula="sign(a - y)",
    cuda="return a > y ? a - y : y - a;",
    cuda_derivative="return a > y ? T(1) : a < y ? T(-1) : a - y;",
    numpy=_absolute_error,
    numpy_derivative=_absolute_error_derivative,
)


def _log_cosh(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.subtract(a, y, out=c)
    np.abs(c, out=c)
    np.multiply(c, -2, out=s[0])
    np.exp(s[0], out=s[0])
    np.log1p(s[0], out=s[0])
    np.add(c, s[0], out=c)
    np.subtract(c, math.log(2), out=c)


def _log_cosh_derivative(a: Array, y: Array, g: Array, s: Scratch) -> None:
    np.subtract(a, y, out=g)
    np.tanh(g, out=g)


LOG_COSH = Cost(
    name="log_cosh",
    formula="Σ log(cosh(a - y))",
    derivative_formula="tanh(a - y)",
    cuda="""
        const T r = a > y ? a - y : y - a;
        return r + log1p(exp(T(-2) * r)) - T(0.69314718055994531);
    """,
    cuda_derivative="return tanh(a - y);",
    numpy=_log_cosh,
    numpy_derivative=_log_cosh_derivative,
)


def _poisson(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.maximum(a, TINY, out=c)
    np.log(c, out=s[0])
    _poisson_from_log(s[0], c, y, c, s)


def _poisson_from_log(log_a: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    np.maximum(y, TINY, out=s[1])
    np.log(s[1], out=s[1])
    np.subtract(s[1], log_a, out=s[1])
    np.multiply(s[1], y, out=s[1])
    np.subtract(a, y, out=c)
    np.add(c, s[1], out=c)


def _poisson_derivative(a: Array, y: Array, g: Array, s: Scratch) -> None:
    _one_where_not_clamped(a, s[0])
    np.maximum(a, TINY, out=g)
    np.divide(y, g, out=g)
    np.subtract(1, g, out=g)
    np.multiply(g, s[0], out=g)


def _exponential_poisson(z: Array, a: Array, y: Array, c: Array, s: Scratch) -> None:
    _poisson_from_log(z, a, y, c, s)


POISSON = Cost(
    name="poisson",
    formula="Σ y log(y / a) + a - y, half the Poisson deviance",
    derivative_formula="1 - y / a",
    cuda=_CLAMP
    + """
    const T p = a < tiny ? tiny : a;
    return y * (log(y < tiny ? tiny : y) - log(p)) + (p - y);
    """,
    cuda_derivative=_CLAMP + "return a <= tiny ? T(0) : T(1) - y / a;",
    numpy=_poisson,
    numpy_derivative=_poisson_derivative,
    canonical="exponential",
    canonical_cuda=_CLAMP + "return y * (log(y < tiny ? tiny : y) - z) + (a - y);",
    canonical_numpy=_exponential_poisson,
    domain=(0.0, math.inf),
    targets="nonnegative",
)


def _quantile(z: Array, a: Array, y: Array, c: Array, s: Scratch, *, quantile: float) -> None:
    np.subtract(y, a, out=s[0])
    np.multiply(s[0], quantile, out=c)
    np.multiply(s[0], quantile - 1, out=s[0])
    np.maximum(c, s[0], out=c)


def _quantile_derivative(a: Array, y: Array, g: Array, s: Scratch, *, quantile: float) -> None:
    # The derivative is sign(a - y) / 2 + (1/2 - quantile) where a differs from y, and 0 where a = y.
    np.subtract(a, y, out=g)
    np.sign(g, out=g)
    np.abs(g, out=s[0])
    np.multiply(s[0], 0.5 - quantile, out=s[0])
    np.multiply(g, 0.5, out=g)
    np.add(g, s[0], out=g)


QUANTILE = Cost(
    name="quantile",
    formula="Σ max(quantile (y - a), (quantile - 1) (y - a)), the pinball loss",
    derivative_formula="1 - quantile if a > y, -quantile if a < y, 0 if a = y",
    cuda="return y > a ? quantile * (y - a) : (T(1) - quantile) * (a - y);",
    cuda_derivative="return a > y ? T(1) - quantile : a < y ? -quantile : a - y;",
    numpy=_quantile,
    numpy_derivative=_quantile_derivative,
    parameters={"quantile": 0.5},
)

COSTS: Mapping[str, Cost] = {
    cost.name: cost
    for cost in (
        QUADRATIC, CROSS_ENTROPY, BINARY_CROSS_ENTROPY, HUBER, ABSOLUTE_ERROR, LOG_COSH, POISSON,
        QUANTILE,
    )
}  # fmt: skip
"""The built-in costs by name; `gpubp.get_cost` makes one with other parameters.

Examples
--------
>>> from gpubp.kernels import COSTS
>>> list(COSTS)
['quadratic', 'cross_entropy', 'binary_cross_entropy', 'huber', 'absolute_error', 'log_cosh', 'poisson',
 'quantile']
>>> COSTS["quadratic"].formula, COSTS["cross_entropy"].canonical
('½ Σ (y - a)²', 'softmax')
"""
