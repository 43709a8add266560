"""The methods of a trainer that make single steps, on batches of the caller's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backends import Backend, SparseRows, on_device
from ..signals import uninterrupted
from .batch_check import BatchCheck
from .data import BatchForm
from .one_thread import take
from .settings import Setting
from .step import TrainingStep

__all__ = ["SingleSteps"]


class SingleSteps:
    """The part of `Trainer` that makes single steps."""

    _training_step: TrainingStep
    _check_batch: BatchCheck

    if TYPE_CHECKING:
        batch_size: Setting[int]
        accumulate: Setting[int]

        @property
        def backend(self) -> Backend: ...

    @uninterrupted
    @on_device
    def step(self, x: Any, y: Any, sample_weight: Any = None) -> None:
        """Update the network once, on one batch. Ctrl-C waits for the end of the step.

        The method does not wait for the device; `step_cost` reads the result. Shapes and types are checked,
        values are not. The learning rate is the optimizer's, without the schedule, which needs the number
        of steps of a fit.

        Parameters
        ----------
        x : array or sparse matrix of shape (rows, n_in)
            Inputs.
        y : array of shape (rows,) or (rows, n_out)
            Targets; for cross_entropy integer labels or rows of probabilities.
        sample_weight : array of shape (rows,), optional
            Sample weights; the batch's cost is then the weighted mean.

        Raises
        ------
        ValueError
            If the shape or type of x, y or sample_weight does not fit the network.
        RuntimeError
            If an epoch of a fit is running, or another thread uses the trainer.

        Examples
        --------
        The weight w = 1 has the cost ½ w² on this batch. A step takes η w from it.

        >>> import gpubp
        >>> network = gpubp.Network((1, 1), biases=False)
        >>> network.parameters = [1.0]
        >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.25))
        >>> trainer.step([[1.0]], [[0.0]])
        >>> trainer.step_cost, network.parameters.tolist()
        (0.5, [0.75])
        """
        step = self._training_step
        take(step.in_use)
        try:
            self._check_that_no_epoch_runs()
            x, y, weights = self._check_batch(x, y, sample_weight)
            form = self.form_of(len(x), y.ndim == 1, weights is not None, isinstance(x, SparseRows))
            try:
                step.rows.set(x, y, weights)
                if form not in step.captured:
                    step.make_room([form], 1)
                if step.steps_done >= step.steps_prepared:
                    step.prepare()
                step.run(form)
            finally:
                step.rows.clear()
        finally:
            step.in_use.release()

    def _check_that_no_epoch_runs(self) -> None:
        """Check that no rows are in use: another step would leave a fit without them."""
        if self._training_step.rows.x is not None:
            raise RuntimeError(
                "the trainer is in the middle of an epoch, where neither step nor fit can be called;"
                " on_epoch_end can call them"
            )

    def form_of(self, rows: int, labels: bool, weighted: bool, sparse: bool) -> BatchForm:
        """Describe a batch of `rows` that has labels or not, has weights or not, and is sparse or not.

        Parameters
        ----------
        rows : int
            The number of rows.
        labels : bool
            Whether targets are integer labels.
        weighted : bool
            Whether rows have sample weights.
        sparse : bool
            Whether x is sparse.

        Returns
        -------
        BatchForm
            The form, with the trainer's limit of rows in a block.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.Trainer(gpubp.Network((1, 1))).form_of(32, labels=True, weighted=False, sparse=False)
        BatchForm(rows=32, block_limit=None, labels=True, weighted=False, sparse=False)
        """
        limit = self.batch_size if self.accumulate > 1 else None
        return BatchForm(rows, limit, labels, weighted, sparse)
