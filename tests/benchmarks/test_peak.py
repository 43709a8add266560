"""The arithmetic peak, and a processor that is named in CXX."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import made_up
from threadpoolctl import threadpool_info

from gpubp.benchmarks import peak
from gpubp.benchmarks.contenders import AbsentError
from gpubp.benchmarks.parts import Peak
from gpubp.benchmarks.report import tables
from gpubp.benchmarks.results import Results
from gpubp.benchmarks.table import plain
from gpubp.benchmarks.tasks import ARCHITECTURES
from gpubp.kernels.cpu import build

HASWELL = Path(__file__).resolve().parents[2] / "benchmarks/tools/haswell.py"

needs_compiler = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_thread_computes_its_chains(dtype: str, threads: int) -> None:
    run, ends = peak.bind_loops(dtype, threads, times=5)
    assert ends.shape == (threads,) and not ends.any()
    run()
    # Chain k begins at k, and after five turns is 1 + (k - 1) / 4⁵. So the mean says how many there are.
    chains = 2 * (1 + (ends.astype(np.float64) - 1) * 4**5) + 1
    assert chains == pytest.approx([round(chains[0])] * threads, rel=1e-3)
    text = f"""{peak._text()}
EXPORTED(int64_t, bits_float)() {{ return 8 * sizeof(Vector<float>); }}
EXPORTED(int64_t, bits_double)() {{ return 8 * sizeof(Vector<double>); }}
"""
    bits = build.kernel("bits", np.dtype(dtype), text)()
    at_once = int(build.kernel("multiply_adds_at_once", np.dtype(dtype), peak._text())())
    assert at_once == round(chains[0]) * bits / (8 * ends.itemsize) and bits in (128, 256, 512)


@needs_compiler
def test_a_multiply_add_counts_as_two_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []

    def noted(dtype: str, threads: int, times: int) -> tuple[int, None]:
        turns.append(times)
        return times, None

    # Every turn takes a microsecond, so a thread computes as many multiply-adds a microsecond as in a turn.
    monkeypatch.setattr(peak, "bind_loops", noted)
    monkeypatch.setattr(peak, "_seconds", lambda times: 1e-6 * times)
    for dtype in ("float32", "float64"):
        at_once = int(build.kernel("multiply_adds_at_once", np.dtype(dtype), peak._text())())
        assert peak._flops(dtype, 1) == pytest.approx(2e6 * at_once)
        assert peak._flops(dtype, 2) == pytest.approx(4e6 * at_once)
    assert 1e-6 * turns[-1] >= peak.CALL_SECONDS / 2


def test_the_share_of_the_peak_agrees_with_a_hand_computed_number(tmp_path: Path) -> None:
    run = made_up()
    run.peak = Peak(2, {"float32": 1e9, "float64": 5e8}, {"float32": 2e9, "float64": 1e9})
    # 32 rows of the narrow network: four layers of 64 x 64 and one of 64 x 16, three products each, and no
    # δ of the input. gpubp takes 2 ms, and 2e9 operations a second are 1e9 multiply-adds.
    multiply_adds = 32 * (3 * (4 * 64 * 64 + 64 * 16) - 64 * 64)
    assert ARCHITECTURES["narrow"].step_multiply_adds(32) == multiply_adds
    (table,) = [t for t in tables(run) if "gpubp-numpy: share of peak" in t.header]
    assert "training step" in table.title and table.header[-1] == "gpubp-numpy: share of peak"
    assert table.rows[0][-1] == f"{100 * multiply_adds / 1e9 / 2e-3:.0f} %" == "77 %"
    head = plain(tables(run)[0])
    assert "GFLOP/s: 1 on one thread and 2 on 2 in float32; 0 on one thread and 1 on 2" in head
    run.save(tmp_path / "run.json")
    assert Results.load(tmp_path / "run.json") == run


def test_without_a_compiler_the_peak_is_absent_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPUBP_COMPILE", "0")
    build._base.cache_clear()
    build._library.cache_clear()
    try:
        with pytest.raises(AbsentError, match="NumPy twins, because GPUBP_COMPILE is 0"):
            peak.measure_peak()
        run = made_up()
        run.peak = peak.peak_in_a_process()
    finally:
        build._base.cache_clear()
        build._library.cache_clear()
    report = tables(run)
    assert "peak absent: NumPy twins, because GPUBP_COMPILE is 0" in report[0].notes
    assert not [name for table in report for name in table.header if "peak" in name]


def test_of_two_measurements_the_greater_figures_count() -> None:
    one = Peak(2, {"float32": 3.0, "float64": 1.0}, {"float32": 4.0, "float64": 9.0})
    two = Peak(2, {"float32": 2.0, "float64": 2.0}, {"float32": 5.0, "float64": 8.0})
    both = peak._greater(one, two)
    assert both.one_thread == {"float32": 3.0, "float64": 2.0}
    assert both.all_threads == {"float32": 5.0, "float64": 9.0}


@needs_compiler
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="a Haswell executes x86-64"
)
def test_a_command_runs_as_on_a_haswell(tmp_path: Path) -> None:
    code = """
import os
import numpy as np
from gpubp.kernels.cpu import build
text = '''
#ifdef __AVX512F__
constexpr int width = 512;
#elif defined(__AVX2__)
constexpr int width = 256;
#else
constexpr int width = 0;
#endif
EXPORTED(int64_t, width_float)() { return width; }'''
print(build.kernel("width", np.float32, text)(), "-march=haswell" in build.explain())
print(os.environ["OPENBLAS_CORETYPE"], os.environ["XLA_FLAGS"])
"""
    place = {"XDG_CACHE_HOME": str(tmp_path), "XLA_FLAGS": "--one"}
    command = [sys.executable, str(HASWELL), "-c", code]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | place
    )
    assert done.stderr == ""
    assert done.stdout.split("\n")[:2] == [
        "256 True",
        "Haswell --one --xla_cpu_max_isa=AVX2",
    ]
    assert shutil.which("g++") is None or list((tmp_path / "gpubp").glob("*-march=haswell.*.so"))
    info = [sys.executable, str(HASWELL), "-m", "gpubp", "info"]
    told = subprocess.run(info, check=True, capture_output=True, text=True).stdout
    assert "compiled with -march=haswell, stored in" in told
    openblas = [k for k in threadpool_info() if k["internal_api"] == "openblas"]
    assert told.count("kernels for Haswell") == len({k["version"] for k in openblas})
    environment = {"machine": {**made_up().machine, "environment": {"CXX": "g++ -march=haswell"}}}
    head = tables(replace(made_up(), **environment))[0]
    assert "run with CXX='g++ -march=haswell'" in head.notes
    failed = [sys.executable, str(HASWELL), "-c", "raise SystemExit(3)"]
    assert subprocess.run(failed, check=False).returncode == 3
