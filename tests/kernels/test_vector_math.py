"""The elementary functions of math.h, for three kinds of processors: their errors, limits and calls."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment import GUEST
from scipy import special
from support.guest.stand_ins import Library, guests_of

from gpubp import Activation, Network
from gpubp.kernels.cpu import build, compiler
from gpubp.kernels.cpu.texts import joined
from gpubp.kernels.cuda.text import text_of
from gpubp.kernels.typing import Array

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)

NAMES = ("exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sin", "cos")
ALL_FLAGS = ("", "-march=haswell", "-march=x86-64") if platform.machine() == "x86_64" else ("",)
FLAGS = ("",) if GUEST else ALL_FLAGS
"""Flags of a processor: this one, one with fused multiply-adds, one without."""
ULPS = 4.0
LARGEST = {"float32": 2e5, "float64": 1e8}
"""The largest numbers whose sin and cos have digits that are right."""
IS_EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant

LOOP = """
KERNEL(own_{0}) {{
    const T* __restrict__ x = array<const T>(s[0]);
    T* __restrict__ y = array<T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i) y[i] = {0}(x[i]);
}}
"""
QUOTIENT_LOOP = """
KERNEL(own_quotient) {
    const T* __restrict__ a = array<const T>(s[0]);
    const T* __restrict__ b = array<const T>(s[1]);
    T* __restrict__ y = array<T>(s[2]);
    for (int64_t i = 0; i < s[3].integer; ++i) y[i] = quotient(a[i], b[i]);
}
"""
# A long double is a sum of two doubles here, because NumPy has no erfc for it.
EXACT_LOOP = """
KERNEL(exact_{0}) {{
    const T* x = array<const T>(s[0]);
    double *high = array<double>(s[1]), *low = array<double>(s[2]);
    for (int64_t i = 0; i < s[3].integer; ++i) {{
        const long double y = ::{0}l(x[i]);
        high[i] = double(y);
        low[i] = double(y - high[i]);
    }}
}}
"""


def compiled(text: str, flag: str, folder: Path) -> Path:
    return compiler.compile_library([joined(text)], folder, [flag or compiler.native_flag()])


@pytest.fixture(scope="module", params=FLAGS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the library of all functions for a processor; skip the test if this one cannot run it."""
    flag, guests = str(request.param), guests_of(request.config)
    text = "".join(LOOP.format(name) for name in NAMES)
    text += text_of("update.cuh") + QUOTIENT_LOOP
    if guests is not None:
        return guests.library([joined(text)])
    try:
        path = compiled(text, flag, tmp_path_factory.mktemp("math"))
    except compiler.CompileError as error:
        pytest.skip(f"the compiler does not take {flag}: {error}")
    if flag == "-march=haswell" and "fma" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no fused multiply-add")
    return ctypes.CDLL(str(path))


@pytest.fixture(scope="module")
def exact_library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    text = "".join(EXACT_LOOP.format(name) for name in NAMES)
    return ctypes.CDLL(str(compiled(text, "", tmp_path_factory.mktemp("exact"))))


def run(library: Any, kernel: str, x: Array, *outputs: Array) -> None:
    kind = "float" if x.dtype == np.float32 else "double"
    if isinstance(library, Library):
        library.call(f"{kernel}_{kind}", x, *outputs, x.size)
        return
    slots = [x.ctypes.data, *(out.ctypes.data for out in outputs), x.size]
    getattr(library, f"{kernel}_{kind}")(np.array(slots, np.uint64).ctypes.data_as(ctypes.c_void_p))


def computed(library: Any, name: str, x: Array) -> Array:
    y = np.empty_like(x)
    run(library, f"own_{name}", x, y)
    return y


def exact(library: Any, name: str, x: Array) -> Array:
    high, low = np.empty(x.shape), np.empty(x.shape)
    run(library, f"exact_{name}", x, high, low)
    return high.astype(np.longdouble) + np.where(np.isfinite(high), low, 0)


@cache
def arguments(dtype: str) -> Array:
    """Return random bits, for which every size is as likely, ranges where the functions bend, and edges."""
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    if dtype == "float32":
        bits = np.arange(0, 2**32, 20011).astype(np.uint32).view(dtype)
    else:
        bits = rng.integers(0, 2**64, 60_000, dtype=np.uint64).view(dtype)
    ranges = [
        rng.uniform(-r, r, 60_000) for r in (0.01, 1.5, 30, 110 if dtype == "float32" else 750)
    ]
    edges = [0, 1, 20, 40, limits.tiny, limits.smallest_subnormal, limits.eps, limits.max, np.inf,
             np.log(2) / 2, 9.1945, 26.5432, np.log(limits.max), np.log(limits.tiny)]  # fmt: skip
    with np.errstate(over="ignore"):
        around = [
            np.nextafter(np.array(edges, dtype), np.array(to, dtype)) for to in (-np.inf, np.inf)
        ]
    values = [
        bits,
        rng.uniform(-LARGEST[dtype], LARGEST[dtype], 60_000),
        np.pi / 2 * rng.integers(-10_000, 10_000, 20_000),
        *ranges,
        edges,
        *around,
        np.negative(edges),
        *map(np.negative, around),
        [np.nan],
    ]
    return np.concatenate([np.asarray(value, dtype) for value in values])


