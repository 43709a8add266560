"""What `gpubp predict` and `gpubp evaluate` do."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_whole
from ..tables import Model, Table, load, open_table
from ..tables.scores import Evaluation
from ..tables.scores import evaluate as scores_of
from ..tables.values import Findings, check_columns
from .showing import Notes, show_pairs, show_table

import polars as pl  # isort: skip - after ..tables, whose error names the extra

__all__ = ["evaluate", "predict"]

ROWS_OF_A_WRITE = 1000
MOST_CLASSES = 10
"""The most classes whose confusion matrix is printed."""


def predict(options: argparse.Namespace) -> int:
    """Predict, and write predictions; return the exit status."""
    model, table, tell = _opened(options)
    if options.probabilities and not model.target.classifies:
        raise ValueError(
            f"--probabilities needs a model of classes, and {options.model} predicts numbers"
        )
    findings = Findings()
    frames = _predictions(model, table, findings, options.probabilities)
    if options.out is None:
        _print_csv(frames)
    else:
        write_whole(options.out, _WRITERS[options.out.suffix.lower()](frames))
    tell(*(f"note: {sentence}" for sentence in findings.sentences()))
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Compute and print scores; return the exit status."""
    model, table, tell = _opened(options)
    findings = Findings()
    found = scores_of(model, table, options.target, findings)
    tell(*(f"note: {sentence}" for sentence in findings.sentences()))
    if options.plot is not None:
        from ..tables.pictures import draw_evaluation  # noqa: PLC0415 - only a picture needs it

        draw_evaluation(options.plot, found.actual, found.predicted, model.target)
    if options.json:
        print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(found, model, options.plot)
    return 0


def _opened(options: argparse.Namespace) -> tuple[Model, Table, Notes]:
    """Read the model and open the data; tell what is unusual about them."""
    tell = Notes(options.quiet)
    model = load(options.model, backend=options.backend)
    table = open_table(options.data, options.format)
    tell(*(f"note: {note}" for note in table.notes))
    target = getattr(options, "target", None) or model.target.name
    others = check_columns(table.name, model.columns, table.schema)
    ignored = [name for name in others if name != target]
    if ignored:
        shown = ", ".join(ignored[:6]) + (", ..." if len(ignored) > 6 else "")
        what = "a column" if len(ignored) == 1 else f"{len(ignored)} columns"
        tell(f"note: {what} that the model does not know: {shown}")
    return model, table, tell


def _predictions(
    model: Model, table: Table, findings: Findings, probabilities: bool
) -> Iterator[Any]:

    for _, _, outputs in model.outputs(table, findings):
        columns = {"prediction": model.decide(outputs)}
        if probabilities:
            for k, label in enumerate(model.target.texts):
                columns[f"probability_{label}"] = outputs[:, k]
        yield pl.DataFrame(columns)


def _print_csv(frames: Iterator[Any]) -> None:
    """Write to standard output, some rows at a time: what reads it may have enough of them."""
    header = True
    for frame in frames:
        for rows in frame.iter_slices(ROWS_OF_A_WRITE):
            sys.stdout.write(rows.write_csv(include_header=header))
            header = False


def _csv(frames: Iterator[Any]) -> Iterator[bytes]:
    for number, frame in enumerate(frames):
        yield frame.write_csv(include_header=number == 0).encode()


def _whole(frames: Iterator[Any]) -> Any:

    return pl.concat(frames)


def _parquet(frames: Iterator[Any]) -> Iterator[bytes]:
    content = io.BytesIO()
    _whole(frames).write_parquet(content)
    yield content.getvalue()


def _npy(frames: Iterator[Any]) -> Iterator[bytes]:
    """Write the predictions, or with probabilities only these, as an array."""
    frame = _whole(frames)
    chosen = frame.drop("prediction") if frame.width > 1 else frame["prediction"]
    array = chosen.to_numpy()
    content = io.BytesIO()
    np.save(content, array.astype(np.str_) if array.dtype == object else array, allow_pickle=False)
    yield content.getvalue()


_WRITERS = {".csv": _csv, ".parquet": _parquet, ".npy": _npy}


def _show(found: Evaluation, model: Model, plot: Path | None) -> None:
    scores = found.scores
    left_out = (
        f", {found.without_target:,} without a target left out" if found.without_target else ""
    )
    pairs = [("rows", f"{found.rows:,}{left_out}")]
    if model.target.classifies:
        pairs += [("accuracy", f"{100 * scores['accuracy']:.2f} %"),
                  ("log loss", f"{scores['log_loss']:.4f}")]  # fmt: skip
    else:
        pairs += [("R²", f"{scores['r2']:.4f}"), ("RMSE", f"{scores['rmse']:.6g}"),
                  ("MAE", f"{scores['mae']:.6g}")]  # fmt: skip
    if plot is not None:
        pairs.append(("picture", str(plot)))
    show_pairs(pairs)
    if not found.classes:
        return
    print()
    show_table(
        ("class", "precision", "recall", "F1", "rows"),
        [[str(c["class"]), *(f"{c[k]:.3f}" for k in ("precision", "recall", "f1")), f"{c['rows']:,}"]
         for c in found.classes],
    )  # fmt: skip
    if len(found.classes) <= MOST_CLASSES:
        labels = model.target.texts
        print()
        show_table(
            ("true \\ predicted", *labels),
            [[label, *(f"{n:,}" for n in row)]
             for label, row in zip(labels, found.confusion.tolist(), strict=True)],
        )  # fmt: skip
