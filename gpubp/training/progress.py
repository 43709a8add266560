"""A progress bar: rich's if rich is installed, else one line for each epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .callbacks import Callback
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["progress_callback"]

Describe = Callable[[History], str]


def describe(history: History) -> str:
    """Describe the last epoch in one line."""
    parts = [f"cost {history.cost[-1]:.4f}"]
    if history.validation_cost:
        parts.append(f"validation {history.validation_cost[-1]:.4f}")
    if history.validation_accuracy:
        parts.append(f"accuracy {100 * history.validation_accuracy[-1]:.2f} %")
    parts += [f"{name} {values[-1]:.4f}" for name, values in history.validation_metrics.items()]
    return "  ".join(parts)


class _Lines(Callback):
    def __init__(self, describe: Describe) -> None:
        self._describe = describe

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._epochs = epochs

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        print(f"epoch {len(history)}/{self._epochs}  {self._describe(history)}", file=sys.stderr)


class _Bar(Callback):
    def __init__(self, progress: Any, describe: Describe) -> None:
        self._progress, self._describe = progress, describe

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        self._epochs, self._steps, self._before = epochs, steps_per_epoch, 0
        self._task = self._progress.add_task(
            "epoch 1", total=epochs * steps_per_epoch or None, figures="", visible=False
        )
        self._progress.start()

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        self._before = epoch * self._steps
        self._progress.update(
            self._task,
            description=f"epoch {epoch + 1}/{self._epochs}",
            completed=self._before,
            visible=True,
        )

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self._progress.update(self._task, completed=self._before + step + 1)

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        self._progress.update(self._task, figures=self._describe(history))

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        self._progress.stop()


def progress_callback(describe: Describe = describe, *, in_files: bool = True) -> Callback:
    """Make the callback of ``fit(progress=True)``.

    Parameters
    ----------
    describe : callable
        (history) -> the figures of the last epoch, in one line.
    in_files : bool, default True
        Whether to write figures where there is neither a terminal nor a notebook: to a file or a pipe.

    Returns
    -------
    Callback
        The callback; one that shows nothing if there is nowhere to show it.
    """
    try:
        from rich import console, progress, table  # noqa: PLC0415
    except ImportError:
        return _Lines(describe) if in_files or sys.stderr.isatty() else Callback()
    screen = console.Console(stderr=True)
    if not (in_files or screen.is_terminal or screen.is_jupyter):
        return Callback()
    return _Bar(
        progress.Progress(
            progress.TextColumn("{task.description:>14}"),
            progress.BarColumn(bar_width=30),
            progress.TimeRemainingColumn(
                compact=True, table_column=table.Column(min_width=5, no_wrap=True)
            ),
            progress.TextColumn("{task.fields[figures]}"),
            console=screen,
        ),
        describe,
    )
