"""Every CUDA text that the CuPy backend can launch goes through NVIDIA's compiler."""

from __future__ import annotations

import re
from importlib import resources as files_of
from typing import Any

import environment
import pytest
from recorded import Recorder, launches, translation_unit
from support.nvidia import NvrtcError, Resources, nvrtc_compile, nvrtc_version, resources

from gpubp.backends import Rows
from gpubp.kernels import (
    ACTIVATIONS,
    COSTS,
    SOFTMAX,
    UPDATES,
    Activation,
    Cost,
    OutputHead,
    ParameterArrays,
    StepVariables,
    UpdateRule,
)
from gpubp.kernels.update import update_and_advance_cuda, update_cuda

pytestmark = [
    pytest.mark.skipif(nvrtc_version() is None, reason="CuPy or NVRTC is not installed"),
    pytest.mark.skipif(environment.ON_HOST is None, reason="CuPy does not run on the host here"),
    pytest.mark.filterwarnings("default"),  # importing CuPy without a driver may warn
]


def test_the_check_sees_every_cu_file_and_table_entry() -> None:
    codes = [kernel.code for kernel in launches()]
    files = [f for f in files_of.files("gpubp.kernels.cuda").iterdir() if f.name.endswith(".cu")]
    assert len(files) >= 7
    only = {"convert.cu": (r"float S",), "adapt_loss_scale.cu": ("",)}  # never in double
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
    # Blocks of doubles are alone on a multiprocessor.
    "joined": (168, 33 * 2**10 + 32),
    "output_layer": (168, 33 * 2**10 + 32),
    "column_sums": (128, 4097),
    "weighted_sum": (128, 129),
    "sparse_gradient": (64, 9 * 2**10),
}
# Bytes of a thread's stack in which sin and cos reduce large arguments.
STACK_OF_SINES = 40


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90", "sm_100"])
def test_every_kernel_compiles_spills_nothing_and_leaves_room_for_others(arch: str) -> None:
    if arch != "sm_90" and not environment.LONG:
        pytest.skip("architectures other than sm_90 are part of the long form of the tests")
    if arch == "sm_100" and (nvrtc_version() or (0, 0)) < (12, 8):
        pytest.skip("this NVRTC is older than the architecture")
    source, count = translation_unit()
    if arch == "sm_75":  # the oldest that CUDA 13 supports; no kernel is tuned for it
        nvrtc_compile(source, "kernel_0", "compute_75", ("-std=c++17",))
        return
    found = resources(source, arch, ("-std=c++17",))
    assert set(found) == {f"kernel_{k}" for k in range(count)}
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
