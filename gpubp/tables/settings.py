"""The settings of training, checked before a file is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..backends import get_backend
from ..errors import unknown_name
from ..kernels import ACTIVATIONS
from ..kernels.messages import shown
from ..network.arguments import check_dtype, check_precision
from ..training.optimizers import OPTIMIZERS, Optimizer, get_optimizer
from ..training.schedules import get_schedule
from ..validation import check_flag, check_number, check_seed

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How a network is made and trained.

    Parameters
    ----------
    hidden : tuple of int, default (256, 256)
        The widths of the hidden layers; without any, the network is a linear model.
    activation : str, default "relu"
        The activation of the hidden layers.
    dropout : float, default 0
        The probability with which training drops a hidden activation.
    epochs : int, default 100
        The most passes over the data.
    batch_size : int or None, default None
        The rows of a batch; None is 32, 128 for more than 10,000 rows, and 512 for more than 1,000,000.
    optimizer : str, default "adam"
        An optimizer; with a weight decay "adam" means "adamw".
    learning_rate : float, default 0.001
        The learning rate.
    schedule : str, default "constant"
        The schedule of the learning rate.
    weight_decay : float or None, default None
        The decoupled weight decay of "adamw" or "lion".
    validation_split : float, default 0.1
        The share of rows that are held out, to 100,000 rows; 0 for none.
    patience : int, default 10
        Training stops after this many epochs in a row without a lower validation cost, and goes back to the
        lowest. 0 stands for all epochs.
    shuffle : bool, default True
        Whether to draw a new order of rows for each epoch.
    seed : int, default 0
        The seed of the held-out rows, the weights, the order and dropout.
    backend : str, default "auto"
        The backend.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of training.
    precision : {"tf32", "bfloat16", "float16"} or None, default None
        The format to which matmuls round their operands.

    Raises
    ------
    ValueError
        If a setting is not valid; the message names it.

    Examples
    --------
    >>> import gpubp.tables
    >>> settings = gpubp.tables.Settings(hidden=(32,), weight_decay=0.01)
    >>> settings.epochs, settings.make_optimizer()
    (100, AdamW(learning_rate=0.001))
    >>> gpubp.tables.Settings(dropout=2)
    Traceback (most recent call last):
    ValueError: dropout is 2, expected ...
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    dropout: float = 0.0
    epochs: int = 100
    batch_size: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    weight_decay: float | None = None
    validation_split: float = 0.1
    patience: int = 10
    shuffle: bool = True
    seed: int = 0
    backend: str = "auto"
    dtype: str = "float32"
    precision: str | None = None

    def __post_init__(self) -> None:
        for width in self.hidden:
            check_number("a width of hidden", width, 1, math.inf, whole=True)
        if self.activation not in ACTIVATIONS or ACTIVATIONS[self.activation].rowwise:
            known = [name for name, a in ACTIVATIONS.items() if not a.rowwise]
            raise unknown_name("activation", self.activation, known)
        check_number("dropout", self.dropout, 0, 1)
        check_number("epochs", self.epochs, 1, math.inf, whole=True)
        if self.batch_size is not None:
            check_number("batch_size", self.batch_size, 1, math.inf, whole=True)
        check_number("learning_rate", self.learning_rate, 0, math.inf, open_low=True)
        get_schedule(self.schedule)
        check_number("validation_split", self.validation_split, 0, 1)
        check_number("patience", self.patience, 0, math.inf, whole=True)
        check_flag("shuffle", self.shuffle)
        check_seed(self.seed)
        check_precision(self.precision, check_dtype(self.dtype))
        self.make_optimizer()
        if self.backend != "auto":
            get_backend(self.backend)

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the settings.

        Returns
        -------
        list of str
            The names, in the order of the parameters.

        Examples
        --------
        >>> import gpubp.tables
        >>> gpubp.tables.Settings.names()[:4]
        ['hidden', 'activation', 'dropout', 'epochs']
        """
        return [item.name for item in fields(cls)]

    def make_optimizer(self) -> Optimizer:
        """Make the optimizer.

        Returns
        -------
        Optimizer
            The optimizer that the settings name, with their learning rate and weight decay.

        Examples
        --------
        >>> import gpubp.tables
        >>> gpubp.tables.Settings(optimizer="rmsprop", learning_rate=0.01).make_optimizer()
        RMSProp(learning_rate=0.01)
        """
        name, options = self.optimizer, {"learning_rate": self.learning_rate}
        if self.weight_decay is not None:
            check_number("weight_decay", self.weight_decay, 0, math.inf)
            name = "adamw" if name == "adam" else name
            if name in OPTIMIZERS and not hasattr(OPTIMIZERS[name], "weight_decay"):
                raise ValueError(
                    f"weight_decay is {shown(self.weight_decay)}, expected none with optimizer {name!r};"
                    " 'adamw' and 'lion' have a decay"
                )
            options["weight_decay"] = self.weight_decay
        return get_optimizer(name, **options)

    def batch_size_for(self, rows: int) -> int:
        """Return the rows of a batch, for training on this many rows.

        Parameters
        ----------
        rows : int
            The rows to train on.

        Returns
        -------
        int
            `batch_size`, or the number that follows from the rows; at most the rows.

        Examples
        --------
        >>> import gpubp.tables
        >>> [gpubp.tables.Settings().batch_size_for(rows) for rows in (20, 5_000, 50_000, 5_000_000)]
        [20, 32, 128, 512]
        """
        chosen = self.batch_size or (32 if rows <= 10_000 else 128 if rows <= 1_000_000 else 512)
        return min(chosen, rows)
