"""What `gpubp train` does: read, plan, train, write, and say so."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from types import FrameType
from typing import Any

from ..errors import DivergenceError
from ..kernels.messages import shortened
from ..tables import Plan, Settings, open_table
from ..tables.deltas import Deltas
from ..tables.training import Outcome
from ..tables.values import rows_of
from ..training import Callback, History, Trainer
from .showing import Notes, show_pairs, show_table
from .status import INTERRUPTED
from .table_progress import duration, progress

__all__ = ["train"]

MOST_NOTES = 12
"""The most notes on columns that are printed."""


def train(options: argparse.Namespace) -> int:
    """Train, write the model, and print the summary; return the exit status."""
    given = {name: value for name, value in vars(options).items() if name in Settings.names()}
    settings = Settings(**given, shuffle=not options.no_shuffle)
    if options.plot is not None:
        _check_that_pictures_can_be_drawn()
    tell = Notes(options.quiet)
    table = open_table(options.data, options.format)
    tell(*(f"note: {note}" for note in table.notes))
    plan = Plan(
        table,
        options.target,
        task=options.task,
        drop=options.drop,
        categorical=options.categorical,
        numeric=options.numeric,
        rows_at_once=options.rows_at_once,
    )
    if not options.quiet:
        _show_plan(plan)
    steps = table.rows // settings.batch_size_for(table.rows)
    deltas = Deltas() if options.plot is not None else None
    callbacks = [*([] if options.quiet else [progress(steps)]), *([deltas] if deltas else [])]
    with _Saving() as saving:
        try:
            outcome = plan.train(settings, [*callbacks, saving])
        except DivergenceError as error:
            raise ValueError(
                f"training diverged in epoch {error.epoch + 1}, with the learning rate"
                f" {options.learning_rate:g}: expected a lower --learning-rate; nothing was written"
            ) from error
        outcome.model.save(options.out)
    try:
        if saving.interrupted:
            raise KeyboardInterrupt
        return _told(plan, outcome, deltas, options)
    except KeyboardInterrupt:
        told = f"interrupted after training; {options.out} holds the model"
        raise KeyboardInterrupt(told) from None


def _told(plan: Plan, outcome: Outcome, deltas: Deltas | None, options: argparse.Namespace) -> int:
    """Draw the picture and print the result; return the exit status."""
    if deltas is not None:
        from ..tables.pictures import draw_training  # noqa: PLC0415 - only a picture needs it

        draw_training(
            options.plot, outcome.history, deltas.sizes, outcome.actual, outcome.predicted,
            outcome.model.target,
        )  # fmt: skip
    if options.json:
        print(json.dumps(_for_json(plan, outcome, options), indent=2, ensure_ascii=False))
    else:
        _show_outcome(outcome, options)
    if outcome.history.stopped == "interrupted":
        training = outcome.model.training
        kept = "the steps so far"
        if not training["best_epoch"]:
            kept = "the first steps"
        elif training["held_out"]:
            kept = f"epoch {training['best_epoch']}, the best so far"
        print(
            f"gpubp train: interrupted in epoch {training['epochs']}; {options.out} holds the network of"
            f" {kept}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


class _Saving(Callback):
    """A context that holds Ctrl-C back from the end of training on, until the model is written.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C came then.
    """

    def __init__(self) -> None:
        self.interrupted = self._holds = self._is_used = False

    def __enter__(self) -> _Saving:
        self._before: Any = signal.getsignal(signal.SIGINT)
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._is_used = in_main_thread and callable(self._before)
        if self._is_used:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_used:
            signal.signal(signal.SIGINT, self._before)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        self._holds = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._holds:
            self.interrupted = True
        else:
            self._before(number, frame)


def _check_that_pictures_can_be_drawn() -> None:
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib; pip install 'gpubp[plot]'")


def _show_plan(plan: Plan) -> None:
    """Print what was found in the data to standard error."""
    table, target = plan.table, plan.target
    pairs = [
        ("data", f"{table.name}: {table.rows:,} rows, {len(table.schema)} columns"),
        ("target", f"{shortened(target.name)}: {target.task}, because {target.why}"),
    ]
    if target.classifies:
        counts = plan.survey.counts()
        shown = [f"{label} ({counts.get(label, 0):,})" for label in target.texts[:8]]
        pairs.append(("classes", ", ".join(shown) + (", ..." if len(target.classes) > 8 else "")))
    if target.gaps:
        pairs.append(("", f"{rows_of(target.gaps)} without a target left out"))
    if plan.streams:
        pairs.append(
            ("memory", f"{plan.rows_at_once:,} rows are read at a time, anew in each epoch")
        )
    show_pairs(pairs, sys.stderr)
    rows = []
    for kind, words in (("number", "numbers"), ("category", "categories"), ("date", "dates")):
        chosen = [column for column in plan.columns if column.kind == kind]
        if chosen:
            names = [f"{shortened(c.name)}{_gaps(c.gaps)}" for c in chosen]
            rows.append([words, str(len(chosen)), _shortened(names)])
    show_table(("kind", "columns", "names"), rows, (0, 2), sys.stderr)
    notes = [
        f"note: {'dropped ' if c.kind == 'dropped' else ''}{shortened(c.name)}: {c.why}"
        for c in plan.columns
        if c.kind == "dropped" or c.others or c.date_format
    ]
    print(*notes[:MOST_NOTES], sep="\n", end="\n" if notes else "", file=sys.stderr, flush=True)
    if len(notes) > MOST_NOTES:
        print(
            f"note: and {len(notes) - MOST_NOTES} more columns; --json lists all", file=sys.stderr
        )


def _gaps(count: int) -> str:
    return f" ({count:,} gap{'' if count == 1 else 's'})" if count else ""


def _shortened(names: list[str]) -> str:
    text = ", ".join(names[:6])
    return f"{text}, ..." if len(names) > 6 else text


def _show_outcome(outcome: Outcome, options: argparse.Namespace) -> None:
    model, training = outcome.model, outcome.model.training
    network = model.network
    sizes = "-".join(map(str, network.sizes))
    epochs = training["epochs"]
    ended = {"early stopping": "the validation cost no longer fell", "epochs": "all epochs"}
    stopped = ended.get(training["stopped"], training["stopped"])
    pairs = [
        ("network", f"{sizes}, {options.activation}, {network.dtype}, on {network.backend.name}"),
        ("trained", f"{epochs} epoch{'' if epochs == 1 else 's'} on {training['rows']:,} rows in"
                    f" {duration(training['seconds'])} ({stopped})"),
    ]  # fmt: skip
    score = training["validation_score"]
    if score is not None:
        told = f"accuracy {100 * score:.2f} %" if model.target.classifies else f"R² {score:.4f}"
        pairs.append(("validated", f"{told} on {training['held_out']:,} rows that were held out, in"
                                   f" epoch {training['best_epoch']}, which is kept"))  # fmt: skip
    pairs.append(("model", str(options.out)))
    if options.plot is not None:
        pairs.append(("picture", str(options.plot)))
    show_pairs(pairs)


def _for_json(plan: Plan, outcome: Outcome, options: argparse.Namespace) -> dict[str, Any]:
    model, network = outcome.model, outcome.model.network
    return {
        "model": str(options.out),
        "data": {"name": plan.table.name, "rows": plan.table.rows, "notes": plan.table.notes},
        "target": {
            "name": model.target.name,
            "task": model.target.task,
            "why": model.target.why,
            "classes": list(model.target.classes),
        },
        "columns": [
            {
                "name": c.name,
                "kind": c.kind,
                "why": c.why,
                "gaps": c.gaps,
                "categories": len(c.categories),
            }
            for c in model.columns
        ],
        "network": {
            "sizes": list(network.sizes),
            "activation": options.activation,
            "dtype": str(network.dtype),
            "backend": network.backend.name,
        },
        "training": model.training,
        "history": outcome.history.to_dict(),
    }
