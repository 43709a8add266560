"""Activations: formula, CUDA text and NumPy twin of each, side by side.

`cuda` is the body of `T activation(T z)`, and `cuda_derivative` is the body of `T derivative(T v)`. T is
the type of the arithmetic. v is `a` or `z`, as `reads` says. `numpy(z, a, s)` writes σ(z) into `a`, which
may be `z` itself. `numpy_derivative(v, d, s)` writes σ′ into `d`, which is never `v`. `s` is a tuple of two
scratch arrays of the same shape. Parameters, such as a slope, are constants of the CUDA text, arguments of
the CPU's kernels, and keyword arguments of the twins.

Every entry is finite for |z| up to 1e4 and raises no floating-point warning. For this the arguments of
exponentials are capped, at a value where the result no longer changes or no longer fits the type. NaN stays
NaN, because it shows that a network has diverged. Comparisons with NaN are false, so no entry may select a
number when a comparison is false.

To add an activation, add an entry here. Nothing else in this package changes. The CUDA text of σ is also
that of C files, so it is C but for T(...) and overloaded functions such as exp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from scipy import special

from .cuda.text import device_function
from .custom import CustomFunction, check_choice, check_custom_name, check_interval, check_texts
from .typing import Array

__all__ = [
    "ACTIVATIONS",
    "SOFTMAX",
    "Activation",
    "exponential_limit",
    "softplus",
]


INFINITY = math.inf


@dataclass(frozen=True, eq=False)
class Activation:
    """An activation σ and its derivative, as CUDA text and as NumPy twins.

    Attributes
    ----------
    name, formula, derivative_formula : str
        The activation's name, and the formulas of σ and σ′ as text; that of σ′ is "" for softmax and for
        custom functions.
    reads : {"a", "z"}
        The array that the derivative is computed from.
    cuda, cuda_derivative : str
        Bodies of CUDA functions; "" for softmax and for custom functions without text.
    numpy, numpy_derivative : callable
        The NumPy twins of `cuda` and `cuda_derivative`.
    output_range : tuple of float
        Lower and upper bound of a.
    parameters : mapping of str to float
        Constants of the formula.
    rowwise : bool
        Whether each output depends on every z of its row, as with softmax.
    function, function_derivative : callable or None
        The functions of a custom activation, (xp, array) -> array; None for a built-in one.

    See Also
    --------
    get_activation : Finds an activation by its name.

    Examples
    --------
    >>> import gpubp
    >>> relu = gpubp.get_activation("relu")
    >>> relu
    <activation relu: max(z, 0)>
    >>> relu.cuda, relu.cuda_derivative
    ('return z < T(0) ? T(0) : z;', 'return a > T(0) ? T(1) : T(0);')
    >>> relu.output_range
    (0.0, inf)
    """

    name: str
    formula: str
    reads: Literal["a", "z"]
    cuda: str = ""
    cuda_derivative: str = ""
    numpy: Callable[..., None] | None = None
    numpy_derivative: Callable[..., None] | None = None
    output_range: tuple[float, float] = (-INFINITY, INFINITY)
    parameters: Mapping[str, float] = field(default_factory=dict)
    rowwise: bool = False
    function: Callable[..., Array] | None = None
    function_derivative: Callable[..., Array] | None = None
    derivative_formula: str = ""

    @property
    def is_identity(self) -> bool:
        """Whether a = z, which needs no computation."""
        return self.name == "identity"

    @property
    def has_cuda(self) -> bool:
        """Whether σ has CUDA text. Softmax has separate kernels; a custom function may have no text."""
        return bool(self.cuda)

    @property
    def has_cuda_derivative(self) -> bool:
        """Whether σ′ has CUDA text."""
        return bool(self.cuda_derivative)

    @cached_property
    def activation_text(self) -> str:
        """CUDA text of the function `activation(z)`."""
        return device_function("activation", "z", self.cuda, self.parameters)

    @cached_property
    def derivative_text(self) -> str:
        """CUDA text of the function `derivative`, whose argument is a or z, as `reads` says."""
        return device_function("derivative", self.reads, self.cuda_derivative, self.parameters)

    def __getstate__(self) -> dict[str, Any]:
        # Not the text made of them: a pickle may meet kernels of another version.
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __repr__(self) -> str:
        arguments = "".join(f", {key}={value!r}" for key, value in self.parameters.items())
        return f"<activation {self.name}{arguments}: {self.formula}>"

    def with_parameters(self, **parameters: float) -> Activation:
        """Return the same activation with other parameters; the caller has checked their names.

        Parameters
        ----------
        **parameters : float
            New values of the activation's parameters.

        Returns
        -------
        Activation
            A new activation.

        See Also
        --------
        get_activation : The same with checks.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.get_activation("leaky_relu").with_parameters(slope=0.2).parameters
        {'slope': 0.2}
        """
        return replace(self, parameters={**self.parameters, **parameters})

    @classmethod
    def from_functions(
        cls,
        name: str,
        function: Callable[[Any, Array], Array],
        derivative: Callable[[Any, Array], Array],
        *,
        reads: Literal["a", "z"] = "z",
        cuda: str = "",
        cuda_derivative: str = "",
        output_range: tuple[float, float] = (-INFINITY, INFINITY),
    ) -> Activation:
        """Make a custom activation from two functions that serve both backends.

        Parameters
        ----------
        name : str
            The activation's name, also in files. It must not be a built-in activation's name.
        function : callable
            (xp, z) -> a, elementwise, of z's shape; xp is the array namespace, numpy or cupy.
        derivative : callable
            (xp, v) -> σ′, where v is z, or a if `reads="a"`.
        reads : {"z", "a"}, default "z"
            The array that the derivative is computed from.
        cuda, cuda_derivative : str, default ""
            Bodies of `T activation(T z)` and of `T derivative(T z)`; with `reads="a"` the latter is
            `T derivative(T a)`. With both, one fused kernel replaces several, on the CPU too.
        output_range : tuple of float, default (-inf, inf)
            Lower and upper bound of a. Costs that need outputs in an interval check it.

        Returns
        -------
        Activation
            An activation for `Network`.

        Raises
        ------
        ValueError
            If the name is empty or a built-in activation's, `reads` is neither "a" nor "z", or
            `output_range` is no interval. A function that returns something else than real numbers shaped
            like its argument is an error when the network calls it.
        TypeError
            If `function` or `derivative` does not take two arguments, or a CUDA text is not a str.

        Examples
        --------
        z², whose derivative is 2 z:

        >>> import gpubp
        >>> square = gpubp.Activation.from_functions(
        ...     "square", lambda xp, z: z * z, lambda xp, z: 2 * z, output_range=(0, float("inf"))
        ... )
        >>> network = gpubp.Network((1, 1), output=square, biases=False)
        >>> network.parameters = [3.0]
        >>> network.predict([2.0]).tolist()
        [36.0]
        >>> network.vjp([2.0], [1.0]).input_gradient.tolist()  # 2 z times the weight
        [36.0]
        """
        check_custom_name("activation", name, ACTIVATIONS)
        check_choice("reads", reads, ("a", "z"))
        check_texts(cuda=cuda, cuda_derivative=cuda_derivative)
        owner = f"activation {name!r}"
        function = CustomFunction.of(owner, "function", function, "xp, z")
        derivative = CustomFunction.of(owner, "derivative", derivative, f"xp, {reads}")
        return cls(
            name=name,
            formula=f"{name}(z), user-defined",
            reads=reads,
            cuda=cuda,
            cuda_derivative=cuda_derivative,
            numpy=partial(_write, function),
            numpy_derivative=partial(_write, derivative),
            output_range=check_interval("output_range", output_range),
            function=function,
            function_derivative=derivative,
        )


def _write(function: Callable[..., Array], v: Array, out: Array, s: tuple[Array, ...]) -> None:
    """Write a custom function's result to `out`. At module level, because pickles need that."""
    out[...] = function(np, v)


