"""How long a run will take: the estimate, its stages, and what the progress says."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from gpubp.benchmarks import estimate, first_call, suite
from gpubp.benchmarks.estimators.results import EstimatorResults
from gpubp.benchmarks.estimators.suite import EstimatorSettings
from gpubp.benchmarks.estimators.tasks import DATA
from gpubp.benchmarks.parts import Peak
from gpubp.benchmarks.results import Memory, Point, Results
from gpubp.benchmarks.settings import Settings, default_architectures, quick, small
from gpubp.benchmarks.widths import width_settings
from gpubp.cli import bench_progress
from gpubp.cli.bench_progress import Progress, in_words


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine on which the costs were measured, with all libraries and without a GPU."""
    monkeypatch.setattr(estimate, "cores", lambda: 2)
    monkeypatch.setattr(estimate, "has_gpu", lambda: False)
    monkeypatch.setattr(estimate, "find_spec", lambda name: name)
    monkeypatch.setattr(estimate, "available_bytes", lambda: 12 * 2**30)


def without_left_out(settings: Settings) -> Settings:
    out = dict(settings.left_out)
    return replace(settings, contenders=tuple(n for n in settings.contenders if n not in out))


# What the runs took on two cores of an Intel Xeon on which nothing else ran; the help says the same.
@pytest.mark.parametrize(
    ("settings", "measured"), [(quick(), 51), (small(), 107), (width_settings(), 110)]
)
def test_the_estimate_of_a_run_is_what_it_took(
    settings: Settings, measured: float, two_cores: None
) -> None:
    estimated = sum(estimate.stages(without_left_out(settings)))
    assert measured / 1.5 < estimated < 1.5 * measured


def test_the_estimate_of_a_whole_run_is_what_it_took(two_cores: None) -> None:
    settings = Settings(
        tuple(n for n in default_architectures() if "6x64" not in n and n != "wide"), memory=True
    )
    assert 34 / 1.5 < sum(estimate.stages(settings)) / 60 < 34 * 1.5


def test_the_estimates_of_other_tables_are_what_they_took(two_cores: None) -> None:
    assert 43 / 1.5 < sum(estimate.estimator_stages(EstimatorSettings.quick())) < 43 * 1.5
    assert 600 / 1.5 < sum(estimate.estimator_stages(EstimatorSettings.whole())) < 600 * 1.5
    stages = estimate.first_call_stages(first_call.NEW_CONTENDERS, first_call.ROUNDS)
    assert 101 / 1.5 < sum(stages) < 101 * 1.5


def test_a_busy_machine_a_budget_and_rounds_change_the_estimate(two_cores: None) -> None:
    settings = without_left_out(quick())
    alone = sum(estimate.stages(settings))
    assert sum(estimate.stages(settings, others=2.0)) > 1.5 * alone
    assert sum(estimate.stages(replace(settings, rounds=1, least_rounds=1))) < 0.8 * alone
    assert sum(estimate.stages(replace(settings, budget=20.0))) <= 20.0 + estimate.PEAK
    assert estimate.cores_of_others(0.05) >= 0.0


def test_the_shapes_of_the_data_are_those_of_its_rows() -> None:
    pytest.importorskip("sklearn", reason="three of the data sets, scikit-learn, are not installed")
    for data in DATA.values():
        assert data.make()[0].shape == data.shape


class Instant:
    """A worker that answers at once: it fails at everything but at its start."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name

    def __enter__(self) -> Instant:
        return self

    def __exit__(self, *error: object) -> None: ...

    def ask(self, method: str, *arguments: Any) -> None:
        self._method = method

    def answer(self, seconds: float | None = None) -> str:
        if self._method != "open":
            raise suite.ContenderError("is no contender")
        return "here"

    def call(self, method: str, *arguments: Any, seconds: float | None = None) -> str:
        self.ask(method)
        return self.answer()

    def close(self) -> None: ...


@pytest.mark.parametrize("memory", [False, True])
def test_each_stage_has_a_line_of_the_progress(
    memory: bool, monkeypatch: pytest.MonkeyPatch, two_cores: None
) -> None:
    monkeypatch.setattr(suite, "Worker", Instant)
    monkeypatch.setattr(suite, "peak_in_a_process", lambda *earlier: Peak(absent="not asked"))
    settings = Settings(
        ("narrow", "relu-10"), (8, 16), contenders=("gpubp-numpy", "torch"), memory=memory
    )
    lines: list[str] = []
    kept: list[tuple[int, int]] = []
    suite.run_suite(settings, lines.append, lambda r: kept.append((len(r.points), len(r.memory))))
    assert len(lines) == len(estimate.stages(settings)) - 1
    assert kept == sorted(kept) and len(kept) == 8 + (8 if memory else 0)


def test_the_progress_says_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(bench_progress.time, "monotonic", lambda: now)
    lines: list[str] = []
    progress = Progress([0.0, 60.0, 600.0, 600.0], lambda line, stays=False: lines.append(line))
    progress.begin()
    progress("one")
    now = 130.0  # twice as long as expected, after the doubt of the first ten seconds
    progress("two")
    begin, one, two = lines
    assert begin.startswith("measuring for about 21 minutes, until ")
    assert one == "one (1 of 3, about 21 minutes left)"
    assert two == "two (2 of 3, about 40 minutes left)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "about 10 seconds"),
        (44.0, "about 40 seconds"),
        (86.0, "about 90 seconds"),
        (90.0, "about 2 minutes"),
        (720.0, "about 12 minutes"),
        (6000.0, "about 1.7 hours"),
    ],
)
def test_a_time_is_said_roughly(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_progress_is_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    bench_progress.tell("this stays", stays=True)
    bench_progress.tell("this is too long for the terminal")
    bench_progress.tell("")
    assert terminal.getvalue() == "\r\033[Kthis stays\n\r\033[Kthis is too long fo\r\033[K"


def test_elsewhere_the_progress_has_a_line_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    bench_progress.tell("this stays", stays=True)
    bench_progress.tell("one")
    bench_progress.tell("")
    assert capsys.readouterr().err == "this stays\none\n"


def test_results_are_counted_in_words() -> None:
    results = Results({}, {}, "", "", {})
    assert results.counted() == "no results"
    results.points = [Point("narrow", "sgd", 8, "step", 8)]
    assert results.counted() == "1 point"
    results.memory = [Memory("narrow", "sgd", 8, name) for name in ("gpubp-numpy", "torch")]
    assert results.counted() == "1 point and 2 figures of memory"
    estimators = EstimatorResults({}, {}, "", "")
    assert estimators.counted() == "0 points"
