"""The kernels' own CUDA text, compiled for the CPU where the machine has a C++ compiler.

An activation, a cost or an update is one formula; its CUDA text is C++ but for a few words, so the host's
compiler can make a fused loop of it, one pass where a NumPy twin needs several. More than that, a
captured step becomes a list of calls that runs from end to end without Python: two shards of it run truly
at the same time, where NumPy calls would wait for the GIL after every one of them.

Each function returns a `Call`, bound to its arrays, or None where it cannot: no compiler, or a user's
function without CUDA text. The NumPy twin then does the same. Libraries are compiled when first needed
(a second or less each) and kept in the user's cache directory. GPUBP_COMPILE=0 turns all of it off.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import platform
import shutil
import struct
import subprocess
import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..activations import Activation
from ..costs import Cost
from ..cuda import launch
from ..dropout import PHILOX
from ..layers import activation_text, delta_text, derivative_text
from ..typing import Array
from ..updates import ONCE, PROLOGUE, SKIPPED, Update, UpdateOptions

__all__ = ["Call", "Source", "compiler_version", "readable", "sequence"]


SLOTS = 16
# Fast, but exact about NaN and infinity; with __FAST_MATH__ alone glibc offers its vector functions
# (4 units in the last place at most) without the flag that would also change the processor's mode.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
         "-fassociative-math", "-ffp-contract=fast", "-D__FAST_MATH__", "-w")  # fmt: skip
NATIVE = ("-march=native", "-mcpu=native")
SOURCE_TYPES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
                "uint64")  # fmt: skip
TYPE_NUMBERS = {np.dtype(name): number for number, name in enumerate(SOURCE_TYPES)}


# From text to a library.


@cache
def compiler_version() -> str:
    """The first line that the C++ compiler says of itself; "" where there is none or it is turned off."""
    if os.environ.get("GPUBP_COMPILE", "1") == "0" or _compiler() is None:
        return ""
    return _library("BASE") and _run(str(_compiler()), "--version").splitlines()[0]


def _compiler() -> str | None:
    named = os.environ.get("CXX", "")
    return shutil.which(named) if named else shutil.which("g++") or shutil.which("clang++")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@cache
def _library(macro: str, text: str = "") -> Any:
    """compiled.cpp followed by `text`, as a loaded library; None if that cannot be had here."""
    if _compiler() is None:
        return None
    code = f"#define {macro}\n{_source()}{text}"
    try:
        return ctypes.CDLL(str(_build(code)))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        reasons = [line for line in said.splitlines() if "error" in line] or [said]
        warnings.warn(
            f"a kernel does not compile, its NumPy twin runs instead, more slowly: {reasons[0].strip()}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


@cache
def _source() -> str:
    return (resources.files(__package__) / "compiled.cpp").read_text(encoding="utf-8")


def _build(code: str) -> Path:
    compiler = str(_compiler())
    machine = _run(compiler, "--version") + _processor()
    key = hashlib.sha256("\0".join((code, machine, *FLAGS)).encode()).hexdigest()[:32]
    folder = _cache_folder()
    built = folder / f"{key}.so"
    if built.exists():
        return built
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / "kernels.cpp").write_text(code, encoding="utf-8")
        compiled = f"{work}/kernels.o"
        for native in NATIVE:
            try:
                _run(compiler, *FLAGS, native, "-c", f"{work}/kernels.cpp", "-o", compiled)
                break
            except subprocess.CalledProcessError:
                if native == NATIVE[-1]:
                    raise
        _run(compiler, "-shared", compiled, "-o", f"{work}/kernels.so", "-lm", "-pthread")
        os.replace(f"{work}/kernels.so", built)
    return built


def _processor() -> str:
    """What -march=native depends on: a home directory may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "".join(
        dict.fromkeys(line for line in lines if line.startswith(("model", "flags", "Feat")))
    )


