"""The documents: Python blocks run, links lead somewhere, tables are those of the committed results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gpubp
from gpubp.benchmark.report import markdown, tables
from gpubp.benchmark.results import Results, geometric_mean

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", "docs/guide.md"]
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "<document>", "exec"), {})


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_guide_names_every_activation_and_cost() -> None:
    guide = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    names = [*gpubp.kernels.ACTIVATIONS, *gpubp.kernels.COSTS]
    assert [name for name in names if name not in guide] == []


@pytest.fixture
def document() -> str:
    return (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture
def results(document: str) -> Results:
    (path,) = re.findall(r"`(benchmarks/results/\S+\.json)`", document)
    return Results.load(ROOT / path)


def test_the_tables_of_the_benchmarks_are_those_of_the_committed_results(
    document: str, results: Results
) -> None:
    for table in tables(results):
        assert markdown(table).strip() in document, table.title


def test_the_figures_in_the_text_are_those_of_the_committed_results(
    document: str, results: Results
) -> None:
    ours = "gpubp-numpy"
    steps = [p for p in results.points if p.work == "step"]
    chosen = [
        point
        for point in steps
        if point.optimizer == "sgd"
        and (point.architecture, point.batch_size)
        in {("classifier", n) for n in (1, 32, 128, 512, 2048, 8192)}
        | {("narrow", n) for n in (32, 512, 8192)}
    ]
    peers = "torch", "torch-compile", "jax", "scikit-learn"
    ratios = {peer: [point.ratio(peer, ours) or 0 for point in chosen] for peer in peers}
    torch, compiled, jax, sklearn = (f"{geometric_mean(ratios[peer]):.2f}" for peer in peers)
    least = min(min(some) for some in ratios.values())
    entrant = results.entrant(ours)
    assert entrant is not None
    shares = [
        point.share_of_floor(entrant) or 0
        for point in steps
        if point.architecture == "classifier" and point.batch_size >= 2048
    ]
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    text = " ".join(document.split())
    all_of = [f"{results.geometric_mean(peer, ours, 'step').value:.2f}" for peer in peers]
    to_all = "{} to PyTorch, {} to torch.compile, {} to JAX and {} to scikit-learn".format(*all_of)
    lost = {peer: sum((p.ratio(peer, ours) or 9) < 1 for p in steps) for peer in peers}
    assert (
        f"Over all {len(steps)} training steps the geometric means of the ratios are {to_all}"
        in text
    )
    assert "JAX is faster at four of them, the others at none" in text
    assert lost == {"torch": 0, "torch-compile": 0, "jax": 4, "scikit-learn": 0}
    to_peers = f"{torch} to PyTorch, {compiled} to torch.compile, {jax} to JAX and {sklearn} to"
    assert f"they are {to_peers} scikit-learn" in text
    assert f"the closest is {least:.2f} " in text
    assert f"run at {low} to {high} % of the speed of their bare matmuls" in text

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    torch, jax = (
        f"{results.geometric_mean(peer, ours, 'step').value:.2f}" for peer in ("torch", "jax")
    )
    assert f"a step is {torch} times as fast as PyTorch's and {jax} times as JAX's" in readme
    assert f"geometric means over {len(steps)} points" in readme
