"""The estimators' progress bar."""

from __future__ import annotations

from ..training import Callback, History
from ..training.progress import progress_callback
from .record import Record

__all__ = ["bar_of"]


def bar_of(record: Record, rows: int) -> Callback:
    """Make a bar with the loss, the validation score, and the rows per second of the last epoch.

    Parameters
    ----------
    record : Record
        The record, which has the last epoch when the bar shows it.
    rows : int
        The number of rows of an epoch.

    Returns
    -------
    Callback
        The bar, for terminals and notebooks. Elsewhere, in a pipe for example, it shows nothing.
    """

    def describe(history: History) -> str:
        parts = [f"loss {record.loss_curve[-1]:.4f}"]
        if record.scores:
            parts.append(f"score {record.scores[-1]:.4f}")
        parts.append(f"{rows / history.seconds[-1]:,.0f} rows/s")
        return "  ".join(parts)

    return progress_callback(describe, in_files=False)