@cache
def _cache_folder() -> Path:
    """Where libraries are kept; where that cannot be written, a folder for this process alone."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpubp"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        folder = Path(tempfile.mkdtemp(prefix="gpubp-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder


# Calls.


class Call:
    """One compiled kernel bound to its arguments; calling it runs it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.slots = np.zeros(SLOTS, np.uint64)
        self.slots[0] = _address(function)
        for k, argument in enumerate(arguments):
            self.slots[k + 1] = _slot(argument)
        self.kept = arguments

    def __call__(self) -> None:
        _runner()(self.slots.ctypes.data, 1)


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def _slot(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.ctypes.data)
    if value is None:
        return 0
    if isinstance(value, float):
        return int(struct.unpack("Q", struct.pack("d", value))[0])
    return int(value) & 0xFFFFFFFFFFFFFFFF


@cache
def _runner() -> Any:
    run = _library("BASE").run_calls
    run.argtypes, run.restype = (ctypes.c_void_p, ctypes.c_int64), None
    return run


def sequence(calls: Sequence[Callable[[], None]]) -> tuple[Callable[[], None], ...]:
    """The same calls, neighbours that are `Call`s made in one go, without Python between them."""
    joined: list[Callable[[], None]] = []
    group: list[Call] = []

    def close() -> None:
        if len(group) > 1:
            joined.append(_Group(group.copy()))
        else:
            joined.extend(group)
        group.clear()

    for call in calls:
        if isinstance(call, Call):
            group.append(call)
        else:
            close()
            joined.append(call)
    close()
    return tuple(joined)


def shards(tapes: Sequence[Sequence[Callable[[], None]]]) -> Call | None:
    """A call that runs each tape in a thread of its own; None if Python has a part in one of them."""
    groups: list[_Group] = []
    for first, *more in tapes:
        if more or not isinstance(first, Call | _Group):
            return None
        groups.append(_Group([first]) if isinstance(first, Call) else first)
    table = np.array([(group.address, group.count) for group in groups], np.int64)
    call = Call(_library("BASE").run_shards, table, len(groups))
    call.kept = (table, groups)
    return call


class _Group:
    def __init__(self, calls: list[Call]) -> None:
        self._slots = np.stack([call.slots for call in calls])
        self._kept = calls
        self.address, self.count = int(self._slots.ctypes.data), len(calls)
        self._run = _runner()

    def __call__(self) -> None:
        self._run(self.address, self.count)


class Source:
    """The rows that gather reads: one field of a `Rows`, looked at anew before each replay.

    It keeps no hold of the field's array, only of a copy where gather cannot read the array itself.
    """

    def __init__(self, rows: Any, field: str) -> None:
        self._rows, self._field = rows, field
        self.slots = np.zeros(4, np.int64)
        self._array: Any = _nothing
        self._order: Any = _nothing
        self._copies: tuple[Any, ...] = ()

    def refresh(self) -> None:
        """Take over what the field, the order and the stride are now."""
        array, order = getattr(self._rows, self._field), self._rows.order
        self.slots[2] = self._rows.stride
        same_order = self.slots[1] == 0 if order is None else self._order() is order
        if same_order and self._array() is array:
            return
        copies = []
        if array.dtype not in TYPE_NUMBERS or not array.flags.c_contiguous:
            read = readable(array)
            if _data(read) != _data(array):
                copies.append(read)
        else:
            read = array
        if order is not None and (order.dtype != np.int64 or not order.flags.c_contiguous):
            positions = np.ascontiguousarray(order, np.int64)
            copies.append(positions)
        else:
            positions = order
        self.slots[0] = _data(read)
        self.slots[1] = 0 if positions is None else _data(positions)
        self.slots[3] = TYPE_NUMBERS[read.dtype]
        self._array = weakref.ref(array)
        self._order = _nothing if order is None else weakref.ref(order)
        self._copies = tuple(copies)

    def release(self) -> None:
        """Forget copies: what they were made of may change before the next replay."""
        if self._copies:
            self._copies = ()
            self._array = self._order = _nothing