def reference(name: str, x: Array, exact_library: Any) -> Array:
    if x.dtype == np.float32:
        function = getattr(special, name) if name in ("erf", "erfc") else getattr(np, name)
        with np.errstate(all="ignore"):
            return np.asarray(function(x.astype(np.float64)))
    if not IS_EXTENDED:
        pytest.skip("long double has no more digits than double here")
    return exact(exact_library, name, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_errors_are_within_four_units_in_the_last_place(
    library: Any, exact_library: Any, name: str, dtype: str
) -> None:
    x, limits = arguments(dtype), np.finfo(dtype)
    y, wide = computed(library, name, x), reference(name, x, exact_library)
    with np.errstate(over="ignore"):
        rounded = wide.astype(dtype)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(rounded))
    # What rounds to infinity may be the largest number, and the other way round.
    finite = np.isfinite(rounded) & np.isfinite(y)
    infinite = ~np.isfinite(y) | ~np.isfinite(rounded)
    if name == "log":
        smallest = (x > 0) & (x < limits.tiny)
        assert (y[smallest] == -np.inf).all()
        infinite &= ~smallest
    np.testing.assert_array_equal(np.clip(y, limits.min, limits.max)[infinite],
                                  np.clip(rounded, limits.min, limits.max)[infinite])  # fmt: skip
    np.testing.assert_array_equal(np.isinf(y)[np.isinf(x)], np.isinf(rounded)[np.isinf(x)])
    # exp and erfc give 0 for what is no normal number, and log takes such a number to be 0.
    if name in ("exp", "erfc"):
        finite &= (y != 0) | (wide > 1.001 * limits.tiny)
    if name in ("sin", "cos"):
        finite &= np.abs(x) <= LARGEST[dtype]
    unit = np.spacing(np.maximum(np.abs(rounded[finite]), limits.tiny)).astype(wide.dtype)
    errors = np.abs(y[finite] - wide[finite]) / unit
    worst = int(np.argmax(errors))
    assert errors[worst] <= ULPS, (x[finite][worst], y[finite][worst])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_that_networks_rely_on_are_exact(library: Any, dtype: str) -> None:
    infinity, nan = np.inf, np.nan
    x = np.array([0, infinity, -infinity, nan], dtype)
    for name, values in {
        "exp": [1, infinity, 0, nan],
        "expm1": [0, infinity, -1, nan],
        "log": [-infinity, infinity, nan, nan],
        "log1p": [0, infinity, nan, nan],
        "tanh": [0, 1, -1, nan],
        "erf": [0, 1, -1, nan],
        "erfc": [1, 0, 2, nan],
        "sin": [0, nan, nan, nan],
        "cos": [1 if dtype == "float32" else 1 - 2**-53, nan, nan, nan],
    }.items():
        np.testing.assert_array_equal(computed(library, name, x), np.array(values, dtype), name)
    np.testing.assert_array_equal(computed(library, "log1p", np.array([-1, -1.5], dtype)),
                                  np.array([-infinity, nan], dtype))  # fmt: skip
    np.testing.assert_array_equal(computed(library, "log", np.array([1, -1.5], dtype)),
                                  np.array([0, nan], dtype))  # fmt: skip
    for name in ("tanh", "sin", "cos"):
        bounded = np.abs(computed(library, name, arguments(dtype)))
        assert 1 - 2**-53 <= np.nanmax(bounded) <= 1, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_are_right_near_multiples_of_half_pi(
    library: Any, exact_library: Any, name: str, dtype: str
) -> None:
    """Near a multiple of π / 2 one of them is almost 0, and all digits of its result come from π's."""
    if dtype == "float64" and not IS_EXTENDED:
        pytest.skip("long double has no more digits than double here")
    half_pi = 4 * np.arctan(np.longdouble(1)) / 2
    largest = int(LARGEST[dtype] / half_pi)
    n = np.unique(np.geomspace(1, largest, 100_000).astype(np.int64))
    multiples = (n * half_pi).astype(dtype)
    x = np.concatenate([multiples, np.nextafter(multiples, np.array(0, dtype)), -multiples])
    y, wide = computed(library, name, x), reference(name, x, exact_library)
    assert np.max(np.abs(y)) <= 1
    unit = np.spacing(np.abs(wide).astype(dtype)).astype(wide.dtype)
    assert (np.abs(wide) < 1e-6).any()
    assert np.max(np.abs(y - wide) / unit) <= ULPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quotients_are_within_one_unit_in_the_last_place(library: Any, dtype: str) -> None:
    """Divisors of updates are roots: positive, and never larger than the root of the largest number."""
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    half = np.log2(limits.max) / 2
    b = np.exp2(rng.uniform(-half, half, 100_000)).astype(dtype)
    a = (rng.choice([-1, 1], b.size) * np.exp2(rng.uniform(-half, half, b.size))).astype(dtype)
    y = np.empty_like(a)
    run(library, "own_quotient", a, b, y)
    exact = a.astype(np.longdouble) / b
    normal = (np.abs(exact) > 2 * limits.tiny) & (np.abs(exact) < limits.max)
    assert normal.mean() > 0.95
    unit = np.spacing(np.abs(exact[normal]).astype(dtype)).astype(np.longdouble)
    assert np.max(np.abs(y[normal] - exact[normal]) / unit) <= 1

    infinity, nan = np.inf, np.nan
    a = np.array([0, 1, 1e30, nan, 1, 0, infinity, infinity], dtype)
    b = np.array([1, infinity, infinity, 1, nan, nan, 1, infinity], dtype)
    y = np.empty_like(a)
    run(library, "own_quotient", a, b, y)
    assert list(y[:3]) == [0, 0, 0]
    assert not np.isfinite(y[3:]).any()


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm, which lists what a library calls")
@pytest.mark.parametrize("flag", FLAGS)
def test_loops_call_no_function_and_have_vectors(flag: str, tmp_path: Path) -> None:
    try:
        library = compiled("".join(map(LOOP.format, NAMES)), flag, tmp_path)
    except compiler.CompileError as error:
        pytest.skip(f"the compiler does not take {flag}: {error}")
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(library)], check=True, capture_output=True, text=True
    ).stdout
    called = {line.split()[-1].partition("@")[0] for line in listed.splitlines()}
    assert not [name for name in called if re.search("exp|log|tanh|erf|fma|sin|cos", name)]
    if flag and shutil.which("objdump"):
        code = subprocess.run(
            ["objdump", "-d", str(library)], check=True, capture_output=True, text=True
        ).stdout
        for name in NAMES:
            for kind, multiply in (("float", "mulps"), ("double", "mulpd")):
                if (name, kind, flag) == ("erf", "double", "-march=x86-64"):
                    continue  # GCC makes no vectors of two lanes of it
                body = code.partition(f"<own_{name}_{kind}>:")[2].partition("\n\n")[0]
                assert multiply in body, (name, kind)


