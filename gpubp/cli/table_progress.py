"""The progress of `gpubp train`: a bar in a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from statistics import fmean
from typing import Any

from ..tables.training import Watcher, r_squared
from ..training import History, Trainer

__all__ = ["progress"]

MANY_STEPS = 2000
"""The steps of an epoch from which on the bar also moves within it."""


class _Progress(Watcher):
    """What both forms have in common: the figures of an epoch."""

    def on_rows(self, x: Any, y: Any, rows: int, spread: float) -> None:
        self._rows, self._spread = rows, spread

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._epochs, self._steps = epochs, steps_per_epoch

    def _figures(self, history: History) -> str:
        told = [f"cost {history.cost[-1]:.4f}"]
        if history.validation_cost:
            told.append(f"validation {history.validation_cost[-1]:.4f}")
            score = r_squared(history.validation_cost[-1], self._spread)
            if history.validation_accuracy:
                told.append(f"accuracy {100 * history.validation_accuracy[-1]:.2f} %")
            elif score is not None:
                told.append(f"R² {score:.4f}")
        if history.learning_rate[-1] != history.learning_rate[0]:
            told.append(f"rate {history.learning_rate[-1]:.1e}")
        return "  ".join(told)

    def _speed(self, history: History) -> str:
        return f"{self._rows / max(history.seconds[-1], 1e-9):,.0f} rows/s"


class _Lines(_Progress):
    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        seconds = (self._epochs - len(history)) * fmean(history.seconds)
        left = f"  at most {duration(seconds)} left" if seconds else ""
        number = f"{len(history):{len(str(self._epochs))}}/{self._epochs}"
        figures = f"{self._figures(history)}  {self._speed(history)}"
        print(f"epoch {number}  {figures}{left}", file=sys.stderr, flush=True)


class _Bar(_Progress):
    """rich's bar, which moves once an epoch, and a line of figures below it: both fit 80 columns."""

    def __init__(self) -> None:
        from rich import progress  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415

        class Bar(progress.Progress):
            def get_renderables(self) -> Iterator[Any]:
                for task in self.tasks:
                    yield self.make_tasks_table([task])
                    yield task.fields["figures"]

        self._bar = Bar(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("at most"),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("left  {task.fields[speed]}"),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        super().on_fit_begin(trainer, epochs, steps_per_epoch)
        total = epochs * steps_per_epoch
        self._task = self._bar.add_task(f"epoch 1/{epochs}", total=total, figures="", speed="")
        self._bar.start()

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._before = epoch * self._steps
        self._bar.update(
            self._task, description=f"epoch {epoch + 1}/{self._epochs}", completed=self._before
        )

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        done = len(history) * self._steps
        self._bar.update(
            self._task, completed=done, figures=self._figures(history), speed=self._speed(history)
        )

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        self._bar.stop()


class _StepBar(_Bar):
    """The bar, which moves with every step; steps then run one by one."""

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if not step % 16:
            self._bar.update(self._task, completed=self._before + step + 1)


def progress(steps: int) -> Watcher:
    """Make the callback that shows progress on standard error.

    Parameters
    ----------
    steps : int
        About the number of steps of an epoch.
    """
    if not sys.stderr.isatty() or find_spec("rich") is None:
        return _Lines()
    return _StepBar() if steps >= MANY_STEPS else _Bar()


def duration(seconds: float) -> str:
    """Return a time in words: "12 s", "3 min" or "2.5 h"."""
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