def _data(array: Array) -> int:
    """Where the elements are; half as long as `array.ctypes.data` takes."""
    return int(array.__array_interface__["data"][0])


def readable(array: Array) -> Array:
    """The array, or what gather can read in its place: dense, of one of SOURCE_TYPES."""
    dense = np.ascontiguousarray(array)
    if dense.dtype == np.bool_:
        return dense.view(np.uint8)
    if dense.dtype in TYPE_NUMBERS:
        return dense
    if dense.dtype.newbyteorder("=") in TYPE_NUMBERS:
        return dense.astype(dense.dtype.newbyteorder("="))
    return dense.astype(np.float32 if dense.dtype.itemsize <= 2 else np.float64)


def _nothing() -> None:
    """Like a dead weak reference."""


def _kernel(name: str, dtype: Any, macro: str = "BASE", text: str = "") -> Any:
    library = _library(macro, text) if compiler_version() else None
    if library is None:
        return None
    return getattr(library, f"{name}_{'float' if dtype == np.float32 else 'double'}")


def _call(name: str, dtype: Any, *arguments: Any, text: str = "") -> Call | None:
    kernel = _kernel(name, dtype, "GENERATED" if text else "BASE", text)
    return None if kernel is None else Call(kernel, *arguments)


# The kernels. Names and arguments are those of the NumPy twins.


def gather(
    source: Source, counters: Array, first: int, out: Array, scale: float, shift: float
) -> Call | None:
    rows, columns = len(out), out.size // len(out)
    if out.dtype == np.int64:
        library = _library("BASE") if compiler_version() else None
        return library and Call(
            library.gather_int64, source.slots, counters, first, out, rows, columns
        )
    arguments = (source.slots, counters, first, out, rows, columns, float(scale), float(shift))
    return _call("gather", out.dtype, *arguments)


def one_hot(labels: Array, y: Array, low: float, high: float) -> Call | None:
    return _call("one_hot", y.dtype, labels, y, *y.shape, float(low), float(high))


def normalize(weights: Array) -> Call | None:
    return _call("normalize", weights.dtype, weights, len(weights))


def matmul(matmul: Any) -> Call | None:
    """A matmul that says what it is (gpubp.backends.numpy.blas.Matmul), done in its steps."""
    a, b, out = matmul.arrays
    transposed = int(matmul.transposed[0]) + 2 * int(matmul.transposed[1])
    sizes = np.array([*matmul.shape, *matmul.steps, *matmul.leading], np.int64)
    factors = (float(factor) for factor in matmul.factors)
    return _call("matmul", out.dtype, matmul.gemm, transposed, a, b, out, sizes, *factors)


ACTIVATION_KERNELS = """
KERNEL(bias_activate) {  // z, biases (null: none), a, rows, columns, whether a is z
    T* z = array<T>(s[0]);
    const T* __restrict__ biases = array<const T>(s[1]);
    T* a = array<T>(s[2]);
    const int64_t columns = s[4].integer;
    for (int64_t i = 0; i < s[3].integer; ++i, z += columns, a += columns) {
        T* __restrict__ row = z;
        if (biases)
            for (int64_t j = 0; j < columns; ++j) row[j] += biases[j];
        if (s[5].integer)
            for (int64_t j = 0; j < columns; ++j) row[j] = activation(row[j]);
        else {
            T* __restrict__ target = a;
            for (int64_t j = 0; j < columns; ++j) target[j] = activation(row[j]);
        }
    }
}

KERNEL(multiply_by_derivative) {  // v, delta, n
    const T* __restrict__ v = array<const T>(s[0]);
    T* __restrict__ delta = array<T>(s[1]);
    for (int64_t i = 0; i < s[2].integer; ++i) delta[i] *= derivative(v[i]);
}
"""


def _has_text(activation: Activation) -> bool:
    return bool(activation.cuda and activation.cuda_derivative)


