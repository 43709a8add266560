"""Every CUDA text that the CuPy backend can launch goes through NVIDIA's compiler."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources as files_of
from typing import Any

import environment
import pytest
from support.kernels import Kernel
from support.nvidia import NvrtcError, Resources, nvrtc_compile, nvrtc_version, resources

from gpubp.backends import RowBlock, Rows, SparseBlock, SparseRows, Targets
from gpubp.backends.cupy import CupyBackend
from gpubp.kernels import (
    ACTIVATIONS,
    COSTS,
    PRECISIONS,
    SOFTMAX,
    UPDATES,
    Activation,
    Cost,
    OutputHead,
    ParameterArrays,
    StepVariables,
    UpdateRule,
)
from gpubp.kernels.joined import CostSum, joined_cuda
from gpubp.kernels.matmul import (
    layer_backward_product,
    layer_forward_product,
    layer_gradients_product,
    matmul_cuda,
)
from gpubp.kernels.output_layer import fits_one_launch, output_layer_cuda
from gpubp.kernels.precision import split_cuda
from gpubp.kernels.typing import Array
from gpubp.kernels.update import update_and_advance_cuda, update_cuda

pytestmark = [
    pytest.mark.skipif(nvrtc_version() is None, reason="CuPy or NVRTC is not installed"),
    pytest.mark.skipif(environment.ON_HOST is None, reason="CuPy does not run on the host here"),
    pytest.mark.filterwarnings("default"),  # importing CuPy without a driver may warn
]
DTYPES = ("float32", "float64")


class Recorder:
    """A CuPy backend that records its kernels, with CuPy's final text, instead of running them."""

    def __init__(self, form: str = "rows") -> None:
        self._form = form
        self.kernels: dict[tuple[str, str], Kernel] = {}
        assert environment.ON_HOST is not None
        self.cuda = environment.ON_HOST

    def __enter__(self) -> Recorder:
        self._devices = self.cuda.devices()
        self._devices.__enter__()
        import cupy

        self.backend = CupyBackend(cupy, self.cuda.cublas, form=self._form)
        self.cuda.runtime.noted = []
        return self

    def __exit__(self, *error: Any) -> None:
        noted, self.cuda.runtime.noted = self.cuda.runtime.noted or [], None
        self._devices.__exit__(*error)
        own = [kernel for kernel in noted if not kernel.name.startswith("cupy_")]
        self.kernels = {(kernel.code, kernel.name): kernel for kernel in own}

    def array(self, *shape: int, dtype: str) -> Array:
        return self.backend.xp.empty(shape, dtype)


@cache
def launches() -> tuple[Kernel, ...]:
    """Record what every verb launches, for every table entry and for both dtypes."""
    with Recorder() as recorder:
        for dtype in DTYPES:
            run_layers(recorder, dtype)
            run_costs(recorder, dtype)
            run_fused(recorder, dtype, dtype)
            run_loading(recorder, dtype)
            run_sparse(recorder, dtype, dtype)
            run_updates(recorder, dtype)
        for precision in PRECISIONS.values():
            run_rounded(recorder, precision.storage)
            run_fused(recorder, precision.storage, "float32")
            run_sparse(recorder, precision.storage, "float32")
    with Recorder("elementwise") as elementwise:
        for dtype in DTYPES:
            run_elementwise(elementwise, dtype)
        for precision in PRECISIONS.values():
            run_rounded_elementwise(elementwise, precision.storage)
    return tuple((recorder.kernels | elementwise.kernels).values())


