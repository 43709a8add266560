"""Predictions and costs of data that are read in blocks of rows, or come in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import as_array, to_host
from ..backends import Array
from ..batches import drawn, inputs_of, is_batches
from ..data_validation import check_inputs, check_target_shape, check_weights
from ..kernels.messages import shown
from ..sources import READ_BYTES, Source, is_source, rows_at_once
from . import passes
from .predictor import ROWS_AT_ONCE

if TYPE_CHECKING:
    from .predictions import Predictions

__all__ = ["check_no_batches", "is_streamed", "mean_cost", "predict", "predict_batches"]


def is_streamed(x: Any) -> bool:
    """Whether x is to be read in blocks: a source, but not a memmap of a few rows, or of one example."""
    if isinstance(x, np.memmap):
        return x.ndim == 2 and len(x) > ROWS_AT_ONCE
    return is_source(x)


def check_no_batches(x: Any) -> None:
    """Check that x is not an iterable of batches, whose outputs `predict_batches` computes."""
    if not isinstance(x, Collection) and hasattr(x, "__iter__") and is_batches(x):
        raise ValueError(
            "x has dtype object, expected real numbers; predict_batches takes an iterable of batches"
        )


def predict(network: Predictions, x: Any, out: Any) -> Any:
    """Compute the outputs of x, block by block if x is a source, and write them to `out` if it is given."""
    if not is_streamed(x):
        outputs = network._outputs(x)
        _check_out(out, outputs.shape, outputs.dtype)
        out[...] = outputs if isinstance(out, type(outputs)) else to_host(outputs)
        return out
    source = Source("x", x, 2 * READ_BYTES)
    if source.shape == network.sizes[:1]:  # one example
        example = source.read(np.arange(source.shape[0]))
        return network._outputs(example) if out is None else predict(network, example, out)
    source.check_width(network.sizes[0])
    shape = len(source), network.sizes[-1]
    if out is None:
        out = np.empty(shape, network.dtype)
    else:
        _check_out(out, shape, network.dtype)
    with network.backend.keep_kernels():
        for rows in source.parts(rows_at_once(source, ROWS_AT_ONCE)):
            outputs = network._outputs(source.read(rows), rows)
            out[int(rows[0]) : int(rows[-1]) + 1] = to_host(outputs)
    return out


def _check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Check that outputs can be written to `out`."""
    if not hasattr(out, "shape") or not hasattr(out, "__setitem__"):
        raise ValueError(f"out is {shown(out)}, expected an array or data set of shape {shape}")
    if tuple(out.shape) != shape:
        raise ValueError(f"out has shape {tuple(out.shape)}, expected {shape}")
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError("out is read-only, expected an array that can be written to")
    kind = getattr(out, "dtype", dtype)
    if not np.can_cast(dtype, kind, "same_kind"):
        raise ValueError(
            f"out has dtype {shown(kind)}, expected a float dtype for outputs of {dtype}"
        )


def predict_batches(network: Predictions, batches: Any) -> Iterator[Array]:
    """Return an iterator of the outputs of each batch of an iterable."""
    if not is_batches(batches):
        raise TypeError(f"batches is {shown(batches)}, expected an iterable of batches")
    return _outputs_of(network, batches)


def _outputs_of(network: Predictions, batches: Any) -> Iterator[Array]:
    start = 0
    for _, batch, where in drawn("batches", batches, "in "):
        # The device is current while outputs are computed, not while the user's code runs.
        with network.backend.use():
            try:
                x = check_inputs(inputs_of(batch), network.sizes[0], finite=False)
                count = int(x.shape[0])
                outputs = network._outputs(x, np.arange(start, start + count))
            except ValueError as error:
                place = f"{where}, which begins at row {start}"
                raise ValueError(f"{error} ({place})") from error.__cause__
        start += count
        yield outputs


def mean_cost(network: Predictions, x: Any, y: Any, sample_weight: Any) -> float:
    """Compute the mean cost of data of which x or y is read in blocks."""
    n_in, n_out = network.sizes[0], network.sizes[-1]
    if is_streamed(x):
        x = Source("x", x, 2 * READ_BYTES)
        x.check_width(n_in)
    else:
        x = check_inputs(x, n_in, finite=False)
    count = int(x.shape[0])
    y = Source("y", y, 2 * READ_BYTES) if is_streamed(y) else as_array("y", y)
    check_target_shape("y", y.shape, network.cost_function, count, n_out)
    weights = check_weights(sample_weight, count, dtype=network.dtype)
    least = min(
        [ROWS_AT_ONCE, *(rows_at_once(s, ROWS_AT_ONCE) for s in (x, y) if isinstance(s, Source))]
    )
    cost = total = 0.0
    for start in range(0, count, least):
        rows = np.arange(start, min(start + least, count))
        chosen = None if weights is None else weights[rows[0] : rows[-1] + 1]
        weight = float(len(rows) if chosen is None else chosen.sum(dtype=np.float64))
        given = chosen if weight else None
        _, block = network._rows(_part(x, rows), _part(y, rows), given, rows)
        if weight:
            cost += weight * passes.mean_cost(network.problem(), block)
        total += weight
    return cost / total


def _part(data: Any, rows: Any) -> Any:
    return data.read(rows) if isinstance(data, Source) else data[rows[0] : rows[-1] + 1]
