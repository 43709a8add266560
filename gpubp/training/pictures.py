"""Pictures, drawn with matplotlib, which is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .history import History

__all__ = ["draw_history", "new_figure"]

_METRIC_COLOURS = "#7030a0", "#548235", "#1f4e79", "#c55a11"


def new_figure(owner: str, *, height: float = 4.2) -> Any:
    """Make an empty picture that `owner`, a method, draws on.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the extra gpubp[plot] installs it.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(f"{owner} needs matplotlib; pip install 'gpubp[plot]'") from error
    return Figure(figsize=(7, height), layout="constrained")


def draw_history(history: History) -> Any:
    """Draw costs, accuracy and, below them, metrics over epochs; a dot is at the best epoch."""
    metrics = history.validation_metrics
    figure = new_figure("History.plot", height=5.8 if metrics else 4.2)
    if metrics:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    else:
        axes = below = figure.add_subplot()
    epochs = range(1, len(history) + 1)
    axes.plot(epochs, history.cost, color="#1f4e79", label="training cost")
    if history.validation_cost:
        axes.plot(epochs, history.validation_cost, color="#c55a11", label="validation cost")
    if history.monitor == "cost":
        _mark_best(axes, history, "lowest")
    costs = history.cost + history.validation_cost
    if min(costs, default=0.0) > 0 and max(costs) > 5 * min(costs):
        axes.set_yscale("log")
    below.xaxis.get_major_locator().set_params(integer=True)
    below.set_xlabel("epoch")
    axes.set_ylabel("mean cost")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    lines, names = axes.get_legend_handles_labels()
    if history.validation_accuracy:
        right = axes.twinx()
        right.plot(
            epochs, [100 * a for a in history.validation_accuracy], color="#548235", ls="--", lw=1.2,
            label="validation accuracy",
        )  # fmt: skip
        if history.monitor == "accuracy":
            _mark_best(right, history, "highest, %", factor=100)
        right.set_ylabel("accuracy, %")
        right.spines[["top", "left"]].set_visible(False)
        more, more_names = right.get_legend_handles_labels()
        lines, names = lines + more, names + more_names
    figure.legend(lines, names, frameon=False, loc="outside upper center", ncols=min(len(lines), 4))
    if metrics:
        _draw_metrics(below, history)
    return figure


def _draw_metrics(axes: Any, history: History) -> None:
    epochs = range(1, len(history) + 1)
    for k, (name, values) in enumerate(history.validation_metrics.items()):
        colour = _METRIC_COLOURS[k % len(_METRIC_COLOURS)]
        axes.plot(epochs, values, color=colour, label=name)
    if history.monitor in history.validation_metrics:
        _mark_best(axes, history, f"best {history.monitor}")
    axes.set_ylabel("metrics")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")


def _mark_best(axes: Any, history: History, what: str, factor: float = 1.0) -> None:
    if history.best_epoch >= 0:
        best = factor * history.monitored[history.best_epoch]
        label = f"{what}: {best:.4g}"
        axes.plot([history.best_epoch + 1], [best], "o", color="#444444", ms=5, label=label)