def run_layers(recorder: Recorder, dtype: str) -> None:
    backend = recorder.backend
    z, a = recorder.array(4, 3, dtype=dtype), recorder.array(4, 3, dtype=dtype)
    biases = recorder.array(3, dtype=dtype)
    wide = recorder.array(4, 8, dtype=dtype)
    square, tall = recorder.array(8, 8, dtype=dtype), recorder.array(2000, 8, dtype=dtype)
    odd = recorder.array(3, 3, dtype=dtype)
    for options in ((False, False), (True, False), (False, True)):
        matmul_cuda(backend.xp, square, square, square, *options, 1.0, 0.0, backend)()
    for matrix in (square, odd):
        backend.layer_gradients(matrix, matrix, matrix, matrix[0], 0.0)
    large = recorder.array(800, 800, dtype=dtype)
    matmul_cuda(backend.xp, large, large, large, False, False, 1.0, 0.0, backend)()
    matmul_cuda(backend.xp, tall, tall, square, True, False, 1.0, 0.0, backend)()
    for activation in ACTIVATIONS.values():
        backend.bias_activate(activation, wide, None, wide)
        for b in (None, biases):
            backend.bias_activate(activation, z, b, z)
            backend.bias_activate(activation, z, b, a)
        if not activation.rowwise:
            backend.multiply_by_derivative(activation, z, a, a)
    for name in ("tanh", "gelu"):  # tanh's derivative reads a, gelu's reads z
        activation = ACTIVATIONS[name]
        backend.layer_forward(activation, square, square, square[0], square, square)
        backend.layer_backward(activation, square, square, square, square, square)
    backend.column_sums(z, biases, 1.0)
    backend.column_sums(recorder.array(5000, 3, dtype=dtype), biases)
    backend.column_sums(wide, wide[0])
    backend.column_sums(recorder.array(2, 4100, dtype=dtype), recorder.array(4100, dtype=dtype))
    for first in (0, 1):  # begin at a Philox counter, and between two
        backend.dropout(z, a, recorder.array(2, dtype="int64"), 1, 0, first, 0.5)


def run_fused(recorder: Recorder, operands: str, dtype: str) -> None:
    """The output layer in one launch for every head, and products that share a launch."""
    backend, xp = recorder.backend, recorder.backend.xp
    counters = recorder.array(2, dtype="int64")
    wide = [recorder.array(64, 64, dtype=operands) for _ in range(2)]
    sums, costs = recorder.array(64, 64, dtype=dtype), recorder.array(64, dtype=dtype)
    many = recorder.array(500, 64, dtype=operands)  # the order's rows; the batch has 64 of them
    labels, order = recorder.array(500, dtype="int64"), recorder.array(500, dtype="int64")
    for width in (5, 8, 40):
        weights, y = (
            recorder.array(width, 64, dtype=operands),
            recorder.array(500, width, dtype=dtype),
        )
        for target in (y, labels):
            rows = Rows(many, target, order=order)
            batch = RowBlock(rows, counters, 0, 64)
            memory = (labels[:64], recorder.array(64, width, dtype=dtype))
            targets = Targets(batch, memory[1], memory[0] if target is labels else None, 0.9, 0.1)
            heads = [OutputHead(SOFTMAX, COSTS["cross_entropy"])]
            if width == 5 and target is y and operands == dtype:
                heads += [OutputHead(ACTIVATIONS["gelu"], cost) for cost in COSTS.values()]
                heads += [OutputHead(a, COSTS["huber"]) for a in ACTIVATIONS.values()]
                heads.append(OutputHead(ACTIVATIONS["sigmoid"], COSTS["binary_cross_entropy"]))
            for head in heads:
                if fits_one_launch(head, width):
                    x = batch if operands == dtype else wide[0]
                    arrays = x, weights, sums[0], memory[1], targets, costs, memory[1], costs
                    output_layer_cuda(xp, head, *arrays, backend)()
    cost = CostSum(costs, costs, recorder.array(9, dtype="float64"), counters)
    gradient = layer_gradients_product(wide[0], wide[1], sums, sums[0], 0.5, backend)
    for name in ("tanh", "gelu"):
        activation = ACTIVATIONS[name]
        back = layer_backward_product(activation, *wide, sums, wide[0], backend)
        joined_cuda(xp, [back, gradient], cost)()
        joined_cuda(xp, [back, gradient], None)()
        if operands == dtype:
            first = layer_forward_product(activation, batch, wide[0], sums[0], sums, sums, backend)
            joined_cuda(xp, [first], None)()
    joined_cuda(xp, [gradient], cost)()
    if operands == dtype:
        by_order = layer_gradients_product(wide[0], batch, sums, sums[0], 0.5, backend)
        joined_cuda(xp, [by_order], cost)()
        joined_cuda(xp, [by_order], None)()


CUSTOM_ACTIVATION = Activation.from_functions("custom", lambda xp, z: z * z, lambda xp, z: 2 * z)


