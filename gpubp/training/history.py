"""The record of a fit, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
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
    learning_rate : list of float
        The learning rate of the epoch's last step.
    seconds : list of float
        The duration of the epoch and its validation, in seconds.
    best_epoch : int
        The epoch with the lowest monitored cost, counted from 0; -1 if no epoch has ended.
    stopped : str
        Why training ended: "epochs" (all epochs were run), "early stopping", "interrupted", "diverged", or
        the argument of `Trainer.stop`.
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = -1
    stopped: str = "epochs"

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def monitored(self) -> list[float]:
        """The validation costs or, without validation data, the costs."""
        return self.validation_cost or self.cost

    def to_dict(self) -> dict[str, Any]:
        """Convert the record to lists, numbers and strings, for JSON.

        Returns
        -------
        dict
            The attributes by name.
        """
        return asdict(self)

    def plot(self, path: Any = None) -> Any:
        """Draw costs (and validation accuracy) over epochs.

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
        """
        try:
            from matplotlib.figure import Figure  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("History.plot needs matplotlib; pip install 'gpubp[plot]'") from error
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        epochs = range(1, len(self) + 1)
        axes.plot(epochs, self.cost, color="#1f4e79", label="training cost")
        if self.validation_cost:
            axes.plot(epochs, self.validation_cost, color="#c55a11", label="validation cost")
        if self.best_epoch >= 0:
            best = self.monitored[self.best_epoch]
            axes.plot(
                [self.best_epoch + 1],
                [best],
                "o",
                color="#444444",
                ms=5,
                label=f"lowest: {best:.4g}",
            )
        if min(self.cost + self.validation_cost, default=0.0) > 0:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean cost")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        lines, names = axes.get_legend_handles_labels()
        if self.validation_accuracy:
            right = axes.twinx()
            right.plot(
                epochs, [100 * a for a in self.validation_accuracy], color="#548235", ls="--", lw=1.2,
                label="validation accuracy",
            )  # fmt: skip
            right.set_ylabel("accuracy, %")
            right.spines[["top", "left"]].set_visible(False)
            more, more_names = right.get_legend_handles_labels()
            lines, names = lines + more, names + more_names
        axes.legend(lines, names, frameon=False, loc="center right")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure
