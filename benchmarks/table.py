"""Tables of text, and how they are printed: with rich if it is installed, as plain text, or in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .results import Spread

__all__ = ["Table", "duration", "figures", "markdown", "noise", "plain", "show"]


@dataclass
class Table:
    """A table of text.

    Attributes
    ----------
    title : str
        The line above the table.
    header : list of str
        Titles of the columns.
    rows : list of list of str
        A cell for each column. The fastest time of a row begins with "*".
    notes : list of str
        Lines under the table.
    """

    title: str
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def noise(taken: Spread) -> str:
    """Show half the interquartile range, relative to the median."""
    return f"±{100 * (taken.high - taken.low) / 2 / taken.median:.0f}%"


def duration(seconds: float) -> str:
    """Show a time with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{figures(seconds / size)} {unit}"
    return f"{figures(seconds * 1e6)} µs"


def figures(value: float) -> str:
    """Show three significant digits, never in powers of ten."""
    rounded = float(f"{value:.2e}")
    digits = 2 - math.floor(math.log10(rounded)) if value > 0 else 0
    return f"{value:.{min(max(digits, 0), 3)}f}"


def show(report: Sequence[Table], write: Callable[[str], None] = print) -> None:
    """Print the tables, with rich if it is installed."""
    try:
        from rich.console import Console  # noqa: PLC0415
    except ImportError:
        for table in report:
            write(plain(table))
        return

    class PassingConsole(Console):
        """A console that leaves a closed pipe to the caller; rich's ends the process."""

        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError

    console = PassingConsole()
    # A wide table that a pager can scroll is better than one that is squeezed into the screen.
    console.width = max(console.width, 100 if console.is_terminal else 1000)
    for table in report:
        console.print(_rich(table))
        for line in table.notes:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print()


def _rich(table: Table) -> Any:
    from rich import box, text  # noqa: PLC0415
    from rich import table as rich_table  # noqa: PLC0415

    title = text.Text(table.title, style="bold")
    if not table.header:
        return title
    drawn = rich_table.Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    words = table.header[0] == "contender"
    for k, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if words or k == 0 else "right", overflow="fold")
    for row in table.rows:
        cells = []
        for cell in row:
            style = "green" if cell.startswith("*") else "red" if cell == "ERROR" else ""
            cells.append(text.Text(cell.removeprefix("*"), style=f"bold {style}" if style else ""))
        drawn.add_row(*cells)
    return drawn


def plain(table: Table) -> str:
    """Lay out the table with spaces; * marks the fastest time."""
    lines = [table.title]
    if table.header:
        body = [table.header, *table.rows]
        widths = [max(len(row[k]) for row in body) for k in range(len(table.header))]
        for row in body:
            cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *table.notes, ""])


def markdown(table: Table) -> str:
    """Write the table in Markdown; the fastest time is bold."""
    lines = [f"**{table.title}**", ""]
    if table.header:
        lines.append(f"| {' | '.join(table.header)} |")
        lines.append(f"|{'---|' * len(table.header)}")
        for row in table.rows:
            cells = [f"**{cell[1:]}**" if cell.startswith("*") else cell for cell in row]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for note in table.notes:
        lines += [f"- {note}"]
    return "\n".join([*lines, ""] if table.notes else lines)
