"""Print a trace: as wide as the terminal, and in a terminal with colours if rich is installed."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from typing import Any

from ..kernels.messages import shown
from .text import LEAST_WIDTH, Line, lines_of
from .trace import Trace

__all__ = ["show"]

STYLES = {"title": "bold", "pass": "bold cyan", "step": "bold", "equation": "green"}
"""rich's styles of the lines."""

IN_COLUMNS = dict(
    zip(
        "⎡⎢⎣⎤⎥⎦─…·⊙∂δσ′ᵀ⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉",
        "[[[]]]-~**dds'T01234567890123456789",
        strict=True,
    )
)
IN_SENTENCES = {"Σ": "sum", "η": "eta", "Φ": "Phi", "π": "pi", "√": "sqrt", "½": "1/2", "←": "<-"}
STAND_INS = IN_COLUMNS | IN_SENTENCES
"""What stands for letters that an encoding lacks. Those in columns have stand-ins of the same width."""

SUPERSCRIPTS = set("⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ")


def show(trace: Trace, file: Any, digits: int) -> None:
    """Print a trace to a file; see `Trace.show`."""
    if not hasattr(file, "write"):
        raise ValueError(f"file is {shown(file)}, expected a file of text")
    width = max(LEAST_WIDTH, shutil.get_terminal_size((100, 24)).columns)
    lines = [(_known(line, kind, file), kind) for line, kind in lines_of(trace, digits, width)]
    is_terminal = hasattr(file, "isatty") and file.isatty()
    if is_terminal and find_spec("rich") is not None:
        _in_colours(lines, file, width)
        return
    for line, _ in lines:
        print(line, file=file)


def _known(line: str, kind: str, file: Any) -> str:
    """Replace letters that the file's encoding does not have, as that of an old terminal."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    lacking = {letter for letter in line if not letter.encode(encoding, "ignore")}
    if not lacking:
        return line
    superscripts = "".join(lacking & SUPERSCRIPTS)
    if superscripts and kind != "numbers":  # (y - a)^2, for which columns have no room
        line = re.sub(f"[{superscripts}]+", r"^\g<0>", line)
    return "".join(STAND_INS.get(letter, "?") if letter in lacking else letter for letter in line)


def _in_colours(lines: list[Line], file: Any, width: int) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=file, highlight=False, width=width)
    for line, kind in lines:
        text = Text(line, style=STYLES.get(kind, ""), no_wrap=True)
        console.print(text, soft_wrap=True)