def run_costs(recorder: Recorder, dtype: str) -> None:
    z, a, y, delta = (recorder.array(4, 3, dtype=dtype) for _ in range(4))
    scale, costs = recorder.array(4, dtype=dtype), recorder.array(4, dtype=dtype)
    for cost in COSTS.values():
        for activation in (*ACTIVATIONS.values(), CUSTOM_ACTIVATION):
            recorder.backend.output_delta(
                OutputHead(activation, cost), z, a, y, scale, delta, costs
            )


def run_elementwise(recorder: Recorder, dtype: str) -> None:
    """Run the elementwise form of every table entry; of the pairs, one with each entry is enough."""
    backend = recorder.backend
    z, a, y, delta = (recorder.array(4, 3, dtype=dtype) for _ in range(4))
    for activation in ACTIVATIONS.values():
        if not activation.rowwise:
            for biases in (None, z[0]):
                backend.bias_activate(activation, z, biases, a)
            backend.multiply_by_derivative(activation, z, a, a)
    pairs = [(activation, COSTS["quadratic"]) for activation in ACTIVATIONS.values()]
    pairs += [(ACTIVATIONS["tanh"], cost) for cost in COSTS.values()]
    for activation, cost in (*pairs, (CUSTOM_ACTIVATION, COSTS["huber"])):
        backend.output_delta(OutputHead(activation, cost), z, a, y, z[:, 0], delta, None)


def run_rounded_elementwise(recorder: Recorder, storage: str) -> None:
    backend = recorder.backend
    z, operands = recorder.array(4, 8, dtype="float32"), recorder.array(4, 8, dtype=storage)
    for name in ("relu", "gelu"):  # two are enough: their texts do not depend on the types
        for biases in (None, z[0]):
            backend.bias_activate(ACTIVATIONS[name], z, biases, operands)
        for v in (z, operands):
            backend.multiply_by_derivative(ACTIVATIONS[name], v, z, operands)


def run_rounded(recorder: Recorder, storage: str) -> None:
    backend = recorder.backend
    z, operands = recorder.array(4, 8, dtype="float32"), recorder.array(4, 8, dtype=storage)
    counters = recorder.array(2, dtype="int64")
    for name in ("relu", "gelu"):  # two are enough: their texts do not depend on the types
        backend.bias_activate(ACTIVATIONS[name], z, None, operands)
        for v in (z, operands):
            backend.multiply_by_derivative(ACTIVATIONS[name], v, z, operands)
    for source in ("float32", "float64", "uint8"):
        backend.gather(Rows(recorder.array(4, 8, dtype=source)), "x", counters, 0, operands)
    backend.dropout(operands, operands, counters, 1, 0, 0, 0.5)
    backend.column_sums(operands, z[0])
    backend.convert(z, operands)
    backend.convert(operands, z)
    square = recorder.array(8, 8, dtype="float32")
    matmul_cuda(backend.xp, operands, operands, square, True, False, 1.0, 0.0, backend)()
    narrow = recorder.array(8, 8, dtype=storage)
    relu, gelu = ACTIVATIONS["relu"], ACTIVATIONS["gelu"]
    backend.layer_forward(relu, narrow, narrow, square[0], square, narrow)
    backend.layer_backward(relu, narrow, narrow, narrow, square, narrow)
    backend.layer_backward(gelu, narrow, narrow, square, square, narrow)
    backend.layer_gradients(narrow, narrow, square, square[0], 0.0)
    if storage != "float32":
        split_cuda(backend.xp, square[0], narrow[0], narrow[1])()
    double = recorder.array(3, dtype="float64")
    backend.multiply(z, double, z)
    backend.adapt_loss_scale(double, double)


def run_loading(recorder: Recorder, dtype: str) -> None:
    backend = recorder.backend
    counters, labels = recorder.array(2, dtype="int64"), recorder.array(4, dtype="int64")
    order, total = recorder.array(4, dtype="int64"), recorder.array(1, dtype="float64")
    out, weights = recorder.array(4, 3, dtype=dtype), recorder.array(4, dtype=dtype)
    for source in ("float32", "float64", "int8", "uint8", "int64", "bool"):
        x, y = recorder.array(8, 3, dtype=source), recorder.array(8, dtype=source)
        for rows in (Rows(x, y, y), Rows(x, y, y, order)):
            backend.gather(rows, "x", counters, 0, out)
            backend.gather(rows, "weights", counters, 0, weights)
            backend.gather(rows, "y", counters, 0, labels)
    backend.one_hot(labels, out, 0.0, 1.0)
    backend.normalize(weights)
    backend.weighted_sum(weights, weights, total, counters)
    backend.weighted_sum(weights, None, total)
    backend.weighted_sum(recorder.array(5, dtype=dtype)[1:], None, total)


