"""The bar of `gpubp train` in a terminal of 80 columns."""

from __future__ import annotations

import re
from typing import cast

import pytest

from gpubp import History, Trainer
from gpubp.cli import table_progress

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_all_figures_and_the_time_left_fit_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich", reason="draws the bar")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    bar, trainer = table_progress._Bar(), cast("Trainer", None)  # it asks nothing of the trainer
    history = History()
    bar.on_rows(None, None, 1_234_567, 1.0)
    bar.on_fit_begin(trainer, 1000, 10)
    for epoch in range(300):
        bar.on_epoch_begin(trainer, epoch)
        history.cost.append(0.12345)
        history.validation_cost.append(0.23456)
        history.validation_accuracy.append(0.98765)
        history.learning_rate.append(1e-3 / (epoch + 1))
        history.seconds.append(1.0)
        bar.on_epoch_end(trainer, history)
    bar.on_fit_end(trainer, history)
    lines = [ESCAPE.sub("", line).strip() for line in capsys.readouterr().err.splitlines()]
    figures = "cost 0.1235  validation 0.2346  accuracy 98.77 %  rate 3.3e-06"
    assert lines.count(figures) == 1
    bar_line = lines[lines.index(figures) - 1]
    assert re.fullmatch(r"epoch 300/1000 .{24} at most \S+ left  1,234,567 rows/s", bar_line)