def bias_activate(activation: Activation, z: Array, biases: Array | None, a: Array) -> Call | None:
    if activation.rowwise:
        return _call("softmax", z.dtype, z, a, *z.shape)
    if not _has_text(activation):
        return None
    text = activation_text(activation) + derivative_text(activation) + ACTIVATION_KERNELS
    return _call("bias_activate", z.dtype, z, biases, a, *z.shape, a is z, text=text)


def add_bias(z: Array, biases: Array) -> Call | None:
    return _call("add_bias", z.dtype, z, biases, *z.shape)


def multiply_by_derivative(activation: Activation, v: Array, delta: Array) -> Call | None:
    if not _has_text(activation):
        return None
    text = activation_text(activation) + derivative_text(activation) + ACTIVATION_KERNELS
    return _call("multiply_by_derivative", delta.dtype, v, delta, delta.size, text=text)


def softmax_cross_entropy(
    z: Array, y: Array, scale: Array, delta: Array | None, costs: Array | None
) -> Call | None:
    return _call("softmax_cross_entropy", z.dtype, z, y, scale, delta, costs, *z.shape)


OUTPUT_DELTA = """
KERNEL(output_delta) {  // a, y, scale, v, delta, rows, columns
    const T* __restrict__ a = array<const T>(s[0]);
    const T* __restrict__ y = array<const T>(s[1]);
    const T* __restrict__ scale = array<const T>(s[2]);
    const T* __restrict__ v = array<const T>(s[3]);
    T* __restrict__ delta = array<T>(s[4]);
    const int64_t columns = s[6].integer;
    for (int64_t i = 0; i < s[5].integer; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            const int64_t k = i * columns + j;
            delta[k] = delta_of(a[k], y[k], scale[i], v[k]);
        }
}
"""


def output_delta(
    cost: Cost, activation: Activation, a: Array, y: Array, scale: Array, v: Array, delta: Array
) -> Call | None:
    has_text = activation.rowwise or _has_text(activation)
    if cost.canonical != activation.name and not (cost.cuda_derivative and has_text):
        return None
    text = delta_text(cost, activation) + OUTPUT_DELTA
    return _call("output_delta", a.dtype, a, y, scale, v, delta, *delta.shape, text=text)


ROW_COSTS = """
KERNEL(row_costs) {  // z, a, y, out, rows, columns
    const T* z = array<const T>(s[0]);
    const T* a = array<const T>(s[1]);
    const T* y = array<const T>(s[2]);
    const int64_t columns = s[5].integer;
    for (int64_t i = 0; i < s[4].integer; ++i, z += columns, a += columns, y += columns) {
        T total = 0;
        for (int64_t j = 0; j < columns; ++j) total += cost(z[j], a[j], y[j]);
        array<T>(s[3])[i] = total;
    }
}
"""


def row_costs(cost: Cost, canonical: bool, z: Array, a: Array, y: Array, out: Array) -> Call | None:
    body = (canonical and cost.canonical_cuda) or cost.cuda
    if not body:
        return None
    text = launch.device_function("cost", "z a y", body, cost.parameters) + ROW_COSTS
    return _call("row_costs", a.dtype, z, a, y, out, *a.shape, text=text)


def column_sums(values: Array, out: Array, beta: float) -> Call | None:
    partial = np.empty(values.shape[1], np.float64)
    return _call("column_sums", values.dtype, values, out, float(beta), *values.shape, partial)


def weighted_sum(
    values: Array, weights: Array | None, out: Array, slot: Array | None, add: bool
) -> Call | None:
    return _call("weighted_sum", values.dtype, values, weights, out, slot, values.size, add)


def add(values: Array, out: Array) -> Call | None:
    return _call("add", values.dtype, values, out, values.size)


def advance(counters: Array) -> Call | None:
    library = _library("BASE") if compiler_version() else None
    return library and Call(library.advance, counters)


