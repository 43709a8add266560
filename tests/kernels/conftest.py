"""Fixtures of the kernels' tests: short blocks, both dtypes, and a fake compiler with an empty cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_compiler import FakeCompiler, forget
from twins import BLOCK, DTYPES

from gpubp.kernels import blocks
from gpubp.kernels.cpu import texts


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the twins' blocks, so that little data fill several; no result may depend on it."""
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCompiler]:
    """Make a fake compiler the compiler, and an empty folder the cache's home."""
    fake = FakeCompiler(tmp_path / "native")  # a word of the flags must not be looked for in a path
    monkeypatch.setenv("CXX", str(fake.program))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", "0")
    monkeypatch.setattr(texts, "BASE", ("arithmetic.cpp",))
    forget()
    yield fake
    monkeypatch.undo()
    forget()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the cache folder, which the first compilation makes."""
    return tmp_path / "home/gpubp"
