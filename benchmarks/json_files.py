"""JSON files of results: written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..files.whole import write_whole

__all__ = ["read_json", "read_results", "write_json"]

R = TypeVar("R")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; after a failure, or Ctrl-C, the file is as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=1).encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not JSON.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}, expected results that gpubp bench wrote")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def read_results(path: Path, schema: object, command: str, convert: Callable[[Any], R]) -> R:
    """Read results that a command wrote, and convert them.

    Parameters
    ----------
    path : Path
        The file.
    schema : object
        What its entry "schema" must be.
    command : str
        The command that writes such files.
    convert : callable
        A function that makes the results of the other entries.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file holds something else.
    """
    try:
        read = read_json(path)
        if read.pop("schema") != schema:
            raise ValueError("another schema")
        return convert(read)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds no results of {command} ({error})") from None
