"""Print a trace: as wide as the terminal, and in a terminal with colours if rich is installed."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Any

from .text import LEAST_WIDTH, Line, lines_of
from .trace import Trace

__all__ = ["show"]

STYLES = {"title": "bold", "pass": "bold cyan", "step": "bold", "equation": "green"}
"""rich's styles of the lines."""


def show(trace: Trace, file: Any, digits: int) -> None:
    """Print a trace to a file; see `Trace.show`."""
    width = max(LEAST_WIDTH, shutil.get_terminal_size((100, 24)).columns)
    lines = lines_of(trace, digits, width)
    if file.isatty() and find_spec("rich") is not None:
        _in_colours(lines, file, width)
        return
    for line, _ in lines:
        print(_known(line, file), file=file)


def _known(line: str, file: Any) -> str:
    """Replace what the file's encoding does not have, such as ⊙ in that of an old terminal."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


def _in_colours(lines: list[Line], file: Any, width: int) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=file, highlight=False, width=width)
    for line, kind in lines:
        text = Text(_known(line, file), style=STYLES.get(kind, ""), no_wrap=True)
        console.print(text, soft_wrap=True)
