"""The methods of a network that predict, and what they check."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import home_of, is_sparse, move
from ..backends import Array, Backend, Rows, SparseRows, on_device, with_same_kernels
from ..data_validation import check_inputs, check_targets, check_weights
from ..fixed import Fixed
from ..kernels import Cost
from ..layers import Layer
from ..problem import Problem
from ..sparse import place
from . import passes, streaming
from .predictor import Predictor

__all__ = ["Predictions", "ndim_of"]


class Predictions:
    """The part of `Network` that computes costs and outputs, of arrays and of data that are streamed."""

    if TYPE_CHECKING:
        sizes = Fixed[tuple[int, ...]]()
        dtype = Fixed[np.dtype[Any]]()
        backend = Fixed[Backend]()
        cost_function = Fixed[Cost]()
        precision = Fixed[str | None]()
        layers = Fixed[tuple[Layer, ...]]()

        @property
        def input_dtype(self) -> np.dtype[Any]: ...

        def problem(self) -> Problem: ...

    @on_device
    @with_same_kernels
    def cost(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the mean cost.

        Parameters
        ----------
        x, y : array_like of shape (rows, n_in) and (rows, n_out) or (rows,)
            The batch, as in `backprop`; also data that can be sliced, as in `predict`.
        sample_weight : array_like of shape (rows,), optional
            Sample weights, as in `backprop`.

        Returns
        -------
        float
            The mean cost; with sample_weight, the weighted mean.

        Raises
        ------
        ValueError
            If x, y or sample_weight does not fit the network; the message names it.

        Examples
        --------
        The outputs are 1 and 3, so that the costs ½ (y - a)² are 0 and 2.

        >>> import gpubp
        >>> network = gpubp.Network((1, 1), biases=False)
        >>> network.parameters = [1.0]
        >>> network.cost([[1.0], [3.0]], [[1.0], [1.0]])
        1.0
        >>> network.cost([[1.0], [3.0]], [[1.0], [1.0]], sample_weight=[3.0, 1.0])
        0.5
        """
        if streaming.is_streamed(x) or streaming.is_streamed(y):
            return streaming.mean_cost(self, x, y, sample_weight)
        return passes.mean_cost(self.problem(), self._rows(x, y, sample_weight)[1])

    @on_device
    def predict(self, x: Any, *, out: Any = None) -> Any:
        """Compute the outputs a^L.

        Parameters
        ----------
        x : array_like of shape (rows, n_in) or (n_in,), or sparse matrix of shape (rows, n_in)
            The inputs of a batch or of one example. A numpy.memmap, an array of h5py, zarr or dask, and any
            other object with a shape that can be sliced is read in blocks of rows, never as a whole.
        out : array or data set of shape (rows, n_out), optional
            Where the outputs are written: an array, a numpy.memmap, a data set of h5py or zarr. After an
            error it holds the outputs of the blocks before.

        Returns
        -------
        array of shape (rows, n_out), or (n_out,) for one example
            A new array, on the device of x; a NumPy array if x is read in blocks; `out` if it is given.

        Raises
        ------
        ValueError
            If x does not fit the network, as in `forward`, or `out` does not fit the outputs.
        OSError, RuntimeError
            If x cannot be read; the error of the data is the cause.

        Examples
        --------
        >>> import gpubp
        >>> import numpy as np
        >>> network = gpubp.Network((2, 3), output="softmax", initializer="zeros")
        >>> network.layers[0].biases = np.log([1.0, 1.0, 2.0])
        >>> network.predict([[0.0, 0.0]]).round(2).tolist()  # probabilities of three classes
        [[0.25, 0.25, 0.5]]
        >>> outputs = np.zeros((4, 3), np.float32)
        >>> network.predict(np.ones((4, 2)), out=outputs) is outputs
        True
        """
        if out is not None or (type(x) is not np.ndarray and streaming.is_streamed(x)):
            return streaming.predict(self, x, out)
        if type(x) is not np.ndarray:
            streaming.check_no_batches(x)
        return self._outputs(x)

    def predict_batches(self, batches: Any) -> Iterator[Array]:
        """Compute the outputs of batches, one after another, as the iterator that is returned is drawn.

        Parameters
        ----------
        batches : iterable of arrays of shape (rows, n_in), or callable
            The batches, or a function that returns an iterable of them. Of a batch that is a tuple or list
            of arrays, such as (x, y), the first one is x.

        Yields
        ------
        array of shape (rows, n_out)
            The outputs of a batch: a new array, on the device of its x.

        Raises
        ------
        ValueError
            If a batch does not fit the network. The message names the batch, counted from 1, and the row
            among those of all batches, counted from 0.
        OSError, RuntimeError
            If the iterable raised an error, which is the cause.

        Examples
        --------
        >>> import gpubp
        >>> doubling = gpubp.Network((1, 1), biases=False)
        >>> doubling.parameters = [2.0]
        >>> for outputs in doubling.predict_batches([[[1.0], [2.0]], [[3.0]]]):
        ...     print(outputs.tolist())
        [[2.0], [4.0]]
        [[6.0]]
        """
        return streaming.predict_batches(self, batches)

    def _outputs(self, x: Any, rows: Any = None) -> Array:
        """Compute the outputs of an array; `rows` are the numbers of its rows in messages."""
        predictor = self._predictor
        home, placed = self._inputs(x, is_sparse(x) or not predictor.checks, rows)
        result = move(predictor(placed, lambda: self._inputs(x, True, rows)), home)
        return result[0] if ndim_of(x) == 1 else result

    @cached_property
    def _predictor(self) -> Predictor:
        # No user's function may see numbers that have not been checked. It is also the twin of its text.
        built_in = all(layer.activation.function is None for layer in self.layers)
        checks = built_in and self.input_dtype == self.dtype and self.backend.checks_rows
        return Predictor(self.problem(), checks)

    def _inputs(
        self, x: Any, finite: bool = True, rows: Any = None
    ) -> tuple[Backend, Array | SparseRows]:
        """Check x; return the backend of its device, and the rows on the network's backend."""
        n_in, dtype = self.sizes[0], self.input_dtype
        given = check_inputs(x, n_in, "x", finite, dtype, rows)
        if not finite and given.dtype.itemsize > 8:  # a cast to float64 comes before the check
            check_inputs(given, n_in, dtype=dtype, rows=rows)
        if isinstance(given, SparseRows):
            return home_of(x), place(given, self.backend, self.dtype, self.precision)
        return home_of(given), move(given, self.backend)

    def _rows(self, x: Any, y: Any, sample_weight: Any, rows: Any = None) -> tuple[Backend, Rows]:
        """Check a batch; return the backend of x's device, and the batch on the network's backend."""
        (home, placed), n_out, dtype = self._inputs(x, rows=rows), self.sizes[-1], self.dtype
        targets = check_targets(y, self.cost_function, len(placed), n_out, dtype=dtype, rows=rows)
        weights = check_weights(sample_weight, len(placed), dtype=dtype)
        weights = None if weights is None else move(weights, self.backend)
        return home, Rows(placed, move(targets, self.backend), weights)


def ndim_of(x: Any) -> int:
    """Return the number of axes of inputs."""
    return int(x.ndim) if hasattr(x, "ndim") else np.ndim(x)
