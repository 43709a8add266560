"""A training step over the width of its layers: what is measured, the table, the picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_up import made_up

from gpubp.benchmarks import rounds, widths
from gpubp.benchmarks.pictures import draw
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.results import Point, Results
from gpubp.benchmarks.tasks import ARCHITECTURES, find_architecture
from gpubp.cli import main


def of_widths() -> Results:
    """Make results of three widths, whose steps take N and 2 N microseconds."""
    run = made_up()
    run.points, run.memory = [], []
    for n in (64, 4, 45, 46):
        point = Point(f"width-{n}", "adam", 32, "step", 32)
        point.rounds = {"gpubp-numpy": [1e-6 * n] * 3, "torch": [2e-6 * n] * 3}
        point.rounds["floor-threads"] = [5e-7 * n] * 3
        run.points.append(point)
    return run


def test_a_network_of_the_series_has_its_width_everywhere() -> None:
    assert ARCHITECTURES["width-45"].sizes == (45, 45, 45, 45)
    assert ARCHITECTURES["width-45"] == ARCHITECTURES["width-45"]
    for name in ("width-", "width-x", "narrows"):
        assert find_architecture(name) is None
    assert not [name for name in ARCHITECTURES if name.startswith("width")]  # in no list of options


def test_every_contender_on_the_cpu_is_measured_at_every_width_but_those_that_compile() -> None:
    settings = widths.width_settings()
    assert {45, 46} < {ARCHITECTURES[name].sizes[0] for name in settings.architectures}
    assert [(size, optimizer) for _, size, optimizer in settings.grid()] == [(32, "adam")] * 13
    assert {"gpubp-numpy", "torch", "jax", "scikit-learn"} < set(settings.contenders)
    assert "torch-compile" in dict(settings.left_out) and settings.works == ("step",)


def test_the_widths_are_the_rows_of_one_table() -> None:
    title = "networks N-N-N-N, adam, 32 rows: training step"
    *_, table = [t for t in tables(of_widths()) if t.title.startswith(title)]
    assert table.header[:3] == ["N", "gpubp-numpy", "torch"]
    assert [row[:3] for row in table.rows[:2]] == [
        ["64", "*64.0 µs ±0%", "128 µs ±0%"],
        ["4", "*4.00 µs ±0%", "8.00 µs ±0%"],
    ]


def drawn(monkeypatch: pytest.MonkeyPatch, run: Results, folder: Path) -> Any:
    """Draw the picture, and return its axes."""
    figure = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    figures = []

    class Kept(figure.Figure):  # type: ignore[name-defined, misc]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            figures.append(self)

    monkeypatch.setattr(figure, "Figure", Kept)
    (path,) = widths.draw_widths(run, folder)
    assert path == folder / "width-step.png" and path.read_bytes().startswith(b"\x89PNG")
    return figures[0].axes[0]


def test_the_picture_has_the_medians_with_names_that_do_not_overlap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = of_widths()
    run.points[0].rounds["torch"] = [65e-6] * 3  # both lines end at nearly the same place
    axes = drawn(monkeypatch, run, tmp_path / "new")
    lines = [[*zip(*line.get_data(), strict=True)] for line in axes.lines]
    ours = [[4, pytest.approx(4)], [45, pytest.approx(45)], [46, pytest.approx(46)]]
    assert [[x, y] for x, y in lines[0]] == [*ours, [64, pytest.approx(64)]]
    assert lines[1][-1] == (64, pytest.approx(65))
    assert lines[2][-1] == (64, pytest.approx(32))  # the bare matmuls
    names = [t for t in axes.texts if t.get_text() in ("gpubp-numpy", "torch", "bare matmuls")]
    boxes = sorted((t.get_window_extent() for t in names), key=lambda box: box.y0)
    assert len(boxes) == 3
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["4", "", "45–46", "64"]
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_other_results_have_no_such_picture_and_these_no_others(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    assert widths.draw_widths(made_up(), tmp_path) == []
    assert draw(of_widths(), tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu"], "--gpu was given with --widths, which does not have it"),
        (["--batch-sizes", "8"], "--batch-sizes was given with --widths, which does not have it"),
        (["--estimators"], "--widths was given with --estimators, which does not have it"),
    ],
)
def test_wrong_options_of_widths_are_told_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--widths", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_measures_draws_and_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    monkeypatch.setattr(rounds, "RETAKES", 0)
    monkeypatch.setattr(widths, "WIDTHS", (4, 5))
    path = tmp_path / "run.json"
    arguments = ["bench", "--widths", "--contenders", "gpubp-numpy", "--rounds", "1"]
    assert main([*arguments, "--json", str(path), "--pictures", str(tmp_path)]) == 0
    run = Results.load(path)
    assert [p.architecture for p in run.points] == ["width-4", "width-5"]
    assert all(p.errors == {} and p.rounds["gpubp-numpy"] for p in run.points)
    capsys.readouterr()
    assert main(["bench", "--show", str(path), "--pictures", str(tmp_path / "again")]) == 0
    assert "N-N-N-N" in capsys.readouterr().out
    assert (tmp_path / "again/width-step.png").read_bytes() == (
        tmp_path / "width-step.png"
    ).read_bytes()
