"""The progress display of a fit, with rich and without."""

from __future__ import annotations

import sys

import pytest
from small_networks import classes, classifier

from gpubp import History, Trainer


def fit_with_progress(validated: bool = True) -> History:
    x, y = classes(9)
    trainer = Trainer(classifier(), "sgd", batch_size=4)
    data = (x, y) if validated else None
    return trainer.fit(x, y, epochs=2, validation_data=data, progress=True)


@pytest.mark.parametrize("validated", [False, True])
def test_progress_without_rich_is_a_line_an_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], validated: bool
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    history = fit_with_progress(validated)
    lines = []
    for k in range(2):
        line = f"epoch {k + 1}/2  cost {history.cost[k]:.4f}"
        if validated:
            line += f"  validation {history.validation_cost[k]:.4f}"
            line += f"  accuracy {100 * history.validation_accuracy[k]:.2f} %"
        lines.append(line + "\n")
    assert capsys.readouterr() == ("", "".join(lines))


def test_progress_with_rich_ends_with_the_last_figures_and_no_escape_codes_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    history = fit_with_progress()
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err
    assert "epoch 2/2" in err and f"cost {history.cost[-1]:.4f}" in err


def test_progress_with_rich_gives_a_terminal_its_cursor_back_even_when_the_fit_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("no")

    trainer = Trainer(classifier(), "sgd", callbacks=[fail])
    with pytest.raises(RuntimeError, match="no"):
        trainer.fit(*classes(4), epochs=1, progress=True)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    err = capsys.readouterr().err
    assert err.count(hidden) == err.count(shown) == 1
    assert err.index(hidden) < err.index(shown)
