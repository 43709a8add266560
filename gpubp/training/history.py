"""The record of a fit, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .pictures import draw_history

__all__ = ["History"]


@dataclass(repr=False)
class History:
    """A record of a fit; each list has one entry for each epoch.

    Attributes
    ----------
    cost : list of float
        Mean cost of the epoch's batches, each computed before the batch's update, without penalties.
    validation_cost : list of float
        Mean cost of the validation data after the epoch; empty without validation data.
    validation_accuracy : list of float
        Accuracy on the validation data, from 0 to 1; empty without these or if the cost is not for classes
        or labels.
    validation_metrics : dict of str to list of float
        The trainer's metrics on the validation data, by name.
    learning_rate : list of float
        The learning rate of the epoch's last step.
    seconds : list of float
        The duration of the epoch and its validation, in seconds.
    best_epoch : int
        The epoch with the best monitored value, which is the lowest cost unless early stopping monitors
        something else; counted from 0, -1 if no epoch has ended.
    stopped : str
        Why training ended: "epochs" (all epochs were run), "early stopping", "interrupted", "diverged", or
        the argument of `Trainer.stop`.
    monitor : str
        What the best epoch is best at: "cost", "accuracy" or the name of a metric.

    See Also
    --------
    Trainer.fit : The method that returns it.

    Examples
    --------
    The bias goes halfway to 1 in each epoch, so that the cost becomes a quarter:

    >>> import gpubp
    >>> network = gpubp.Network((1, 1), initializer="zeros")
    >>> history = gpubp.Trainer(network, gpubp.SGD(0.5)).fit([[0.0]], [[1.0]], epochs=3)
    >>> history
    <History of 3 epochs: cost 0.03125, best epoch 2, stopped 'epochs'>
    >>> history.cost
    [0.5, 0.125, 0.03125]
    >>> len(history), history.learning_rate
    (3, [0.5, 0.5, 0.5])
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    validation_metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = -1
    stopped: str = "epochs"
    monitor: str = "cost"

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def monitored(self) -> list[float]:
        """What is monitored: the validation costs or, without validation data, the costs, by default.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.History(cost=[0.5, 0.4], validation_cost=[0.6, 0.7]).monitored
        [0.6, 0.7]
        """
        if self.monitor == "cost":
            return self.validation_cost or self.cost
        if self.monitor == "accuracy":
            return self.validation_accuracy
        return self.validation_metrics.get(self.monitor, [])

    def __repr__(self) -> str:
        lists = {
            "cost": self.cost,
            "validation cost": self.validation_cost,
            "accuracy": self.validation_accuracy,
            **self.validation_metrics,
        }
        parts = [f"{name} {values[-1]:.4g}" for name, values in lists.items() if values]
        if parts:
            parts += [f"best epoch {self.best_epoch}", f"stopped {self.stopped!r}"]
        count = f"{len(self)} epoch{'' if len(self) == 1 else 's'}"
        return f"<History of {count}{': ' if parts else ''}{', '.join(parts)}>"

    def to_dict(self) -> dict[str, Any]:
        """Convert the record to lists, numbers and strings, for JSON.

        Returns
        -------
        dict
            The attributes by name.

        Examples
        --------
        >>> import json
        >>> import gpubp
        >>> record = gpubp.History(cost=[0.5, 0.25], seconds=[0.1, 0.1], best_epoch=1).to_dict()
        >>> record["cost"], record["best_epoch"], record["stopped"]
        ([0.5, 0.25], 1, 'epochs')
        >>> json.loads(json.dumps(record)) == record
        True
        """
        return asdict(self)

    def plot(self, path: Any = None) -> Any:
        """Draw costs over epochs, and accuracy and metrics on the validation data.

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
        >>> history = gpubp.History(cost=[0.5, 0.25, 0.2], seconds=[0.1, 0.1, 0.1], best_epoch=2)
        >>> figure = history.plot("costs.png")
        >>> [line.get_ydata().tolist() for line in figure.axes[0].lines[:1]]
        [[0.5, 0.25, 0.2]]
        """
        figure = draw_history(self)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure
