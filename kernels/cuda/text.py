"""CUDA text: files of this folder, and functions around the bodies of table entries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

__all__ = ["device_function", "text_of"]


@cache
def text_of(file: str) -> str:
    """The text of a file of this folder."""
    return (resources.files(__package__) / file).read_text(encoding="utf-8")


def device_function(
    name: str, arguments: str, body: str, constants: Mapping[str, float] | None = None
) -> str:
    """CUDA text of `template <typename T> T name(T argument, ...)` around `body`."""
    head = ", ".join(f"T {argument}" for argument in arguments.split())
    declared = " ".join(
        f"const T {key} = T({value!r});" for key, value in (constants or {}).items()
    )
    return f"template <typename T> __device__ __forceinline__ T {name}({head}) {{ {declared} {body} }}\n"
