"""Pictures: throughput, and share of the floor, over batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .results import Entrant, Point, Results
from .tasks import ARCHITECTURES, width_of

__all__ = ["draw"]

COLORS = {
    "gpubp-numpy": "#c0392b",
    "gpubp-numpy-fit": "#f1948a",
    "gpubp-cupy": "#7b241c",
    "gpubp-cupy-launched": "#ff6f61",
    "torch": "#e08e0b",
    "torch-1-thread": "#e08e0b",
    "torch-compile": "#8a6d3b",
    "torch-compile-1-thread": "#8a6d3b",
    "torch-cuda": "#f5b041",
    "torch-cuda-compile": "#b9770e",
    "torch-cuda-graph": "#7e5109",
    "jax": "#2471a3",
    "jax-scan": "#5dade2",
    "jax-cuda": "#154360",
    "scikit-learn": "#6c7a89",
    "onnxruntime": "#1e8449",
    "onnxruntime-1-thread": "#1e8449",
    "openvino": "#8e44ad",
    "openvino-1-thread": "#8e44ad",
}
MARKERS = {"cpu": "o", "gpu": "s"}
TITLES = {"step": "training step", "predict": "prediction", "epoch": "whole epoch"}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw all pictures that the results have points for.

    Parameters
    ----------
    results : Results
        The results of a run.
    folder : Path
        The folder for the pictures; it is made if it does not exist.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ImportError
        When matplotlib is missing; the extra gpubp[bench] installs it.
    """
    try:
        import matplotlib.figure  # noqa: F401, PLC0415
    except ImportError as error:
        raise ImportError("pictures need matplotlib; pip install 'gpubp[bench]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for work, title in TITLES.items():
        path = folder / f"throughput-{work}.png"
        if _grid(results, work, f"{title}: rows a second", _throughput, path):
            files.append(path)
    for work in ("step", "predict"):
        path = folder / f"floor-{work}.png"
        title = f"{TITLES[work]}: speed as a share of the bare matmuls'"
        if _grid(results, work, title, _share, path):
            files.append(path)
    return files


Plot = Callable[[Any, Entrant, Sequence[Point]], None]


def _grid(results: Results, work: str, title: str, plot: Plot, path: Path) -> bool:
    """Draw one picture: a column for each architecture, a row for each optimizer."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import (  # noqa: PLC0415
        EngFormatter,
        LogLocator,
        NullLocator,
        PercentFormatter,
    )

    points = [p for p in results.points if p.work == work and p.rounds]
    points = [p for p in points if width_of(p.architecture) is None]  # width_picture.py draws these
    if not points:
        return False
    # A line needs two batch sizes. Architectures with one are left out, unless all have only one.
    several = {p.architecture for p in points for q in points
               if p.architecture == q.architecture and p.batch_size != q.batch_size}  # fmt: skip
    points = [p for p in points if p.architecture in several] or points
    columns = list(dict.fromkeys(p.architecture for p in points))
    rows = list(dict.fromkeys(p.optimizer for p in points))
    figure = Figure(figsize=(3.9 * len(columns) + 0.6, 3.1 * len(rows) + 1.1), layout="constrained")
    grid = figure.subplots(
        len(rows), len(columns), squeeze=False, sharex=True, sharey=plot is _share
    )
    drawn: dict[str, Any] = {}
    for axes_row, optimizer in zip(grid, rows, strict=True):
        for axes, architecture in zip(axes_row, columns, strict=True):
            here = [p for p in points if (p.architecture, p.optimizer) == (architecture, optimizer)]
            here.sort(key=lambda p: p.batch_size)
            if plot is _throughput:
                _floor_line(axes, results, here)
            for entrant in results.present():
                plot(axes, entrant, here)
            sizes = sorted({p.batch_size for p in points})
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [f"{n:,}" if n < 10000 else f"{n // 1024}k" for n in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid(alpha=0.25, which="major", lw=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
            name = str(ARCHITECTURES.get(architecture, architecture))
            axes.set_title(name if work == "predict" else f"{name}, {optimizer}", fontsize=9.5)
            if plot is _share:
                axes.axhline(1, color="#555555", lw=1, ls=(0, (4, 2)))
                axes.set_ylim(0, 2)  # small batches may lie far above 2
                axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            else:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(EngFormatter(sep=""))
                axes.yaxis.set_minor_locator(NullLocator())
            drawn.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    for axes in grid[-1]:
        axes.set_xlabel("batch size", fontsize=9)
    for axes in grid[:, 0]:
        axes.set_ylabel("share" if plot is _share else "rows / s", fontsize=9)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    figure.legend(
        drawn.values(),
        drawn.keys(),
        loc="outside lower center",
        ncols=min(len(drawn), 2 * len(columns)),
        frameon=False,
        fontsize=9,
    )
    figure.savefig(path, dpi=150)
    return True


def _floor_line(axes: Any, results: Results, points: Sequence[Point]) -> None:
    for device in dict.fromkeys(e.device for e in results.present()):
        known = [(p.batch_size, p.rows / f) for p in points if (f := p.floor(device)) is not None]
        if known:
            label = "bare matmuls" if device == "cpu" else "bare matmuls, GPU"
            style = {"cpu": (0, (4, 2)), "gpu": (0, (1, 1))}[device]
            axes.plot(*zip(*known, strict=True), color="#555555", lw=1.1, ls=style, label=label)


def _throughput(axes: Any, entrant: Entrant, points: Sequence[Point]) -> None:
    _line(axes, entrant, [(p, lambda seconds, p=p: p.rows / seconds) for p in points])


def _share(axes: Any, entrant: Entrant, points: Sequence[Point]) -> None:
    found = [(p, p.floor(entrant.device)) for p in points]
    _line(axes, entrant, [(p, lambda s, f=f: f / s) for p, f in found if f is not None])


def _line(axes: Any, entrant: Entrant, points: Sequence[tuple[Point, Any]]) -> None:
    """Draw a line through the medians, and a band between the quartiles."""
    taken = [(p.batch_size, f, s) for p, f in points if (s := p.spread(entrant.name)) is not None]
    if not taken:
        return
    sizes = [size for size, _, _ in taken]
    color = COLORS.get(entrant.name, "#111111")
    ours = entrant.is_ours
    axes.plot(
        sizes,
        [f(s.median) for _, f, s in taken],
        marker=MARKERS[entrant.device],
        ms=4 if ours else 3,
        lw=2.2 if ours else 1.2,
        ls=(0, (4, 2)) if entrant.name.endswith("-1-thread") else "-",
        color=color,
        label=entrant.name,
        zorder=3 if ours else 2,
    )
    low, high = [f(s.high) for _, f, s in taken], [f(s.low) for _, f, s in taken]
    axes.fill_between(sizes, low, high, color=color, alpha=0.15, lw=0)
