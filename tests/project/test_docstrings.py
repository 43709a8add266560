"""Public names are documented: their examples run, and their parameters are those of their signatures."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from running_examples import run_examples, tells_of_a_missing_library

import gpubp

MODULES = (
    "gpubp",
    "gpubp.schedules",
    "gpubp.training",
    "gpubp.estimators",
    "gpubp.tables",
    "gpubp.torch",
    "gpubp.exchange",
    "gpubp.kernels",
    "gpubp.backends",
)
"""The modules whose `__all__` is public."""

ENGINE = ("Steps", "Verbs")
"""The parts of `Backend` that gpubp's engine calls; `gpubp/backends/base.py` describes them."""

WITHOUT_EXAMPLE = {
    "gpubp.Callback.on_*": "hooks, which subclasses override: the example of the class shows how",
}
"""Patterns of the names that may have no example, and why."""

PACKAGE = Path(gpubp.__path__[0])


class Documented(NamedTuple):
    """A function, class, method or property that does not inherit its docstring."""

    name: str
    thing: Any
    is_property: bool


def listed(module: str) -> list[str]:
    """Read `__all__` of a module without importing it: some need libraries, or take seconds."""
    folder = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = [folder / "public.py"] * (module == "gpubp")
    candidates += [folder / "__init__.py", folder.with_suffix(".py")]
    path = next(path for path in candidates if path.exists())
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no __all__")


def public_names() -> list[str]:
    """All names with their modules; of a name in several modules the first."""
    found: dict[str, str] = {}
    for module in MODULES:
        for name in listed(module):
            found.setdefault(name, module)
    return [f"{module}.{name}" for name, module in found.items()]


NAMES = public_names()
every_public_name = pytest.mark.parametrize("name", NAMES)


