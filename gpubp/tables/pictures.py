"""Pictures of training and of predictions."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import numpy as np

from ..files import write_whole
from ..kernels.messages import shortened
from ..training import History
from .training import r_squared

__all__ = ["draw_evaluation", "draw_training"]

BLUE, ORANGE, GREEN, GREY = "#1f4e79", "#c55a11", "#548235", "#666666"
MOST_NUMBERED = 12
"""The most classes whose numbers are written into a confusion matrix."""


def draw_training(
    path: Any, history: History, deltas: list[list[float]], actual: Any, predicted: Any, target: Any
) -> None:
    """Draw the costs, the size of δ in each layer, and predictions and residuals of the held-out rows.

    Parameters
    ----------
    path : path-like
        The picture's file.
    history : History
        The record of training.
    deltas : list of list of float
        The size of each layer's δ before training and after each epoch.
    actual, predicted : arrays of shape (rows,)
        The target of the held-out rows and the predictions.
    target : Target
        The target.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    long = target.classifies and max(len(str(label)) for label in target.classes) > 8
    if not len(actual):
        figure, shape = _figure(9.4, 4.3), (1, 2)
    elif target.classifies:
        figure, shape = _figure(13.5, 5 if long else 4.3), (1, 3)
    else:
        figure, shape = _figure(10, 8.2), (2, 2)
    panels = figure.subplots(*shape).ravel()
    _draw_costs(panels[0], history, target)
    _draw_deltas(panels[1], deltas)
    if len(actual):
        _draw_predictions(figure, panels[2], actual, predicted, target, "held-out rows")
    if len(panels) == 4:
        _draw_residuals(panels[3], actual, predicted, target)
    _write(figure, path)


