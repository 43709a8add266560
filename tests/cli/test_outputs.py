"""Outputs are checked before work begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpubp.cli import main
from gpubp.cli.outputs import check_output, check_output_folder


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_what_can_be_written_passes_and_nothing_changes(tmp_path: Path) -> None:
    old = tmp_path / "old.PNG"
    old.write_text("old")
    before = listing(tmp_path)
    check_output("--output", tmp_path / "new.png", (".png", ".svg"))
    check_output("--output", str(old), (".png",))
    check_output("--output", tmp_path / "new")
    check_output("--json", tmp_path / "new/folder/run.json", makes_folder=True)
    check_output_folder("--pictures", tmp_path)
    check_output_folder("--pictures", tmp_path / "new/folder")
    assert listing(tmp_path) == before and old.read_text() == "old"


def test_relative_paths_are_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_output("--output", "new.png")
    check_output("--json", "new/run.json", makes_folder=True)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^--json is file, but .*file is no folder$"):
        check_output("--json", "file/run.json", makes_folder=True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing/new.png", "--output is {}/missing/new.png, but there is no folder {}/missing"),
        ("file/new.png", "--output is {}/file/new.png, but there is no folder {}/file"),
        ("folder", "--output is {}/folder, a folder, expected a file"),
        ("new/", "--output is {}/new/, a folder, expected a file"),
        ("pipe", "--output is {}/pipe, a device or a pipe, expected a file"),
        (
            "new.txt",
            "--output is {}/new.txt, which has the suffix .txt, expected .pdf, .png or .svg",
        ),
        ("new", "--output is {}/new, which has no suffix, expected .pdf, .png or .svg"),
    ],
)
def test_what_cannot_be_written_is_told(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    if name == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no named pipes")
        os.mkfifo(tmp_path / "pipe")
    before = listing(tmp_path)
    with pytest.raises(ValueError) as raised:
        check_output("--output", f"{tmp_path}/{name}", (".pdf", ".png", ".svg"))
    assert str(raised.value) == told.replace("{}", str(tmp_path))
    assert listing(tmp_path) == before


def test_one_suffix_is_named_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"which has the suffix \.gz, expected \.json$"):
        check_output("--json", tmp_path / "run.json.gz", (".json",))


def test_a_folder_that_cannot_be_written_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**keywords: object) -> None:
        raise PermissionError(13, "Permission denied", keywords["dir"])

    monkeypatch.setattr("gpubp.cli.outputs.tempfile.TemporaryFile", refuse)
    told = (
        rf"^--output is in the folder {tmp_path}, which cannot be written to \(Permission denied\)$"
    )
    with pytest.raises(ValueError, match=told):
        check_output("--output", tmp_path / "new.png")


def test_proc_is_refused_even_for_root() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    with pytest.raises(ValueError, match="which cannot be written to"):
        check_output("--output", "/proc/new.png")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["demo", "--output", "missing/d.png"],
            "--output is missing/d.png, but there is no folder",
        ),
        (["demo", "--output", "d.txt"], "--output is d.txt, which has the suffix .txt, expected"),
        (["bench", "--quick", "--json", "folder"], "--json is folder, a folder, expected a file"),
        (["bench", "--quick", "--json", "file/r.json"], "--json is file, but"),
        (["bench", "--quick", "--pictures", "file"], "--pictures is file, but"),
        (["bench", "--first-call", "--json", "folder"], "--json is folder, a folder"),
        (["bench", "--estimators", "--json", "folder"], "--json is folder, a folder"),
    ],
)
def test_a_command_checks_its_outputs_first(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    before = listing(tmp_path)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and told in err and err.count("\n") == 1
    assert listing(tmp_path) == before
