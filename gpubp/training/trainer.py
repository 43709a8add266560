"""Train a network: batches, epochs, stopping, callbacks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

from ..backends import on_device, with_same_kernels
from ..errors import DivergenceError
from ..fixed import Fixed, MadeOnce
from ..kernels.messages import shown
from ..keywords import tells_keywords, tells_keywords_of_call
from ..network import Network
from ..validation import check_flag, check_number
from . import settings
from .batch_check import BatchCheck
from .batch_stream import training_data
from .callbacks import Callback, as_callbacks
from .checkpoint import Checkpoint, as_checkpoint, newest_snapshot
from .early_stopping import EarlyStopping, as_early_stopping
from .evaluation import Evaluation
from .history import History
from .interrupt import interruptible
from .layer_rates import as_layer_rates
from .metrics import Metric, as_metrics, check_monitor
from .one_thread import in_one_thread
from .optimizers import Optimizer, get_optimizer
from .order import DataOrder
from .progress import progress_callback
from .run import Run
from .schedules import Schedule, get_schedule
from .seeds import RandomSource, draw_dropout_seed, random_source
from .settings import Setting
from .single_steps import SingleSteps
from .snapshot import Snapshot, settings_of
from .step import TrainingStep
from .trainer_properties import TrainerProperties
from .validation_split import split_off

__all__ = ["Trainer"]


@tells_keywords
class Trainer(TrainerProperties, SingleSteps, MadeOnce):
    """Trains a network. The optimizer's state is kept from one fit to the next.

    A pickle or a copy contains the network, the optimizer's state and the random generator, but neither
    data nor buffers. It continues training exactly as the original would.

    While `fit` runs it keeps three copies of the parameters and the optimizer's state, so that it can roll
    back. With early stopping it keeps a fourth. After `resume` it also keeps those of the checkpoint.

    Parameters
    ----------
    network : Network
        The network to train, in place.
    optimizer : Optimizer or str, default "adam"
        An optimizer, or the name of one with its defaults.
    batch_size : int, default 128
        The number of rows of a batch.
    schedule : Schedule, str or callable, default "constant"
        A schedule of the learning rate, the name of one with its defaults, or a function (step, total,
        per_epoch) -> factor of the learning rate.
    shuffle : bool or "blocks", default True
        Whether to draw a new order of the rows for each epoch. "blocks" is for streamed data: rows that
        are stored together stay near each other, and each chunk is read once in an epoch.
    accumulate : int, default 1
        The number of batches whose gradients are added for one update. The result is the same as with
        batches that many times larger, but the buffers are those of one batch. Data that are streamed are
        read that many batches at once.
    layer_rates : sequence of float, default None
        A factor of the learning rate for each layer except the input; by default all are 1. A layer with
        factor 0 is frozen: its parameters and its optimizer's state stay as they are, and no gradient is
        computed of it, nor δ below the lowest layer that is trained. Decoupled decay is multiplied as well.
    early_stopping : EarlyStopping, int, bool or None, default None
        When to stop early. An int is the patience in epochs, and True means the defaults. With None or
        False, all epochs are run.
    callbacks : sequence of Callback or callable, default ()
        Callbacks, or functions (trainer, history) that are called after each epoch.
    checkpoint : Checkpoint or path-like, optional
        Where a fit writes checkpoints, and how often. The name of a folder means one every 5 minutes. By
        default none are written.
    metrics : dict of str to Metric or callable, optional
        Functions (y, predictions) -> number by name, such as those of `sklearn.metrics`; see `Metric`. They
        are computed on the validation data after each epoch.
    seed : int, numpy.random.Generator, numpy.random.RandomState or None, default None
        Seed or generator of the batch order and the dropout masks. A RandomState shuffles as scikit-learn
        does: each epoch reorders the order of the epoch before.

    Attributes
    ----------
    network : Network
        The network; read-only.
    optimizer, batch_size, schedule, shuffle, accumulate, layer_rates
        The settings. They may be changed between fits.
    early_stopping, callbacks, checkpoint, metrics
        More settings.

    Raises
    ------
    ValueError, TypeError
        If an argument, or a setting when it is set, is not valid; the message names it.

    Examples
    --------
    A single neuron learns y = 2 x + 1 from three points:

    >>> import gpubp
    >>> x, y = [[-1.0], [0.0], [1.0]], [[-1.0], [1.0], [3.0]]
    >>> network = gpubp.Network((1, 1), backend="numpy", seed=0)
    >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.5), batch_size=3)
    >>> trainer
    Trainer(
        Network((1, 1), output='identity', cost='quadratic', dtype='float32', backend='numpy'),
        SGD(learning_rate=0.5),
        batch_size=3,
    )
    >>> history = trainer.fit(x, y, epochs=40)
    >>> print(network.parameters.round(3))
    [2. 1.]
    >>> network.predict([10.0]).round(2).tolist()
    [21.0]
    """

    network = Fixed[Network]()
    batch_size = settings.count("batch_size")
    accumulate = settings.count("accumulate")
    shuffle = settings.shuffling("shuffle")
    schedule = Setting(get_schedule)
    early_stopping = Setting(as_early_stopping)
    callbacks = Setting(as_callbacks)
    checkpoint = Setting(as_checkpoint)
    metrics = Setting(as_metrics)

    def __init__(
        self,
        network: Network,
        optimizer: str | Optimizer = "adam",
        *,
        batch_size: int = 128,
        schedule: str | Schedule | Callable[[int, int, int], float] = "constant",
        shuffle: bool | str = True,
        accumulate: int = 1,
        layer_rates: Sequence[float] | None = None,
        early_stopping: EarlyStopping | int | bool | None = None,
        callbacks: Sequence[Callback | Callable[[Trainer, History], None]] = (),
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        metrics: Mapping[str, Metric | Callable[[Any, Any], float]] | None = None,
        seed: int | RandomSource | None = None,
    ) -> None:
        optimizer = get_optimizer(optimizer)
        if not isinstance(network, Network):
            raise TypeError(f"network is {shown(network)}, expected a gpubp.Network")
        self.network = network
        self.batch_size, self.accumulate, self.shuffle = batch_size, accumulate, shuffle
        self.schedule, self.early_stopping, self.callbacks = schedule, early_stopping, callbacks
        layer_rates = as_layer_rates(layer_rates, len(network.layers))
        self.metrics = metrics
        rng = random_source(seed)
        self._order = DataOrder(rng)
        dropout_seed = draw_dropout_seed(rng, network)
        self._training_step = TrainingStep(
            network, optimizer, dropout_seed=dropout_seed, layer_rates=layer_rates
        )
        self._check_batch = BatchCheck(network)
        self.checkpoint, self._stop_reason, self._fits_running = checkpoint, "", 0
        self._snapshot: Snapshot | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_fits_running": 0}  # a callback may make a copy

    def __copy__(self) -> Trainer:
        other = object.__new__(type(self))
        vars(other).update(self.__getstate__())
        other._training_step, other._order = copy(self._training_step), copy(self._order)
        other._snapshot = deepcopy(self._snapshot)
        return other

    def stop(self, reason: str) -> None:
        """End training after the current step, or after the steps that run together with it.

        Steps between which nothing comes may run together: on the CPU for 5 ms, on CUDA sixteen.

        Parameters
        ----------
        reason : str
            The value of `History.stopped`.

        Raises
        ------
        ValueError
            If `reason` is not a text, or is empty.

        Examples
        --------
        >>> import gpubp
        >>> def stop_below(trainer, history):
        ...     if history.cost[-1] < 0.1:
        ...         trainer.stop("low enough")
        >>> network = gpubp.Network((1, 1), initializer="zeros")
        >>> trainer = gpubp.Trainer(network, gpubp.SGD(0.5), callbacks=[stop_below])
        >>> history = trainer.fit([[0.0]], [[1.0]], epochs=100)  # the costs are 1/2, 1/8, 1/32
        >>> history.stopped, len(history)
        ('low enough', 3)
        """
        if not isinstance(reason, str) or not reason:
            raise ValueError(f"reason is {shown(reason)}, expected a text that says why")
        self._stop_reason = reason

    @tells_keywords_of_call
    @in_one_thread
    @on_device
    @with_same_kernels
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int,
        sample_weight: Any = None,
        validation_data: Any = None,
        validation_split: float | None = None,
        progress: bool = False,
    ) -> History:
        """Train for `epochs` passes over the data.

        Ctrl-C ends training after the current step; `fit` then returns the history so far. SIGTERM does the
        same, then raises SystemExit(143), unless the process handles it. A `checkpoint` is written first.

        Parameters
        ----------
        x : array or sparse matrix of shape (rows, n_in), or iterable of batches
            Inputs in memory, or data that are streamed: a numpy.memmap, an array of h5py, zarr or dask, or
            another object with a shape that can be sliced. Streamed data are read batch by batch. A sparse
            matrix is never made dense. Without y, x is an iterable of batches (x, y) or (x, y,
            sample_weight), or a function that returns a new iterator of them for each epoch. Each batch
            makes a step, whatever its size; with `accumulate=k`, k batches make one.
        y : array of shape (rows,) or (rows, n_out), optional
            Targets; for cross_entropy integer labels or rows of probabilities.
        epochs : int
            The number of passes over the data; after `resume`, with those before it.
        sample_weight : array of shape (rows,), optional
            Sample weights; the cost of each batch is then the weighted mean.
        validation_data : tuple (x, y) or (x, y, sample_weight), or iterable of such batches, optional
            Data that are evaluated after each epoch.
        validation_split : float, optional
            The share of the rows, above 0 and below 1, that are validation data and not trained on. They
            are drawn at random, the same in each fit of the same data; of labels, each class gives the same
            share. Not for data that are streamed.
        progress : bool, default False
            Whether to show a progress bar.

        Returns
        -------
        History
            The record of the fit, epoch by epoch.

        Raises
        ------
        ValueError
            If the data do not fit the network, a setting is not valid, or after `resume` the data are not
            those of the checkpoint; nothing has changed then. If streamed rows do not fit, the network
            keeps the parameters of its last step.
        DivergenceError
            If the cost, the parameters or the gradients are no longer finite. The network then has its last
            good parameters.
        RuntimeError
            If an epoch of another fit is running, or another thread uses the trainer.
        OSError, MemoryError, TypeError
            If streamed rows cannot be read, or if a checkpoint cannot be written and its `on_error` is
            "raise". The network keeps the parameters of its last step.

        Examples
        --------
        >>> import gpubp
        >>> x, y = [[-1.0], [0.0], [1.0]], [[-1.0], [1.0], [3.0]]
        >>> trainer = gpubp.Trainer(gpubp.Network((1, 1), seed=0), gpubp.SGD(0.5), batch_size=3)
        >>> history = trainer.fit(x, y, epochs=40, validation_data=([[2.0]], [[5.0]]))
        >>> len(history.cost), round(history.validation_cost[-1], 6)
        (40, 0.0)

        Batches from a function, which makes a new iterator for each epoch:

        >>> def batches():
        ...     yield x[:2], y[:2]
        ...     yield x[2:], y[2:]
        >>> len(trainer.fit(batches, epochs=2))
        2
        """
        self._check_that_no_epoch_runs()
        check_number("epochs", epochs, 1, math.inf, whole=True)
        check_flag("progress", progress)
        step, snapshot = self._training_step, self._snapshot
        left = epochs - (0 if snapshot is None else snapshot.epoch)
        metrics = self.metrics
        validates = validation_data is not None or validation_split is not None
        check_monitor(self.early_stopping, metrics, self.network.cost_function, validates=validates)
        rows, validation_data = split_off(
            self.network, (x, y, sample_weight), validation_data, validation_split
        )
        data, evaluation = training_data(self.network, *rows, left, self.accumulate), None
        if validation_data is not None:
            evaluation = Evaluation(self.network, validation_data, self.batch_size, left, metrics)
        callbacks = [*as_callbacks(self.callbacks), *([progress_callback()] if progress else [])]
        step.renew_kernels()
        run = Run(self, step, self._order, data, evaluation, epochs, callbacks, snapshot)
        outer = self._stop_reason if self._fits_running else ""  # of a fit that calls this one
        self._stop_reason, self._snapshot = "", None
        with interruptible(self.stop):
            try:
                self._fits_running += 1
                try:
                    run.train()
                finally:
                    self._fits_running -= 1
                    step.release()
                    for callback in callbacks:
                        callback.on_fit_end(self, run.history)
                    self._stop_reason = outer or self._stop_reason
            except BaseException as error:
                diverged = isinstance(error, DivergenceError) and error.history is run.history
                if not (diverged or run.has_lost_data):
                    run.go_back()
                    self._snapshot = snapshot
                raise
        if run.failure is not None:
            raise run.failure
        return run.history

    @in_one_thread
    @on_device
    def resume(self, path: Any) -> History:
        """Go back to a checkpoint, from which the next `fit` goes on.

        The network, the optimizer's state and the random generator get the state that they had. The next
        `fit` needs the same data, and its number of epochs includes those before the checkpoint. It undoes
        steps since `resume`, and ends with the same bits as if training had not been stopped, on the same
        machine; on another backend, or with another number of threads, it does to rounding.

        Parameters
        ----------
        path : path-like
            A folder, of which the newest whole checkpoint is taken, or one of its files.

        Returns
        -------
        History
            The record of the epochs that have ended.

        Raises
        ------
        FileNotFoundError
            If there is no checkpoint.
        CorruptFileError
            If no checkpoint is whole.
        ValueError
            If the checkpoint is of another network or of other settings. Nothing has changed then.
        RuntimeError
            If an epoch of a fit is running, or another thread uses the trainer.

        Warns
        -----
        RuntimeWarning
            If the newest checkpoint in the folder is not whole, so that an earlier one is taken.

        Examples
        --------
        >>> import gpubp
        >>> x, y = [[-1.0], [0.0], [1.0]], [[-1.0], [1.0], [3.0]]
        >>> first = gpubp.Trainer(gpubp.Network((1, 1), seed=0), seed=0, checkpoint="runs")
        >>> len(first.fit(x, y, epochs=2))
        2

        In another process, perhaps:

        >>> second = gpubp.Trainer(gpubp.Network((1, 1)))
        >>> len(second.resume("runs"))  # the epochs that have ended
        2
        >>> len(second.fit(x, y, epochs=5))  # three more
        5
        """
        self._check_that_no_epoch_runs()
        snapshot = newest_snapshot(path, self._training_step)
        snapshot.check_settings(settings_of(self))
        snapshot.check_schedule(self.schedule)
        snapshot.restore(self._training_step, self._order)
        self._snapshot = snapshot
        return deepcopy(snapshot.history)