DROPOUT = (
    PHILOX
    + """
KERNEL(dropout) {  // x, out, counters, seed, layer, first, rate, scale, n
    const T* x = array<const T>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t step = array<const int64_t>(s[2])[0];
    const float rate = float(s[6].real);
    const T scale = T(s[7].real);
    const int64_t first = s[5].integer, end = first + s[8].integer;
    for (int64_t position = first; position < end;) {
        unsigned long long words[4];
        philox(s[3].integer, step, s[4].integer, position / 8, words);
        const int64_t next = (position / 8 + 1) * 8 < end ? (position / 8 + 1) * 8 : end;
        for (; position < next; ++position)
            out[position - first] =
                philox_uniform(words, position) >= rate ? x[position - first] * scale : T(0);
    }
}
"""
)


def dropout(
    x: Array,
    out: Array,
    counters: Array,
    seed: int,
    layer: int,
    first: int,
    rate: float,
    scale: float,
) -> Call | None:
    arguments = (x, out, counters, seed, layer, first, float(np.float32(rate)), scale, x.size)
    return _call("dropout", x.dtype, *arguments, text=DROPOUT)


# The prologue is the CUDA kernels' own; what a step does not use (clipping, penalties) is compiled away,
# so that the loop over the parameters stays one that the compiler can vectorise.
UPDATE = """
KERNEL(update) {  // theta, gradient, rates, counters, squared norm, n, n_weights, scalars, state...
    T* __restrict__ thetas = array<T>(s[0]);
    const T* __restrict__ gradients = array<const T>(s[1]);
    const double* rates = array<const double>(s[2]);
    const int64_t* counters = array<const int64_t>(s[3]);
    const double* squared_norm = array<const double>(s[4]);
    const double* scalars = array<const double>(s[7]);
    %(scalars)s
    %(states)s
    if (%(skipped)s) return;
    %(once)s
    const auto sweep = [&](int64_t first, int64_t end, const int64_t n_weights) {
        for (int64_t i = first; i < end; ++i) {
            T& theta = thetas[i];
            const T gradient = gradients[i];
            %(references)s
            %(prologue)s
            %(update)s
        }
    };
    const int64_t n = s[5].integer;
    const int64_t weights = s[6].integer < 0 ? 0 : s[6].integer < n ? s[6].integer : n;
    sweep(0, weights, INT64_MAX);
    sweep(weights, n, 0);
}
"""


def update(
    update: Update,
    hyperparameters: Mapping[str, float],
    options: UpdateOptions,
    theta: Array,
    gradient: Array,
    state: tuple[Array, ...],
    n_weights: int,
    rates: Array,
    counters: Array,
    squared_norm: Array,
) -> Call | None:
    plain = options == UpdateOptions()
    names = ("l1", "l2", "weight_decay", "clip_norm", "clip_value", "skips")
    values = [
        *(getattr(options, n) for n in names),
        *(hyperparameters[n] for n in update.hyperparameters),
    ]
    scalars = "".join(f"const double {name} = scalars[{k}];" for k, name in enumerate(names))
    scalars += "".join(
        f"const double {name}_ = scalars[{k + len(names)}]; const T {name} = T({name}_);"
        for k, name in enumerate(update.hyperparameters)
    )
    text = UPDATE % {
        "scalars": scalars,
        "states": "".join(
            f"T* __restrict__ {name}s_ = array<T>(s[{k + 8}]);"
            for k, name in enumerate(update.state)
        ),
        "references": "".join(f"T& {name} = {name}s_[i];" for name in update.state),
        "once": ONCE,
        "prologue": PLAIN_PROLOGUE if plain else PROLOGUE,
        "update": update.cuda,
        "skipped": "false" if plain else SKIPPED,
    }
    held = np.array(values, np.float64)
    arguments = (
        theta,
        gradient,
        rates,
        counters,
        squared_norm,
        theta.size,
        n_weights,
        held,
        *state,
    )
    return _call("update", theta.dtype, *arguments, text=text)


PLAIN_PROLOGUE = "const T g = gradient;"
