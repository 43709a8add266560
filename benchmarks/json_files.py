"""JSON files of results: written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["read_json", "write_json"]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; after a failure the file is as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


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
