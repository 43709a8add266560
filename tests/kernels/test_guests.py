"""Kernels that are compiled for another processor or system, or run in another process: the guest.

With GPUBP_TEST_LONG=1 each guest runs a selection of the tests in a session of its own: kernels against
formulas and NumPy, for every entry of a table, and steps against the NumPy twins. `make package` does so
with the libraries of wheels.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from environment import GUEST, LONG
from support.guest.process import GuestError
from support.guest.stand_ins import Guests
from support.guest.targets import TARGETS

from gpubp.kernels.cpu import build
from gpubp.kernels.cpu.texts import joined

pytestmark = [
    pytest.mark.skipif(not build.made_by(), reason="no C++ compiler: install g++"),
    pytest.mark.skipif(bool(GUEST), reason="this session runs in a guest"),
]

TESTS = Path(__file__).parent.parent

OF_THE_GUEST = (
    "kernels/test_calls.py",
    "kernels/test_columns.py::test_rows_are_gathered_and_written_back",
    "kernels/test_sparse_products.py::test_a_captured_product_reads_the_rows_of_each_replay",
    "backends/test_layouts.py::test_one_seed_gives_one_result_with_any_layout_of_results",
)
LONG_FORM = (
    *("kernels/test_calls.py", "kernels/test_columns.py", "kernels/test_vector_math.py"),
    *("kernels/test_activations.py", "kernels/test_costs.py", "kernels/test_updates.py"),
    *("kernels/test_sparse_products.py", "kernels/test_rows.py", "kernels/test_compiled.py"),
    *("kernels/test_dropout_masks.py", "backends/test_layouts.py", "network/test_sparse_rows.py"),
    *("training/test_sparse_training.py", "training/test_epochs_at_once.py"),
)
OF_LAUNCHES = "half_precision or fused_end or end_of_a_step or fused_update or stop_within"
"""The tests in these files that examine launches on a GPU, and one that waits for a long epoch."""

KERNEL = """
KERNEL(own) {  // out, place
    array<T>(s[0])[s[1].integer] =
#if defined(_WIN32)
        2;
#elif defined(__aarch64__)
        3;
#else
        1;
#endif
}
"""
THIS = 3 if platform.machine() in ("aarch64", "arm64") else 1


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if TARGETS[name].missing:
        pytest.skip(TARGETS[name].missing)
    return name


@pytest.fixture
def guests(target: str) -> Iterator[Guests]:
    guests = Guests(target)
    yield guests
    guests.end()


def test_a_guest_runs_kernels_compiled_for_it(target: str, guests: Guests) -> None:
    library, out = guests.library([joined(KERNEL)]), np.zeros(3)
    library.call("own_double", out, 1)
    assert out.tolist() == [0, {"aarch64": 3, "windows": 2}.get(target, THIS), 0]
    with pytest.raises(AttributeError, match="own_half"):
        library.call("own_half", out, 1)


def test_a_kernel_that_writes_outside_its_arrays_is_found(guests: Guests) -> None:
    library = guests.library([joined(KERNEL)])
    for place in (-1, 5):
        with pytest.raises(GuestError, match="a kernel wrote outside its arrays"):
            library.call("own_double", np.zeros(5), place)


def test_after_a_guest_has_ended_another_one_starts(guests: Guests) -> None:
    library, out = guests.library([joined(KERNEL)]), np.zeros(3)
    with pytest.raises(GuestError, match="the guest ended with status"):
        library.call("own_double", None, 0)
    library.call("own_double", out, 1)
    assert out.any()


@pytest.mark.slow
def test_kernels_and_steps_are_right_in_a_guest(target: str) -> None:
    if target != "native" and not LONG:
        pytest.skip("guests of other processors are part of the long form of the tests")
    tests = LONG_FORM if LONG else OF_THE_GUEST
    options = "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", f"not ({OF_LAUNCHES})"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=TESTS,
        env={**os.environ, "GPUBP_TEST_GUEST": target},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout, done.stdout[-5000:]
