"""Reports and comparisons of results."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from made_up import made_up

from gpubp.benchmarks import results
from gpubp.benchmarks.compare import compare
from gpubp.benchmarks.report import comparison_tables, tables
from gpubp.benchmarks.results import Results
from gpubp.benchmarks.table import duration, markdown, plain, show


def test_the_arithmetic_agrees_with_hand_computed_numbers() -> None:
    run = made_up()
    fast, slow = run.points
    assert fast.spread("gpubp-numpy") == results.Spread(1.5e-3, 2e-3, 3e-3)
    assert fast.ratio("torch", "gpubp-numpy") == pytest.approx(3)  # the median of 4, 3, 2
    assert slow.ratio("torch", "gpubp-numpy") == pytest.approx(0.5)
    assert fast.floor("cpu") == 1e-3
    assert fast.share_of_floor(run.entrants[0]) == pytest.approx(0.5)
    assert slow.share_of_floor(run.entrants[0]) is None
    mean = run.geometric_mean("torch", "gpubp-numpy")
    assert (mean.value, mean.least, mean.count) == (pytest.approx(math.sqrt(1.5)), 0.5, 2)
    assert run.geometric_mean("torch", "gpubp-numpy", "predict").count == 1
    assert math.isnan(run.geometric_mean("jax", "gpubp-numpy").value)


def test_the_report_names_what_is_absent_and_what_is_wrong() -> None:
    text = "\n".join(plain(table) for table in tables(made_up()))
    assert "gpubp-cupy      absent: no NVIDIA GPU here" in text
    assert "ERROR jax, sgd 32: differs from the float64 reference" in text
    assert "*2.00 ms ±38%" in text
    assert "6.00 ms ±17%" in text
    assert "1.22 (0.50; 2)" in text
    assert "3.0 (200)" in text


def test_without_rich_the_report_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    lines: list[str] = []
    show(tables(made_up()), lines.append)
    assert lines[0].startswith("gpubp bench\ncontender")


def test_with_rich_the_report_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    show(tables(made_up()))
    text = capsys.readouterr().out
    assert "2.00 ms ±38%" in text
    assert "ERROR jax, sgd 32: differs from the float64 reference" in text


def test_durations_have_three_digits() -> None:
    shown = [duration(t) for t in (1.2345, 0.012345, 123.45e-6, 1e-6, 0.9996e-3)]
    assert shown == ["1.23 s", "12.3 ms", "123 µs", "1.00 µs", "1.00 ms"]


def test_results_survive_json(tmp_path: Path) -> None:
    made_up().save(tmp_path / "run.json")
    assert Results.load(tmp_path / "run.json") == made_up()


def test_points_measured_again_replace_the_old_ones_and_are_named() -> None:
    run, newer = made_up(), made_up(factor=2.0)
    del newer.points[1]
    newer.date, newer.commit = "2001-01-01", "abc"
    run.repeat(newer)
    assert [p.rounds["gpubp-numpy"][0] for p in run.points] == [2e-3, 2.0]
    assert run.date == "2000-01-01"
    text = "\n".join(plain(table) for table in tables(run))
    assert "1 points measured again at commit abc, 2001-01-01" in text


def test_a_table_in_markdown_has_the_same_cells() -> None:
    (table,) = [t for t in tables(made_up()) if t.title.endswith("step, every contender")]
    lines = markdown(table).splitlines()
    assert lines[0] == f"**{table.title}**"
    assert lines[2].startswith("| optimizer | batch | gpubp-numpy | torch |")
    assert lines[4].startswith("| sgd | 32 | **2.00 ms ±38%** | 6.00 ms ±17% | ERROR |")


def test_a_file_that_holds_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"schema": 1}')
    with pytest.raises(ValueError, match=r"other\.json holds no results of gpubp bench"):
        Results.load(tmp_path / "other.json")


def test_compare_tells_what_got_slower_and_by_how_much() -> None:
    comparison = compare(made_up(factor=1.5), made_up())
    (change,) = comparison.slower  # the quartiles of the other point overlap
    assert (change.name, change.point.batch_size) == ("gpubp-numpy", 2048)
    assert change.factor == pytest.approx(1.5)
    assert (comparison.faster, comparison.machine, comparison.compared) == ([], 1.0, 2)
    text = "\n".join(plain(table) for table in comparison_tables(comparison, "old.json"))
    assert "1 of 2 results of gpubp are slower beyond the noise" in text


def test_compare_tells_of_no_change_and_of_what_is_gone() -> None:
    assert compare(made_up(), made_up()).slower == []
    new = made_up()
    del new.points[1].rounds["gpubp-numpy"]
    new.points[1].errors["gpubp-numpy"] = "its process died"
    missing = compare(new, made_up()).missing
    assert missing == ["gpubp-numpy narrow/sgd/2048/predict: its process died"]


def test_compare_leaves_out_what_was_measured_in_another_way() -> None:
    new = made_up()
    new.points[0].rounds["torch"] = [1e-3] * 3  # six times as fast, by other calls
    assert compare(new, made_up()).machine != 1.0
    new.points[0].steps_in_call["torch"] = 8
    assert compare(new, made_up()).compared == 2
    # Only the floors are left, which did not change.
    assert compare(new, made_up()).machine == 1.0
