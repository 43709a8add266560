"""The main tables: each library's fastest contender, the ratios to it, and the table of small networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import made_up

from gpubp.benchmarks import best
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.results import Entrant, Point, Results
from gpubp.benchmarks.table import Table, plain
from gpubp.cli import main

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def of_many() -> Results:
    """Make results in which another contender of PyTorch and of JAX is the fastest at each point."""
    run = made_up()
    names = ["gpubp-numpy", "gpubp-numpy-fit", "torch", "torch-1-thread", "jax", "jax-scan"]
    run.entrants = [Entrant(name, "cpu", "here") for name in names]
    run.entrants.append(Entrant("torch-cuda", "gpu", absent="no NVIDIA GPU here"))
    times = {
        "gpubp-numpy": (1e-3, 2e-3), "gpubp-numpy-fit": (0.5e-3, 1e-3), "torch": (8e-3, 2e-3),
        "torch-1-thread": (4e-3, 4e-3), "jax": (1e-3, 1e-3), "jax-scan": (0.25e-3, 8e-3),
    }  # fmt: skip
    run.points = []
    for k, rows in enumerate((32, 512)):
        point = Point("narrow", "adam", rows, "step", rows)
        point.rounds = {name: [of[k]] * 3 for name, of in times.items()}
        point.steps_in_call = {"gpubp-numpy-fit": 64 >> k, "jax-scan": 128}
        run.points.append(point)
    return run


def cells(table: Table) -> list[list[str]]:
    return [table.header, *table.rows]


def test_the_fastest_has_the_lowest_median_of_those_with_results() -> None:
    first, second = of_many().points
    assert best.fastest(first, ["torch", "torch-1-thread"]) == "torch-1-thread"
    assert best.fastest(second, ["torch", "torch-1-thread"]) == "torch"
    assert best.fastest(second, ["openvino", "torch-1-thread"]) == "torch-1-thread"
    assert best.fastest(second, ["openvino"]) is None


def test_the_main_table_has_each_librarys_fastest_and_the_ratios_to_it() -> None:
    (table,) = best.main_tables(of_many())
    assert table.title == "narrow 64-64-64-64-64-16: training step"
    assert cells(table) == [
        ["optimizer", "batch", "gpubp", "gpubp in fit", "PyTorch", "JAX", "floor",
         "PyTorch ÷ gpubp", "JAX ÷ gpubp"],
        ["adam", "32", "1.00 ms", "500 µs", "eager, 1 thread 4.00 ms", "*scan 250 µs", "",
         "4.00 / 8.00", "0.25 / 0.50"],
        ["adam", "512", "2.00 ms", "*1.00 ms", "eager 2.00 ms", "jit 1.00 ms", "",
         "1.00 / 2.00", "0.50 / 1.00"],
    ]  # fmt: skip
    assert table.notes == ["÷ gpubp: to a step called from Python / to a step within fit"]


def test_the_means_are_those_of_the_ratios_to_the_fastest() -> None:
    table = best.means_table(of_many())
    assert [row[:3] + row[-1:] for row in table.rows] == [
        ["gpubp-numpy", "PyTorch", "2.00 (1.00; 2)", "eager, 1 thread 1, eager 1"],
        ["gpubp-numpy", "JAX", "0.35 (0.25; 2)", "scan 1, jit 1"],
        ["gpubp-numpy-fit", "PyTorch", "4.00 (2.00; 2)", "eager, 1 thread 1, eager 1"],
        ["gpubp-numpy-fit", "JAX", "0.71 (0.50; 2)", "scan 1, jit 1"],
    ]


def test_what_failed_is_an_error_unless_another_contender_of_the_library_ran() -> None:
    run = of_many()
    first, second = run.points
    del first.rounds["torch"]
    first.errors["torch"] = "its process died"
    for name in ("torch", "torch-1-thread"):
        del second.rounds[name]
        second.errors[name] = "its process died"
    (table,) = best.main_tables(run)
    assert [row[4] for row in table.rows] == ["eager, 1 thread 4.00 ms", "ERROR"]
    assert [row[7] for row in table.rows] == ["4.00 / 8.00", "– / –"]


def test_a_run_of_the_small_networks_is_one_table() -> None:
    run = of_many()
    run.settings = {"batch_sizes": [], "contenders": ["torch", "torch-compile"]}
    run.entrants.append(Entrant("torch-compile", "cpu", absent="torch is not installed"))
    run.entrants.append(Entrant("scikit-learn", "cpu", absent="not among --contenders"))
    (table,) = tables(run)
    assert cells(table) == [
        ["network", "hidden", "rows", "gpubp", "gpubp in fit", "PyTorch", "JAX jit", "JAX scan",
         "PyTorch ÷ gpubp", "JAX ÷ gpubp"],
        ["64-64-64-64-64-16", "relu", "32", "1.00 ms", "500 µs", "eager, 1 thread 4.00 ms",
         "1.00 ms", "*250 µs", "4.00 / 8.00", "0.25 / 0.50"],
        ["64-64-64-64-64-16", "relu", "512", "2.00 ms", "*1.00 ms", "eager 2.00 ms",
         "1.00 ms", "8.00 ms", "1.00 / 2.00", "0.50 / 1.00"],
        ["geometric mean", "", "", "", "", "", "", "", "2.00 / 4.00", "0.35 / 0.71"],
    ]  # fmt: skip
    assert "torch-compile is absent: torch is not installed" in table.notes
    assert not any("scikit-learn" in note for note in table.notes)


def test_the_report_says_how_many_steps_a_call_makes() -> None:
    text = "\n".join(map(plain, tables(of_many())))
    told = "steps of one timed call, whose time is divided by them: "
    assert f"{told}gpubp-numpy-fit 32 to 64, jax-scan 128\n" in text


def test_without_peers_there_is_no_main_table() -> None:
    run = of_many()
    run.entrants = run.entrants[:2]
    assert list(best.main_tables(run)) == []
    assert best.means_table(run).rows == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/[!eg]*.json")), ids=lambda p: p.stem)
def test_committed_results_are_shown_and_compared(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "--show", str(path), "--compare", str(path), "--markdown"]
    assert main(arguments) == int(any(p.errors for p in Results.load(path).points))
    text = capsys.readouterr().out
    small, new = "JAX ÷ gpubp", "a new process"
    shown = {"small": small, "small-busy-1": small, "first-call": new}
    assert shown.get(path.stem, "each library's fastest contender") in text
    assert "results of gpubp are slower beyond the noise, 0 are faster" in text
