"""The documents: figures and tables are those of the committed results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import environment
import pytest

import gpubp
from gpubp.benchmarks.best import fastest
from gpubp.benchmarks.contenders import CONTENDERS
from gpubp.benchmarks.estimators.report import estimator_tables
from gpubp.benchmarks.estimators.results import EstimatorResults
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.results import Point, Results, geometric_mean
from gpubp.benchmarks.table import markdown
from gpubp.benchmarks.tasks import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_networks_names_every_activation_and_cost() -> None:
    guide = (ROOT / "docs/how-to/networks.md").read_text(encoding="utf-8")
    names = [*gpubp.kernels.ACTIVATIONS, *gpubp.kernels.COSTS]
    assert [name for name in names if name not in guide] == []


@pytest.fixture
def document() -> str:
    return (ROOT / "docs/benchmarks/cpu.md").read_text(encoding="utf-8")


@pytest.fixture
def results(document: str) -> Results:
    (path,) = re.findall(r"`(benchmarks/results/\S+/results\.json)`", document)
    return Results.load(ROOT / path)


def test_the_tables_of_the_benchmarks_are_those_of_the_committed_results(
    document: str, results: Results
) -> None:
    """The tables of all contenders are left to `gpubp bench --show`."""
    for table in tables(results):
        if "every contender" not in table.title:
            assert markdown(table).strip() in document, table.title


def test_the_figures_in_the_text_are_those_of_the_committed_results(
    document: str, results: Results
) -> None:
    text = " ".join(document.split())
    (means,) = [t for t in tables(results) if "each library's fastest contender" in t.title]
    column = {title: k for k, title in enumerate(means.header)}
    value = {(row[0], row[1]): row for row in means.rows}

    def mean(own: str, library: str, work: str = "step") -> str:
        return value[own, library][column[work]].split()[0]

    libraries = "PyTorch", "JAX", "scikit-learn"
    ours = "gpubp-numpy", "gpubp-numpy-fit"
    torch, jax, sklearn = (mean(ours[0], library) for library in libraries)
    assert f"means are {torch} to PyTorch, {jax} to JAX and {sklearn} to scikit-learn" in text
    torch, jax, sklearn = (mean(ours[1], library) for library in libraries)
    assert f"within `fit` they are {torch}, {jax} and {sklearn}." in text
    predictions = "PyTorch", "JAX", "ONNX Runtime", "OpenVINO"
    torch, jax, onnx, vino = (mean(ours[0], library, "predict") for library in predictions)
    assert (
        f"are {torch} to PyTorch, {jax} to JAX, {onnx} to ONNX Runtime and {vino} to OpenVINO"
    ) in text

    def ratios(library: str, *architectures: str) -> list[float]:
        """Return the ratios of steps to gpubp's faster way."""
        peers, found = [n for n, kind in CONTENDERS.items() if kind.library == library], []
        for point in results.points:
            if point.work == "step" and point.architecture in architectures and not point.skipped:
                peer, own = fastest(point, peers), fastest(point, ours)
                assert peer is not None and own is not None
                found.append(point.ratio(peer, own) or 0)
        return found

    def least(library: str, architecture: str) -> str:
        return f"{min(ratios(library, architecture)):.2f}"

    networks = "narrow", "classifier", "regression"
    of_faster = [geometric_mean(ratios(library, *networks)) for library in libraries[:2]]
    assert "are then {:.2f} to PyTorch and {:.2f} to JAX".format(*of_faster) in text
    jax, of_classifier, of_regression = (least("JAX", name) for name in networks)
    assert (
        f"the least ratio is {jax} on narrow, {of_classifier} on the classifier and"
        f" {of_regression} on the regression network"
    ) in text
    assert (
        "ratios to PyTorch are {}, {} and {}.".format(
            *(least("PyTorch", name) for name in networks)
        )
        in text
    )
    one = [
        1e6 * spread.median
        for name in networks
        for point in results.points
        if (point.architecture, point.work, point.batch_size) == (name, "predict", 1)
        and (spread := point.spread(ours[0])) is not None
    ]
    assert (
        "of one row takes {:.0f} µs on narrow, {:.0f} µs on the classifier and {:.0f} µs on the"
        " regression network".format(*one)
    ) in text
    entrant = results.entrant(ours[0])
    assert entrant is not None
    shares = [
        100 * (point.share_of_floor(entrant) or 0)
        for point in results.points
        if (point.architecture, point.work) == ("classifier", "step") and point.batch_size >= 2048
    ]
    assert f"run at {min(shares):.0f} to {max(shares):.0f} % of the speed of their bare" in text

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        "{:.1f} times as fast as PyTorch's and {:.1f} times as JAX's".format(*of_faster) in readme
    )
    assert f"geometric means over {len(ratios('JAX', *networks))} points" in readme


