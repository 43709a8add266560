"""How a training step is captured, and how its captures run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..backends import Array, Rows
from ..layers import Parameters
from ..signals import uninterrupted
from .captures import Replay, StepsInARow, call_each
from .data import BatchForm
from .halves import StepArrays, StepHalves
from .step_settings import StepSettings

__all__ = ["STEPS_KEPT", "StepRuns"]

STEPS_KEPT = 8
"""The most forms of batches with a captured step and its buffers."""


class StepRuns(StepSettings):
    """The base class of `TrainingStep` that captures steps, and runs them."""

    rows: Rows
    steps_done: int
    _reduce: Callable[[Array], object] | None
    _views: list[list[Parameters]]
    _squared_norm: Array
    _kernels: int

    @property
    def steps_at_once(self) -> int:
        """The number of steps on batches of one form to run together, if nothing comes between them."""
        return self.backend.steps_at_once if self._reduce is None else 1

    def run(self, form: BatchForm, steps: int = 1) -> None:
        """Run one step on the batch in `rows`, or several steps in a row, each on its batch in `rows`.

        Ctrl-C waits for the end of the steps, which are then counted. The class has an example of several.

        Parameters
        ----------
        form : BatchForm
            The form of the batches.
        steps : int, default 1
            The number of steps.

        Raises
        ------
        ValueError
            If `steps` is below 1.
        RuntimeError
            If there are no rows, or there is no room for so many more steps before `prepare`.

        Examples
        --------
        >>> import gpubp
        >>> from gpubp.training import BatchForm, TrainingStep
        >>> step = TrainingStep(gpubp.Network((1, 1)), gpubp.SGD(), dropout_seed=0)
        >>> step.run(BatchForm(1, None, labels=False, weighted=False))
        Traceback (most recent call last):
            ...
        RuntimeError: a training step has no rows to run on
        """
        replay = self._captured(form, steps)
        self._replay(replay if steps == 1 else self._in_a_row[form][steps], steps)

    def run_some(self, form: BatchForm, most: int) -> int:
        """Run at least one step and at most `most`, as `run` does; return how many.

        They are as many as the backend runs together, in some milliseconds: a caller can look at what may
        stop training in between. The errors are those of `run`.

        Parameters
        ----------
        form : BatchForm
            The form of the batches.
        most : int
            The most steps.

        Returns
        -------
        int
            The number of steps that were run.

        Examples
        --------
        >>> import gpubp
        >>> import numpy as np
        >>> from gpubp.training import BatchForm, TrainingStep
        >>> network = gpubp.Network((1, 1), biases=False)
        >>> network.parameters = [1.0]
        >>> step = TrainingStep(network, gpubp.SGD(0.25), dropout_seed=0)
        >>> step.rows.set(np.float32([[1.0]]), np.float32([[0.0]]), None)
        >>> form = BatchForm(rows=1, block_limit=None, labels=False, weighted=False)
        >>> with network.backend.use():
        ...     step.make_room([form], steps=100)
        ...     rates = step.prepare(steps=100)
        ...     ran = step.run_some(form, 100)
        >>> 1 <= ran <= 100 and step.steps_done == ran
        True
        """
        at_once = self.steps_at_once
        if self._reduce is None and at_once == 1:
            return self._replay(self._captured(form, most), 1, most)
        self.run(form, steps := at_once if most >= at_once else 1)
        return steps

    def _captured(self, form: BatchForm, steps: int) -> Replay:
        """Return the captured step, after a check that so many can run."""
        if steps < 1:
            raise ValueError(f"steps is {steps}, expected at least 1")
        # A captured step does not check these, and would read or write outside its arrays.
        if self.rows.x is None:
            raise RuntimeError("a training step has no rows to run on")
        if self.steps_done + steps > self._numbers.room:
            raise RuntimeError(f"{self.steps_done} steps were run; prepare comes before another")
        return self.captured.get(form) or self._capture(form)

    @uninterrupted
    def _replay(self, replay: Replay, steps: int, most: int = 1) -> int:
        """Run what makes `steps` captured steps at most `most` times; count and return the steps."""
        # If a step fails, no step is prepared.
        prepared, self.steps_prepared = self.steps_prepared, 0
        steps *= self.backend.replay_some(replay, most)
        self.steps_prepared = prepared
        self.count(steps)
        return steps

    def count(self, steps: int = 1) -> None:
        """Count steps, for example of a capture of `halves`.

        Parameters
        ----------
        steps : int, default 1
            The number of steps.

        Examples
        --------
        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), gpubp.SGD(0.5))
        >>> trainer.step([[0.0]], [[1.0]])
        >>> step = trainer.training_step
        >>> step.count(2)
        >>> step.steps_taken  # `step` has counted one
        3
        """
        self.steps_taken += steps
        self.steps_done += steps

    def _capture(self, form: BatchForm) -> Replay:
        """Capture the step for batches of this form, and store it in `captured`."""
        while len(self.captured) >= STEPS_KEPT:
            oldest = next(iter(self.captured))
            del self.captured[oldest]
            self._in_a_row.pop(oldest, None)
        halves, capture = self._halves(form), self.backend.capture
        with self.backend.keep_kernels(self._kernels):
            if self._reduce is None:
                replay = capture(halves.run)
                self._in_a_row[form] = StepsInARow(self.backend, replay, halves)
            else:
                # `reduce` may write to the gradient of frozen layers, which no half overwrites.
                reduce = partial(self._reduce, self.gradient)
                calls: list[Callable[[], object]] = [capture(halves.gradient), *halves.clear_frozen]
                replay = partial(call_each, [*calls, reduce, capture(halves.update)])
                self._in_a_row[form] = StepsInARow(self.backend, replay, None)
        self.captured[form] = replay
        return replay

    def renew_kernels(self) -> None:
        """Use the kernels that are ready now; captured steps are dropped if there are new ones.

        Examples
        --------
        No text was compiled in between, so that the captured step stays:

        >>> import gpubp
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), initializer="zeros"), gpubp.SGD(0.5))
        >>> trainer.step([[0.0]], [[1.0]])
        >>> step = trainer.training_step
        >>> step.renew_kernels()
        >>> len(step.captured)
        1
        """
        if self._kernels != self.backend.kernels:
            self._kernels = self.backend.kernels
            self._forget_captures()

    def halves(self, form: BatchForm) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a step's two halves for batches of this form, neither run nor captured.

        Both halves call only verbs of the backend, and share new buffers. ``backend.capture`` can capture
        them several times, or together with halves of other steps. Call `make_room` and `prepare` before,
        and `count` after every replay. The halves do not call `reduce`: the caller does so between them. A
        capture is out of date after `make_room` has allocated memory or `optimizer` has been set.

        Parameters
        ----------
        form : BatchForm
            The form of the batches.

        Returns
        -------
        gradient, update : callable
            Functions that compute the gradient of the batch, and update parameters and state.

        Examples
        --------
        >>> import gpubp
        >>> import numpy as np
        >>> from gpubp.training import BatchForm, TrainingStep
        >>> network = gpubp.Network((1, 1), biases=False)
        >>> network.parameters = [1.0]
        >>> step = TrainingStep(network, gpubp.SGD(0.25), dropout_seed=0)
        >>> step.rows.set(np.float32([[1.0]]), np.float32([[0.0]]), None)
        >>> form = BatchForm(rows=1, block_limit=None, labels=False, weighted=False)
        >>> with network.backend.use():
        ...     step.make_room([form], steps=1)
        ...     rates = step.prepare(steps=1)
        ...     gradient, update = step.halves(form)
        ...     gradient()
        ...     update()
        ...     step.count()
        >>> network.parameters.tolist()
        [0.75]
        """
        halves = self._halves(form)
        return halves.gradient, halves.update

    def _halves(self, form: BatchForm) -> StepHalves:
        arrays = StepArrays(
            *(self.rows, self._gradients, self._views, self._counters, self._numbers),
            *(self._squared_norm, self._loss_scale),
        )
        with self.backend.keep_kernels(self._kernels):
            return StepHalves(
                *(self.network, form, arrays, self._optimizer_state),
                layer_rates=self._layer_rates,
                dropout_seed=self._dropout_seed,
                gradient_is_read=self._reduce is not None,
                sums_squares=self.sums_squares,
            )
