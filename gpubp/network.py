"""Networks: layers over one flat array of parameters, and what a user asks of them."""

from __future__ import annotations

import math
import numbers
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from . import backprop, storage
from .backends import Array, Backend, Rows, backend_of, get_backend, on_device
from .errors import unknown_name
from .initializers import INITIALIZERS, Initializer, default_initializer
from .kernels import COSTS, PRECISIONS, Activation, Cost, OutputHead
from .kernels.scaling import LEAST, fresh_loss_scale
from .layers import Layer, Layout, assign
from .problem import Problem, Rounding
from .validation import (
    as_array,
    check_finite,
    check_fits,
    check_inputs,
    check_number,
    check_precision,
    check_sizes,
    check_targets,
    check_weights,
    get_activation,
    get_cost,
    move,
)
from .workspace import Workspace

__all__ = ["Backprop", "Forward", "Network"]

Each = TypeVar("Each")


@dataclass(frozen=True, eq=False, repr=False)
class Forward:
    """What a forward pass computed.

    Attributes
    ----------
    z : for each layer but the input, (rows, n_out): z = a wᵀ + b.
    a : x itself, then each layer's activations; a[-1] is the output.
    """

    z: list[Array]
    a: list[Array]

    def __repr__(self) -> str:
        return f"Forward({len(self.z)} layers, {len(self.z[0])} rows)"


@dataclass(frozen=True, eq=False, repr=False)
class Backprop:
    """What backpropagation computed. Every array belongs to the caller.

    Attributes
    ----------
    cost : the mean cost of the batch.
    deltas : for each layer but the input, (rows, n_out): ∂(mean cost)/∂z.
    gradient : flat, laid out as `Network.parameters`; the following two are views of it.
    weight_gradients : for each layer, (n_out, n_in).
    bias_gradients : for each layer, (n_out,), or None for a layer without biases.
    input_gradient : (rows, n_in), ∂(mean cost)/∂x.
    z, a : as in `Forward`.
    """

    cost: float
    deltas: list[Array]
    gradient: Array
    weight_gradients: list[Array]
    bias_gradients: list[Array | None]
    input_gradient: Array
    z: list[Array]
    a: list[Array]

    def __repr__(self) -> str:
        return f"Backprop({len(self.z)} layers, {len(self.z[0])} rows, cost={self.cost:g})"


