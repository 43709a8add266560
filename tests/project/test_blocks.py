"""The code blocks of the documents: each is of a known kind, and runs, or a table says why not."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from documented_commands import HERE, TABLE, Command, commands, complaint, rough_complaint, row_of
from documents import DOCUMENTS, ROOT, Block, blocks, inline_code

import gpubp
from gpubp.cli import main

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
COMMANDS = [c for block in BLOCKS if block.info in ("sh", "console") for c in commands(block)]
KINDS = {
    "python": "runs here",
    "python keras": "tests/project/test_coming_from.py",
    "python torch": "tests/project/test_coming_from.py",
    "sh": "tests/project/documented_commands.py",
    "console": "tests/project/documented_commands.py",
    "c": "is compiled here",
    "cpp": "is part of a file of the repository",
    "cuda": "is part of a file of the repository",
    "text": "is output, or a list: no code",
}
"""The kinds of blocks, and what is done with each."""

CELL = "{code-cell} python"
"""A cell of a tutorial, which tests/project/test_tutorials.py and `make docs` run."""

CODE_DIRECTIVES = ("{code", "{parsed-literal", "{doctest", "{testcode", "{sourcecode")
"""Directives with code that nobody would run."""


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.info in kinds]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_of_a_known_kind(document: str) -> None:
    for block in blocks(document):
        assert block.info is not None, f"{block}: indented code has no language; use a fence"
        if block.info == CELL:
            assert document.startswith("docs/tutorials/"), f"{block}: nobody runs this cell"
        elif block.info.startswith("{"):  # Sphinx warns of unknown directives
            assert not block.info.startswith(CODE_DIRECTIVES), f"{block}: {block.info}"
        else:
            assert block.info in KINDS, f"{block}: {block.info!r} is not one of {[*KINDS]}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # the examples train for a short time
@pytest.mark.parametrize("block", of_kind("python"), ids=str)
def test_the_block_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = set(re.findall(r"^(?:import|from) (\w+)", block.text, re.MULTILINE))
    packages |= {"matplotlib"} if ".plot(" in block.text else set()
    missing = sorted(name for name in packages if find_spec(name) is None)
    if missing:
        pytest.skip(f"the example needs what is not installed: {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    exec(compile("\n" * block.line + block.text, block.document, "exec"), {})


def test_every_command_is_run_by_a_test_or_the_table_says_why_not() -> None:
    assert [str(command) for command in COMMANDS if row_of(command) is None] == []


def test_the_tests_that_run_commands_exist() -> None:
    named = {name for _, why in TABLE for name in re.findall(r"tests/[\w/.]+", why)}
    assert HERE in named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_what_a_command_names_exists(command: Command) -> None:
    assert complaint(command.words) == ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_command_within_a_sentence_names_exists(document: str) -> None:
    start = re.compile(r"(?:[A-Z_]+=\S+ )*(?:gpubp|make|pip install|python3?|pytest)(?: |$)")
    found = {code: rough_complaint(code) for code in inline_code(document) if start.match(code)}
    assert {code: what for code, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("gpubp bench --busy 2", ""),
        ("gpubp bench --bussy 2", "the parser refuses it: 2"),
        ("gpubp trian x.csv", "the parser refuses it: 2"),
        ("make tests", "the Makefile has no tests"),
        ("make test ARGS=tests/none", "there is no ['tests/none']"),
        ("make bench ARGS=--slow", "the parser refuses it: 2"),
        ("pip install -e .[extra]", "there is no extra extra"),
        ("pip install nonesuch", "pyproject.toml does not know nonesuch"),
        ("python benchmarks/tools/none.py", "there is no benchmarks/tools/none.py"),
        ("python benchmarks/tools/plan.py --none", "benchmarks/tools/plan.py has no ['--none']"),
        ("rm -r .", "unknown program rm"),
    ],
)
def test_a_wrong_command_would_be_seen(words: str, message: str) -> None:
    assert complaint(tuple(words.split())) == message


def test_settings_of_the_environment_exist() -> None:
    files = [ROOT / "setup.py", *(ROOT / ".ci").glob("*.py")]
    files += [
        file for folder in ("gpubp", "kernels", "tests") for file in (ROOT / folder).rglob("*.py")
    ]
    setting = re.compile(r"GPUBP_[A-Z_]+(?![A-Z_*])")  # not GPUBP_TEST_*
    known = set(setting.findall(" ".join(f.read_text(encoding="utf-8") for f in files)))
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        assert set(setting.findall(text)) <= known, document


@pytest.mark.slow
def test_the_commands_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pl = pytest.importorskip("polars", reason="what reads tables, polars, is not installed")
    pytest.importorskip("skops", reason="what writes models of tables, skops, is not installed")
    pytest.importorskip("matplotlib", reason="what draws, matplotlib, is not installed")
    sizes = [float(50 + 7 * (k % 29)) for k in range(60)]
    prices = [3 * size + 10 * (k % 5) for k, size in enumerate(sizes)]
    houses = pl.DataFrame({"size": sizes, "town": ["Bonn", "Ulm"] * 30, "price": prices})
    houses.write_csv(tmp_path / "houses.csv")
    houses[:30].write_csv(tmp_path / "more.csv")
    houses.drop("price")[:30].write_parquet(tmp_path / "new.parquet")
    monkeypatch.chdir(tmp_path)
    run = [c for c in COMMANDS if row_of(c) == HERE and c.words[1] not in ("bench", "trace")]
    assert len(run) == 3
    for command in run:
        assert main(command.words[1:]) == 0, command
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    assert len([line for line in capfd.readouterr().out.splitlines() if "prediction" in line]) == 1


def test_the_worked_example_is_traced_as_documents_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")  # as the documents
    run = [c for c in COMMANDS if row_of(c) == HERE and c.words[1] == "trace"]
    printed = {}
    for command in run:
        assert main(command.words[1:]) == 0, command
        printed[command.words] = capfd.readouterr().out
    shown = [b for b in of_kind("text") if b.document in ("README.md", "docs/how-to/trace.md")]
    assert len(shown) == 2
    for block in shown:
        assert block.text in printed["gpubp", "trace"], block


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "estimators"])
def test_the_results_of_an_earlier_run_are_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich", reason="what prints tables, rich, is not installed")
    documented = {c.words for c in COMMANDS if row_of(c) == HERE and "bench" in c.words}
    (words,) = [w for w in documented if ("--estimators" in w) == (name == "estimators")]
    newest = max((ROOT / "benchmarks/results").glob(f"*/{name}.json"))
    shutil.copy(newest, tmp_path / "run.json")
    monkeypatch.chdir(tmp_path)
    assert main(words[1:]) == 0
    assert "gpubp" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("block", of_kind("c"), ids=str)
def test_declarations_in_c_are_those_of_the_file_that_is_written(
    block: Block, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn", reason="what classifiers need, scikit-learn, is not installed")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    x = [[0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0]]
    model = gpubp.MLPClassifier((4,), max_iter=300, tol=0.1, random_state=0)
    model.fit(x * 4, ["setosa", "versicolor", "virginica"] * 4)
    model.to_c(tmp_path / "iris.c")
    (tmp_path / "use.c").write_text(f'#include "iris.c"\n{block.text}', encoding="utf-8")
    check = [compiler, "-std=c99", "-Wall", "-Werror", "-fsyntax-only", "use.c"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_quotation_is_part_of_a_file() -> None:
    ends = "*.cu", "*.cuh", "*.cpp", "*.h", "*.py"
    files = [file for end in ends for file in (ROOT / "kernels").rglob(end)]
    whole = [" ".join(file.read_text(encoding="utf-8").split()) for file in files]
    for block in of_kind("cpp", "cuda"):
        assert any(" ".join(block.text.split()) in text for text in whole), block


@pytest.mark.parametrize(
    "block",
    [b for b in BLOCKS if (b.info or "").startswith(("{include}", "{literalinclude}"))],
    ids=str,
)
def test_what_is_included_is_there(block: Block) -> None:
    assert block.info is not None
    file = (ROOT / block.document).parent / block.info.split()[1]
    rest = file.read_text(encoding="utf-8")
    for option in ("start-at", "start-after", "end-at", "end-before"):
        found = re.search(rf'^:{option}: "?(.*?)"?$', block.text, re.MULTILINE)
        if found is not None:
            _, text, rest = rest.partition(found[1])
            assert text, f"{block}: {file.name} has no {found[1]!r} there"
