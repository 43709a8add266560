"""Hold out a share of the rows as validation data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import take, to_host
from ..data_validation import check_inputs, check_targets, check_weights
from ..network import Network
from ..sources import is_source
from ..validation import check_number
from .batch_stream import are_batches

__all__ = ["split_off"]

SEED = 0
"""The rows are drawn with this seed whatever the trainer's is: each fit of the same data, also one that
goes on from a checkpoint, holds out the same rows."""


def split_off(
    network: Network,
    data: tuple[Any, Any, Any],
    validation_data: Any,
    validation_split: Any,
) -> tuple[tuple[Any, Any, Any], Any]:
    """Split rows into those to train on and validation data.

    The held-out rows are drawn at random, the same for the same data. If y holds labels, each class gives
    the same share of its rows, to a row.

    Parameters
    ----------
    network : Network
        The network that the rows are for.
    data : tuple (x, y, sample_weight)
        The arguments of `Trainer.fit`.
    validation_data : tuple or None
        The argument of `Trainer.fit`.
    validation_split : float or None
        The share of the rows, above 0, below 1; None leaves all arguments as they are.

    Returns
    -------
    data : tuple (x, y, sample_weight)
        The rows to train on.
    validation_data : tuple (x, y, sample_weight) or None
        The rows that are held out.

    Raises
    ------
    ValueError
        If the share holds out no row or all rows, the data are streamed or do not fit the network, or there
        are validation data already.
    """
    if validation_split is None:
        return data, validation_data
    check_number("validation_split", validation_split, 0, 1, open_low=True)
    given = f"validation_split is {validation_split:g}"
    if validation_data is not None:
        raise ValueError(f"{given}, expected None with validation_data")
    if are_batches(*data[:2]):
        raise ValueError(f"{given}, expected None because x is an iterable of batches")
    if any(map(is_source, data[:2])):
        raise ValueError(
            f"{given}, expected None for data that are streamed; slices of them can be validation_data"
        )
    x, y, weights = _checked(network, *data)
    count = int(x.shape[0])
    held_out = round(count * float(validation_split))
    if not 0 < held_out < count:
        raise ValueError(
            f"{given}, which holds out {held_out} of {count} rows, expected at least one row for each part"
        )
    classes = to_host(y) if network.cost_function.targets == "class" and y.ndim == 1 else None
    chosen = _drawn(count, held_out, classes)
    rest = np.delete(np.arange(count), chosen)
    return _rows_of(x, y, weights, rest), _rows_of(x, y, weights, chosen)


def _checked(network: Network, x: Any, y: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Check all rows: an error message has the row's number in the user's arrays, not in a part."""
    n_in, n_out, dtype = network.sizes[0], network.sizes[-1], network.dtype
    x = check_inputs(x, n_in, dtype=network.input_dtype)
    y = check_targets(y, network.cost_function, int(x.shape[0]), n_out, dtype=dtype)
    return x, y, check_weights(weights, int(x.shape[0]), dtype=dtype)


def _drawn(count: int, held_out: int, classes: Any) -> Any:
    """Draw `held_out` of `count` rows, in rising order; of each class the same share."""
    rows = np.random.default_rng(SEED).permutation(count)
    if classes is not None:
        rows = rows[np.argsort(classes[rows], kind="stable")]
    # Evenly spaced places of rows that are sorted by class, and at random within a class.
    places = ((np.arange(held_out) + 0.5) * (count / held_out)).astype(np.int64)
    return np.sort(rows[places])


def _rows_of(x: Any, y: Any, weights: Any, rows: Any) -> tuple[Any, Any, Any]:
    return take(x, rows), take(y, rows), None if weights is None else take(weights, rows)
