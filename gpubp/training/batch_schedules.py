"""Schedules of the learning rate for iterables of batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.messages import shown
from .schedules import Schedule

__all__ = ["check_schedule", "factors_of_unknown"]


def check_schedule(schedule: Schedule, batches: int | None, *, resumes: bool) -> None:
    """Check that a schedule can go with an iterable of batches.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    batches : int or None
        The number of batches of an epoch, if it is known.
    resumes : bool
        Whether the fit goes on from a checkpoint.

    Raises
    ------
    ValueError
        If the schedule needs the number of batches, which is not known, or the weights of all batches.
    """
    if type(schedule).penalty_factors is not Schedule.penalty_factors:
        raise ValueError(
            f"schedule is {shown(schedule)}, whose penalty_factors need the weights of all batches of an"
            " epoch, expected data in memory or data that can be sliced"
        )
    if batches is not None or schedule.depends_on == "epoch":
        return
    if schedule.depends_on == "step" and not resumes:
        return
    raise ValueError(
        f"schedule is {shown(schedule)}, which needs the number of batches of an epoch, expected x to be an"
        " iterable with a length, or the schedule 'constant', 'step' or 'on_plateau'"
    )


def factors_of_unknown(schedule: Schedule, epoch: int, steps_before: int, count: int) -> Any:
    """Compute the factors of `count` steps of an epoch whose number of steps is not known."""
    if schedule.depends_on == "epoch":  # it is taken for an epoch of one step
        return schedule.factors(np.full(count, epoch), epoch + 1, 1)
    steps = np.arange(steps_before, steps_before + count)
    return schedule.factors(steps, steps_before + count, count)
