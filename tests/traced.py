"""The memory that Python's arrays and objects need, for tests that bound it."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def traced_memory() -> Iterator[None]:
    """Return a context in which `tracemalloc` traces.

    Emulated devices of earlier tests need memory when they are freed, so they are freed before.
    """
    gc.collect()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
