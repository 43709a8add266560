"""The documents: Python blocks run, links lead somewhere, tables are those of the committed results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gpubp
from gpubp.benchmark.report import markdown, tables
from gpubp.benchmark.results import Results

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


def test_the_tables_of_the_benchmarks_are_those_of_the_committed_results() -> None:
    document = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    (path,) = re.findall(r"`(benchmarks/results/\S+\.json)`", document)
    for table in tables(Results.load(ROOT / path)):
        assert markdown(table).strip() in document, table.title
