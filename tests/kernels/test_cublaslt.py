"""Products that cuBLASLt ends with the next operation, and what becomes of those that it refuses."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import environment
import numpy as np
import pytest
from activation_formulas import FORMULAS
from layer_arrays import LayerArrays as Layer
from layer_arrays import launched

from gpubp.backends import Backend
from gpubp.backends.cupy import CupyBackend, open_cupy
from gpubp.backends.cupy.cublas import CublasError
from gpubp.backends.cupy.cublaslt import NUMBERS, Ending
from gpubp.kernels import ACTIVATIONS, PRECISIONS
from gpubp.kernels.matmul import MOST_INNER

SHAPES = [(8, 8, 8), (33, 16, 136), (64, 136, 24), (200, 8, 40)]
"""Rows, outputs and inputs; rows of narrow operands are multiples of 16 bytes."""
EVERY = (None, *PRECISIONS)


@pytest.fixture
def fused(cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> CupyBackend:
    """Open a backend whose products are all cuBLAS's or cuBLASLt's."""
    monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", 0)
    return open_cupy(fused=True)


@pytest.fixture
def library(fused: CupyBackend) -> Iterator[Any]:
    """Yield the emulated cuBLASLt, which a test may tell what to support."""
    if environment.ON_HOST is None:
        pytest.skip("cuBLASLt does not refuse, or count, what it is told to")
    before = environment.ON_HOST.cublaslt.supports
    kept = set(before.epilogues), before.wide_biases
    yield environment.ON_HOST.cublaslt
    before.epilogues, before.wide_biases = kept


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", EVERY)
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("activation", ["identity", "relu", "gelu_tanh"])
def test_forward(
    fused: CupyBackend, activation: str, biases: bool, precision: str | None, shape: Any
) -> None:
    layer = Layer(fused, shape, precision, activation)
    for keep_z in (False, True):
        layer.forward(keep_z, biases)
        z, bound = layer.expected_z(biases), layer.error("x", "weights") * 2
        expected = np.asarray(FORMULAS[activation][0](z), np.float64)
        error = np.abs(layer.read(layer.a) - expected)
        assert (error <= bound + 1.01 * layer.unit * np.abs(expected)).all()
        if keep_z:
            assert (np.abs(fused.to_numpy(layer.z) - z) <= bound).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", EVERY)
@pytest.mark.parametrize("activation", ["identity", "relu", "gelu_tanh"])
def test_a_step_of_a_layer(
    fused: CupyBackend, activation: str, precision: str | None, shape: Any
) -> None:
    """The step runs, is captured, and is replayed."""
    layer = Layer(fused, shape, precision, activation)

    def step() -> None:
        layer.forward(keep_z=layer.activation.reads == "z")
        layer.backward()
        layer.gradients()

    captured = fused.capture(step)
    z, product = layer.expected_z(), layer.host["after"] @ layer.host["weights_after"]
    # The derivative of relu jumps, and that of gelu changes with the error of z.
    near = np.abs(z) <= 4 * layer.error("x", "weights")
    derivative = np.asarray(FORMULAS[activation][1](z), np.float64)
    layer.host["weights_after_t"] = layer.host["weights_after"].T
    for _ in range(4):
        for array in (layer.a, layer.delta, layer.z, layer.product, layer.gradient, layer.sums):
            array.fill(0)
        captured()
        bound = layer.error("after", "weights_after_t") * 2 + 1.01 * layer.unit * np.abs(product)
        bound += np.abs(product) * layer.error("x", "weights") * 2
        error = np.abs(layer.read(layer.delta) - product * derivative)
        assert ((error <= bound * 1.2) | near).all()
        a, x = layer.read(layer.a), layer.host["x"]
        slack = 2.0**-9 if precision == "tf32" else 2.0**-20
        error = np.abs(fused.to_numpy(layer.gradient) - a.T @ x)
        assert (error <= slack * 2 * (np.abs(a).T @ np.abs(x) + 1)).all()
        error = np.abs(fused.to_numpy(layer.sums) - a.sum(0))
        assert (error <= slack * (np.abs(a).sum(0) + 1)).all()
    assert not fused._recording.masks


@pytest.mark.parametrize("precision", EVERY)
def test_each_product_of_a_relu_layer_is_one_node(
    fused: CupyBackend, library: Any, precision: str | None
) -> None:
    library.supports.wide_biases = True
    layer = Layer(fused, SHAPES[2], precision, "relu")

    def step() -> None:
        layer.forward(keep_z=False)
        layer.backward()
        layer.gradients()

    captured: Any = fused.capture(step)
    assert launched(captured) == ["cublaslt"] * 3
    assert launched(captured) == ["cublaslt"] * 3 + ["replay"]
    assert captured.captured == 1
    expected = np.maximum(layer.expected_z(), 0)
    bound = layer.error("x", "weights") * 2 + 1.01 * layer.unit * expected
    assert (np.abs(layer.read(layer.a) - expected) <= bound).all()
    listed: Any = open_cupy(graphs=False, fused=True)
    layer.backend = listed
    captured = listed.capture(step)
    for _ in range(3):
        assert launched(captured) == ["cublaslt"] * 3
    assert captured.written_down == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_biases_beside_narrow_outputs_are_rounded_first(
    fused: CupyBackend, library: Any, precision: str
) -> None:
    layer = Layer(fused, SHAPES[2], precision, "relu")
    exact = layer.host["biases"]
    layer.there["biases"] = fused.asarray((exact * (1 + layer.unit / 4)).astype(np.float32))
    assert launched(lambda: layer.forward(keep_z=False)) == ["launch", "cublaslt"]
    expected = np.maximum(layer.expected_z(), 0)  # from the rounded biases
    bound = layer.error("x", "weights") * 2 + 1.01 * layer.unit * expected
    assert (np.abs(layer.read(layer.a) - expected) <= bound).all()


@pytest.mark.parametrize("precision", EVERY)
def test_nan_stays_nan(fused: CupyBackend, precision: str | None) -> None:
    """A network that diverges must not look well."""
    layer = Layer(fused, SHAPES[2], precision, "relu")
    x = np.full_like(layer.host["x"], np.nan)
    layer.there["x"] = layer._operand(x.astype(np.float32))
    layer.forward(keep_z=False)
    assert np.isnan(layer.read(layer.a)).all()


def test_biases_at_odd_addresses_are_added_elsewhere(fused: CupyBackend, library: Any) -> None:
    layer = Layer(fused, SHAPES[2], None, "relu")
    memory = fused.xp.empty(layer.there["biases"].size + 1, np.float32)
    memory[1:] = layer.there["biases"]
    layer.there["biases"] = memory[1:]
    assert launched(lambda: layer.forward(keep_z=False)) == ["multiply", "launch"]


def test_relus_derivative_is_read_from_the_mask_within_a_step_only(
    fused: CupyBackend, library: Any
) -> None:
    layer = Layer(fused, SHAPES[1], None, "relu")
    names: list[list[str]] = []

    def step() -> None:
        layer.forward(keep_z=False)
        names.append(launched(layer.backward))

    fused.capture(step)()
    step()
    assert names == [["cublaslt"], ["multiply", "launch"]]


def test_a_mask_belongs_to_the_activations_that_were_written_last(
    fused: CupyBackend, library: Any
) -> None:
    """A later product writes them without a mask."""
    layer = Layer(fused, SHAPES[1], None, "relu")
    names: list[str] = []

    def step() -> None:
        layer.forward(keep_z=False)
        layer.forward(keep_z=True)  # z is read, so the product is not fused
        names.extend(launched(layer.backward))

    fused.capture(step)()
    assert names == ["multiply", "launch"]


def test_blocks_of_a_step_share_a_mask(fused: CupyBackend, library: Any) -> None:
    layer, masks = Layer(fused, SHAPES[1], None, "relu"), []

    def step() -> None:
        for _ in range(2):
            layer.forward(keep_z=False)
            layer.backward()
            masks.extend(mask.data.ptr for mask in fused._recording.masks.values())

    assert launched(fused.capture(step)) == ["cublaslt"] * 4
    assert len(masks) == 2 and masks[0] == masks[1]


def test_without_masks_relu_is_applied_and_its_derivative_read_from_a(
    fused: CupyBackend, library: Any
) -> None:
    library.supports.epilogues -= {NUMBERS["CUBLASLT_EPILOGUE_RELU_AUX_BIAS"]}
    layer = Layer(fused, SHAPES[1], None, "relu")

    def step() -> None:
        layer.forward(keep_z=False)
        layer.backward()

    captured = fused.capture(step)
    assert launched(captured) == ["cublaslt", "multiply", "launch"]
    assert launched(captured) == ["cublaslt", "multiply", "launch", "replay"]


def test_cublaslt_is_not_asked_during_a_capture(fused: CupyBackend, library: Any) -> None:
    """A product that the step's first run did not make is cuBLAS's."""
    layers = [Layer(fused, shape, None, "relu") for shape in SHAPES[:2]]
    given = iter(layers)

    def step() -> None:
        next(given).forward(keep_z=False)

    captured = fused.capture(step)
    assert launched(captured) == ["cublaslt"]
    assert launched(captured) == ["multiply", "launch", "replay"]

    layer = Layer(fused, SHAPES[2], None, "relu")
    products: Any = fused._epilogues._products  # type: ignore[union-attr]
    ask = partial(
        *(products.bind, layer.there["x"], layer.there["weights"], layer.a, False, True),
        *(Ending("RELU"), fused.xp.empty(2**22, np.uint8)),
    )
    stream = fused.xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        assert ask(asks=False) is None
        with pytest.raises(AssertionError, match="asked during a capture"):
            ask()
        stream.end_capture()


def test_what_cublaslt_refuses_is_computed_elsewhere(fused: CupyBackend, library: Any) -> None:
    library.supports.epilogues = set()
    for activation in ("identity", "relu", "gelu_tanh"):
        layer = Layer(fused, SHAPES[1], "bfloat16", activation)

        def step(layer: Layer = layer) -> None:
            layer.forward(keep_z=layer.activation.reads == "z")
            layer.backward()
            layer.gradients()

        captured = fused.capture(step)
        for _ in range(3):
            assert "cublaslt" not in launched(captured)
        expected = np.asarray(FORMULAS[activation][0](layer.expected_z()), np.float64)
        error = np.abs(layer.read(layer.a) - expected)
        assert (error <= 2.0**-7 * np.abs(expected) + 1e-5).all()


def test_what_is_not_fused(fused: CupyBackend, library: Any) -> None:
    """Gradients that add up, sums over many rows, z that is wider than a, and float64."""
    layer = Layer(fused, SHAPES[1], None, "relu")
    assert launched(layer.gradients) == ["cublaslt"]
    assert "cublaslt" not in launched(lambda: layer.gradients(beta=0.5))
    assert "cublaslt" not in launched(lambda: layer.forward(keep_z=True))
    layer = Layer(fused, (MOST_INNER + 1, 8, 8), None, "relu")
    assert "cublaslt" not in launched(layer.gradients)
    layer = Layer(fused, SHAPES[1], "bfloat16", "gelu_tanh")
    assert "cublaslt" not in launched(lambda: layer.forward(keep_z=True))
    assert "cublaslt" not in launched(layer.backward)
    layer = Layer(fused, SHAPES[1], None, "tanh")
    assert "cublaslt" not in launched(lambda: layer.forward(keep_z=False))
    layer = Layer(fused, (8, 5, 8), None, "gelu_tanh")  # rows of z are not multiples of eight
    assert launched(lambda: layer.forward(keep_z=False)) == ["cublaslt"]
    assert "cublaslt" not in launched(lambda: layer.forward(keep_z=True))
    assert "cublaslt" not in launched(layer.backward)
    x, w, b = (fused.asarray(np.ones(s)) for s in ((8, 8), (8, 8), 8))
    out = fused.xp.empty((8, 8))
    relu = ACTIVATIONS["relu"]
    assert "cublaslt" not in launched(lambda: fused.layer_forward(relu, x, w, b, out, out))
    np.testing.assert_array_equal(fused.to_numpy(out), 9)


def test_without_the_switch_cublaslt_is_not_used(cuda_backend: Backend, library: Any) -> None:
    layer = Layer(open_cupy(fused=False), SHAPES[1], None, "relu")
    assert "cublaslt" not in launched(lambda: layer.forward(keep_z=False))


def test_descriptors_live_as_long_as_their_calls(fused: CupyBackend, library: Any) -> None:
    layer = Layer(fused, SHAPES[1], None, "relu")
    layer.forward(keep_z=False)
    gc.collect()
    before = len(library.objects)
    call = fused._epilogues.bind_gradients(  # type: ignore[union-attr]
        layer.a, layer.there["x"], layer.gradient, layer.sums, 0.0, None
    )
    assert call is not None and len(library.objects) > before
    gc.collect()
    call()
    del call
    gc.collect()
    assert len(library.objects) == before


def test_a_product_that_fails_says_which(
    fused: CupyBackend, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(fused, (8, 16, 24), None, "relu")
    monkeypatch.setattr(library, "cublasLtMatmul", lambda *arguments: 13)
    message = (
        r"cublasLtMatmul failed with status 13 at \(8, 24\) by \(16, 24\) into \(8, 16\), RELU_BIAS"
    )
    with pytest.raises(CublasError, match=message):
        layer.forward(keep_z=False)


def test_threads_share_a_handle(fused: CupyBackend) -> None:
    layers = [Layer(fused, SHAPES[1], None, "relu") for _ in range(3)]

    def run(layer: Layer) -> None:
        with fused.use():
            layer.forward(keep_z=False)
            fused.synchronize()

    threads = [threading.Thread(target=run, args=(layer,)) for layer in layers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for layer in layers:
        expected = np.maximum(layer.expected_z(), 0)
        np.testing.assert_allclose(layer.read(layer.a), expected, rtol=1e-4, atol=1e-4)


def headers() -> list[str]:
    """Return the text of cublasLt.h and cublas_api.h, where both are installed."""
    spec = importlib.util.find_spec("nvidia")
    places = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    folders = [f for place in places for f in (place / "cublas/include", place / "cu13/include")]
    folders += [
        Path(os.environ[k]) / "include" for k in ("CUDA_PATH", "CUDA_HOME") if k in os.environ
    ]
    for folder in folders:
        files = [folder / name for name in ("cublasLt.h", "cublas_api.h")]
        if all(file.exists() for file in files):
            return [file.read_text() for file in files]
    return []


def test_the_numbers_are_those_of_the_header() -> None:
    texts = headers()
    if not texts:
        pytest.skip("cublasLt.h is not installed: nvidia-cublas-cu12 brings it")
    known: dict[str, int] = {}
    for text in texts:
        for name, value in re.findall(r"^\s*(CUBLAS\w+) = ([^,/\n]+)", text, re.MULTILINE):
            words = [known.get(w, w) for w in re.findall(r"\w+", value)]
            if all(str(w).isdecimal() for w in words):
                known[name] = int(np.bitwise_or.reduce([int(w) for w in words]))
    assert {name: known.get(name) for name in NUMBERS} == NUMBERS