def find(name: str) -> Any:
    """Return what has this name, or skip the test if a library is missing."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if not tells_of_a_missing_library(error):
            raise
        pytest.skip(f"{module} needs what is not installed: {error}")


def documented(name: str, thing: Any) -> Iterator[Documented]:
    """Yield what is public: the thing and, of a class, the members whose docstring is not inherited."""
    if inspect.ismodule(thing):
        yield Documented(name, thing, False)
    elif not str(getattr(thing, "__module__", "")).startswith("gpubp"):
        return  # a constant, or a type of another library
    elif inspect.isclass(thing) or inspect.isroutine(thing):
        yield Documented(name, thing, False)
    if inspect.isclass(thing):
        for member in dir(thing):
            if not member.startswith("_"):
                yield from _member(name, thing, member)


def _member(name: str, owner: type, member: str) -> Iterator[Documented]:
    static = inspect.getattr_static(owner, member)
    made_in = next(kind for kind in owner.__mro__ if member in vars(kind))
    public = {each.rpartition(".")[2] for each in NAMES}
    if made_in is not owner and made_in.__name__ in (*public, *ENGINE):
        return  # it is checked there, or is no user's
    if isinstance(static, property | cached_property):
        function, value = getattr(static, "fget", None) or getattr(static, "func", None), static
    else:
        value = function = getattr(owner, member)
        if not callable(value) or inspect.isclass(value):
            return
    module = getattr(inspect.unwrap(function), "__module__", None) or ""
    inherits_its_docstring = not value.__doc__ and inspect.getdoc(value)
    if module.startswith("gpubp") and not inherits_its_docstring:
        yield Documented(f"{name}.{member}", value, value is not function)


def examples(documented: Documented) -> doctest.DocTest | None:
    finder = doctest.DocTestFinder(recurse=False)
    # Without names of the module: a reader can paste an example, which imports what it uses.
    found = finder.find(documented.thing, documented.name, globs={"__name__": "__main__"})
    return found[0] if found and found[0].examples else None


def excused(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in WITHOUT_EXAMPLE)


@every_public_name
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUBP_BACKEND", "numpy")
    found = [examples(one) for one in documented(name, find(name))]
    run_examples([test for test in found if test is not None])


@every_public_name
def test_every_function_class_and_method_has_an_example(name: str) -> None:
    without = []
    for one in documented(name, find(name)):
        test = examples(one)
        shows = test is not None and any(example.want for example in test.examples)
        if not (shows or one.is_property or excused(one.name)):
            without.append(one.name)
    assert without == []


@every_public_name
def test_an_example_is_skipped_only_for_a_cuda_machine(name: str) -> None:
    for one in documented(name, find(name)):
        test = examples(one)
        for example in test.examples if test is not None else ():
            assert doctest.SKIP not in example.options or "CUDA" in example.source, example.source


@every_public_name
def test_parameters_are_those_of_the_signature(name: str) -> None:
    scrape = pytest.importorskip("numpydoc.docscrape", reason="numpydoc is not installed")
    for one in documented(name, find(name)):
        if not (one.is_property or inspect.ismodule(one.thing)):
            told = scrape.NumpyDocString(inspect.getdoc(one.thing) or "")
            assert parameters(told["Parameters"]) == expected(one.thing, told), one.name


def parameters(section: Any) -> list[str]:
    """The names of a section of parameters; "l1, l2 : float" tells of two."""
    return [name.strip().lstrip("*") for item in section for name in item.name.split(",")]


def expected(thing: Callable[..., Any], told: Any) -> list[str]:
    try:
        signature = [name for name in inspect.signature(thing).parameters if name != "self"]
    except ValueError:  # of an exception, which has none
        return []
    # What only gpubp makes, such as a result, tells of its attributes alone.
    attributes = parameters(told["Attributes"])
    fields = {name.lstrip("_") for name in signature}
    made_by_gpubp = inspect.isclass(thing) and not told["Parameters"]
    if made_by_gpubp and (fields <= {*attributes, "message", "args", "kwargs"}):
        return []
    return signature


def test_names_in_several_modules_are_the_same() -> None:
    found = [(name, module) for module in MODULES for name in listed(module)]
    for name, module in found:
        first = next(where for same, where in found if same == name)
        if first != module:
            assert find(f"{module}.{name}") is find(f"{first}.{name}")


def test_exceptions_are_public_methods_without_an_example() -> None:
    for pattern in WITHOUT_EXAMPLE:
        owners = [name for name in NAMES if pattern.startswith(name)]
        members = [one for name in owners for one in documented(name, find(name))]
        matching = [one for one in members if fnmatchcase(one.name, pattern)]
        assert matching and [one.name for one in matching if examples(one)] == []


def examples_of_constants() -> Iterator[doctest.DocTest]:
    """Find the examples below the assignments of constants, which doctest does not see."""
    parser = doctest.DocTestParser()
    for path in sorted({*PACKAGE.rglob("*.py"), *(PACKAGE / "kernels").glob("*.py")}):
        for assignment, text in pairwise(ast.parse(path.read_text(encoding="utf-8")).body):
            told = ast.literal_eval(text.value) if is_text(text) else ""
            if isinstance(assignment, ast.Assign | ast.AnnAssign) and ">>>" in told:
                name = ast.unparse(getattr(assignment, "target", None) or assignment.targets[0])
                told, names = inspect.cleandoc(told), {"__name__": "__main__"}
                yield parser.get_doctest(told, names, name, str(path), text.lineno)


def is_text(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Expr) and isinstance(getattr(value, "value", None), str)


def test_examples_of_constants_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tests = [*examples_of_constants()]
    constants = {"ACTIVATIONS", "COSTS", "FORMATS", "PRECISIONS", "SOFTMAX", "UPDATES"}
    assert constants <= {test.name for test in tests}
    run_examples(tests)


def test_the_reference_lists_every_public_name() -> None:
    folder = PACKAGE.parent / "docs/reference"
    if not folder.is_dir():
        pytest.skip("gpubp is not tested in its checkout: there is no docs/reference")
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.rst"))
    told = set(re.findall(r"^(?:   |\.\. autodata:: [\w.]+\.)(\w+)$", text, re.MULTILINE))
    told.add("schedules")  # a module: its names have entries
    assert [name for name in NAMES if name.rpartition(".")[2] not in told] == []
