"""The compiled kernels and the runtime of shards, built with gcc's sanitizers.

They run in Python, which is not instrumented. The sanitizers see the kernels' memory accesses, and the
locks of all libraries. They do not see how OpenBLAS's own threads wait for each other, so the program only
makes steps, in which BLAS has one thread.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environment import LONG

PROGRAM = Path(__file__).with_name("sanitized_steps.py")
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so", "undefined": "libubsan.so"}
QUICK = "--param asan-instrumentation-with-call-threshold=0"
"""The flag with which gcc checks addresses by calls: without it, it takes a minute for the largest text."""
FAULTS = [
    # Gradients are added beyond their end; so are costs of columns; a step does not wait for its shards; a
    # number of steps overflows.
    ("address", r"s/i < s\[2\].integer; ++i) out/i < 4096 + s[2].integer; ++i) out/"),
    ("address", r"s/i < rows; ++i) out\[i\] += cost/i < rows + 4096; ++i) out[i] += cost/"),
    ("thread", r"s/while (!spin(std::chrono::microseconds(500), ready)) {}//"),
    ("undefined", r"s/int64_t done = 0;/int64_t done = INT64_MAX;/"),
]
SAYS = {"address": "AddressSanitizer", "thread": "data race", "undefined": "runtime error"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LONG, reason="the sanitizers are part of the long form of the tests"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's LD_PRELOAD"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]


def run_sanitized(sanitizer: str, folder: Path, edit: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program with kernels that the sanitizer watches; `edit` is sed's, on the kernels' text."""
    runtime = RUNTIMES[sanitizer]
    found = subprocess.run(
        ["g++", f"-print-file-name={runtime}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if found == runtime:
        pytest.skip(f"g++ has no {runtime}")
    compiler = folder / "g++"
    compiler.write_text(
        "#!/bin/sh\n"
        f'for file; do case $file in *.cpp) sed -i "{edit}" "$file";; esac; done\n'
        f'exec g++ "$@" -O1 -g -fsanitize={sanitizer} -fno-sanitize-recover=all {QUICK}\n'
    )
    compiler.chmod(0o700)
    # Addresses that are too random end gcc's thread sanitizer.
    fixed_addresses = ["setarch", "-R"] if shutil.which("setarch") else []
    return subprocess.run(
        [*fixed_addresses, sys.executable, str(PROGRAM)],
        env={
            **os.environ,
            "CXX": str(compiler),
            "XDG_CACHE_HOME": str(folder),
            "LD_PRELOAD": found,
            "ASAN_OPTIONS": "detect_leaks=0",
            "TSAN_OPTIONS": "exitcode=66 halt_on_error=1",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("sanitizer", RUNTIMES)
def test_steps_of_several_threads_have_no_fault_that_a_sanitizer_sees(
    sanitizer: str, tmp_path: Path
) -> None:
    said = run_sanitized(sanitizer, tmp_path)
    assert (said.returncode, said.stdout, said.stderr) == (0, "ended\n", "")


@pytest.mark.parametrize(("sanitizer", "fault"), FAULTS)
def test_the_sanitizer_sees_a_planted_fault(sanitizer: str, fault: str, tmp_path: Path) -> None:
    said = run_sanitized(sanitizer, tmp_path, fault)
    assert said.returncode != 0
    assert SAYS[sanitizer] in said.stderr