def run_sparse(recorder: Recorder, operands: str, dtype: str) -> None:
    """Run the sparse verbs with weights and δ of the type `operands`."""
    backend, counters = recorder.backend, recorder.array(2, dtype="int64")
    places = recorder.array(4, dtype="int32"), recorder.array(9, dtype="int64")
    rows = Rows(SparseRows(recorder.array(4, dtype=dtype), *places, 3))
    block = SparseBlock(rows, counters, 0, 8)
    weights, delta = recorder.array(5, 3, dtype=operands), recorder.array(8, 5, dtype=operands)
    backend.sparse_product(block, weights, recorder.array(8, 5, dtype=dtype))
    backend.sparse_gradient(delta, block, recorder.array(5, 3, dtype=dtype), 0.0)


def run_updates(recorder: Recorder, dtype: str) -> None:
    theta, g = recorder.array(6, dtype=dtype), recorder.array(6, dtype=dtype)
    counters, rates = recorder.array(2, dtype="int64"), recorder.array(1, 4, dtype="float64")
    for update in UPDATES.values():
        state = tuple(recorder.array(6, dtype=dtype) for _ in update.state)
        hyperparameters = dict.fromkeys(update.hyperparameters, 0.5)
        norm = recorder.array(1, dtype="float64")
        for first in (0, 1):
            arrays = theta[first:], g[first:], tuple(array[first:] for array in state)
            recorder.backend.update(
                UpdateRule(update, hyperparameters),
                ParameterArrays(*arrays, 4),
                StepVariables(rates, counters, norm),
            )
            for storage, advances in ends_of(update.name, dtype):
                update_and_advance_cuda(
                    *(recorder.backend.xp, UpdateRule(update, hyperparameters)),
                    *(ParameterArrays(*arrays, 4), StepVariables(rates, counters, norm)),
                    None if storage is None else recorder.array(4, dtype=storage)[first:],
                    recorder.backend if advances else None,
                )[0]()


def ends_of(update: str, dtype: str) -> list[tuple[str | None, bool]]:
    """Choose what fused updates do too: Adam's, which have the most arrays, everything."""
    if dtype == "float64":
        return [(None, True)]
    if update != "adam":
        return [("uint16", True)]
    storages = (None, *(precision.storage for precision in PRECISIONS.values()))
    return [(storage, advances) for storage in storages for advances in (False, True)]


@cache
def translation_unit() -> tuple[str, int]:
    """Join all kernels into one text: CuPy's headers once, then each kernel in a namespace, renamed.

    Compiling them one by one would take a hundred times as long, almost all of it for the headers.
    """
    headers: dict[str, None] = {}
    parts = []
    for k, launch in enumerate(launches()):
        lines = launch.code.splitlines()
        headers |= dict.fromkeys(line for line in lines if line.startswith("#include"))
        body = "\n".join(line for line in lines if not line.startswith("#include"))
        name = re.escape(launch.name)
        body, renamed = re.subn(rf"(__global__\s+void\s+){name}\s*\(", rf"\1kernel_{k}(", body)
        assert renamed == 1
        parts.append(f"namespace n{k} {{\n{body}\n}}\n")
    return "\n".join(headers) + "\n" + "".join(parts), len(parts)


def test_the_check_sees_every_cu_file_and_table_entry() -> None:
    codes = [kernel.code for kernel in launches()]
    files = [f for f in files_of.files("gpubp.kernels.cuda").iterdir() if f.name.endswith(".cu")]
    assert len(files) >= 7
    only = {"convert.cu": (r"float S",), "adapt_loss_scale.cu": ("",)}  # never in double
    only["split.cu"] = "Half", "BFloat"  # and this one in neither
    for file in files:
        text = file.read_text()
        for typedef in only.get(file.name, ("float", "double")):
            pattern = rf"typedef {typedef}\b" if typedef else ""
            uses = [code for code in codes if text in code and re.search(pattern, code)]
            assert uses, f"{file.name} was not compiled for {typedef or 'its types'}"
    everything = "\n".join(codes)
    texts = [t for a in ACTIVATIONS.values() for t in (a.cuda, a.cuda_derivative)]
    texts += [t for c in COSTS.values() for t in (c.cuda, c.cuda_derivative, c.canonical_cuda)]
    texts += [update.cuda for update in UPDATES.values()]
    for text in texts:
        assert text in everything


