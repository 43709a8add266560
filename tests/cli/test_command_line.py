"""The words after `gpubp`: errors, help pages, the version, and facts as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from made_up_results import made_up, made_up_file

import gpubp
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.table import plain
from gpubp.cli import STATUSES, commands, main

NAMES = [module.__name__.rpartition(".")[2] for module in commands.COMMANDS]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "gpubp: COMMAND is missing; see gpubp --help"),
        ("ifno", "gpubp: unknown command ifno; did you mean 'info'?"),
        ("demo --epochs 0", "gpubp demo: --epochs is 0, expected a whole number at least 1"),
        ("demo --epochs 1.5", "gpubp demo: --epochs is 1.5, expected a whole number at least 1"),
        ("demo --seed -1", "gpubp demo: --seed is -1, expected a whole number at least 0"),
        ("demo --epochs", "gpubp demo: --epochs has no value, expected one argument"),
        ("demo --backend nosuch", "gpubp demo: --backend is nosuch, expected auto, numpy or cupy"),
        ("demo --backend cupy:x", "gpubp demo: --backend is cupy:x; did you mean 'cupy'?"),
        ("demo --see 3 x", "gpubp demo: unknown argument x; gpubp demo --help lists what it has"),
        ("demo --ouptut=x", "gpubp demo: unknown option --ouptut; did you mean '--output'?"),
        (
            "demo --verbose",
            "gpubp demo: unknown option --verbose; gpubp demo --help lists what it has",
        ),
        (
            "demo --random-state 1",
            "gpubp demo: unknown option --random-state; did you mean '--seed'?",
        ),
        ("demo --backend cuda", "gpubp demo: --backend is cuda; gpubp calls it 'cupy'"),
        ("bench --contender torh", "gpubp bench: --contenders is torh; did you mean 'torch'?"),
        ("bench --budget x", "gpubp bench: --budget is x, expected a number above 0"),
        ("bench --budget inf", "gpubp bench: --budget is inf, expected a number above 0"),
        (
            "bench --batch-sizes 8 9000",
            "gpubp bench: --batch-sizes is 9000, expected at most 8192, or a multiple of that",
        ),
        ("completion csh", "gpubp completion: SHELL is csh; did you mean 'zsh'?"),
        ("completion", "gpubp completion: SHELL is missing; see gpubp completion --help"),
        ("train", "gpubp train: DATA and --target are missing; see gpubp train --help"),
        (
            "bench --first-call --contenders openvino",
            "gpubp bench: --contenders is openvino, which has no training steps to measure",
        ),
    ],
)
def test_a_wrong_word_is_told_in_a_line(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert capsys.readouterr() == ("", f"{told}\n")


def test_a_contender_without_a_near_name_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--contenders", "xyz"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(
        "gpubp bench: --contenders is xyz, expected gpubp-numpy, gpubp-numpy-fit,"
    )
    assert told.endswith(" or jax-cuda\n")


def test_a_device_of_cupy_is_a_backend() -> None:
    options = commands.command_line().parse_args(["demo", "--backend", "cupy:1"])
    assert options.backend == "cupy:1"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gpubp {gpubp.__version__}\n"


@pytest.mark.parametrize("name", ["", *NAMES])
@pytest.mark.parametrize("columns", [80, 120])
def test_a_help_page_fits_the_terminal(
    name: str,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*name.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) < columns
    assert page.startswith(f"usage: gpubp {name}".rstrip())


def test_the_help_lists_commands_and_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"\n  {name} " in page for name in NAMES)
    assert STATUSES in page


def test_info_as_json_has_the_facts_of_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert list(facts) == [
        "gpubp", "python", "system", "auto", "backends", "kernels", "blas", "packages"
    ]  # fmt: skip
    assert facts["gpubp"] == gpubp.__version__
    assert f"gpubp {facts['gpubp']}, Python {facts['python']}, {facts['system']}\n" in text
    chosen, reason = gpubp.backends.explain_auto()
    assert facts["auto"] == {"backend": chosen.name, "device": chosen.device, "reason": reason}
    assert f'backend "auto" is {chosen.name}: {reason}\n' in text
    for name, found in facts["backends"].items():
        assert (found["device"] is None) != (found["absent"] is None)
        assert f"  {name:8} " in text and (found["device"] or found["absent"]) in text
    assert facts["kernels"]["run"] in text and (facts["kernels"]["not_built_ahead"] or "") in text
    assert all(blas in text for blas in facts["blas"])
    listed, _, absent = text.partition("packages: ")[2].rstrip().partition("; absent: ")
    numbers = {name: number for name, number in facts["packages"].items() if number is not None}
    assert dict(item.split(" ") for item in listed.split(", ")) == numbers
    assert {*filter(None, absent.split(", "))} == facts["packages"].keys() - numbers.keys()


def test_the_help_of_info_names_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--help"]) == 0
    page = capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    for name in facts:
        assert name in page
    assert {f"kernels.{name}" for name in facts["kernels"]} <= {*page.split()}


def test_without_rich_the_tables_are_plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    path = made_up_file(tmp_path / "run.json")
    assert main(["bench", "--show", str(path), "--pictures", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for table in tables(made_up()):
        assert plain(table) in shown
    assert main(["info"]) == 0
