"""The estimators' table: what is measured, who takes part, the report, the command."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import made_up, needs_scikit_learn
from threadpoolctl import threadpool_limits

from gpubp.benchmarks.estimators import first_call, session, suite
from gpubp.benchmarks.estimators.report import estimator_tables
from gpubp.benchmarks.estimators.results import EstimatorResults, Point, Scores
from gpubp.benchmarks.estimators.session import (
    CONTENDERS,
    MATMULS,
    MatmulSession,
    Outcome,
    Session,
    Turn,
)
from gpubp.benchmarks.estimators.suite import EstimatorSettings, run_estimators
from gpubp.benchmarks.estimators.tasks import DATA, Task, quick_tasks, tasks
from gpubp.benchmarks.floor import bind_matmuls
from gpubp.benchmarks.parts import FirstCall
from gpubp.benchmarks.results import Entrant
from gpubp.benchmarks.rounds import turns
from gpubp.benchmarks.table import markdown, plain
from gpubp.cli import main
from gpubp.kernels.cpu.build import made_by

FIT = Task("diabetes", "fit", "adam", (100,), "float64")


def results() -> EstimatorResults:
    """Make results that are easy to check by hand."""
    fit = Point(
        FIT,
        rounds={
            "gpubp": [1.0, 2.0, 1.0],
            "gpubp-1-thread": [3.0, 3.0, 3.0],
            "scikit-learn": [50.0, 50.0, 50.0],
            "scikit-learn-1-thread": [4.0, 6.0, 5.0],
            "matmuls": [2.0, 2.0, 2.0],
        },
        cores={
            "gpubp": [2.0, 2.0, 2.0],
            "gpubp-1-thread": [1.0, 1.0, 1.0],
            "scikit-learn": [9.0, 9.0, 9.0],
            "scikit-learn-1-thread": [4.0, 6.0, 5.0],
        },
    )
    search = Point(
        Task("digits", "search", "adam", (100,), "float64"),
        rounds={"gpubp": [2.0], "scikit-learn-processes": [18.0]},
        cores={"gpubp": [2.0], "scikit-learn-processes": [0.1]},
        errors={"gpubp-processes": "its process died (exit code 1)"},
    )
    return EstimatorResults(
        machine={
            "processor": "made up", "cores": 2, "system": "none", "python": "3", "others_share": 0.5
        },
        versions={"numpy": "2"},
        commit="",
        date="2000-01-01",
        entrants=[Entrant("gpubp", "cpu", "CPU, 2 threads")],
        points=[fit, search],
        scores=[Scores("diabetes", "float64", {"gpubp": [0.5, 0.6, 0.7], "scikit-learn": [0.5, 0.5, 0.5]})],
        first_calls=[FirstCall("gpubp, nothing stored", [0.2], [3.0], [0.1])],
    )  # fmt: skip


def test_each_library_counts_with_its_fastest_contender() -> None:
    fit, search = results().points
    assert (fit.best("gpubp"), fit.best("scikit-learn")) == ("gpubp", "scikit-learn-1-thread")
    assert fit.ratio() == 4.0  # the median of 4, 3 and 5
    assert fit.core_ratio() == 2.5  # the median of 2, 3 and 2.5
    assert fit.bound(cores=2) == 5.0  # twice the median of 2, 3 and 2.5
    assert (search.ratio(), search.bound(2), search.core_ratio()) == (9.0, None, None)


def test_the_mean_of_the_ratios_is_geometric() -> None:
    table = next(t for t in estimator_tables(results()) if "geometric" in t.title)
    assert table.rows == [
        ["fit, adam and sgd, 100", "", "4.00 (4.00 to 4.00; 1)"],
        ["search", "", "9.00 (9.00 to 9.00; 1)"],
        ["all", "", "6.00 (4.00 to 9.00; 2)"],
    ]


def test_the_report_shows_times_ratios_scores_and_errors() -> None:
    text = "\n".join(plain(table) for table in estimator_tables(results()))
    row = next(line for line in text.splitlines() if line.startswith("fit, adam"))
    assert row.split("  ")[0] == "fit, adam"
    assert "*1.00 s ±25%" in row and "5.00 s ±10% (1 thread)" in row
    assert row.split()[-3:] == ["4.00", "5.00", "2.50"]
    assert "GridSearchCV on digits: 12 candidates, 5 folds" in text
    assert "18.0 s ±0% (processes)" in text and "9.00" in text
    assert "ERROR gpubp-processes, search" in text
    # The differences are 0, 0.1 and 0.2: their mean is 0.1, and its standard error 0.1 / sqrt(3).
    assert "0.6000 ± 0.1000" in text and "+0.1000" in text and "0.0577" in text
    assert "other processes used 50 % of a core during the turns" in text
    assert "*5.00 s" not in text
    first = estimator_tables(results())[-1]
    assert first.rows == [["gpubp, nothing stored", "200 ms", "3.00 s", "100 ms"]]


def test_a_contender_without_results_is_an_error_in_the_table() -> None:
    run = results()
    run.points = [Point(FIT, rounds={"gpubp": [1.0]}, errors={"scikit-learn": "died"})]
    (table,) = [t for t in estimator_tables(run) if t.title.startswith("diabetes")]
    assert table.rows[0][3:] == ["*1.00 s ±0%", "ERROR", "", "", ""]


def test_the_results_survive_json_and_other_files_are_told(tmp_path: Path) -> None:
    results().save(tmp_path / "run.json")
    assert EstimatorResults.load(tmp_path / "run.json") == results()
    made_up().save(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"other\.json holds no results of gpubp bench --est"):
        EstimatorResults.load(tmp_path / "other.json")


def test_results_of_another_schema_are_told(tmp_path: Path) -> None:
    results().save(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text().replace('"estimators-1"', '"estimators-0"')
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"bench --estimators \(another schema\)"):
        EstimatorResults.load(tmp_path / "run.json")


def test_a_newer_run_replaces_and_adds_points_and_is_named(tmp_path: Path) -> None:
    run, newer = results(), results()
    seconds = {"gpubp": [1.0], "scikit-learn": [7.0]}
    newer.points = [
        Point(FIT, seconds, seconds),
        Point(replace(FIT, dtype="float32"), seconds, seconds),
    ]
    newer.commit, newer.date, newer.first_calls = "abc", "2001-01-01", []
    newer.scores = [Scores("digits", "float64", {"gpubp": [1.0, 0.9], "scikit-learn": [1.0, 0.9]})]
    run.repeat(newer)
    assert [point.ratio() for point in run.points] == [7.0, 9.0, 7.0]
    assert [scores.data for scores in run.scores] == ["diabetes", "digits"]
    assert run.first_calls == results().first_calls
    text = plain(estimator_tables(run)[0])
    assert (
        "2 points, scores and first calls measured at commit abc, 2001-01-01; others used 50 %"
        in text
    )
    run.save(tmp_path / "run.json")
    assert EstimatorResults.load(tmp_path / "run.json") == run


def test_the_grid_has_every_data_set_solver_and_dtype_once() -> None:
    grid = tasks()
    assert len(set(grid)) == len(grid)
    assert {task.data for task in grid} == set(DATA)
    assert {task.solver for task in grid} == {"adam", "sgd", "lbfgs"}
    assert set(quick_tasks()) < set(grid)


def test_made_up_data_have_the_promised_sizes() -> None:
    x, y = DATA["text"].in_dtype("float32")
    assert (x.shape, x.nnz, x.dtype) == ((20_000, 20_000), 800_000, np.float32)
    assert 0.4 < y.mean() < 0.6
    assert sorted(set(DATA["cover"].make()[1])) == list(range(7))
    assert DATA["housing"].in_dtype("float32")[1].dtype == np.float32


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_both_libraries_do_the_same_epochs_and_come_to_the_same_loss(solver: str) -> None:
    needs_scikit_learn()
    task = Task("few-rows", "fit", solver, (20,), "float64")
    outcomes = []
    with threadpool_limits(1):
        for name in ("gpubp", "scikit-learn"):
            measured = Session(name)
            measured.open()
            assert measured.trial(task) > 0
            outcomes.append(measured.load(task))
            assert measured.turn().seconds > 0
    ours, theirs = outcomes
    assert ours.iterations == theirs.iterations == task.parameters()["max_iter"]
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("task", "stretches"),
    [
        # 300 rows are a batch of 200 and one of 100. Two layers have five matmuls, and three have eight.
        (Task("few-rows", "fit", "adam", (20,), "float64"), [(60, 200, 5), (60, 100, 5)]),
        (Task("few-rows", "fit", "lbfgs", (20, 20), "float32"), [(60, 300, 8)]),
        (Task("diabetes", "fit", "sgd", (9,), "float32"), [(120, 200, 5), (60, 42, 5)]),
    ],
)
def test_the_bare_matmuls_are_those_of_all_batches(
    task: Task, stretches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def bind(backend: Any, sizes: Any, rows: int, dtype: str) -> Any:
        assert (sizes[1:], dtype) == ((*task.hidden, 1), task.dtype)
        forward, backward = bind_matmuls(backend, sizes, rows, dtype)
        return [partial(done.append, rows) for _ in forward], [
            partial(done.append, rows) for _ in backward
        ]

    monkeypatch.setattr(session, "bind_matmuls", bind)
    measured = MatmulSession("matmuls")
    assert measured.open() == "CPU, 1 thread: the bare matmuls of a fit of dense rows"
    assert measured.load(task) is None
    assert Counter(done) == {rows: often * calls for often, rows, calls in stretches}


def test_the_bare_matmuls_are_measured_at_fits_of_dense_rows(pretended: None) -> None:
    others = [
        Task("text", "fit", "adam", (100,), "float32"),
        Task("digits", "search", "adam", (100,), "float32"),
    ]
    settings = EstimatorSettings([FIT, *others], rounds=1, least_rounds=1)
    measured = [MATMULS in point.rounds for point in run_estimators(settings).points]
    assert measured == [True, False, False]


def test_a_trial_is_one_epoch_and_a_turn_repeats_short_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs_scikit_learn()
    session, asked = Session("gpubp"), []
    session.open()
    make = session._estimator

    def remember(task: Task, parameters: Any) -> Any:
        asked.append(parameters["max_iter"])
        return make(task, parameters)

    monkeypatch.setattr(session, "_estimator", remember)
    task = Task("few-rows", "predict", "adam", (20,), "float64")
    session.trial(task)
    session.load(task)
    assert asked == [1, 1, task.parameters()["max_iter"]]
    turn = session.turn()
    assert turn.seconds < turn.wall / 4


def test_scores_are_those_of_rows_that_a_fit_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_scikit_learn()
    monkeypatch.setattr("gpubp.benchmarks.estimators.session.SEEDS", 1)
    session = Session("scikit-learn")
    session.open()
    x, y = DATA["few-rows"].make()
    rows = np.random.default_rng(0).permutation(300)
    model = session._module.MLPRegressor(random_state=0).fit(x[rows[75:]], y[rows[75:]])
    expected = model.score(x[rows[:75]], y[rows[:75]])
    assert session.scores("few-rows", "float64") == [pytest.approx(expected)]


class Pretended:
    """A worker without a process: scikit-learn is slow with many threads, and gpubp trains too little."""

    trials = {"scikit-learn": 9.0, "gpubp-1-thread": 1.4}  # noqa: RUF012
    losses = {"gpubp": Outcome(59, 1.0), "gpubp-1-thread": Outcome(60, 1.2)}  # noqa: RUF012

    def __init__(self, name: str, kind: Any, starts_processes: bool) -> None:
        self.name = name

    def __enter__(self) -> Pretended:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def call(self, method: str, *arguments: Any) -> Any:
        answers = {
            "open": "here",
            "trial": self.trials.get(self.name, 1.0),
            "load": None if self.name == MATMULS else self.losses.get(self.name, Outcome(60, 1.0)),
            "turn": Turn(2.0, 1.0, 4.0, 1.0),
            "scores": [0.5, 0.6] if self.name.endswith("-1-thread") else [0.0, 0.0],
        }
        return answers[method]


def test_turns_begin_with_another_worker_in_each_round_and_leave_out_who_has_failed() -> None:
    workers: list[Any] = [Pretended(name, None, False) for name in "abc"]
    failed: set[str] = set()
    seen = []
    for number, worker in turns(workers, failed, rounds=3, least_rounds=1, seconds=600):
        seen.append(f"{number}{worker.name}")
        if seen[-1] == "1c":
            failed.add("c")
    assert seen == ["0a", "0b", "0c", "1b", "1c", "1a", "2a", "2b"]
    few = turns(workers[:1], failed, rounds=5, least_rounds=2, seconds=0)
    assert [number for number, _ in few] == [0, 1]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "Worker", Pretended)
    monkeypatch.setattr(suite, "first_calls", lambda n: iter([FirstCall("x", [1.0], [1.0], [1.0])]))


def test_slow_threads_do_not_take_part_and_other_work_is_not_counted(pretended: None) -> None:
    run = run_estimators(EstimatorSettings([FIT], rounds=2, least_rounds=2, scored=("diabetes",)))
    (point,) = run.points
    assert point.rounds == {"scikit-learn-1-thread": [2.0, 2.0], "matmuls": [2.0, 2.0]}
    assert "scikit-learn" not in point.errors
    assert point.errors["gpubp"] == "took 59 iterations, scikit-learn 60"
    assert point.errors["gpubp-1-thread"] == "came to 1.2, scikit-learn to 1"
    assert run.scores[0].found == {"gpubp": [0.5, 0.6], "scikit-learn": [0.5, 0.6]}
    assert run.machine["others_share"] == 0.25


@pytest.mark.parametrize(
    ("solver", "dtype", "loss", "agrees"),
    [
        ("adam", "float64", 1.00005, True),
        ("adam", "float64", 1.001, False),
        ("adam", "float32", 0.99, True),
        ("adam", "float32", 1.03, False),
        ("lbfgs", "float64", 1.001, False),
        ("lbfgs", "float32", 0.7, True),
        ("lbfgs", "float32", 1.6, False),
    ],
)
def test_losses_agree_as_far_as_the_rounding_allows(
    solver: str, dtype: str, loss: float, agrees: bool
) -> None:
    task = Task("diabetes", "fit", solver, (100,), dtype)
    difference = suite._difference(Outcome(60, loss), Outcome(60, 1.0), task)
    assert difference == ("" if agrees else f"came to {loss:g}, scikit-learn to 1")


def test_only_searches_have_processes(pretended: None) -> None:
    search = Task("digits", "search", "adam", (100,), "float32")
    point = run_estimators(EstimatorSettings([search], rounds=1, least_rounds=1)).points[0]
    processes = {name for name in CONTENDERS if name.endswith("-processes")}
    assert set(point.trials) == set(CONTENDERS) - processes - {MATMULS}
    assert processes <= set(point.rounds) | set(point.errors)


@pytest.mark.slow
def test_the_command_measures_and_writes_and_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_scikit_learn()
    monkeypatch.setattr(suite, "first_calls", lambda n: iter([FirstCall("x", [1.0], [1.0], [1.0])]))
    taking = {name: CONTENDERS[name] for name in ("gpubp-1-thread", "scikit-learn-1-thread")}
    monkeypatch.setattr(suite, "CONTENDERS", taking)
    path = tmp_path / "run.json"
    arguments = ["bench", "--estimators", "--quick", "--data", "few-rows", "--rounds", "1"]
    assert main([*arguments, "--json", str(path)]) == 0
    run = EstimatorResults.load(path)
    assert [p.task.dtype for p in run.points] == ["float32", "float64"]
    assert all(p.errors == {} and (p.ratio() or 0) > 0 for p in run.points)
    assert main([*arguments, "--json", str(tmp_path / "both.json"), "--repeat", str(path)]) == 0
    assert len(EstimatorResults.load(tmp_path / "both.json").points) == 2
    capsys.readouterr()
    assert main(["bench", "--estimators", "--show", str(path), "--markdown"]) == 0
    assert capsys.readouterr().out == "\n".join(map(markdown, estimator_tables(run)))


@pytest.mark.slow
@pytest.mark.skipif(not made_by(), reason="no C++ compiler: install g++ or set CXX")
def test_a_first_fit_with_nothing_stored_stores_kernels(tmp_path: Path) -> None:
    needs_scikit_learn()
    seconds = first_call._process("gpubp", tmp_path / "cold")
    assert set(seconds) == {"imports", "first", "second"}
    assert list((tmp_path / "cold").rglob("*.so"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimators", "--gpu"], "--gpu was given with --estimators, which does not have it"),
        (["--estimators", "--batch-sizes", "8"], "--batch-sizes was given with --estimators, whi"),
        (["--estimators", "--data", "digit"], "--data is digit; did you mean 'digits'?"),
        (["--estimators", "--rounds", "0"], "--rounds is 0, expected a whole number at least 1"),
        (["--data", "digits"], "--data was given without --estimators, whose data sets it cho"),
        (["--estimators", "--show", "no.json"], "there is no file no.json"),
    ],
)
def test_wrong_options_of_the_estimators_table_are_told_in_a_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == (1 if "--show" in arguments else 2)
    assert message in capsys.readouterr().err