def draw_evaluation(path: Any, actual: Any, predicted: Any, target: Any) -> None:
    """Draw the confusion matrix, or predictions beside true values and their residuals.

    Parameters
    ----------
    path, actual, predicted, target
        As in `draw_training`.
    """
    if target.classifies:
        figure = _figure(6, 5.2)
        _draw_predictions(figure, figure.add_subplot(), actual, predicted, target, "rows")
    else:
        figure = _figure(10, 4.3)
        left, right = figure.subplots(1, 2)
        _draw_predictions(figure, left, actual, predicted, target, "rows")
        _draw_residuals(right, actual, predicted, target)
    _write(figure, path)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("--plot needs matplotlib; pip install 'gpubp[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _write(figure: Any, path: Any) -> None:
    """Write a picture whole or not at all, in the format of the file's suffix."""
    content = io.BytesIO()
    suffix = os.path.splitext(path)[1][1:].lower()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a name in another script
        figure.savefig(content, format=suffix, dpi=150, bbox_inches="tight")  # whole slanted labels
    write_whole(path, content.getvalue())


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_costs(axes: Any, history: History, target: Any) -> None:
    epochs = range(1, len(history) + 1)
    mark = "o" if len(history) == 1 else ""
    axes.plot(epochs, history.cost, color=BLUE, label="training", marker=mark)
    if history.validation_cost:
        axes.plot(epochs, history.validation_cost, color=ORANGE, label="validation", marker=mark)
    if history.best_epoch >= 0:
        best = history.monitored[history.best_epoch]
        axes.plot(history.best_epoch + 1, best, "o", color=ORANGE, mec="white", ms=8,
                  label=f"lowest: {best:.3g}, epoch {history.best_epoch + 1}")  # fmt: skip
    costs = history.cost + history.validation_cost
    if min(costs, default=0) > 0 and max(costs) > 5 * min(costs):
        axes.set_yscale("log")
    _whole_epochs(axes)
    axes.set_title(
        f"Mean cost ({'cross-entropy' if target.classifies else 'half the squared error'})"
    )
    axes.legend(frameon=False)
    _plain(axes)


def _draw_deltas(axes: Any, deltas: list[list[float]]) -> None:
    """Draw a line for each layer, dark for the first and light for the last."""
    from matplotlib import colormaps  # noqa: PLC0415

    sizes = np.array(deltas)
    depth = sizes.shape[1]
    colours = colormaps["viridis"](np.linspace(0, 0.85, depth))
    for layer in range(depth):
        name = f"layer {layer + 1}{' (output)' if layer == depth - 1 else ''}"
        positive = np.where(sizes[:, layer] > 0, sizes[:, layer], np.nan)
        axes.plot(range(len(sizes)), positive, color=colours[layer], label=name)
    if np.any(sizes > 0):
        axes.set_yscale("log")
    _whole_epochs(axes)
    axes.set_title("Size of δ in each layer (RMS)")
    axes.legend(frameon=False, ncols=1 if depth < 7 else 2, fontsize="small" if depth > 5 else None)
    _plain(axes)


def _whole_epochs(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")


def _draw_predictions(
    figure: Any, axes: Any, actual: Any, predicted: Any, target: Any, what: str
) -> None:
    if target.classifies:
        _draw_confusion(figure, axes, actual, predicted, target, what)
        return
    axes.scatter(actual, predicted, s=14, alpha=_alpha(len(actual)), color=BLUE, linewidths=0)
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, color=GREY, lw=1, ls="--", label="prediction = true value")
    cost = float(np.mean(np.square(actual - predicted))) / 2
    r2 = r_squared(cost, float(np.var(actual)))
    axes.set_title(f"{len(actual):,} {what}" + ("" if r2 is None else f": R² {r2:.3f}"))
    axes.set_xlabel(f"true {_plain_text(target.name)}")
    axes.set_ylabel("prediction")
    axes.legend(frameon=False)
    _plain(axes)


def _draw_residuals(axes: Any, actual: Any, predicted: Any, target: Any) -> None:
    residuals = actual - predicted
    axes.axhline(0, color=GREY, lw=1, ls="--")
    axes.scatter(predicted, residuals, s=14, alpha=_alpha(len(actual)), color=ORANGE, linewidths=0)
    axes.set_title(f"Residuals: root mean square {np.sqrt(np.mean(residuals**2)):.4g}")
    axes.set_xlabel("prediction")
    axes.set_ylabel(f"true {_plain_text(target.name)} - prediction")
    _plain(axes)


def _alpha(count: int) -> float:
    return float(np.clip(300 / max(count, 1), 0.05, 0.8))


def _draw_confusion(
    figure: Any, axes: Any, actual: Any, predicted: Any, target: Any, what: str
) -> None:
    """Draw shares of each class's rows as colours, and the numbers of rows if there are few classes."""
    labels = target.labels
    count = len(labels)
    places = {label: k for k, label in enumerate(labels.tolist())}
    matrix = np.zeros((count, count), int)
    rows = [places[label] for label in np.asarray(actual).tolist()]
    np.add.at(matrix, (rows, [places[label] for label in np.asarray(predicted).tolist()]), 1)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= MOST_NUMBERED:
        for (row, column), number in np.ndenumerate(matrix):
            if number or count < 6:
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, f"{number:,}", ha="center", va="center", color=colour,
                          fontsize=11 if count < 6 else 8)  # fmt: skip
    step = -(-count // 25)
    ticks, names = range(0, count, step), [_short(str(label)) for label in labels[::step]]
    long = max(map(len, names)) > 4 and count > 4
    slanted = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axes.set_xticks(ticks, names, **slanted)
    axes.set_yticks(ticks, names)
    axes.set_xlabel("prediction")
    axes.set_ylabel(f"true {_plain_text(target.name)}")
    accuracy = matrix.trace() / max(matrix.sum(), 1)
    axes.set_title(f"{matrix.sum():,} {what}: {100 * accuracy:.1f} % right")
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)


def _short(label: str) -> str:
    """Shorten a label in its middle: long labels often begin alike."""
    return _plain_text(label if len(label) <= 18 else f"{label[:8]}...{label[-7:]}")


def _plain_text(text: str) -> str:
    """Write text on one line, and dollars so that matplotlib does not read formulas between them."""
    return shortened(text).replace("$", r"\$")
