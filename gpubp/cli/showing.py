"""Tables and lines for a terminal or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["Notes", "show_pairs", "show_table"]


class Notes:
    """Prints notes to standard error, unless the user wants quiet."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def __call__(self, *lines: str) -> None:
        """Print lines."""
        if not self._quiet:
            for line in lines:
                print(line, file=sys.stderr, flush=True)


def show_pairs(pairs: Sequence[tuple[str, str]], file: Any = None) -> None:
    """Print names and what is said of them, in two columns."""
    width = max(len(name) for name, _ in pairs)
    for name, told in pairs:
        print(f"{name:{width}}  {told}", file=file or sys.stdout, flush=True)


def show_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: Sequence[int] = (0,),
    file: Any = None,
) -> None:
    """Print a table: with lines and colours in a terminal, else as plain text.

    Parameters
    ----------
    header : sequence of str
        The names of the columns.
    rows : sequence of sequence of str
        The cells.
    texts : sequence of int, default (0,)
        The numbers of the columns that are text, and begin at the left.
    file : file, optional
        Where to print; by default standard output.
    """
    file = file or sys.stdout
    if file.isatty() and find_spec("rich") is not None:
        _rich_table(header, rows, texts, file)
        return
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if k in texts else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), file=file, flush=True)


def _rich_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int], file: Any
) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(header):
        table.add_column(escape(name), justify="left" if k in texts else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(file=file, highlight=False).print(table)
