"""CUDA text: the files of this folder, and functions made from the bodies of table entries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

__all__ = ["device_function", "text_of"]


@cache
def text_of(file: str) -> str:
    """Read a file of this folder."""
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


def device_function(
    name: str, arguments: str, body: str, constants: Mapping[str, float] | None = None
) -> str:
    """Return CUDA text of the function `template <typename T> T name(T argument, ...)` with this body."""
    head = ", ".join(f"T {argument}" for argument in arguments.split())
    declared = " ".join(
        f"const T {key} = T({value!r});" for key, value in (constants or {}).items()
    )
    return f"template <typename T> __device__ __forceinline__ T {name}({head}) {{ {declared} {body} }}\n"
