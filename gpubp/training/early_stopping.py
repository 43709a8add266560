"""Early stopping: the setting that says how long to wait for a better epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.messages import shown
from ..validation import check_number

__all__ = ["EarlyStopping", "as_early_stopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """End training when the monitored cost stops falling.

    The monitored cost is the validation cost or, without validation data, the training cost. At the end the
    network gets the parameters of its best epoch.

    Parameters
    ----------
    patience : int, default 10
        The number of epochs without improvement after which training ends; 1 or more.
    min_improvement : float, default 0
        An epoch is an improvement if its cost is more than this below the lowest cost before; 0 or more.

    Raises
    ------
    ValueError
        If `patience` is not a whole number of at least 1, or `min_improvement` not a number of at least 0.
    """

    patience: int = 10
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        check_number("patience", self.patience, 1, math.inf, whole=True)
        check_number("min_improvement", self.min_improvement, 0, math.inf)


def as_early_stopping(early_stopping: Any) -> EarlyStopping | None:
    """Convert the setting: a number is the patience, True means the defaults, False means None."""
    if isinstance(early_stopping, bool | np.bool_):
        return EarlyStopping() if early_stopping else None
    if isinstance(early_stopping, int | np.integer):
        return EarlyStopping(int(early_stopping))
    if early_stopping is None or isinstance(early_stopping, EarlyStopping):
        return early_stopping
    raise TypeError(
        f"early_stopping is {shown(early_stopping)}, expected an EarlyStopping, a number of epochs, True,"
        " False or None"
    )