# The most that a kernel may take: registers of a thread, and bytes of a block's static shared memory. With
# 64 registers a thread, half of a multiprocessor's 2048 threads are resident. Sums and matmuls may take
# more: their blocks are few and large.
MOST = {
    "matmul": (128, 33 * 2**10 + 32),
    "joined": (128, 33 * 2**10 + 32),
    "output_layer": (
        160,
        33 * 2**10 + 32,
    ),  # of doubles; their blocks are alone on a multiprocessor
    "column_sums": (128, 4097),
    "weighted_sum": (128, 129),
    "sparse_gradient": (64, 9 * 2**10),
}
# Bytes of a thread's stack in which sin and cos reduce large arguments.
STACK_OF_SINES = 40


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles_spills_nothing_and_leaves_room_for_others(arch: str) -> None:
    if arch == "sm_100" and (nvrtc_version() or (0, 0)) < (12, 8):
        pytest.skip("this NVRTC is older than the architecture")
    source, count = translation_unit()
    found = resources(source, arch, ("-std=c++17",))
    assert set(found) == {f"kernel_{k}" for k in range(count)}
    if arch == "sm_75":  # the oldest that CUDA 13 supports; no kernel is tuned for it
        return
    too_much = []
    for k, kernel in enumerate(launches()):
        takes, (registers, shared) = found[f"kernel_{k}"], MOST.get(kernel.name, (64, 0))
        stack = STACK_OF_SINES if re.search(r"\b(sin|cos)\(", kernel.code) else 0
        most = Resources(registers, stack, 0, shared)
        if any(taken > allowed for taken, allowed in zip(takes, most, strict=True)):
            too_much.append((kernel.name, takes))
    assert not too_much


BY_ROWS = {
    "bias_activate": lambda b, z: b.bias_activate(ACTIVATIONS["relu"], z, None, z),
    "output_delta": lambda b, z: b.output_delta(
        OutputHead(ACTIVATIONS["tanh"], COSTS["huber"]), z, z, z, z[:, 0], z, None
    ),
    "multiply_by_derivative": lambda b, z: b.multiply_by_derivative(ACTIVATIONS["tanh"], z, z, z),
    "gather": lambda b, z: b.gather(Rows(z), "x", z[0], 0, z),
    "one_hot": lambda b, z: b.one_hot(z[0], z, 0.0, 1.0),
}
FLAT = {
    "update": lambda b, z, double: b.update(
        UpdateRule(UPDATES["sgd"], {}),
        ParameterArrays(z[0], z[1], (), 8),
        StepVariables(double, z[0], double),
    ),
    "column_sums": lambda b, z, double: b.column_sums(z, z[0]),
    "weighted_sum": lambda b, z, double: b.weighted_sum(z[0], z[1], double),
    "dropout": lambda b, z, double: b.dropout(z, z, z[0], 1, 0, 0, 0.5),
}


@pytest.mark.parametrize(("dtype", "vector"), [("float32", "v4.f32"), ("float64", "v2.f64")])
@pytest.mark.parametrize("name", BY_ROWS)
def test_kernels_by_rows_move_sixteen_bytes_at_once_and_divide_no_index(
    name: str, dtype: str, vector: str
) -> None:
    with Recorder() as recorder:
        BY_ROWS[name](recorder.backend, recorder.array(4, 8, dtype=dtype))
    (launch,) = recorder.kernels.values()
    assert launch.name == name
    ptx = nvrtc_compile(launch.code, name, "compute_80", ("-std=c++17",))
    load = "ld.global." if name == "bias_activate" else "ld.global.nc."
    assert name == "one_hot" or load + vector in ptx
    assert f"st.global.{vector}" in ptx
    assert not re.search(r"\b(div|rem)\.[su]", ptx)


