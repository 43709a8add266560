"""The common array interface: all that the engine asks of a backend.

A backend is three things: a place for arrays (`Arrays`), a way to lay out a step and to capture it
(`Steps`), and the kernels (`Verbs`). Arrays given to a verb belong to the backend, are C-contiguous and,
but for labels, counters and float64 sums, of the network's dtype; a batch has shape (rows, n). A verb
writes into arrays that it is given, and returns nothing.

What changes from one training step to the next is never an argument: it sits in arrays that a verb reads
when it runs. `counters` is int64, (2,): the steps taken since training began, and the step within the
epoch (or among those prepared at once). `rates` is float64, (steps, 3): the learning rate and the
update's factors of each of these. So a step that has been captured once can be replayed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..kernels import (
    Activation,
    OutputHead,
    ParameterArrays,
    Precision,
    StepVariables,
    UpdateRule,
)
from ..kernels.typing import Array, Bound

__all__ = ["Array", "Arrays", "Backend", "Rows", "Steps", "Verbs", "on_device"]


@dataclass
class Rows:
    """Where a captured step finds its rows: arrays on the backend, and the order to take them in.

    The rows of a step start at `counters[1] * stride`. With `order` they are the rows `order[start:]` of
    each array, otherwise `array[start:]`. A captured step reads the fields at every replay, so they may
    change between two replays: `set` says where the next rows are, and `clear` lets go of the arrays, so
    that nothing holds them while nothing runs.

    Attributes
    ----------
    x : array of shape (rows, n_in)
        Inputs; None while there are none.
    y : array of shape (rows,) or (rows, n_out)
        Labels or targets; None where nothing reads them.
    weights : array of shape (rows,)
        Sample weights; None where every row counts alike.
    order : int64 array of shape (rows,)
        The numbers of the rows in the order of the steps; None for the order that the rows lie in.
    stride : int
        Rows from the start of one step's batch to the start of the next; 0 where every step reads the
        same rows.
    """

    x: Array
    y: Array = None
    weights: Array = None
    order: Array = None
    stride: int = 0

    def set(
        self, x: Array, y: Array, weights: Array = None, order: Array = None, stride: int = 0
    ) -> None:
        """Say where the next rows are."""
        self.x, self.y, self.weights, self.order, self.stride = x, y, weights, order, stride

    def clear(self) -> None:
        """Let go of the arrays."""
        self.x = self.y = self.weights = self.order = None


class Arrays(ABC):
    """Where arrays lie: making them, and bringing them over.

    Attributes
    ----------
    name : str
        What `get_backend` calls it.
    xp : module
        Its array namespace, NumPy's or one that follows it.
    """

    name: str
    xp: Any

    @property
    @abstractmethod
    def device(self) -> str:
        """What it runs on, for people to read."""

    def use(self) -> AbstractContextManager[Any]:
        """Within it, this thread's new arrays and its verbs are on this backend's device."""
        return nullcontext()

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """A new array with whatever values it happens to hold."""
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """A new array of zeros."""
        return self.xp.zeros(shape, dtype)

    @abstractmethod
    def operands(self, shape: tuple[int, ...], precision: Precision) -> Array:
        """A new array for numbers of this precision; verbs that write there store them so."""

    @abstractmethod
    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """`values` as a contiguous array of this backend, without a copy where there need be none."""

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """`array` as a NumPy array; waits for whatever computes it."""

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether `array` already lives where this backend computes."""

    def feed(self) -> Callable[[str, Any], Array]:
        """A function (name, values) that brings NumPy arrays over, batch after batch.

        What it gives is good until its next call but one with that name.
        """
        return lambda name, values: self.asarray(values)

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything asked for has been computed."""


class Steps(ABC):
    """How a step is laid out on the device, and kept to be replayed.

    Attributes
    ----------
    overlaps : bool
        Whether verbs within `beside` may run at the same time as others.
    """

    overlaps: bool = False

    @abstractmethod
    def plan(self, rows: int, widths: Sequence[int], limit: int | None) -> list[list[slice]]:
        """How to cut a batch of `rows` for layers of these widths: the blocks of rows of each shard.

        Shards run at the same time, the blocks of a shard one after another in the same buffers. No
        block has more than `limit` rows.
        """

    @abstractmethod
    def run_shards(self, functions: Sequence[Bound]) -> None:
        """Run the functions, one a shard, at the same time; return when all have run."""

    def beside(self) -> AbstractContextManager[None]:
        """Within it, verbs may run at the same time as what follows, until `meet`.

        Neither may write to what the other uses.
        """
        return nullcontext()

    def meet(self) -> None:  # noqa: B027
        """What follows comes after all that was asked for `beside` it."""

    @abstractmethod
    def capture(self, step: Bound) -> Bound:
        """The verbs that `step` calls, to be replayed, without `step` itself, as often as wanted.

        The step may be several steps one after another, of one network or of several, and may call what
        was captured before. The arrays must stay where they are; their contents, and a `Rows`'s fields, may
        change.
        """


class Verbs(ABC):
    """The kernels."""

    @abstractmethod
    def gather(
        self,
        rows: Rows,
        field: str,
        counters: Array,
        first: int,
        out: Array,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        """out = scale · (the step's rows of `rows.<field>`, from its row `first` on) + shift."""

    @abstractmethod
    def one_hot(self, labels: Array, out: Array, low: float, high: float) -> None:
        """out[i] = `low` everywhere but for `high` in column labels[i]."""

    @abstractmethod
    def normalize(self, weights: Array) -> None:
        """weights ← weights / Σ weights; all zero stays all zero."""

    @abstractmethod
    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
        precision: Precision | None = None,
    ) -> None:
        """out = alpha op(a) op(b) + beta out; with `precision`, a and b hold numbers rounded to it."""

    @abstractmethod
    def round(self, values: Array, precision: Precision) -> None:
        """`values`, what a verb has written to `operands`, rounded, where storing them has not."""

    @abstractmethod
    def convert(self, values: Array, out: Array) -> None:
        """out = values, where one of them or both may be `operands`."""

    @abstractmethod
    def bias_activate(
        self,
        activation: Activation,
        z: Array,
        biases: Array | None,
        a: Array,
        keep_z: bool = True,
    ) -> None:
        """z ← z + b and a = σ(z). Softmax goes by rows.

        Where `a` is `z`, z is not kept; without `keep_z` it need not be.
        """

    # A layer's three products, each with what follows it. A backend may do the two in one.

    def layer_forward(
        self,
        activation: Activation,
        x: Array,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array,
        precision: Precision | None = None,
        keep_z: bool = True,
    ) -> None:
        """z = x wᵀ + b and a = σ(z), as `bias_activate` has them."""
        self.matmul(x, weights, z, transpose_b=True, precision=precision)
        if biases is not None or a is not z or not activation.is_identity:
            self.bias_activate(activation, z, biases, a, keep_z)

    def layer_backward(
        self,
        activation: Activation,
        delta: Array,
        weights: Array,
        v: Array,
        product: Array,
        out: Array,
        precision: Precision | None = None,
    ) -> None:
        """out = (δ w) ⊙ σ′, δ and w those of the layer after, `v` the a or z that the derivative reads.

        `product` is memory for δ w, or `out` itself.
        """
        self.matmul(delta, weights, product, precision=precision)
        self.multiply_by_derivative(activation, v, product, out)

    def layer_gradients(
        self,
        delta: Array,
        a: Array,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None = None,
    ) -> None:
        """weights = δᵀ a and biases = the column sums of δ, each + beta times what is there."""
        self.matmul(delta, a, weights, transpose_a=True, beta=beta, precision=precision)
        if biases is not None:
            self.column_sums(delta, biases, beta)

    @abstractmethod
    def dropout(
        self, x: Array, out: Array, counters: Array, seed: int, layer: int, first: int, rate: float
    ) -> None:
        """out = x / (1 - rate), or 0 with probability `rate`, by (seed, counters[0], layer, position).

        `first` is the position of x's first element; `out` may be `x`.
        """

    @abstractmethod
    def output_delta(
        self,
        head: OutputHead,
        z: Array,
        a: Array,
        y: Array,
        scale: Array,
        delta: Array | None,
        costs: Array | None,
    ) -> None:
        """delta = scale ∂C/∂z, and costs = C of each row; None is not computed."""

    @abstractmethod
    def multiply_by_derivative(
        self, activation: Activation, v: Array, product: Array, delta: Array
    ) -> None:
        """delta = product ⊙ σ′, from `v`, the a or z that the derivative reads; both may be one."""

    @abstractmethod
    def column_sums(self, values: Array, out: Array, beta: float = 0.0) -> None:
        """out = Σ over rows + beta out, keeping its digits over any number of rows."""

    @abstractmethod
    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        """out[counters[1]] += Σ weights values in float64; without counters, out[0] = Σ values²."""

    @abstractmethod
    def multiply(self, values: Array, factor: Array, out: Array) -> None:
        """out = factor[0] values; `factor` is float64."""

    @abstractmethod
    def adapt_loss_scale(self, loss_scale: Array, squared_norm: Array) -> None:
        """Smaller after a gradient whose squared norm is not finite, larger after many that were."""

    @abstractmethod
    def add(self, values: Array, out: Array) -> None:
        """out ← out + values."""

    @abstractmethod
    def update(
        self,
        rule: UpdateRule,
        parameters: ParameterArrays,
        step: StepVariables,
        shard_gradients: Sequence[Array] = (),
    ) -> None:
        """gradient ← gradient + Σ shard_gradients; update parameters and optimizer state, in one pass."""

    @abstractmethod
    def advance(self, counters: Array) -> None:
        """counters ← counters + 1, both of them."""


class Backend(Arrays, Steps, Verbs):
    """One implementation of all three; `get_backend` finds it by name."""


class _HasBackend(Protocol):
    @property
    def backend(self) -> Backend: ...


_Self = TypeVar("_Self", bound=_HasBackend)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def on_device(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Make the backend's device current while the method runs, then restore the old one."""

    @wraps(method)
    def run(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with self.backend.use():
            return method(self, *args, **kwargs)

    return run
