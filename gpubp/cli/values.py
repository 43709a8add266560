"""Types of options: each checks the typed value, and its error names the option."""

from __future__ import annotations

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection
from pathlib import Path

from .parser import not_among

__all__ = ["BACKENDS", "backend", "file", "name_of", "number", "whole_number"]

BACKENDS = ("auto", "numpy", "cupy")


def whole_number(option: str, least: int, most: int | None = None) -> Callable[[str], int]:
    """Make the type of an option that is a whole number from `least` to `most`, if there is a most."""
    expected = f"at least {least}" if most is None else f"from {least} to {most}"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise ArgumentTypeError(f"{option} is {text}, expected a whole number {expected}")
        return value

    return convert


def number(option: str, above: float) -> Callable[[str], float]:
    """Make the type of an option that is a finite number above `above`."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not above < value < math.inf:
            raise ArgumentTypeError(f"{option} is {text}, expected a number above {above:g}")
        return value

    return convert


def name_of(option: str, known: Collection[str], kind: str = "") -> Callable[[str], str]:
    """Make the type of an option that is one of some names of a kind, such as "activation"."""

    def convert(text: str) -> str:
        if text not in known:
            raise ArgumentTypeError(not_among(option, text, known, kind))
        return text

    return convert


def file(option: str) -> Callable[[str], Path]:
    """Make the type of an option that is a file to write: no folder, as "models/" is."""

    def convert(text: str) -> Path:
        if text.endswith(("/", os.sep)):  # which Path would forget
            raise ArgumentTypeError(f"{option} is {text}, a folder, expected a file")
        return Path(text)

    return convert


def backend(text: str) -> str:
    """Check the value of --backend: auto, numpy, cupy, or cupy with the number of a device."""
    name, _, device = text.partition(":")
    if text not in BACKENDS and not (name == "cupy" and device.isdecimal()):
        raise ArgumentTypeError(not_among("--backend", text, BACKENDS, "backend"))
    return text
