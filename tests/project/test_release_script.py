"""What `.ci/release.py` checks before a release, and what it writes for one."""

from __future__ import annotations

import hashlib
import io
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 (2026-12-31)

- An entry
  of two lines.

Changed names: none.

## 0.2.0rc1 (2026-12-24)

## 0.1.0 (soon)

- The first.
"""
FILES = (
    "gpubp-0.2.0.tar.gz",
    "gpubp-0.2.0-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    "gpubp-0.2.0-py3-none-manylinux_2_28_aarch64.whl",
    "gpubp-0.2.0-py3-none-win_amd64.whl",
    "gpubp-0.2.0-py3-none-macosx_11_0_arm64.whl",
    "gpubp-0.2.0-py3-none-macosx_11_0_x86_64.whl",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the script, a changelog, and the recipe."""
    for name in (".ci/release.py", "recipe/recipe.yaml"):
        if not (ROOT / name).exists():
            pytest.skip(f"{name} is not in an sdist")
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    return tmp_path


def told(checkout: Path, *words: str | Path, fails: bool = False) -> str:
    """Run the script; return what it prints, or the sentence with which it ends."""
    command = [sys.executable, checkout / ".ci/release.py", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=checkout
    )
    assert done.returncode == int(fails), done.stderr
    assert (done.stdout if fails else done.stderr) == ""
    return (done.stderr if fails else done.stdout).rstrip("\n")


def dist(checkout: Path, *names: str) -> Path:
    folder = checkout / "dist"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_the_notes_are_the_section_of_the_tag(checkout: Path) -> None:
    expected = "- An entry\n  of two lines.\n\nChanged names: none."
    assert told(checkout, "notes", "v0.2.0") == expected


def test_a_tag_with_a_section_and_all_files_can_be_published(checkout: Path) -> None:
    assert told(checkout, "check", "v0.2.0") == "0.2.0 can be built"
    folder = dist(checkout, *FILES)
    assert told(checkout, "check", "v0.2.0", "--dist", folder) == "0.2.0 can be published"


@pytest.mark.parametrize(
    ("tag", "sentence"),
    [
        ("0.2.0", "the tag is '0.2.0', expected one such as 'v0.2.0' or 'v0.2.0rc1'"),
        ("v0.2", "the tag is 'v0.2', expected one such as 'v0.2.0' or 'v0.2.0rc1'"),
        ("v0.2.0-rc1", "the tag is 'v0.2.0-rc1', expected one such as 'v0.2.0' or 'v0.2.0rc1'"),
        ("v0.2.00", "the tag is 'v0.2.00', expected one such as 'v0.2.0' or 'v0.2.0rc1'"),
        ("v0.3.0", "CHANGELOG.md has no section '0.3.0 (date)', expected one that tells what is new"),
        ("v0.2.0rc1",
         "the section '0.2.0rc1 (2026-12-24)' of CHANGELOG.md is empty, expected entries"),
        ("v0.1.0", "CHANGELOG.md has the section '0.1.0 (soon)', expected a date as in"
                   " '0.1.0 (2026-12-31)'"),
    ],
)  # fmt: skip
def test_a_tag_that_cannot_be_released_is_refused(checkout: Path, tag: str, sentence: str) -> None:
    assert told(checkout, "check", tag, fails=True) == sentence
    assert told(checkout, "notes", tag, fails=True) == sentence


def test_entries_that_are_in_no_section_are_refused(checkout: Path) -> None:
    text = CHANGELOG.replace("Unreleased\n", "Unreleased\n\n- Forgotten.\n")
    (checkout / "CHANGELOG.md").write_text(text, encoding="utf-8")
    assert told(checkout, "check", "v0.2.0", fails=True) == (
        "CHANGELOG.md has entries under Unreleased, expected them in the section 0.2.0"
    )


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_refused(checkout: Path, missing: str) -> None:
    folder = dist(checkout, *(name for name in FILES if name != missing))
    sentence = told(checkout, "check", "v0.2.0", "--dist", folder, fails=True)
    assert sentence.startswith(f"{folder} has 0 files gpubp-0.2.0")
    assert sentence.endswith(", expected one")


@pytest.mark.parametrize("other", ["gpubp-0.2.1.tar.gz", "gpubp-0.2.0-py3-none-any.whl"])
def test_a_file_that_does_not_belong_to_the_release_is_refused(checkout: Path, other: str) -> None:
    folder = dist(checkout, *FILES, other)
    assert told(checkout, "check", "v0.2.0", "--dist", folder, fails=True) == (
        f"{folder} has {other}, expected only files of 0.2.0"
    )


def sdist(path: Path, folder: str) -> Path:
    content = b"Name: gpubp"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"{folder}/PKG-INFO")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_the_recipe_has_the_version_and_the_hash_of_the_sdist(checkout: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    path, out = sdist(checkout / "gpubp-0.2.0.tar.gz", "gpubp-0.2.0"), checkout / "out.yaml"
    assert told(checkout, "recipe", path, "--out", out) == f"{out}: the recipe of 0.2.0"
    ours = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8"))
    made = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert made["context"]["version"] == "0.2.0"
    assert made["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    ours["context"], ours["source"] = made["context"], made["source"]
    assert made == ours


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("gpubp-0.2.0.tar.gz", "gpubp-0.2.1"),
        ("gpubp-0.1.0.dev5.tar.gz", "gpubp-0.1.0.dev5"),
        ("other.tar.gz", "gpubp-0.2.0"),
    ],
)
def test_no_recipe_is_written_of_what_is_no_release(checkout: Path, name: str, folder: str) -> None:
    path, out = sdist(checkout / name, folder), checkout / "out.yaml"
    assert told(checkout, "recipe", path, "--out", out, fails=True) == (
        f"{name} holds {folder}, expected the sdist of a release"
    )
    assert not out.exists()


def test_what_cannot_be_read_or_written_is_told_in_one_sentence(checkout: Path) -> None:
    no_sdist, out = checkout / "CHANGELOG.md", checkout / "out.yaml"
    for path in (no_sdist, checkout / "missing.tar.gz"):
        sentence = told(checkout, "recipe", path, "--out", out, fails=True)
        assert sentence.startswith(f"{path} cannot be read, expected an sdist: ")
        assert "\n" not in sentence and not out.exists()
    path = sdist(checkout / "gpubp-0.2.0.tar.gz", "gpubp-0.2.0")
    assert told(checkout, "recipe", path, "--out", checkout / "no" / "out.yaml", fails=True) == (
        f"{checkout / 'no' / 'out.yaml'} cannot be written: No such file or directory"
    )
    assert told(checkout, "recipe", path, "--out", checkout / "recipe", fails=True) == (
        f"{checkout / 'recipe'} cannot be written: Is a directory"
    )
    assert list(checkout.rglob("*.part")) == []


def test_the_changelog_of_the_repository_can_be_read() -> None:
    if not (ROOT / ".ci").exists():
        pytest.skip(".ci is not in an sdist")
    sections = runpy.run_path(str(ROOT / ".ci/release.py"))["changelog"]()
    assert next(iter(sections)) == "Unreleased"
