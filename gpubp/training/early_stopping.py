"""Early stopping: how long to wait for a better epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation import check_number

__all__ = ["EarlyStopping", "as_early_stopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """End training when the monitored cost stops falling.

    That is the validation cost where there is one, else the training cost. The network then gets the
    parameters of its best epoch back.

    Parameters
    ----------
    patience : int
        Epochs to wait for the cost to fall by more than `min_improvement` below its lowest.
    min_improvement : float
        How far it has to fall to count.

    Raises
    ------
    ValueError
        `patience` is no whole number from 1 on, or `min_improvement` no number from 0 on.
    """

    patience: int = 10
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        check_number("patience", self.patience, 1, math.inf, whole=True)
        check_number("min_improvement", self.min_improvement, 0, math.inf)


def as_early_stopping(early_stopping: Any) -> EarlyStopping | None:
    """Read the setting: a number of epochs is the patience, True takes the defaults, False is None."""
    if isinstance(early_stopping, bool | np.bool_):
        return EarlyStopping() if early_stopping else None
    if isinstance(early_stopping, int | np.integer):
        return EarlyStopping(int(early_stopping))
    if early_stopping is None or isinstance(early_stopping, EarlyStopping):
        return early_stopping
    raise TypeError(
        f"early_stopping is {early_stopping!r}, expected an EarlyStopping, a number of epochs, True,"
        " False or None"
    )
