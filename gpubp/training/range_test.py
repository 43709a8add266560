"""The learning-rate range test: train with rising rates, and see where the cost falls fastest."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import DivergenceError
from ..validation import check_number, check_seed
from .callbacks import Callback
from .pictures import new_figure
from .schedule import Schedule

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["LearningRateCurve", "range_test"]

DIVERGES_AT = 4.0
"""The test ends when the mean of the last costs is this many times the least such mean."""
LEAST_IN_A_MEAN = 5
"""The least number of costs in such a mean."""
ROWS_IN_A_MEAN = 100
"""The number of rows whose costs a mean has: means of small batches have more of them."""
SMOOTHED_OVER = 0.03
"""The least standard deviation of the smoothing, as a part of all steps of the test."""
LEAVES_AT = 0.1
"""The fall begins after this part of it."""
LEAST_STEPS = 10
ROUNDING = 1e-6
"""A smaller fall, relative to the cost, is none."""


@dataclass(frozen=True, eq=False, repr=False)
class LearningRateCurve:
    """The costs of training steps with rising learning rates (Smith 2017).

    Attributes
    ----------
    learning_rates : float64 array of shape (steps,)
        The rate of each step that was made.
    costs : float64 array of shape (steps,)
        The mean cost of each step's batch, before its update.
    smoothed : float64 array of shape (steps,)
        The costs, averaged with those of the steps around them.
    suggestion : float
        The rate at which the smoothed cost falls fastest over log η, before its minimum. NaN if the cost
        never falls.
    diverged : bool
        Whether the cost rose to four times its minimum or stopped being finite, which ended the test.

    See Also
    --------
    Trainer.find_learning_rate : The method that returns it.

    Notes
    -----
    The test is that of Smith [1]_, section 3.3.

    References
    ----------
    .. [1] L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.

    Examples
    --------
    >>> import gpubp
    >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), gpubp.SGD())
    >>> curve = trainer.find_learning_rate([[0.0]], [[1.0]], low=1e-3, high=1.0, steps=20)
    >>> curve.costs.shape, curve.diverged
    ((20,), False)
    >>> bool(curve.costs[-1] < curve.costs[0])
    True
    """

    learning_rates: Any
    costs: Any
    smoothed: Any
    suggestion: float
    diverged: bool

    def __repr__(self) -> str:
        low, high = self.learning_rates[0], self.learning_rates[-1]
        return (
            f"<LearningRateCurve of {len(self.costs)} steps from {low:.3g} to {high:.3g}:"
            f" suggestion {self.suggestion:.3g}>"
        )

    def plot(self, path: Any = None) -> Any:
        """Draw the costs over the learning rate.

        Parameters
        ----------
        path : str or path, optional
            The file to write the picture to; by default none is written.

        Returns
        -------
        matplotlib.figure.Figure
            The picture.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra gpubp[plot] installs it.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), gpubp.SGD())
        >>> curve = trainer.find_learning_rate([[0.0]], [[1.0]], low=1e-3, high=1.0, steps=20)
        >>> figure = curve.plot("rates.png")
        >>> figure.axes[0].get_xscale(), figure.axes[0].get_xlabel()
        ('log', 'learning rate')
        """
        figure = new_figure("LearningRateCurve.plot")
        axes = figure.add_subplot()
        rates, smoothed = self.learning_rates, self.smoothed
        axes.plot(rates, self.costs, color="#1f4e79", alpha=0.3, lw=1, label="cost of a batch")
        axes.plot(rates, smoothed, color="#1f4e79", lw=1.8, label="smoothed")
        if math.isfinite(self.suggestion):
            cost = float(np.interp(self.suggestion, rates, smoothed))
            label = f"falls fastest at {self.suggestion:.2g}"
            axes.axvline(self.suggestion, color="#c55a11", ls="--", lw=1)
            axes.plot([self.suggestion], [cost], "o", color="#c55a11", ms=6, label=label)
        low, high = float(smoothed.min()), float(smoothed[: len(smoothed) // 2 + 1].max())
        room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - room, high + 3 * room)  # a diverging cost would hide the fall
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("mean cost of a batch")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower left")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


@dataclass
class _Rising(Schedule):
    """Factors that rise from 1 to `growth` in so many steps, by the same factor from step to step."""

    depends_on: ClassVar[str] = "step"
    growth: float
    count: int

    def factors(self, steps: Any, total: int, per_epoch: int) -> Any:
        return self.growth ** (np.minimum(steps, self.count - 1) / (self.count - 1))


class _Recorder(Callback):
    """Records the cost of each step, and ends the fit when the test is over."""

    def __init__(self, steps: int, in_a_mean: int) -> None:
        self._steps, self._in_a_mean = steps, in_a_mean
        self.costs: list[float] = []
        self.diverged, self._least = False, math.inf

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        cost = trainer.step_cost
        if math.isfinite(cost):
            self.costs.append(cost)
            if len(self.costs) >= self._in_a_mean:
                mean = math.fsum(self.costs[-self._in_a_mean :]) / self._in_a_mean
                self._least = min(self._least, mean)
                self.diverged = mean > self._least + (DIVERGES_AT - 1) * abs(self._least)
        else:
            self.diverged = True
        if self.diverged or len(self.costs) == self._steps:
            trainer.stop("the range test is over")


def range_test(
    trainer: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    low: float,
    high: float,
    steps: int,
    seed: int,
) -> LearningRateCurve:
    """Run the test on a copy of a trainer's network: see `Trainer.find_learning_rate`."""
    from .trainer import Trainer  # noqa: PLC0415  (which imports this module)

    check_number("low", low, 0, math.inf, open_low=True)
    check_number("high", high, low, math.inf, open_low=True)
    check_number("steps", steps, LEAST_STEPS, math.inf, whole=True)
    check_seed(seed)
    rows = trainer.batch_size * trainer.accumulate
    in_a_mean = max(LEAST_IN_A_MEAN, min(steps // 3, -(-ROWS_IN_A_MEAN // rows)))
    growth, recorder = float(high) / float(low), _Recorder(int(steps), in_a_mean)
    copy = Trainer(
        deepcopy(trainer.network),
        replace(trainer.optimizer, learning_rate=float(low)),
        batch_size=trainer.batch_size,
        accumulate=trainer.accumulate,
        shuffle=trainer.shuffle,
        schedule=_Rising(growth, int(steps)),
        layer_rates=trainer.layer_rates,
        callbacks=[recorder],
        seed=int(seed),
    )
    stopped = "diverged"
    try:
        with np.errstate(all="ignore"):
            # More epochs than steps: the recorder ends the fit.
            stopped = copy.fit(x, y, epochs=int(steps), sample_weight=sample_weight).stopped
    except DivergenceError:
        if not recorder.costs:  # the network has diverged already
            raise
        recorder.diverged = True
    if stopped == "interrupted":
        raise KeyboardInterrupt
    count = len(recorder.costs)
    rates = low * growth ** (np.arange(count) / (steps - 1.0))
    costs = np.array(recorder.costs)
    smoothed = _smoothed(costs, max(SMOOTHED_OVER * steps, in_a_mean / 4))
    return LearningRateCurve(rates, costs, smoothed, _steepest(rates, smoothed), recorder.diverged)


def _smoothed(costs: Any, width: float) -> Any:
    """Average each cost with its neighbours by Gaussian weights, so that nothing moves to later steps."""
    steps = np.arange(len(costs))
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / width) ** 2)
    return weights @ costs / weights.sum(axis=1)


def _steepest(rates: Any, smoothed: Any) -> float:
    """Return the rate at which the cost falls fastest before its minimum; NaN if it does not fall.

    The fall begins where the cost leaves the level of the first rates for good: before that it only differs
    from batch to batch.
    """
    until = int(np.argmin(smoothed)) + 1 if len(smoothed) else 0
    if until < 2 or smoothed[:until].max() - smoothed[until - 1] <= ROUNDING * abs(smoothed).max():
        return math.nan
    level, least = float(smoothed[: until // 4 + 1].mean()), float(smoothed[until - 1])
    on_level = np.flatnonzero(smoothed[:until] >= level - LEAVES_AT * (level - least))
    begin = int(on_level[-1]) if len(on_level) else 0
    slopes = np.gradient(smoothed, np.log(rates))[begin:until]
    steepest = int(np.argmin(slopes))
    return float(rates[begin + steepest]) if slopes[steepest] < 0 else math.nan