@pytest.mark.parametrize(("dtype", "vector"), [("float32", "v4.f32"), ("float64", "v2.f64")])
@pytest.mark.parametrize("name", FLAT)
def test_flat_kernels_move_sixteen_bytes_at_once_and_keep_all_in_registers(
    name: str, dtype: str, vector: str
) -> None:
    with Recorder() as recorder:
        z, double = recorder.array(4, 8, dtype=dtype), recorder.array(1, dtype="float64")
        FLAT[name](recorder.backend, z, double)
    (launch,) = recorder.kernels.values()
    assert launch.name == name
    ptx = nvrtc_compile(launch.code, name, "compute_80", ("-std=c++17",))
    assert re.search(rf"ld\.global\.(nc\.)?{re.escape(vector)}", ptx)
    assert "sum" in name or f"st.global.{vector}" in ptx
    assert ".local" not in ptx


def moved_by_adam(storage: str | None) -> tuple[str, Any]:
    """Compile Adam's update of float32 arrays; return its PTX and its bound arrays."""
    with Recorder() as recorder:
        arrays = [recorder.array(32, dtype="float32") for _ in range(4)]
        double, counters = (recorder.array(4, dtype=dtype) for dtype in ("float64", "int64"))
        adam = UPDATES["adam"]
        bound = (
            UpdateRule(adam, dict.fromkeys(adam.hyperparameters, 0.5)),
            ParameterArrays(*arrays[:2], tuple(arrays[2:]), 32),
            StepVariables(double, counters, double),
        )
        xp, call = recorder.backend.xp, None
        if storage is None:
            call = update_cuda(xp, *bound)
        else:
            narrow = recorder.array(32, dtype=storage)
            call, _ = update_and_advance_cuda(xp, *bound, narrow, recorder.backend)
        call()
    (launch,) = recorder.kernels.values()
    return nvrtc_compile(launch.code, launch.name, "compute_90", ("-std=c++17",)), call


def test_adam_moves_28_bytes_of_each_parameter_and_2_more_to_round_it() -> None:
    ptx, call = moved_by_adam(None)
    _, _, (theta, gradient, *state_and_more) = call.args
    bound = 2 * theta.nbytes + gradient.nbytes + 2 * sum(a.nbytes for a in state_and_more[:2])
    loads, stores = (
        len(re.findall(rf"{which}\.global\.(?:nc\.)?v4\.f32", ptx)) for which in ("ld", "st")
    )
    assert (loads, stores) == (4, 3)  # theta, gradient, m, v; theta, m, v
    assert (loads + stores) * 16 / 4 == bound / theta.size == 28
    for storage in ("uint16", "float16"):
        ptx, _ = moved_by_adam(storage)
        assert len(re.findall(r"ld\.global\.(?:nc\.)?v4\.f32", ptx)) == 4
        assert len(re.findall(r"st\.global\.v4\.f32", ptx)) == 3
        # Four rounded weights are eight bytes.
        assert len(re.findall(r"st\.global\.(v4\.[ubf]16|v2\.[ubf]32|[ubf]64)", ptx)) >= 1
        assert ".local" not in ptx


@pytest.mark.slow
def test_kernels_compile_as_cupy_gives_them_to_nvrtc() -> None:
    for kernel in launches():
        # Of these there is one for each table entry; the test above compiles them.
        of_entries = kernel.name.removesuffix("_elementwise") in (
            *("row_costs", "bias_activate", "output_delta", "multiply_by_derivative", "update"),
            "update_and_advance",
        )
        if not of_entries:
            options = [o for o in kernel.options if o.startswith("-D") or o == "-std=c++17"]
            nvrtc_compile(kernel.code, kernel.name, "compute_75", options)


@pytest.mark.parametrize("custom", ["cost", "activation"])
def test_a_broken_text_would_be_seen(custom: str) -> None:
    activation, cost = SOFTMAX, COSTS["huber"]
    if custom == "cost":
        cost = Cost.from_functions(
            *("custom", lambda xp, a, y: a, lambda xp, a, y: a),
            cuda="return undeclared;",
            cuda_derivative="return undeclared;",
        )
    else:
        activation = Activation.from_functions(
            *("custom", lambda xp, z: z, lambda xp, z: z), cuda_derivative="return undeclared;"
        )
    with Recorder() as recorder:
        arrays = [recorder.array(2, 2, dtype="float32") for _ in range(3)]
        scale = recorder.array(2, dtype="float32")
        recorder.backend.output_delta(OutputHead(activation, cost), *arrays, scale, arrays[0], None)
    with pytest.raises(NvrtcError, match='"undeclared" is undefined'):
        for kernel in recorder.kernels.values():
            nvrtc_compile(kernel.code, kernel.name, "compute_75")