class Network:
    """A fully connected network.

    Parameters
    ----------
    sizes : layer widths, the input first: (784, 256, 10).
    hidden : activation of the hidden layers, by name or as an `Activation`, or one for each.
    output : activation of the output layer.
    cost : by name or as a `Cost`; None takes the output's canonical partner (softmax with
        cross_entropy, sigmoid with binary_cross_entropy, exponential with poisson), else quadratic.
    dtype : "float32" or "float64".
    backend : "auto", "numpy", "cupy", "cupy:1" or a `Backend`.
    seed : of the initial weights: an int, or a numpy.random.Generator to draw them from.
    biases : whether layers have biases; one bool, or one for each layer.
    initializer : of the weights, by name (he_normal, he_uniform, glorot_normal, glorot_uniform,
        lecun_normal, lecun_uniform, orthogonal, zeros) or a callable (rng, (n_out, n_in)) -> array,
        or one for each layer; None takes the one made for each layer's activation. Biases start at 0.
    dropout : probability with which training drops each activation of the hidden layers, or one for
        each of them.
    precision : what matmuls round their operands to, "tf32", "bfloat16" or "float16", with sums, parameters
        and all else in float32; None rounds nothing. Of use on a GPU, which multiplies such numbers many
        times as fast; on the CPU it gives the same numbers more slowly.

    Attributes
    ----------
    parameters : every weight, then every bias, in one flat array (size,) of `dtype`; layers hold views
        of it, and what is assigned to it, or to a layer's weights or biases, is copied into it.
    layers : the layers but the input, each with weights (n_out, n_in), biases (n_out,), activation.
    sizes, dtype, backend, cost_function, precision : what the network was made with.

    Several threads may use one network to predict at the same time; they take turns.

    Raises
    ------
    ValueError, TypeError : an argument is not what is expected; the message names it.
    BackendUnavailableError : the backend cannot run here.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        hidden: str | Activation | Sequence[str | Activation] = "relu",
        output: str | Activation = "identity",
        cost: str | Cost | None = None,
        dtype: Any = "float32",
        backend: str | Backend = "auto",
        seed: int | np.random.Generator | None = None,
        biases: bool | Sequence[bool] = True,
        initializer: str | Initializer | Sequence[str | Initializer] | None = None,
        dropout: float | Sequence[float] = 0.0,
        precision: str | None = None,
    ) -> None:
        self.sizes = check_sizes(sizes)
        self.dtype = _check_dtype(dtype)
        self.precision = check_precision(precision, self.dtype)
        depth = len(self.sizes) - 1
        activations = _for_each("hidden", hidden, depth - 1, (str, Activation))
        activations = [_named("hidden", a) for a in activations]
        if isinstance(hidden, str):
            _named("hidden", hidden)  # also where there is no hidden layer
        for a in activations:
            if a.rowwise:
                raise ValueError(f"hidden is {a.name!r}, which only an output layer can have")
        activations.append(_named("output", output))
        self.cost_function = _choose_cost(cost, activations[-1])
        rates = _for_each("dropout", dropout, depth - 1, (numbers.Real,))
        for rate in [dropout] if isinstance(dropout, numbers.Real) else rates:
            check_number("dropout", rate, 0, 1)
        with_biases = _for_each("biases", biases, depth, (bool, np.bool_))
        if not all(isinstance(b, bool | np.bool_) for b in with_biases):
            raise TypeError(f"biases is {biases!r}, expected True or False, or one for each layer")
        initializers = _for_each("initializer", initializer, depth, (str, type(None)), callable)
        draw = [_initializer(i, a) for i, a in zip(initializers, activations, strict=True)]
        rng = np.random.default_rng(_check_seed(seed))

        self.layout = Layout(self.sizes, tuple(bool(b) for b in with_biases))
        values = np.zeros(self.layout.size, self.dtype)
        for (weights, _), function in zip(self.layout.views(values), draw, strict=True):
            drawn = as_array("what initializer gave", function(rng, weights.shape))
            if drawn.shape != weights.shape:
                raise ValueError(
                    f"initializer gave shape {drawn.shape}, expected {weights.shape} (n_out, n_in)"
                )
            check_finite("what initializer gave", drawn)
            check_fits("what initializer gave", drawn, self.dtype)
            weights[...] = drawn
        self.backend = get_backend(backend, self.layout.size)
        self._adopt(values, activations, [*map(float, rates), 0.0])

    def _adopt(
        self, values: Array, activations: Sequence[Activation], dropout: Sequence[float]
    ) -> None:
        """Take these parameters, flat, and make the layers that hold views of them."""
        self._parameters: Array = self.backend.asarray(values)
        views = self.layout.views(self._parameters)
        self.layers = [
            Layer(*view, activation, rate)
            for view, activation, rate in zip(views, activations, dropout, strict=True)
        ]
        self.output_head = OutputHead(activations[-1], self.cost_function)
        self._predictors: dict[int, tuple[Rows, Array, Callable[[], None]]] = {}
        self._predicting = threading.Lock()

    @property
    def parameters(self) -> Array:
        """Every weight, then every bias, flat: (size,)."""
        return self._parameters

    @parameters.setter
    def parameters(self, values: Any) -> None:
        assign("parameters", self._parameters, values)

    def __repr__(self) -> str:
        names = [layer.activation.name for layer in self.layers]
        hidden = names[0] if len(set(names[:-1])) == 1 else names[:-1]
        shown = f", hidden={hidden!r}" if len(names) > 1 else ""
        rounding = f", precision={self.precision!r}" if self.precision else ""
        return (
            f"Network({self.sizes}{shown}, output={names[-1]!r}, cost={self.cost_function.name!r},"
            f" dtype={str(self.dtype)!r}, backend={self.backend.name!r}{rounding})"
        )

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """What inputs must have room in: `dtype`, or with precision "float16" that."""
        return np.dtype(np.float16) if self.precision == "float16" else self.dtype

    @on_device
    def problem(self, counters: Array | None = None, dropout_seed: int | None = None) -> Problem:
        """What the functions of `gpubp.backprop` compute on, with memory of its own for rounded weights.

        Parameters
        ----------
        counters : array of int64, shape (2,), or None
            The step counters; None for zeros.
        dropout_seed : int or None
            Which dropout masks to draw; None drops nothing.
        """
        backend, layout, rounding = self.backend, self.layout, None
        if counters is None:
            counters = backend.zeros(2, np.int64)
        if self.precision is not None:
            precision = PRECISIONS[self.precision]
            rounded = backend.operands((layout.size,), precision)
            rounding = Rounding(
                precision,
                values=self._parameters[: layout.n_weights],
                rounded=rounded[: layout.n_weights],
                weights=[weights for weights, _ in layout.views(rounded)],
            )
        return Problem(backend, self.layers, self.output_head, counters, rounding, dropout_seed)

    @on_device
    def forward(self, x: Any) -> Forward:
        """Every z and a for x, (rows, n_in) or one example (n_in,).

        Raises
        ------
        ValueError : x has the wrong shape or type, or holds NaN, infinity or numbers too large for
            the network's dtype.
        """
        given = check_inputs(x, self.sizes[0], dtype=self.input_dtype)
        rows, problem = Rows(move(given, self.backend)), self.problem()
        workspace = self._workspace(problem, len(given), "predict", keep_all=True)
        backprop.predict(problem, workspace, rows)
        block = workspace.shards[0][0]
        return Forward(self._back(block.z, given), self._back(self._plain(block.a), given))

    @on_device
    def backprop(self, x: Any, y: Any, sample_weight: Any = None) -> Backprop:
        """The cost, every z, a and δ, and the gradient by parameters and inputs.

        Parameters
        ----------
        x : (rows, n_in), or one example (n_in,).
        y : integer labels (rows,) or rows of probabilities for cross_entropy, else (rows, n_out).
        sample_weight : (rows,); the cost is then the weighted mean Σ w C / Σ w.

        Returns
        -------
        Backprop; z, a, deltas and input_gradient are on the device that x came on, gradients on that
        of the parameters.

        Raises
        ------
        ValueError : x, y or sample_weight is not what the network takes; the message says which.
        """
        given, rows = self._rows(x, y, sample_weight)
        problem, scaled = self.problem(), PRECISIONS[self.precision or "tf32"].scaled
        # A row's part of the mean is about 1 / rows: times rows, float16 has room for it.
        scale = fresh_loss_scale(2.0 ** math.ceil(math.log2(len(given))))
        loss_scale = self.backend.asarray(scale.copy())
        workspace = self._workspace(
            problem,
            *(len(given), "train"),
            keep_all=True,
            labels=_are_labels(rows),
            loss_scale=loss_scale if scaled else None,
        )
        gradient = self.backend.empty(self.layout.size, self.dtype)
        views = self.layout.views(gradient)
        costs = self.backend.zeros((1, 1), np.float64)
        parts = problem, workspace, rows, [views], 0.0, costs
        finite = self.backend.xp.isfinite
        with np.errstate(all="ignore") if scaled else nullcontext():
            backprop.backpropagate(*parts)
            while scaled and scale[0] > LEAST and not bool(finite(gradient).all()):
                scale = fresh_loss_scale(scale[0] / 64)  # the deltas did not fit
                loss_scale[...] = self.backend.asarray(scale.copy())
                costs.fill(0)
                backprop.backpropagate(*parts)
        block = workspace.shards[0][0]
        deltas, input_gradient = self._plain(block.deltas), block.input_gradient
        if scaled:
            for array in (gradient, input_gradient, *deltas):
                self.backend.xp.multiply(array, self.dtype.type(scale[1]), out=array)
        return Backprop(
            cost=float(costs[0, 0]),
            deltas=self._back(deltas, given),
            gradient=gradient,
            weight_gradients=[weights for weights, _ in views],
            bias_gradients=[biases for _, biases in views],
            input_gradient=self._back([input_gradient], given)[0],
            z=self._back(block.z, given),
            a=self._back(self._plain(block.a), given),
        )

    @on_device
    def cost(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """The mean cost of x against y, weighted if sample_weight is given.

        Raises
        ------
        ValueError : as `backprop`.
        """
        given, rows = self._rows(x, y, sample_weight)
        problem = self.problem()
        workspace = self._workspace(problem, len(given), "cost", labels=_are_labels(rows))
        costs = self.backend.zeros((len(workspace.shards), 1), np.float64)
        backprop.evaluate(problem, workspace, rows, costs)
        return float(self.backend.to_numpy(costs).sum())

    @on_device
    def predict(self, x: Any) -> Array:
        """The outputs a^L for x: (rows, n_out), or (n_out,) for one example (n_in,).

        The result is a new array, on the device that x came on.

        Raises
        ------
        ValueError : as `forward`.
        """
        given = check_inputs(x, self.sizes[0], dtype=self.input_dtype)
        moved = move(given, self.backend)
        if len(given) <= PREDICTED_AT_ONCE:
            result = self._predict(moved)
        else:
            result = self.backend.empty((len(given), self.sizes[-1]), self.dtype)
            for start in range(0, len(given), PREDICTED_AT_ONCE):
                part = slice(start, start + PREDICTED_AT_ONCE)
                result[part] = self._predict(moved[part])
        result = self._back([result], given)[0]
        return result[0] if np.ndim(x) == 1 else result

    def _predict(self, x: Array) -> Array:
        """The outputs for x, which is on the backend and has been checked."""
        with self._predicting:
            rows, outputs, replay = self._predictor(len(x))
            rows.x = x
            try:
                replay()
            finally:
                rows.x = None
            return outputs.copy()

    def _predictor(self, count: int) -> tuple[Rows, Array, Callable[[], None]]:
        """The captured forward pass for batches of `count` rows; the last few sizes are kept."""
        if count not in self._predictors:
            while len(self._predictors) >= PREDICTORS_KEPT:
                del self._predictors[next(iter(self._predictors))]
            rows = Rows(None)
            outputs = self.backend.empty((count, self.sizes[-1]), self.dtype)
            problem = self.problem()
            workspace = self._workspace(problem, count, "predict", outputs=outputs)
            replay = self.backend.capture(lambda: backprop.predict(problem, workspace, rows))
            self._predictors[count] = rows, outputs, replay
        return self._predictors[count]

    def save(self, path: Any) -> None:
        """Write the network to a .safetensors file, whole or not at all.

        Raises
        ------
        FileNotFoundError : there is no such folder to write to.
        IsADirectoryError : `path` is a folder.
        """
        storage.save(path, self)

    @classmethod
    def load(
        cls,
        path: Any,
        *,
        backend: str | Backend = "auto",
        precision: str | None = None,
        custom: Sequence[Activation | Cost] = (),
    ) -> Network:
        """Read a network that `save` wrote; nothing in the file is executed.

        Parameters
        ----------
        backend, precision : as of a new network; a file does not hold them.
        custom : the activations and costs of one's own that the network was made with.

        Raises
        ------
        FileNotFoundError : there is no such file.
        ValueError : the file is not such a network, or needs an activation that is not in `custom`.
        BackendUnavailableError : the backend cannot run here.
        """
        return storage.load(cls, path, backend, precision, custom)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["backend"] = self.backend.name
        state["parameters"] = self.backend.to_numpy(state.pop("_parameters"))
        del state["_predictors"], state["_predicting"]
        state["layers"] = [(layer.activation, layer.dropout) for layer in self.layers]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {"precision": None} | state  # which older pickles do not have
        parameters, layers = state.pop("parameters"), state.pop("layers")
        self.__dict__.update(state)
        self.backend = get_backend(state["backend"])
        if not parameters.flags.writeable:  # a file that joblib maps, say; training writes to them
            parameters = parameters.copy()
        self._adopt(parameters, [a for a, _ in layers], [rate for _, rate in layers])

    def _rows(self, x: Any, y: Any, sample_weight: Any) -> tuple[Array, Rows]:
        n_in, n_out, dtype = self.sizes[0], self.sizes[-1], self.dtype
        given = check_inputs(x, n_in, dtype=self.input_dtype)
        targets = check_targets(y, self.cost_function, len(given), n_out, dtype=dtype)
        weights = check_weights(sample_weight, len(given), dtype=dtype)
        return given, Rows(
            move(given, self.backend),
            move(targets, self.backend),
            None if weights is None else move(weights, self.backend),
        )

    def _workspace(self, problem: Problem, count: int, mode: Any, **options: Any) -> Workspace:
        if options.get("keep_all") and mode == "train":
            options["input_gradient"] = True
        return Workspace(problem, count, mode, **options)

    def _plain(self, arrays: list[Array]) -> list[Array]:
        """Of the network's dtype, whatever a backend stores for matmuls to read."""
        plain = []
        for array in arrays:
            if array.dtype == self.dtype:
                plain.append(array)
            else:
                plain.append(self.backend.empty(array.shape, self.dtype))
                self.backend.convert(array, plain[-1])
        return plain

    def _back(self, arrays: list[Array], given: Array) -> list[Array]:
        """`arrays` where `given`, the user's x, came from."""
        home = backend_of(given)
        if home is None:
            return [self.backend.to_numpy(array) for array in arrays]
        return [move(array, home) for array in arrays]


