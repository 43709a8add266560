"""Check a release, and make what it publishes beside the packages.

    python .ci/release.py check v0.2.0              # the tag has a section in CHANGELOG.md
    python .ci/release.py check v0.2.0 --dist dist  # and the files in dist/ are those of the release
    python .ci/release.py notes v0.2.0              # print the section
    python .ci/release.py recipe dist/gpubp-0.2.0.tar.gz --out recipe.yaml

`recipe` completes recipe/recipe.yaml, conda-forge's recipe, with the version and the hash of the sdist.
What is wrong is told in one sentence, and nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import tarfile
from datetime import date
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)(0|[1-9]\d*))?")
"""A version of a release or a pre-release."""

WHEELS = (
    "*manylinux_*_x86_64.whl",
    "*manylinux_*_aarch64.whl",
    "win_amd64.whl",
    "macosx_*_arm64.whl",
    "macosx_*_x86_64.whl",
)
"""A release has one wheel for each of these platforms."""

UNRELEASED = "0.0.0"
"""The version in the recipe of the repository. Its hash is all zeros."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("check", help="check the changelog, and the files of a release")
    command.add_argument("tag")
    command.add_argument("--dist", type=Path, help="the folder of the sdist and the wheels")
    command.set_defaults(run=lambda options: check(options.tag, options.dist))
    command = commands.add_parser("notes", help="print the changelog's section of a tag")
    command.add_argument("tag")
    command.set_defaults(run=lambda options: notes(options.tag))
    command = commands.add_parser("recipe", help="write the recipe of an sdist")
    command.add_argument("sdist", type=Path)
    command.add_argument("--out", type=Path, required=True, help="the file to write")
    command.set_defaults(run=lambda options: recipe(options.sdist, options.out))
    options = parser.parse_args()
    print(options.run(options))


def check(tag: str, dist: Path | None) -> str:
    """Check that a tag can be released, and the files in `dist` if that is given."""
    version = version_of(tag)
    sections = changelog()
    notes(tag)
    if sections.get("Unreleased"):
        raise SystemExit(
            f"CHANGELOG.md has entries under Unreleased, expected them in the section {version}"
        )
    if dist is None:
        return f"{version} can be built"
    check_files(version, dist)
    return f"{version} can be published"


def version_of(tag: str) -> str:
    """Return the version that a tag names."""
    if not tag.startswith("v") or not VERSION.fullmatch(tag[1:]):
        raise SystemExit(f"the tag is {tag!r}, expected one such as 'v0.2.0' or 'v0.2.0rc1'")
    return tag[1:]


def changelog() -> dict[str, str]:
    """Return the sections of CHANGELOG.md by their titles, such as "0.2.0 (2026-12-31)"."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles, bodies = (
        re.findall(r"^## +(.*?) *$", text, re.M),
        re.split(r"^## .*$", text, flags=re.M),
    )
    return {title: body.strip() for title, body in zip(titles, bodies[1:], strict=True)}


def notes(tag: str) -> str:
    """Return the text of a tag's section in the changelog."""
    version = version_of(tag)
    for title, body in changelog().items():
        name, _, when = title.partition(" ")
        if name != version:
            continue
        try:
            date.fromisoformat(when.removeprefix("(").removesuffix(")"))
        except ValueError:
            raise SystemExit(
                f"CHANGELOG.md has the section {title!r}, expected a date as in"
                f" '{version} (2026-12-31)'"
            ) from None
        if not body:
            raise SystemExit(f"the section {title!r} of CHANGELOG.md is empty, expected entries")
        return body
    raise SystemExit(
        f"CHANGELOG.md has no section '{version} (date)', expected one that tells what is new"
    )


def check_files(version: str, dist: Path) -> None:
    """Check that a folder has the sdist and the wheels of a version, and nothing else."""
    if not dist.is_dir():
        raise SystemExit(f"--dist is {str(dist)!r}, expected a folder")
    left = {path.name for path in dist.iterdir()}
    for pattern in (f"gpubp-{version}.tar.gz", *(f"gpubp-{version}-py3-none-{w}" for w in WHEELS)):
        found = [name for name in left if fnmatch(name, pattern)]
        if len(found) != 1:
            raise SystemExit(f"{dist} has {len(found)} files {pattern}, expected one")
        left -= set(found)
    if left:
        raise SystemExit(f"{dist} has {', '.join(sorted(left))}, expected only files of {version}")


def recipe(sdist: Path, out: Path) -> str:
    """Write the recipe with the version and the hash of an sdist."""
    try:
        content = sdist.read_bytes()
        with tarfile.open(sdist, "r:gz") as archive:
            (folder,) = {member.name.partition("/")[0] for member in archive}
    except (OSError, tarfile.TarError, ValueError) as error:
        raise SystemExit(f"{sdist} cannot be read, expected an sdist: {error}") from None
    version = folder.removeprefix("gpubp-")
    if not VERSION.fullmatch(version) or sdist.name != f"gpubp-{version}.tar.gz":
        raise SystemExit(f"{sdist.name} holds {folder}, expected the sdist of a release")
    text = (ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8")
    for name, old, new in (
        ("version", f'"{UNRELEASED}"', f'"{version}"'),
        ("sha256", f'"{"0" * 64}"', hashlib.sha256(content).hexdigest()),
    ):
        before = f"{name}: {old}"
        if text.count(before) != 1:
            raise SystemExit(f"recipe/recipe.yaml has not one line '{before}', expected one")
        text = text.replace(before, f"{name}: {new}")
    temporary = out.with_name(f"{out.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SystemExit(f"{out} cannot be written: {error.strerror}") from None
    return f"{out}: the recipe of {version}"


if __name__ == "__main__":
    main()