def exponential_limit(array: Array) -> float:
    """The largest whole number n for which exp(n) is finite and exp(-n) is a normal number."""
    return 87.0 if array.dtype == np.float32 else 708.0


# Several entries use this logistic function. It takes five passes and never overflows.
def _logistic(z: Array, out: Array) -> None:
    np.maximum(z, -exponential_limit(z), out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


def _ones(v: Array, d: Array, s: tuple[Array, ...]) -> None:
    d.fill(1)


def _identity(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    if a is not z:
        np.copyto(a, z)


IDENTITY = Activation(
    name="identity",
    formula="z",
    derivative_formula="1",
    reads="a",
    cuda="return z;",
    cuda_derivative="return T(1);",
    numpy=_identity,
    numpy_derivative=_ones,
)


def _sigmoid(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    _logistic(z, a)


def _sigmoid_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.subtract(1, a, out=d)
    np.multiply(d, a, out=d)


SIGMOID = Activation(
    name="sigmoid",
    formula="1 / (1 + exp(-z))",
    derivative_formula="a (1 - a)",
    reads="a",
    cuda="return T(1) / (T(1) + exp(-z));",
    cuda_derivative="return a * (T(1) - a);",
    numpy=_sigmoid,
    numpy_derivative=_sigmoid_derivative,
    output_range=(0.0, 1.0),
)


def _tanh(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    np.tanh(z, out=a)


def _tanh_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.multiply(a, a, out=d)
    np.subtract(1, d, out=d)


TANH = Activation(
    name="tanh",
    formula="tanh(z)",
    derivative_formula="1 - a²",
    reads="a",
    cuda="return tanh(z);",
    cuda_derivative="return T(1) - a * a;",
    numpy=_tanh,
    numpy_derivative=_tanh_derivative,
    output_range=(-1.0, 1.0),
)


def _relu(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    np.maximum(z, 0, out=a)


def _relu_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.greater(a, 0, out=d)


RELU = Activation(
    name="relu",
    formula="max(z, 0)",
    derivative_formula="1 if a > 0 else 0",
    reads="a",
    cuda="return z < T(0) ? T(0) : z;",
    cuda_derivative="return a > T(0) ? T(1) : T(0);",
    numpy=_relu,
    numpy_derivative=_relu_derivative,
    output_range=(0.0, INFINITY),
)


def _leaky_relu(z: Array, a: Array, s: tuple[Array, ...], *, slope: float) -> None:
    np.multiply(z, slope, out=s[0])
    np.maximum(z, s[0], out=a)


def _leaky_relu_derivative(a: Array, d: Array, s: tuple[Array, ...], *, slope: float) -> None:
    np.greater(a, 0, out=d)
    np.multiply(d, 1 - slope, out=d)
    np.add(d, slope, out=d)


LEAKY_RELU = Activation(
    name="leaky_relu",
    formula="z if z > 0 else slope z, 0 <= slope < 1",
    derivative_formula="1 if a > 0 else slope",
    reads="a",
    cuda="return z > T(0) ? z : slope * z;",
    cuda_derivative="return a > T(0) ? T(1) : slope;",
    numpy=_leaky_relu,
    numpy_derivative=_leaky_relu_derivative,
    parameters={"slope": 0.01},
)


def _elu(z: Array, a: Array, s: tuple[Array, ...], *, alpha: float) -> None:
    np.minimum(z, 0, out=s[0])
    np.expm1(s[0], out=s[0])
    np.multiply(s[0], alpha, out=s[0])
    np.maximum(z, 0, out=a)
    np.add(a, s[0], out=a)


def _elu_derivative(a: Array, d: Array, s: tuple[Array, ...], *, alpha: float) -> None:
    # The derivative is alpha exp(z) = a + alpha for z < 0, and 1 for z > 0.
    np.greater(a, 0, out=d)
    np.multiply(d, 1 - alpha, out=d)
    np.minimum(a, 0, out=s[0])
    np.add(d, s[0], out=d)
    np.add(d, alpha, out=d)


ELU = Activation(
    name="elu",
    formula="z if z > 0 else alpha (exp(z) - 1)",
    derivative_formula="1 if a > 0 else a + alpha",
    reads="a",
    cuda="return z > T(0) ? z : alpha * expm1(z);",
    cuda_derivative="return a > T(0) ? T(1) : a + alpha;",
    numpy=_elu,
    numpy_derivative=_elu_derivative,
    parameters={"alpha": 1.0},
)

# Klambauer et al. 2017, "Self-Normalizing Neural Networks".
_SELU = {"scale": 1.0507009873554805, "alpha": 1.6732632423543772}


def _selu(z: Array, a: Array, s: tuple[Array, ...], *, scale: float, alpha: float) -> None:
    _elu(z, a, s, alpha=alpha)
    np.multiply(a, scale, out=a)


def _selu_derivative(
    a: Array, d: Array, s: tuple[Array, ...], *, scale: float, alpha: float
) -> None:
    np.greater(a, 0, out=d)
    np.multiply(d, scale * (1 - alpha), out=d)
    np.minimum(a, 0, out=s[0])
    np.add(d, s[0], out=d)
    np.add(d, scale * alpha, out=d)


SELU = Activation(
    name="selu",
    formula="scale (z if z > 0 else alpha (exp(z) - 1))",
    derivative_formula="scale if a > 0 else a + scale alpha",
    reads="a",
    cuda="return scale * (z > T(0) ? z : alpha * expm1(z));",
    cuda_derivative="return a > T(0) ? scale : a + scale * alpha;",
    numpy=_selu,
    numpy_derivative=_selu_derivative,
    parameters=_SELU,
)


def _gelu(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    special.ndtr(z, out=s[0])
    np.multiply(z, s[0], out=a)


def _gelu_derivative(z: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.minimum(np.abs(z, out=d), 100, out=d)  # for larger |z|, exp(-z²/2) is 0 in float64
    np.multiply(d, d, out=d)
    np.multiply(d, -0.5, out=d)
    np.exp(d, out=d)
    np.multiply(d, z, out=d)
    np.multiply(d, 1 / math.sqrt(2 * math.pi), out=d)
    special.ndtr(z, out=s[0])
    np.add(d, s[0], out=d)


GELU = Activation(
    name="gelu",
    formula="z Φ(z) = z (1 + erf(z / √2)) / 2",
    derivative_formula="Φ(z) + z exp(-z²/2) / √(2π)",
    reads="z",
    cuda="return T(0.5) * z * erfc(z * T(-0.70710678118654752));",
    cuda_derivative=(
        "return T(0.5) * erfc(z * T(-0.70710678118654752))"
        " + z * T(0.39894228040143268) * exp(T(-0.5) * z * z);"
    ),
    numpy=_gelu,
    numpy_derivative=_gelu_derivative,
)

_GELU_TANH_C = math.sqrt(2 / math.pi)


def _gelu_tanh_of(z: Array, out: Array) -> None:
    np.multiply(z, z, out=out)
    np.multiply(out, 0.044715 * _GELU_TANH_C, out=out)
    np.add(out, _GELU_TANH_C, out=out)
    np.multiply(out, z, out=out)
    np.tanh(out, out=out)


def _gelu_tanh(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    _gelu_tanh_of(z, s[0])
    np.add(s[0], 1, out=s[0])
    np.multiply(s[0], 0.5, out=s[0])
    np.multiply(z, s[0], out=a)


def _gelu_tanh_derivative(z: Array, d: Array, s: tuple[Array, ...]) -> None:
    t, u = s
    _gelu_tanh_of(z, t)
    np.multiply(z, z, out=u)
    np.multiply(u, 3 * 0.044715 * _GELU_TANH_C, out=u)
    np.add(u, _GELU_TANH_C, out=u)
    np.multiply(u, z, out=u)
    np.multiply(t, t, out=d)
    np.subtract(1, d, out=d)
    np.multiply(d, u, out=d)
    np.add(d, t, out=d)
    np.add(d, 1, out=d)
    np.multiply(d, 0.5, out=d)


GELU_TANH = Activation(
    name="gelu_tanh",
    formula="z (1 + tanh(√(2/π) (z + 0.044715 z³))) / 2",
    derivative_formula=(
        "(1 + t + z (1 - t²) √(2/π) (1 + 0.134145 z²)) / 2, t = tanh(√(2/π) (z + 0.044715 z³))"
    ),
    reads="z",
    cuda="""
        const T c = T(0.79788456080286536);
        return T(0.5) * z * (T(1) + tanh(z * (c + T(0.044715) * c * z * z)));
    """,
    cuda_derivative="""
        const T c = T(0.79788456080286536);
        const T t = tanh(z * (c + T(0.044715) * c * z * z));
        return T(0.5) * (T(1) + t + (T(1) - t * t) * z * (c + T(3 * 0.044715) * c * z * z));
    """,
    numpy=_gelu_tanh,
    numpy_derivative=_gelu_tanh_derivative,
)


def _silu(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    _logistic(z, s[0])
    np.multiply(z, s[0], out=a)


def _silu_derivative(z: Array, d: Array, s: tuple[Array, ...]) -> None:
    _logistic(z, s[0])
    np.subtract(1, s[0], out=d)
    np.multiply(d, z, out=d)
    np.add(d, 1, out=d)
    np.multiply(d, s[0], out=d)


SILU = Activation(
    name="silu",
    formula="z / (1 + exp(-z))",
    derivative_formula="p + z p (1 - p), p = 1 / (1 + exp(-z))",
    reads="z",
    cuda="return z / (T(1) + exp(-z));",
    cuda_derivative="""
        const T p = T(1) / (T(1) + exp(-z));
        return p * (T(1) + z * (T(1) - p));
    """,
    numpy=_silu,
    numpy_derivative=_silu_derivative,
)


# tanh(softplus(z)) = n / (n + 2) with n = e (e + 2) and e = exp(z). z is capped at 30: there the value is 1
# to the last bit, its derivative is negligible even times 1e4, and e² times 1e4 still fits float32.
def _mish_parts(z: Array, e: Array, n: Array) -> None:
    np.minimum(z, 30, out=e)
    np.exp(e, out=e)
    np.add(e, 2, out=n)
    np.multiply(n, e, out=n)


def _mish(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    e, n = s
    _mish_parts(z, e, n)
    np.add(n, 2, out=e)
    np.divide(n, e, out=n)
    np.multiply(z, n, out=a)


def _mish_derivative(z: Array, d: Array, s: tuple[Array, ...]) -> None:
    # The derivative is t + z σ(z) (1 - t²), with t = n / (n + 2), 1 - t² = 4 (n + 1) / (n + 2)² and
    # σ(z) = e / (1 + e). Since n + 1 = (1 + e)², the second term is 4 z e (1 + e) / (n + 2)².
    e, n = s
    _mish_parts(z, e, n)
    np.add(e, 1, out=d)
    np.multiply(d, e, out=d)
    np.multiply(d, 4, out=d)
    np.multiply(d, z, out=d)
    np.add(n, 2, out=e)
    np.divide(d, e, out=d)
    np.add(d, n, out=d)
    np.divide(d, e, out=d)


MISH = Activation(
    name="mish",
    formula="z tanh(log(1 + exp(z)))",
    derivative_formula="t + z p (1 - t²), t = tanh(log(1 + exp(z))), p = 1 / (1 + exp(-z))",
    reads="z",
    cuda="""
        const T e = exp(z < T(30) ? z : T(30));
        const T n = e * (e + T(2));
        return z * (n / (n + T(2)));
    """,
    cuda_derivative="""
        const T e = exp(z < T(30) ? z : T(30));
        const T n = e * (e + T(2));
        return (n + T(4) * z * e * (T(1) + e) / (n + T(2))) / (n + T(2));
    """,
    numpy=_mish,
    numpy_derivative=_mish_derivative,
)


def softplus(z: Array, out: Array, s: Array) -> None:
    """log(1 + exp(z)) = max(z, 0) + log1p(exp(-|z|)); `out` may be `z`."""
    np.abs(z, out=s)
    np.negative(s, out=s)
    np.exp(s, out=s)
    np.log1p(s, out=s)
    np.maximum(z, 0, out=out)
    np.add(out, s, out=out)


def _softplus(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    softplus(z, a, s[0])


def _softplus_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.negative(a, out=d)
    np.expm1(d, out=d)
    np.negative(d, out=d)


SOFTPLUS = Activation(
    name="softplus",
    formula="log(1 + exp(z))",
    derivative_formula="1 - exp(-a)",
    reads="a",
    cuda="return (z > T(0) ? z : T(0)) + log1p(exp(z > T(0) ? -z : z));",
    cuda_derivative="return -expm1(-a);",
    numpy=_softplus,
    numpy_derivative=_softplus_derivative,
    output_range=(0.0, INFINITY),
)


# (z + √(z² + 4)) / 2 loses digits by cancellation for z < 0. With p its value at |z|, it equals max(z, 0) +
# 1 / p, which loses none.
def _squareplus(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    p, magnitude = s
    np.multiply(z, z, out=p)
    np.add(p, 4, out=p)
    np.sqrt(p, out=p)
    np.abs(z, out=magnitude)
    np.add(p, magnitude, out=p)
    np.divide(2, p, out=p)
    np.maximum(z, 0, out=a)
    np.add(a, p, out=a)


def _squareplus_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.multiply(a, a, out=s[0])
    np.add(s[0], 1, out=d)
    np.divide(s[0], d, out=d)


SQUAREPLUS = Activation(
    name="squareplus",
    formula="(z + √(z² + 4)) / 2",
    derivative_formula="a² / (1 + a²)",
    reads="a",
    cuda="""
        const T magnitude = z > T(0) ? z : -z;
        return (z > T(0) ? z : T(0)) + T(2) / (magnitude + sqrt(z * z + T(4)));
    """,
    cuda_derivative="return a * a / (T(1) + a * a);",
    numpy=_squareplus,
    numpy_derivative=_squareplus_derivative,
    output_range=(0.0, INFINITY),
)


def _sine(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    np.sin(z, out=a)


def _sine_derivative(z: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.cos(z, out=d)


SINE = Activation(
    name="sine",
    formula="sin(z)",
    derivative_formula="cos(z)",
    reads="z",
    cuda="return sin(z);",
    cuda_derivative="return cos(z);",
    numpy=_sine,
    numpy_derivative=_sine_derivative,
    output_range=(-1.0, 1.0),
)


def _exponential(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    np.minimum(z, exponential_limit(z), out=a)
    np.exp(a, out=a)


def _copy(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.copyto(d, a)


EXPONENTIAL = Activation(
    name="exponential",
    formula="exp(z), z capped where it stops being finite (87 in float32, 708 in float64)",
    derivative_formula="a",
    reads="a",
    cuda="""
        const T limit = sizeof(T) == 4 ? T(87) : T(708);
        return exp(z > limit ? limit : z);
    """,
    cuda_derivative="return a;",
    numpy=_exponential,
    numpy_derivative=_copy,
    output_range=(0.0, INFINITY),
)


def _hard_sigmoid(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    np.multiply(z, 1 / 6, out=a)
    np.add(a, 0.5, out=a)
    np.clip(a, 0, 1, out=a)


def _hard_sigmoid_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.subtract(1, a, out=d)
    np.multiply(d, a, out=d)
    np.sign(d, out=d)
    np.multiply(d, 1 / 6, out=d)


HARD_SIGMOID = Activation(
    name="hard_sigmoid",
    formula="min(max(z / 6 + 1/2, 0), 1)",
    derivative_formula="1/6 if 0 < a < 1 else 0",
    reads="a",
    cuda="""
        const T a = z * T(1.0 / 6) + T(0.5);
        return a < T(0) ? T(0) : a > T(1) ? T(1) : a;
    """,
    cuda_derivative="return a > T(0) && a < T(1) ? T(1.0 / 6) : T(0);",
    numpy=_hard_sigmoid,
    numpy_derivative=_hard_sigmoid_derivative,
    output_range=(0.0, 1.0),
)


def _hard_tanh(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    np.clip(z, -1, 1, out=a)


def _hard_tanh_derivative(a: Array, d: Array, s: tuple[Array, ...]) -> None:
    np.abs(a, out=d)
    np.subtract(1, d, out=d)
    np.sign(d, out=d)


HARD_TANH = Activation(
    name="hard_tanh",
    formula="min(max(z, -1), 1)",
    derivative_formula="1 if -1 < a < 1 else 0",
    reads="a",
    cuda="return z < T(-1) ? T(-1) : z > T(1) ? T(1) : z;",
    cuda_derivative="return a > T(-1) && a < T(1) ? T(1) : T(0);",
    numpy=_hard_tanh,
    numpy_derivative=_hard_tanh_derivative,
    output_range=(-1.0, 1.0),
)


def _hard_swish(z: Array, a: Array, s: tuple[Array, ...]) -> None:
    _hard_sigmoid(z, s[0], s)
    np.multiply(z, s[0], out=a)


def _hard_swish_derivative(z: Array, d: Array, s: tuple[Array, ...]) -> None:
    # The derivative is (2z + 3) / 6 for |z| < 3, 0 for smaller z and 1 for larger z. It jumps at -3 and at
    # 3.
    inside, line = s
    np.clip(z, -3, 3, out=line)
    np.abs(line, out=inside)
    np.subtract(3, inside, out=inside)
    np.sign(inside, out=inside)
    np.multiply(line, 1 / 3, out=line)
    np.add(line, 0.5, out=line)
    np.greater(z, 0, out=d)
    np.subtract(line, d, out=line)
    np.multiply(line, inside, out=line)
    np.add(d, line, out=d)


HARD_SWISH = Activation(
    name="hard_swish",
    formula="z min(max(z / 6 + 1/2, 0), 1)",
    derivative_formula="0 if z <= -3, 1 if z >= 3, else z / 3 + 1/2",
    reads="z",
    cuda="""
        const T p = z * T(1.0 / 6) + T(0.5);
        return z * (p < T(0) ? T(0) : p > T(1) ? T(1) : p);
    """,
    cuda_derivative="return z <= T(-3) ? T(0) : z >= T(3) ? T(1) : z * T(1.0 / 3) + T(0.5);",
    numpy=_hard_swish,
    numpy_derivative=_hard_swish_derivative,
)

SOFTMAX = Activation(
    name="softmax",
    formula="exp(z_j) / Σ_k exp(z_k)",
    reads="a",
    output_range=(0.0, 1.0),
    rowwise=True,
)
"""Softmax. It is not elementwise: its kernels are softmax.cu and softmax.py, and only an output layer may
use it.

Examples
--------
>>> from gpubp.kernels import SOFTMAX
>>> SOFTMAX.formula, SOFTMAX.rowwise, SOFTMAX.output_range
('exp(z_j) / Σ_k exp(z_k)', True, (0.0, 1.0))
"""

ACTIVATIONS: Mapping[str, Activation] = {
    activation.name: activation
    for activation in (
        IDENTITY, SIGMOID, TANH, RELU, LEAKY_RELU, ELU, SELU, GELU, GELU_TANH, SILU, MISH, SOFTPLUS,
        SQUAREPLUS, SINE, EXPONENTIAL, HARD_SIGMOID, HARD_TANH, HARD_SWISH, SOFTMAX,
    )
}  # fmt: skip
"""The built-in activations by name; `gpubp.get_activation` makes one with other parameters.

Examples
--------
>>> from gpubp.kernels import ACTIVATIONS
>>> list(ACTIVATIONS)[:5]
['identity', 'sigmoid', 'tanh', 'relu', 'leaky_relu']
>>> ACTIVATIONS["tanh"].formula, ACTIVATIONS["tanh"].output_range
('tanh(z)', (-1.0, 1.0))
"""