PREDICTORS_KEPT, PREDICTED_AT_ONCE = 8, 16384
"""Batch sizes whose captured prediction is kept, and the rows of the largest: their buffers stay small."""


def _are_labels(rows: Rows) -> bool:
    return rows.y is not None and rows.y.ndim == 1


def _check_dtype(dtype: Any) -> np.dtype[Any]:
    for known in (np.dtype(np.float32), np.dtype(np.float64)):
        if dtype in (known, known.name, known.type):
            return known
    raise ValueError(f"dtype is {dtype!r}, expected 'float32' or 'float64'")


def _check_seed(seed: Any) -> Any:
    if seed is None or isinstance(seed, np.random.Generator):
        return seed
    check_number("seed", seed, 0, math.inf, whole=True)
    return int(seed)


def _for_each(
    name: str,
    value: Any,
    count: int,
    single: tuple[type, ...],
    also: Callable[[Any], bool] = lambda value: False,
) -> list[Any]:
    """`value` for each of `count` layers, if it is one, else the one given for each."""
    if isinstance(value, single) or also(value):
        return [value] * count
    try:
        values = list(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected one, or a sequence of {count}") from None
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries, expected one, or {count}")
    return values


def _named(argument: str, activation: Any) -> Activation:
    try:
        return get_activation(activation)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{argument}: {error}") from None


def _choose_cost(cost: str | Cost | None, output: Activation) -> Cost:
    if cost is None:
        partners = [c.name for c in COSTS.values() if c.canonical == output.name]
        cost = partners[0] if partners else "quadratic"
    chosen = get_cost(cost)
    low, high = output.output_range
    if low < chosen.domain[0] or high > chosen.domain[1]:
        low, high = chosen.domain
        bounds = f"from {low:g} to {high:g}" if high < math.inf else f"above {low:g}"
        warnings.warn(
            f"cost {chosen.name!r} is defined for outputs {bounds}, but output {output.name!r} gives"
            f" {output.output_range[0]:g} to {output.output_range[1]:g}; outside, the cost is that of"
            " the nearest such output, and its derivative 0",
            UserWarning,
            stacklevel=3,
        )
    return chosen


def _initializer(initializer: str | Initializer | None, activation: Activation) -> Initializer:
    if initializer is None:
        initializer = default_initializer(activation)
    if not isinstance(initializer, str):
        if not callable(initializer):
            raise TypeError(f"initializer is {initializer!r}, expected a name or a callable")
        return initializer
    if initializer not in INITIALIZERS:
        raise unknown_name("initializer", initializer, INITIALIZERS)
    return INITIALIZERS[initializer]
