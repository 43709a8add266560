"""Print the script by which a shell completes gpubp's commands, options and names."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["add_arguments", "columns", "files", "folders", "run", "words"]

SHELLS = ("bash", "zsh", "fish")

HOW = """\
where the script goes:
  bash: add this line to ~/.bashrc
      eval "$(gpubp completion bash)"
    or write the script once into the folder of bash-completion
      gpubp completion bash > ~/.local/share/bash-completion/completions/gpubp
  zsh: add these lines to ~/.zshrc
      autoload -U compinit && compinit
      eval "$(gpubp completion zsh)"
  fish: write the script once
      gpubp completion fish > ~/.config/fish/completions/gpubp.fish

New shells then complete commands, options, names, files and columns with Tab.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.epilog = HOW


def run(options: argparse.Namespace) -> int:
    """Print the script for a shell.

    Raises
    ------
    ImportError
        When argcomplete is not installed.
    """
    try:
        from argcomplete.shell_integration import shellcode  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("completion needs argcomplete; pip install 'gpubp[cli]'") from error
    print(shellcode(["gpubp"], shell=options.shell))
    return 0


def words(known: Iterable[str]) -> Callable[..., Iterable[str]]:
    """Make a completer of names."""

    def complete_words(**keywords: Any) -> Iterable[str]:
        return known

    return complete_words


def files(*suffixes: str) -> Callable[..., Iterable[str]]:
    """Make a completer of folders, and of files with these suffixes, such as ".json"; by default all."""

    def complete_files(prefix: str, **keywords: Any) -> Iterable[str]:
        typed, begun = os.path.split(prefix)
        try:
            entries = sorted(os.scandir(os.path.expanduser(typed) or "."), key=lambda e: e.name)
        except OSError:
            return
        for entry in entries:
            if not entry.name.startswith(begun) or (entry.name.startswith(".") and not begun):
                continue
            if entry.is_dir():
                yield os.path.join(typed, entry.name, "")
            elif not suffixes or entry.name.lower().endswith(suffixes):
                yield os.path.join(typed, entry.name)

    return complete_files


def columns(
    prefix: str, parsed_args: argparse.Namespace | None = None, **keywords: Any
) -> Iterable[str]:
    """Complete the name of a column of DATA, a text file or Parquet; it is slow for other files."""
    path = os.path.expanduser(getattr(parsed_args, "data", None) or "")
    suffix = os.path.splitext(path)[1].lower()
    if not os.path.isfile(path):
        return []
    if suffix in (".parquet", ".pq"):
        from polars import read_parquet_schema  # noqa: PLC0415 - only Parquet needs it

        return list(read_parquet_schema(path))
    if suffix not in (".csv", ".tsv", ".tab", ".txt"):
        return []
    import csv  # noqa: PLC0415 - few words need it

    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        line = file.readline(1 << 20)
    separator = max(",;\t|", key=line.count)
    return next(csv.reader([line], delimiter=separator), [])


folders = files("/")
"""The completer of folders: no file's name ends like this."""
