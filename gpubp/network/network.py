"""Network: layers whose parameters are views of one flat array."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..arrays import move
from ..backends import (
    Array,
    Backend,
    Rows,
    get_backend,
    on_device,
    with_same_kernels,
)
from ..fixed import Fixed, MadeOnce
from ..kernels import PRECISIONS, Activation, Cost, OutputHead
from ..keywords import tells_keywords
from ..layers import Layer, Layout, assign
from ..memory import allocated
from ..problem import Problem, Rounding
from . import arguments, copying, passes
from .exports import Exports
from .initializers import Initializer, initial_parameters
from .predictions import Predictions, ndim_of
from .results import Backprop, Forward, Vjp
from .saving import Saving
from .summary import HasSummary
from .traces import Traces
from .vjp import BackwardPasses, as_result, check_output_gradient

__all__ = ["Network"]


@tells_keywords
class Network(Predictions, Saving, Exports, Traces, HasSummary, MadeOnce):
    """A fully connected network.

    Several threads may predict with one network at the same time; they take turns. All attributes except
    `parameters` are read-only. To use another cost, for example, make a new `Network`.

    Parameters
    ----------
    sizes : sequence of int
        Layer widths, starting with the input: (784, 256, 10).
    hidden : str, Activation or sequence of them, default "relu"
        Activation of all hidden layers, or one for each.
    output : str or Activation, default "identity"
        Activation of the output layer.
    cost : str or Cost, optional
        The cost. By default it is the output's canonical partner: cross_entropy for softmax,
        binary_cross_entropy for sigmoid, poisson for exponential; for other outputs it is quadratic.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of parameters, activations and gradients.
    backend : str or Backend, default "auto"
        "auto", "numpy", "cupy", or "cupy:1" and so on for devices after the first.
    seed : int or numpy.random.Generator, optional
        Seed or generator of the initial weights.
    biases : bool or sequence of bool, default True
        Whether layers have biases: one value for all layers, or one for each.
    initializer : str, callable or sequence of them, optional
        Initializer of the weights of all layers, or one for each: he_normal, he_uniform, glorot_normal,
        glorot_uniform, lecun_normal, lecun_uniform, orthogonal, zeros, or a function
        (rng, (n_out, n_in)) -> array. By default it depends on the layer's activation. Biases start at 0.
    dropout : float or sequence of float, default 0
        Probability with which training drops an activation: one value for all hidden layers, or one for
        each.
    precision : {"tf32", "bfloat16", "float16"}, optional
        The format to which matmuls of a float32 network round their operands; sums, parameters and all
        other arrays stay float32. By default nothing is rounded. A GPU multiplies such numbers many times
        as fast. The CPU computes the same numbers, more slowly than float32.

    Attributes
    ----------
    parameters : array of shape (size,)
        All weights, then all biases. An assignment copies the values into this array.
    layers : tuple of Layer
        All layers except the input. Their weights (n_out, n_in) and biases (n_out,) are views of
        `parameters`.
    sizes : tuple of int
        Layer widths, starting with the input.
    dtype : numpy.dtype
        The dtype of parameters, activations and gradients.
    backend : Backend
        The backend that the network computes on.
    cost_function : Cost
        The cost; training minimises its mean.
    output_head : OutputHead
        The output activation and the cost together.
    precision : str or None
        The format to which matmuls round their operands.
    layout : Layout
        The places of weights and biases in `parameters`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not valid; the message names it.
    MemoryError
        If the parameters have no room in memory; the message says how much they need.
    BackendUnavailableError
        If the backend cannot run here.

    Warns
    -----
    UserWarning
        If the output's range exceeds the cost's domain.

    See Also
    --------
    Trainer : Trains a network.
    check_gradients : Compares backpropagation with finite differences.

    Examples
    --------
    >>> import gpubp
    >>> network = gpubp.Network((2, 3, 1), hidden="tanh", backend="numpy", seed=0)
    >>> network
    Network((2, 3, 1), hidden='tanh', output='identity', cost='quadratic', dtype='float32', backend='numpy')
    >>> [layer.weights.shape for layer in network.layers]
    [(3, 2), (1, 3)]
    >>> network.parameters.shape  # 3 x 2 + 1 x 3 weights and 3 + 1 biases
    (13,)
    >>> network.predict([[0.0, 1.0], [1.0, 0.0]]).shape
    (2, 1)

    A neuron that computes 2 x₁ - x₂ + 0.5:

    >>> neuron = gpubp.Network((2, 1))
    >>> neuron.layers[0].weights = [[2.0, -1.0]]
    >>> neuron.layers[0].biases = [0.5]
    >>> neuron.predict([3.0, 4.0]).tolist()
    [2.5]
    """

    sizes = Fixed[tuple[int, ...]]("make a new Network with them")
    dtype = Fixed[np.dtype[Any]]()
    backend = Fixed[Backend]()
    cost_function = Fixed[Cost]()
    output_head = Fixed[OutputHead]("make a new Network with another output or cost")
    precision = Fixed[str | None]()
    layout = Fixed[Layout]("make a new Network with other sizes or biases")
    layers = Fixed[tuple[Layer, ...]](
        "assign to a layer's weights and biases, or make a new Network"
    )

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
        self.sizes = arguments.check_sizes(sizes)
        self.dtype = arguments.check_dtype(dtype)
        self.precision = arguments.check_precision(precision, self.dtype)
        depth = len(self.sizes) - 1
        activations = arguments.activation_of_each(hidden, output, depth)
        self.cost_function = arguments.choose_cost(cost, activations[-1])
        rates = arguments.dropout_of_each(dropout, depth)
        self.layout = Layout(self.sizes, arguments.bias_of_each(biases, depth))
        initializers = arguments.initializer_of_each(initializer, activations)
        rng = arguments.random_generator(seed)
        values = initial_parameters(self.layout, initializers, rng, self.dtype)
        self.backend = get_backend(backend, self.layout.size)
        self._adopt(values, activations, rates)

    def _adopt(
        self, values: Array, activations: Sequence[Activation], dropout: Sequence[float]
    ) -> None:
        """Use this flat array of parameters, and make the layers, which hold views of it."""
        what = f"a network of sizes {self.sizes}"
        make = partial(self.backend.asarray, values)
        self._parameters: Array = allocated(make, what, values.nbytes, self.backend)
        views = self.layout.views(self._parameters)
        self.layers = tuple(
            Layer(*view, activation, rate)
            for view, activation, rate in zip(views, activations, dropout, strict=True)
        )
        self.output_head = OutputHead(activations[-1], self.cost_function)

    @property
    def parameters(self) -> Array:
        """All weights, then all biases: an array of shape (size,).

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((2, 1))
        >>> network.parameters = [1, 2, 3]
        >>> network.layers[0].weights.tolist(), network.layers[0].biases.tolist()
        ([[1.0, 2.0]], [3.0])
        """
        return self._parameters.view()  # its shape may be set, the network's may not

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
        """The dtype that inputs must fit: float16 with precision "float16", else `dtype`.

        Examples
        --------
        >>> import gpubp
        >>> str(gpubp.Network((2, 1), precision="float16").input_dtype)
        'float16'
        """
        return np.dtype(np.float16) if self.precision == "float16" else self.dtype

    @on_device
    def problem(self, counters: Array | None = None, dropout_seed: int | None = None) -> Problem:
        """Make a `Problem` for the functions of `gpubp.backprop`; rounded weights have separate memory.

        Parameters
        ----------
        counters : array of int64, shape (2,), optional
            The step counters; by default zeros.
        dropout_seed : int, optional
            Seed of the dropout masks; by default nothing is dropped.

        Returns
        -------
        Problem
            Layers, output head, precision and backend.

        Examples
        --------
        >>> import gpubp
        >>> problem = gpubp.Network((2, 3, 1), hidden="tanh").problem()
        >>> problem.layers
        (Layer(2 to 3, tanh), Layer(3 to 1, identity))
        >>> problem.counters.tolist()
        [0, 0]
        """
        backend, rounding = self.backend, None
        counters = backend.zeros(2, np.int64) if counters is None else counters
        if self.precision is not None:
            precision = PRECISIONS[self.precision]
            rounding = Rounding.of(backend, self.layout, self._parameters, precision)
        return Problem(backend, self.layers, self.output_head, counters, rounding, dropout_seed)

    @on_device
    @with_same_kernels
    def forward(self, x: Any) -> Forward:
        """Compute z and a of every layer.

        Parameters
        ----------
        x : array_like of shape (rows, n_in) or (n_in,), or sparse matrix of shape (rows, n_in)
            The inputs of a batch or of one example.

        Returns
        -------
        Forward
            New arrays, on the device of x.

        Raises
        ------
        ValueError
            If x has a wrong shape or type, or contains NaN, infinity or numbers too large for the network's
            dtype.

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((2, 2, 1), hidden="relu")
        >>> network.parameters = [1, -1, -1, 1, 2, 3, 0, 0, 0.5]
        >>> forward = network.forward([[3.0, 1.0]])
        >>> [z.tolist() for z in forward.z]  # 3 - 1 and -3 + 1, then 2 · 2 + 3 · 0 + 0.5
        [[[2.0, -2.0]], [[4.5]]]
        >>> [a.tolist() for a in forward.a]
        [[[3.0, 1.0]], [[2.0, 0.0]], [[4.5]]]
        """
        home, placed = self._inputs(x)
        return passes.forward(self.problem(), Rows(placed), home)

    @on_device
    @with_same_kernels
    def backprop(self, x: Any, y: Any, sample_weight: Any = None) -> Backprop:
        """Compute the cost, every z, a and δ, and the gradients of parameters and inputs.

        Parameters
        ----------
        x : array_like of shape (rows, n_in) or (n_in,), or sparse matrix of shape (rows, n_in)
            The inputs of a batch or of one example.
        y : array_like of shape (rows, n_out) or (rows,)
            The targets: numbers, or, for costs of classes, integer labels or rows of probabilities.
        sample_weight : array_like of shape (rows,), optional
            Sample weights w. The cost is then the weighted mean Σ w C / Σ w.

        Returns
        -------
        Backprop
            New arrays. z, a, deltas and input_gradient are on the device of x. The gradients of the
            parameters are on the network's device.

        Raises
        ------
        ValueError
            If x, y or sample_weight does not fit the network; the message names it.

        Examples
        --------
        The cost is ½ (4.5 - 4)², and δ^L is 4.5 - 4. relu lets nothing through where z was negative.

        >>> import gpubp
        >>> network = gpubp.Network((2, 2, 1), hidden="relu")
        >>> network.parameters = [1, -1, -1, 1, 2, 3, 0, 0, 0.5]
        >>> back = network.backprop([[3.0, 1.0]], [[4.0]])
        >>> back.cost
        0.125
        >>> [delta.tolist() for delta in back.deltas]
        [[[1.0, 0.0]], [[0.5]]]
        >>> [gradient.tolist() for gradient in back.weight_gradients]
        [[[3.0, 1.0], [0.0, 0.0]], [[1.0, 0.0]]]
        >>> back.input_gradient.tolist()
        [[1.0, -1.0]]
        """
        home, rows = self._rows(x, y, sample_weight)
        return passes.backpropagate(self.problem(), self.layout, rows, home)

    @on_device
    def vjp(self, x: Any, output_gradient: Any) -> Vjp:
        """Compute the gradients of parameters and inputs from a given gradient of the outputs.

        With a function C of the outputs a^L that another library computes, and `output_gradient` =
        ∂C/∂a^L, the results are the gradients of C: vector-Jacobian products. The network's own cost takes
        no part.

        Parameters
        ----------
        x : array_like of shape (rows, n_in) or (n_in,), or sparse matrix of shape (rows, n_in)
            The inputs of a batch or of one example.
        output_gradient : array_like of shape (rows, n_out) or (n_out,)
            ∂C/∂a^L. Nothing is divided by the number of rows.

        Returns
        -------
        Vjp
            New arrays. `input_gradient` is on the device of x, the gradients of the parameters are on the
            network's device.

        Raises
        ------
        ValueError
            If x or output_gradient does not fit the network; the message names it.

        Examples
        --------
        >>> import gpubp
        >>> network = gpubp.Network((2, 2, 1), hidden="relu")
        >>> network.parameters = [1, -1, -1, 1, 2, 3, 0, 0, 0.5]
        >>> found = network.vjp([3.0, 1.0], [1.0])  # of C = a^L
        >>> found.input_gradient.tolist()
        [2.0, -2.0]
        >>> found.bias_gradients[0].tolist()
        [2.0, 0.0]
        """
        home, placed = self._inputs(x)
        given = check_output_gradient(output_gradient, len(placed), self.sizes[-1], self.dtype)
        found = self._back(placed, move(given, self.backend))
        return as_result(*found, self.layout, home, ndim_of(x))

    @cached_property
    def _back(self) -> BackwardPasses:
        return BackwardPasses(self.problem(), self.layout)

    def __getstate__(self) -> dict[str, Any]:
        return copying.state_of(vars(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        attributes, parameters, activations, dropout = copying.taken_apart(state)
        vars(self).update(attributes)
        self._adopt(parameters, activations, dropout)