@pytest.mark.parametrize(
    ("name", "title"),
    [("widths", "N-N-N-N, adam, 32 rows: training step"), ("first-call", "a new")],
)
def test_the_tables_of_small_networks_are_those_of_the_committed_results(
    document: str, name: str, title: str
) -> None:
    (path,) = re.findall(rf"`(benchmarks/results/\S+/{name}\.json)`", document)
    chosen = [
        table
        for table in tables(Results.load(ROOT / path))
        if title in table.title and "every contender" not in table.title
    ]
    assert len(chosen) == 1
    assert markdown(chosen[0]).strip() in document


def test_the_table_beside_a_busy_process_is_that_of_the_committed_results(document: str) -> None:
    (path,) = re.findall(r"`(benchmarks/results/\S+/small-busy-1\.json)`", document)
    (table,) = tables(Results.load(ROOT / path))
    assert markdown(table).strip() in document


def test_the_table_of_the_small_networks_is_that_of_the_committed_results(document: str) -> None:
    (path,) = re.findall(r"`(benchmarks/results/\S+/small\.json)`", document)
    (table,) = tables(Results.load(ROOT / path))
    assert markdown(table).strip() in document
    to_torch, to_jax = (cell.split(" / ")[1] for cell in table.rows[-1][-2:])
    least = min(float(row[-1].split(" / ")[1]) for row in table.rows[:-1])
    text = " ".join(document.split())
    assert f"gpubp is {to_jax} times as fast as the faster of JAX's" in text
    assert f"and {least:.2f} times at least; {float(to_torch):.1f} times as fast as" in text
    run = Results.load(ROOT / path)
    assert run.peak is not None
    seconds = (
        2 * ARCHITECTURES["tanh-4"].step_multiply_adds(10_000) / run.peak.all_threads["float32"]
    )
    assert f"4-32-16-4 alone would take {1e6 * seconds:.0f} µs at the peak" in text
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    figures = (
        f"{float(to_jax):.1f} times as fast as JAX's and {float(to_torch):.1f} times as PyTorch's"
    )
    assert figures in readme


@pytest.fixture
def estimators(document: str) -> EstimatorResults:
    (path,) = re.findall(r"`(benchmarks/results/\S+/estimators\.json)`", document)
    return EstimatorResults.load(ROOT / path)


def test_the_tables_of_the_estimators_are_those_of_the_committed_results(
    document: str, estimators: EstimatorResults
) -> None:
    for table in estimator_tables(estimators):
        assert markdown(table).strip() in document, table.title


def test_the_figures_of_the_estimators_are_those_of_the_committed_results(
    document: str, estimators: EstimatorResults
) -> None:
    text = " ".join(document.split())
    cores = int(estimators.machine["cores"])
    ratios = {p.task: ratio for p in estimators.points if (ratio := p.ratio()) is not None}
    fits = [p for p in estimators.points if p.task.is_dense_fit and p.task.solver != "lbfgs"]
    assert "gpubp is faster at every row" in text and min(ratios.values()) > 1
    reached, means = [], []
    for dtype, aim in (("float32", 4.0), ("float64", 2.5)):
        some = [ratio for task, ratio in ratios.items() if task.dtype == dtype]
        reached.append(f"{sum(ratio >= aim for ratio in some)} of {len(some)}")
        default = [p.task for p in fits if (p.task.hidden, p.task.dtype) == ((100,), dtype)]
        means.append(f"{geometric_mean(ratios[task] for task in default):.1f}")
    assert f"{reached[0]} rows reach them in float32, and {reached[1]} in float64." in text
    bounds = [p.bound(cores) or 0 for p in fits if p.task.hidden == (256, 256)]
    assert f"would be {min(bounds):.1f} to {max(bounds):.1f} times as fast as scikit-learn" in text
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{means[0]} times as fast in float32, and {means[1]} times in float64" in readme
    assert f"geometric means over {len(default)} fits each" in readme


