"""Measure training and prediction side by side with what else is installed."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmark."""


def run(options: argparse.Namespace) -> int:
    """Placeholder."""
    raise RuntimeError("not built yet")