def test_a_users_text_may_call_these_and_the_c_librarys_functions() -> None:
    """Numbers may be of type T, float, double or int, in both precisions."""
    text = """
        return exp(-z * z) + expm1(T(0.5) * tanh(z)) + log1p(exp(0)) + erf(2) + erfc(0.5) - tanh(0.25f)
            + sin(z) * cos(z) + pow(abs(z), T(2)) + log(z * z + T(1)) + sqrt(T(4)) + floor(z)
            + std::tanh(z) + ::exp(0.5) + fmax(z, T(0)) + log(2) + sin(1) + cos(0.5) + atan(z);
    """

    def function(xp: Any, z: Array) -> Array:
        return (xp.exp(-z * z) + xp.expm1(0.5 * xp.tanh(z)) + np.log1p(1) + special.erf(2)
                + special.erfc(0.5) - np.tanh(np.float32(0.25)) + xp.sin(z) * xp.cos(z) + z**2
                + xp.log(z * z + 1) + 2 + xp.floor(z) + xp.tanh(z) + np.exp(0.5)
                + xp.maximum(z, 0) + np.log(2) + np.sin(1) + np.cos(0.5)
                + xp.arctan(z))  # fmt: skip

    custom = Activation.from_functions(
        "own", function, lambda xp, z: xp.ones_like(z), cuda=text, cuda_derivative="return T(1);"
    )
    x = np.random.default_rng(0).normal(size=(50, 3))
    for dtype in ("float32", "float64"):
        net = Network((3, 40, 2), hidden=custom, dtype=dtype, backend="numpy", seed=0)
        passed = net.forward(x)
        expected = function(np, passed.z[0].astype(float))
        np.testing.assert_allclose(passed.a[1], expected, rtol=20 * np.finfo(dtype).eps)
