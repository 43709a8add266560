"""Other files that tell of the package (citation, recipe, workflows) agree with pyproject.toml."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def parsed(name: str) -> dict[Any, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    if not (ROOT / name).exists():
        pytest.skip(f"{name} is not in an sdist")
    loaded: dict[Any, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return loaded


def described(version: str, text: str = README) -> str:
    absolute = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["with_absolute_links"]
    found: str = absolute(text, PROJECT["urls"]["Source"], version)
    return found


# The version


def test_a_checkout_without_a_build_has_the_version_of_a_build_without_git(tmp_path: Path) -> None:
    (tmp_path / "gpubp/kernels").mkdir(parents=True)
    shutil.copy(ROOT / "gpubp/__init__.py", tmp_path / "gpubp")
    (tmp_path / "gpubp/kernels/__init__.py").touch()
    command = [sys.executable, "-c", "import gpubp; print(gpubp.__version__)"]

    def printed() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout.strip()

    fallback = PYPROJECT["tool"]["setuptools_scm"]["fallback_version"]
    assert printed() == fallback
    file = tmp_path / PYPROJECT["tool"]["setuptools_scm"]["version_file"]
    file.write_text("__version__ = '7.8.9'\n", encoding="utf-8")
    assert printed() == "7.8.9"


def test_the_version_of_a_checkout_without_a_build_is_not_below_the_last_release() -> None:
    fallback = numbers(PYPROJECT["tool"]["setuptools_scm"]["fallback_version"])
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+) ", changelog, re.MULTILINE)
    assert fallback >= max(map(numbers, released), default=(0, 0, 0))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


@pytest.mark.slow
def test_builds_know_the_version_from_git(tmp_path: Path) -> None:
    pytest.importorskip("setuptools_scm", reason="setuptools-scm is not installed")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", ".gitignore"):
        if not (ROOT / name).exists():
            pytest.skip(f"{name} is not in an sdist")
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "gpubp").mkdir()

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout.strip()

    def commit() -> None:
        run("git", "add", "--all")
        who = "-c", "user.name=nobody", "-c", "user.email=nobody"
        run("git", *who, "commit", "--quiet", "--allow-empty", "--message", "one")

    def version() -> str:
        return run(sys.executable, "-W", "ignore", "setup.py", "--quiet", "--version")

    run("git", "init", "--quiet")
    commit()
    assert re.fullmatch(r"0\.1\.0\.dev1\+g[0-9a-f]+", version())
    for tag in ("v0.1.0", "v0.2.0rc1"):
        commit()
        run("git", "tag", tag)
        assert version() == tag[1:]
    commit()
    assert re.fullmatch(r"0\.2\.0rc2\.dev1\+g[0-9a-f]+", version())
    written = (tmp_path / "gpubp/_version.py").read_text(encoding="utf-8")
    assert f"__version__ = version = '{version()}'" in written
    assert "_version.py" not in run("git", "status", "--short")


def test_a_build_without_isolation_has_all_that_a_build_needs() -> None:
    needed = PYPROJECT["build-system"]["requires"]
    before = PYPROJECT["tool"]["cibuildwheel"]["before-build"]
    extra = PROJECT["optional-dependencies"]["wheels"]
    for requirement in needed:
        name = re.split("[>=<]", requirement)[0]
        assert name in re.findall(r"[\w-]+", before)
        assert requirement in (*extra, *PROJECT["dependencies"])
        assert f"'{requirement}'" in before or requirement in PROJECT["dependencies"]


# The description on PyPI


def test_the_links_of_the_description_are_absolute() -> None:
    source = PROJECT["urls"]["Source"]
    links = re.findall(r"\]\(([^)]*)\)", README)
    relative = [link for link in links if not link.startswith(("http", "#"))]
    assert len(relative) > 10
    for version, revision in (
        ("0.2.0", "v0.2.0"), ("0.2.0rc1", "v0.2.0rc1"), ("0.1.0.dev0", "main"),
        ("0.2.1.dev3+g0123456", "main"),
    ):  # fmt: skip
        text = described(version)
        assert not re.findall(r"\]\((?!http|#)", text)
        assert not re.findall(r'(?:src|href)="(?!http|#)', text)
        for link in relative:
            assert re.search(rf"\]\({source}/(blob|raw)/{revision}/{re.escape(link)}\)", text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[a](b.md#c)", "[a]({}/blob/v1.0.0/b.md#c)"),
        ("[a\nb](./b.md)", "[a\nb]({}/blob/v1.0.0/b.md)"),
        ('[a](b.md "title")', '[a]({}/blob/v1.0.0/b.md "title")'),
        ("![a](b.png)", "![a]({}/raw/v1.0.0/b.png)"),
        ("[![a](b.png)](c.md)", "[![a]({0}/raw/v1.0.0/b.png)]({0}/blob/v1.0.0/c.md)"),
        ('<img alt="a" src="b.png">', '<img alt="a" src="{}/raw/v1.0.0/b.png">'),
        ('<a href="b.md"><img src="c.svg"></a>',
         '<a href="{0}/blob/v1.0.0/b.md"><img src="{0}/raw/v1.0.0/c.svg"></a>'),
        ("[a](https://b/c) [d](#e) [f](mailto:g@h)", "[a](https://b/c) [d](#e) [f](mailto:g@h)"),
    ],
)  # fmt: skip
def test_links_and_images_become_absolute(before: str, after: str) -> None:
    assert described("1.0.0", before) == after.format(PROJECT["urls"]["Source"])


# Other files


def test_the_urls_are_of_one_home() -> None:
    urls = PROJECT["urls"]
    home = urls["Homepage"]
    assert urls["Source"] == home
    assert urls["Issues"] == f"{home}/issues"
    assert urls["Changelog"] == f"{home}/blob/main/CHANGELOG.md"
    owner, name = home.removeprefix("https://github.com/").split("/")
    assert urls["Documentation"] == f"https://{owner}.github.io/{name}/"
    settings = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
    assert f'repository_url = "{home}"\n' in settings  # written out: Python 3.10 has no tomllib


def test_the_citation_agrees() -> None:
    cited = parsed("CITATION.cff")
    assert cited["title"] == PROJECT["name"]
    assert cited["abstract"] == PROJECT["description"]
    assert cited["license"] == PROJECT["license"]
    assert cited["url"] == PROJECT["urls"]["Documentation"]
    assert cited["repository-code"] == PROJECT["urls"]["Source"]
    assert cited["keywords"] == PROJECT["keywords"]
    names = [author["name"].lower() for author in cited["authors"]]
    assert names == [author["name"].lower() for author in PROJECT["authors"]]
    # The version is that of git's tags, so no file has another one to forget.
    assert {"version", "date-released"}.isdisjoint(cited)


def test_the_recipe_agrees() -> None:
    recipe = parsed("recipe/recipe.yaml")
    assert recipe["package"]["name"] == PROJECT["name"]
    needs = recipe["requirements"]
    assert {*PYPROJECT["build-system"]["requires"]} == {
        spaceless(one) for one in needs["host"] if one not in ("python", "pip")
    }
    python = f"python{PROJECT['requires-python']}"
    assert [spaceless(one) for one in needs["run"]] == [python, *PROJECT["dependencies"]]
    extras = PROJECT["optional-dependencies"]
    optional = {
        one.replace("matplotlib", "matplotlib-base")
        for extra in ("sklearn", "cli", "plot", "onnx")
        for one in extras[extra]
        if not one.startswith("gpubp[")
    }
    assert {spaceless(one) for one in needs["run_constraints"]} == optional
    about, urls = recipe["about"], PROJECT["urls"]
    assert about["license"] == PROJECT["license"]
    assert [about["license_file"]] == PROJECT["license-files"]
    assert about["summary"] == PROJECT["description"]
    assert about["homepage"] == urls["Homepage"]
    assert about["repository"] == urls["Source"]
    assert about["documentation"] == urls["Documentation"]


def spaceless(requirement: str) -> str:
    return requirement.replace(" ", "")


def test_each_supported_python_is_tested_and_told() -> None:
    told = [
        name.rpartition(" ")[2]
        for name in PROJECT["classifiers"]
        if re.search(r":: Python :: 3\.\d+$", name)
    ]
    assert f">={told[0]}" == PROJECT["requires-python"]
    built = PYPROJECT["tool"]["cibuildwheel"]["build"].split()
    assert built == [f"cp{version.replace('.', '')}-*" for version in told]
    release = parsed(".github/workflows/release.yml")
    assert release["jobs"]["smoke"]["strategy"]["matrix"]["python-version"] == told
    ci = parsed(".github/workflows/ci.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert sorted([*ci["python-version"], "3.11"]) == sorted(told)  # all of CI runs on 3.11


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_exists(path: Path) -> None:
    workflow = parsed(f".github/workflows/{path.name}")
    jobs = workflow["jobs"]
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for job in jobs.values():
        needs = job.get("needs", [])
        assert {*([needs] if isinstance(needs, str) else needs)} <= {*jobs}
        assert ("uses" in job) or job["timeout-minutes"] <= 90
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
        for step in job.get("steps", []):
            for target in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.MULTILINE):
                assert target in targets
            for name in re.findall(r"(?<![\w/])\.ci/[\w.]+", step.get("run", "")):
                assert (ROOT / name).is_file()
            if "uses" in step:
                assert re.search(r"@(v\d+|release/v\d+)$", step["uses"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_right_that_it_does_not_need(path: Path) -> None:
    workflow = parsed(f".github/workflows/{path.name}")
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        writes = {key for key, right in job.get("permissions", {}).items() if right == "write"}
        assert writes == {
            "pypi": {"id-token"}, "testpypi": {"id-token"}, "github": {"contents"},
            "pages": {"pages", "id-token"},
        }.get(name, set())  # fmt: skip
        # What may write runs nothing of the repository.
        if writes:
            assert not [step for step in job["steps"] if "checkout" in step.get("uses", "")]


def test_only_a_checked_tag_is_published() -> None:
    jobs = parsed(".github/workflows/release.yml")["jobs"]

    def before(name: str) -> set[str]:
        needs = jobs[name].get("needs", [])
        direct = {needs} if isinstance(needs, str) else set(needs)
        return direct.union(*map(before, direct))

    for name in ("pypi", "testpypi", "github", "pages"):
        assert before(name) >= {"changelog", "packages", "check", "smoke", "documentation"}
    assert jobs["pypi"]["if"] == "github.event_name == 'push'"
    assert jobs["testpypi"]["if"] == "github.event_name == 'workflow_dispatch'"
    assert {"pypi"} <= before("github") & before("pages")