GPU_RESULTS = ROOT / "benchmarks/results/2026-11-26-nvidia-h100"
LATEST_GPU_RESULTS = ROOT / "benchmarks/results/2026-11-27-nvidia-h200"


@pytest.fixture
def gpu_document() -> str:
    return (ROOT / "docs/benchmarks/gpu.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["results.json", "compilers.json"])
def test_the_tables_of_a_gpu_are_those_of_the_committed_results(
    gpu_document: str, name: str
) -> None:
    for table in tables(Results.load(GPU_RESULTS / name)):
        assert markdown(table).strip() in gpu_document, table.title


def test_the_kernels_of_a_gpu_are_those_of_the_committed_results(gpu_document: str) -> None:
    lines = (GPU_RESULTS / "kernels.jsonl").read_text(encoding="utf-8").splitlines()
    _, _, part = gpu_document.partition("| step | kernel |")
    cell = r"\| ([^|]*) "
    rows = re.findall(rf"^{5 * cell}\|", part.partition("\n\n")[0], re.M)
    shown, step = [], ""
    for name, verb, _, microseconds, floor in rows:
        step = name or step
        shown.append((step, verb, microseconds, floor))
    measured = set()
    for record in map(json.loads, lines):
        if "verb" in record:
            step = f"{record['network']}, {record['rows']} rows"
            step += f", {record['precision']}" if record["precision"] else ""
            figures = (f"{1e6 * record[key]:.1f}" for key in ("seconds", "floor"))
            measured.add((step, record["verb"], *figures))
    assert len(shown) > 50 and [row for row in shown if row not in measured] == []


def test_the_figures_of_a_gpu_in_the_text_are_those_of_the_committed_results(
    gpu_document: str,
) -> None:
    found = Results.load(GPU_RESULTS / "results.json")

    def figure(point: Point, name: str) -> str:
        spread = point.spread(name)
        assert spread is not None
        microseconds = 1e6 * spread.median
        return (
            f"{microseconds:.1f}" if microseconds < 100 else f"{float(f'{microseconds:.3g}'):.0f}"
        )

    def times(theirs: str, ours: str) -> str:
        ratio = float(theirs) / float(ours)
        return f"{ratio:.1f} ×" if ratio < 9.5 else f"{ratio:.0f} ×"

    names = "gpubp-cupy", "torch-cuda-graph", "torch-cuda"
    compiled = {p.key: p for p in Results.load(GPU_RESULTS / "compilers.json").points}
    shown = 0
    for point in found.points:
        if point.rounds:
            ours, graph, eager = (figure(point, name) for name in names)
            apart = compiled.get(point.key)
            jax = (
                "–"
                if apart is None or "jax-cuda" not in apart.rounds
                else figure(apart, "jax-cuda")
            )
            assert jax == "–" or float(jax) > float(graph)  # the graph is the best peer
            cells = point.architecture, point.batch_size, ours, graph, eager, jax
            row = " | ".join(map(str, (*cells, times(graph, ours), times(eager, ours))))
            assert f"| {row} |" in gpu_document
            if "gpubp-numpy" in point.rounds:
                cells = f"| {point.batch_size} | {figure(point, 'gpubp-numpy')} | {ours} |"
                assert cells in gpu_document
            shown += 1
    assert shown == 9
    (narrow,), (classifier,) = (
        [p for p in found.points if (p.architecture, p.batch_size) == (name, 512)]
        for name in ("narrow", "classifier")
    )
    ours, graph, eager = (figure(narrow, name) for name in names)
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"on 512 rows takes {float(ours):.0f} µs for a 64-64-64-64-64-16 network" in text
    assert f"PyTorch's takes {graph} in a CUDA graph and {eager} without" in text
    ours, graph, eager = (figure(classifier, name) for name in names)
    assert f"{float(ours):.0f} µs for 784-256-256-10, where they take {graph} and {eager}" in text


def test_what_was_aimed_at_on_a_gpu_is_told_as_it_came_out(gpu_document: str) -> None:
    lines = (GPU_RESULTS / "kernels.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if "verb" in record]
    shares = [
        call["floor"] / call["seconds"]
        for record in records
        for call in record.get("each", [])
        if not call["work"] and call["read"] + call["written"] >= 64e6
    ]
    assert f"{100 * min(shares):.0f} to {100 * max(shares):.0f} %, call by call" in gpu_document
    seconds = {
        (record["precision"], record["verb"]): record["seconds"]
        for record in records
        if record["network"] == "wide"
    }
    narrow, wide = (
        seconds[precision, "its matmuls in a row"] / seconds[precision, "the step's graph"]
        for precision in ("bfloat16", None)
    )
    assert f"85 % of its matmuls bare | {100 * narrow:.0f} % | missed" in gpu_document
    assert f"its matmuls bare 50.2: {100 * wide:.0f} %" in gpu_document


@pytest.mark.parametrize("folder", [GPU_RESULTS, LATEST_GPU_RESULTS])
def test_the_report_of_a_gpu_is_told_as_it_is(folder: Path) -> None:
    report = json.loads((folder / "gpu-check.json").read_text(encoding="utf-8"))
    text = " ".join((ROOT / "docs/explanation/gpu.md").read_text(encoding="utf-8").split())
    outcomes = report["outcomes"]
    assert report["failed"] == report["graphs"]["failed"] == [] and report["not_run"] == 0
    assert f"the suite's {report['collected']} tests" in text
    one = report["skipped"]["this machine has one GPU"]
    passed = f"{outcomes['passed']} passed, {outcomes['skipped']} skipped"
    assert f"{passed}, of those {one} because it was one GPU" in text


PLANNED = (
    ("narrow-6x64", 512, None), ("narrow", 512, None), ("classifier", 512, None),
    ("classifier", 2048, None), ("wide", 8192, "bfloat16"),
)  # fmt: skip


@pytest.mark.slow
def test_fused_steps_are_told_as_the_tool_plans_them(gpu_document: str, tmp_path: Path) -> None:
    if environment.GPUS or environment.ON_HOST is None:
        pytest.skip("the plan in the document is that of emulated devices")
    path = tmp_path / "plan.jsonl"
    points = [":".join(map(str, filter(None, point))) for point in PLANNED]
    script = ROOT / "benchmarks/tools/plan.py"
    subprocess.run([sys.executable, script, *points, "--json", path], check=True, timeout=120)
    lines = path.read_text(encoding="utf-8").splitlines()
    planned = {(r["network"], r["rows"], r["fused"]): r for r in map(json.loads, lines)}
    measured = {
        (p.architecture, p.batch_size): spread.median
        for p in Results.load(GPU_RESULTS / "results.json").points
        if (spread := p.spread("gpubp-cupy")) is not None
    }
    for record in map(json.loads, (GPU_RESULTS / "kernels.jsonl").read_text("utf-8").splitlines()):
        if record["precision"] and record.get("verb") == "the step's graph":
            measured[record["network"], record["rows"]] = record["seconds"]
    rows, errors = [], []
    for network, count, precision in PLANNED:
        plain, fused = planned[network, count, False], planned[network, count, True]
        seconds = measured[network, count]
        errors.append(round(100 * (1 - plain["predicted"] / seconds)))
        cells = (
            f"{network}, {count} rows{f', {precision}' if precision else ''}",
            f"{plain['launches']:.3g}, {fused['launches']:.3g}",
            *(f"{short(scale * plain[key])}, {short(scale * fused[key])}"
              for key, scale in (("moved", 1e-6), ("floor", 1e6))),
            *(short(1e6 * one) for one in (plain["predicted"], seconds, fused["predicted"])), "–",
        )  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    titles = "step | launches | MB | floor, µs | default: predicted, µs | measured"
    head = f"| {titles} | fused: predicted, µs | measured |"
    table = "\n".join([head, "|---" * 8 + "|", *rows])
    assert table in gpu_document, table
    text = " ".join(gpu_document.split())
    assert f"default step are {min(errors)} to {max(errors)} % below it" in text, errors


def short(value: float) -> str:
    """Write a number with a decimal below 100, and with three digits above."""
    return f"{value:.1f}" if value < 100 else f"{float(f'{value:.3g}'):.0f}"
