"""Batches that a user's iterable gives, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .arrays import is_sparse
from .backends import backend_of
from .kernels.messages import shortened, shown

__all__ = ["drawn", "inputs_of", "is_batch", "is_batches", "parts_of"]


def is_batches(data: Any) -> bool:
    """Whether the data are an iterable of batches, or a function that returns one, and no array."""
    is_text, is_class = isinstance(data, str | bytes | dict), isinstance(data, type)
    array_like = hasattr(data, "__array__") or hasattr(data, "__dlpack__") or hasattr(data, "shape")
    if is_text or is_class or array_like or is_sparse(data) or backend_of(data) is not None:
        return False
    return hasattr(data, "__iter__") or callable(data)


def is_batch(entry: Any) -> bool:
    """Whether this is a tuple or list of x, y and perhaps sample weights; x has two axes."""
    if not isinstance(entry, tuple | list) or len(entry) not in (2, 3):
        return False
    return _axes(entry[0]) == 2


def _axes(values: Any) -> int:
    if hasattr(values, "shape"):
        return len(values.shape)
    try:
        return int(np.ndim(values))
    except ValueError:  # ragged lists
        return 0


def drawn(name: str, batches: Any, when: str = "") -> Iterator[tuple[int, Any, str]]:
    """Draw batches: of an iterable from its start, of a function from the iterable that it returns.

    Parameters
    ----------
    name : str
        The name of the batches in error messages.
    batches : iterable or callable
        The batches.
    when : str, default ""
        What comes before the number of the batch in error messages, such as "in epoch 1, ".

    Yields
    ------
    number, batch, where : int, object, str
        The number of the batch, counted from 0, the batch, and its place for error messages.

    Raises
    ------
    TypeError
        If a function has returned what is not an iterable.
    OSError, RuntimeError
        If the iterable or the function raised an error, which is the cause.
    """
    iterator, number = None, 0
    while True:
        where = f"{when}batch {number + 1}"
        try:
            if iterator is None:
                iterator = _begun(name, batches)
            batch = next(iterator)
        except StopIteration:
            return
        except MemoryError:
            raise
        except _NoIterableError as error:
            raise TypeError(str(error)) from None
        except Exception as error:
            kind = OSError if isinstance(error, OSError) else RuntimeError
            came = f"{type(error).__name__}: {shortened(error)}"
            raise kind(f"{name} gave no batch but an error, {came} ({where})") from error
        yield number, batch, where
        number += 1


class _NoIterableError(TypeError):
    """A function has not returned an iterable."""


def _begun(name: str, batches: Any) -> Iterator[Any]:
    given = batches if hasattr(batches, "__iter__") else batches()
    if not hasattr(given, "__iter__") or isinstance(given, str | bytes | dict):
        raise _NoIterableError(f"{name} returned {shown(given)}, expected an iterable of batches")
    return iter(given)


def parts_of(name: str, batch: Any) -> tuple[Any, Any, Any]:
    """Return x, y and sample weights, or None, of a batch to train on.

    Raises
    ------
    ValueError
        If the batch is not a tuple or list of two or three entries.
    """
    if isinstance(batch, tuple | list) and len(batch) in (2, 3):
        x, y, *rest = batch
        return x, y, rest[0] if rest else None
    if isinstance(batch, tuple | list):
        came = f"a batch with {len(batch)} entries"
    elif isinstance(batch, dict):
        came = f"a batch that is a dict with the keys {shortened(', '.join(map(str, batch)))}"
    else:
        came = f"a batch that is {shown(batch)}"
    raise ValueError(f"{name} gave {came}, expected (x, y) or (x, y, sample_weight)")


def inputs_of(batch: Any) -> Any:
    """Return the x of a batch to predict: the batch, or the first entry of a tuple or list of arrays."""
    is_pair = isinstance(batch, tuple | list) and len(batch) and hasattr(batch[0], "shape")
    return batch[0] if is_pair and _axes(batch[0]) == 2 else batch
