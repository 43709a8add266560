"""Early stopping: the setting that says how long to wait for a better epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import unknown_name
from ..kernels.messages import shown
from ..keywords import tells_keywords
from ..shown import repr_of_changed
from ..synonyms import our_name
from ..validation import check_flag, check_number

__all__ = ["EarlyStopping", "as_early_stopping"]


_RISES: Mapping[str, bool] = {"cost": False, "accuracy": True}


@tells_keywords
@dataclass(frozen=True, repr=False)
class EarlyStopping:
    """End training when what it monitors stops improving.

    By default that is the validation cost or, without validation data, the training cost. At the end the
    network gets the parameters of its best epoch.

    Parameters
    ----------
    patience : int, default 10
        The number of epochs without improvement after which training ends; 1 or more.
    min_improvement : float, default 0
        An epoch is an improvement if its cost is more than this below the lowest cost before, or its
        accuracy above the highest; 0 or more.
    monitor : str, default "cost"
        "cost", "accuracy" on the validation data, or the name of one of `Trainer`'s metrics.
    higher_is_better : bool, optional
        For a metric of `Trainer`: whether it should rise. It is known of cost and accuracy.

    Raises
    ------
    ValueError
        If an argument is out of its range, or `higher_is_better` is needed, or wrong; the message names it.

    Examples
    --------
    >>> import gpubp
    >>> gpubp.EarlyStopping(5, monitor="accuracy")
    EarlyStopping(patience=5, monitor='accuracy')

    With zero weights the first epoch's cost is 0 already. Two epochs later training ends.

    >>> network = gpubp.Network((1, 1), initializer="zeros")
    >>> trainer = gpubp.Trainer(network, early_stopping=gpubp.EarlyStopping(patience=2))
    >>> trainer.fit([[1.0]], [[0.0]], epochs=100)
    <History of 3 epochs: cost 0, best epoch 0, stopped 'early stopping'>
    """

    patience: int = 10
    min_improvement: float = 0.0
    monitor: str = "cost"
    higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        check_number("patience", self.patience, 1, math.inf, whole=True)
        check_number("min_improvement", self.min_improvement, 0, math.inf)
        if not isinstance(self.monitor, str) or not self.monitor:
            raise ValueError(
                f"monitor is {shown(self.monitor)}, expected 'cost', 'accuracy' or the name of a metric"
            )
        known, given = _RISES.get(self.monitor), self.higher_is_better
        if given is not None:
            check_flag("higher_is_better", given)
        if given is None and known is None:
            if our_name("monitor", self.monitor, _RISES):
                raise unknown_name("monitor", self.monitor, _RISES)
            raise ValueError(
                f"higher_is_better is None, expected True or False for monitor {shown(self.monitor)}"
            )
        if given is not None and known is not None and bool(given) != known:
            raise ValueError(
                f"higher_is_better is {given}, expected {known} for monitor {self.monitor!r}"
            )

    def __repr__(self) -> str:
        return repr_of_changed(self, ("patience",))

    @property
    def rises(self) -> bool:
        """Whether what is monitored should rise.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.EarlyStopping().rises, gpubp.EarlyStopping(monitor="accuracy").rises
        (False, True)
        """
        return bool(_RISES.get(self.monitor, self.higher_is_better))

    def improves(self, value: float, best: float) -> bool:
        """Whether a value is an improvement over the best one; over NaN, every number is.

        Parameters
        ----------
        value : float
            The value after an epoch.
        best : float
            The best value before it; NaN if there is none.

        Returns
        -------
        bool
            Whether the value is better by more than `min_improvement`.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.EarlyStopping(min_improvement=0.1).improves(0.45, best=0.5)
        False
        >>> gpubp.EarlyStopping(monitor="accuracy").improves(0.9, best=0.8)
        True
        """
        if math.isnan(best):
            return not math.isnan(value)
        gain = value - best if self.rises else best - value
        return gain > self.min_improvement


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
