"""The library of kernels that is built ahead: what it holds, its variants, and faults of its files."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_compiler import forget

from gpubp import Activation, Adam, Network, Trainer
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, COSTS, UPDATES, OutputHead
from gpubp.kernels.cpu import ahead, build, build_ahead, calls, compiler, texts

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)

MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
NAMED = list(ahead.VARIANTS.get(MACHINE, {}))


def texts_of_a_network(activation: str, cost: str) -> list[str]:
    """List the texts that networks with this pair ask for, by the functions that kernels use."""
    head = OutputHead(ACTIVATIONS[activation], COSTS[cost])
    asked = [texts.base_text(), texts.dropout_text(), texts.activation_text(head.activation)]
    if not head.is_fused:
        asked += [texts.output_delta_text(head), texts.row_costs_text(head)]
    return [text for text in asked if text]


# What is built.


def test_every_pair_and_update_is_built_ahead() -> None:
    built = build_ahead.every_text()
    for activation in ACTIVATIONS:
        for cost in COSTS:
            assert set(texts_of_a_network(activation, cost)) <= set(built)
    for update in UPDATES.values():
        for plain in (True, False):
            assert texts.update_text(update, plain) in built


def test_parameters_change_no_text() -> None:
    for entry in (*ACTIVATIONS.values(), *COSTS.values()):
        other = entry.with_parameters(**dict.fromkeys(entry.parameters, 0.75))
        if isinstance(other, Activation):
            assert texts.activation_text(other) == texts.activation_text(entry)  # type: ignore[arg-type]
        else:
            heads = (OutputHead(ACTIVATIONS["tanh"], cost) for cost in (entry, other))  # type: ignore[arg-type]
            one, two = ((texts.output_delta_text(h), texts.row_costs_text(h)) for h in heads)
            assert one == two


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library of a network's texts alone, without much optimisation."""
    folder = tmp_path_factory.mktemp("ahead") / "new"
    few = [*texts_of_a_network("tanh", "quadratic"), *texts_of_a_network("leaky_relu", "huber")]
    few += [texts.update_text(UPDATES["adam"], plain=True)]
    fast = tuple("-O1" if flag == "-O3" else flag for flag in compiler.FLAGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "FLAGS", fast)
        patch.setattr(build_ahead, "every_text", lambda: dict.fromkeys(few))
        build_ahead.build(folder)
    return folder


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what was loaded, before and after."""
    forget()
    yield
    monkeypatch.undo()
    forget()


def trained(backend: NumpyBackend, hidden: Any) -> Any:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 3))
    net = Network((5, 20, 3), hidden=hidden, cost="huber", dtype="float64", backend=backend, seed=0)
    Trainer(net, Adam(), batch_size=50, seed=0).fit(x, y, epochs=3)
    return net.parameters


CUSTOM = Activation.from_functions(
    "own",
    lambda xp, z: z / (1 + xp.abs(z)),
    lambda xp, z: 1 / (1 + xp.abs(z)) ** 2,
    cuda="return z / (T(1) + abs(z));",
    cuda_derivative="const T d = T(1) + abs(z); return T(1) / (d * d);",
)


@pytest.mark.parametrize("variant", NAMED)
def test_every_variant_trains_as_the_twins_do(
    fresh: None, built: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a text that is compiled beside the library, whose vectors must be as wide."""
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", str(built))
    if variant not in runnable(built):
        pytest.skip(f"this processor cannot run the variant {variant}")
    monkeypatch.setenv("GPUBP_PROCESSOR", variant)
    for hidden in ("tanh", CUSTOM):
        found = trained(NumpyBackend(), hidden)
        np.testing.assert_allclose(
            found, trained(NumpyBackend(compile=False), hidden), rtol=1e-9, atol=1e-12
        )
    assert build.explain() == f"built ahead by {compiler.version()} for {variant}"
    assert f"for {variant}, built ahead" in NumpyBackend().device
    for text in (texts.base_text(), texts.dropout_text()):
        assert isinstance(build._library(text)[0], ahead.Kernels)
    own = build._library(texts.activation_text(CUSTOM))[0]
    assert own is not None and not isinstance(own, ahead.Kernels)


def runnable(built: Path) -> list[str]:
    """List the variants that this processor can run, as the message of a wrong name does."""
    code = "from gpubp.kernels.cpu import ahead; ahead.opened()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GPUBP_BUILT_AHEAD": str(built), "GPUBP_PROCESSOR": "?"},
        check=False,
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: GPUBP_PROCESSOR is '?', expected ")
    return [name for name in NAMED if repr(name) in last]


def test_without_a_name_the_best_variant_runs(
    fresh: None, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", str(built))
    assert ahead.opened().variant == runnable(built)[-1]
    if MACHINE == "x86_64" and Path("/proc/cpuinfo").exists():
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        best = "avx512" if "avx512vl" in flags else "avx2" if "avx2" in flags else "baseline"
        assert ahead.opened().variant == best


def test_calls_run_on_the_runtime_of_their_own_library(
    fresh: None, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another library's runtime has other threads: shards would find none, and end the process."""
    for place in (str(built), "0"):
        monkeypatch.setenv("GPUBP_BUILT_AHEAD", place)
        forget()
        call = calls.bind("add", np.float32, np.zeros(1), np.zeros(1), 1)
        assert call is not None
        assert calls.Group([call])._run is build.base().run_calls


def test_without_compilation_a_text_of_ones_own_runs_as_its_twin(
    fresh: None, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", str(built))
    monkeypatch.setenv("GPUBP_COMPILE", "0")
    assert build.kernel("columns_activate", np.float64, texts.activation_text(CUSTOM)) is None
    assert build.account(texts.activation_text(CUSTOM)) == "GPUBP_COMPILE is 0"
    twins = trained(NumpyBackend(compile=False), CUSTOM)
    np.testing.assert_allclose(trained(NumpyBackend(), CUSTOM), twins, rtol=1e-9, atol=1e-12)


# Faults. The library answers how many variants run; its record says that it has the base's kernels.

ANSWER = 'extern "C" int processor_variants() {{ return {}; }}'


@pytest.fixture
def made(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a library and its record, and changes the record."""

    def make(variants: int = 1, **changes: Any) -> dict[str, Any]:
        library = compiler.compile_library([ANSWER.format(variants)], tmp_path, ())
        record = {
            "file": library.name,
            "bytes": library.stat().st_size,
            "platform": "this machine",
            "machine": MACHINE,
            "compiler": "hand",
            "keys": [ahead.key_of(texts.base_text())],
        }
        Path(tmp_path, ahead.RECORD).write_text(json.dumps({**record, **changes}))
        monkeypatch.setenv("GPUBP_BUILT_AHEAD", str(tmp_path))
        return record

    return make


def test_a_sound_library_is_used(made: Callable[..., Any]) -> None:
    made()
    opened = ahead.opened()
    assert (opened.variant, opened.account) == (NAMED[0], f"hand for {NAMED[0]}")


def refused(match: str) -> str:
    with pytest.warns(RuntimeWarning, match=f"built ahead is not used: .*{match}"):
        opened = ahead.opened()
    assert opened.library is None
    assert ahead.find(texts.base_text()) is None  # without another warning
    return opened.account


def test_a_truncated_library_is_not_opened(made: Callable[..., Any], tmp_path: Path) -> None:
    record = made()
    library = tmp_path / record["file"]
    library.write_bytes(library.read_bytes()[:-1000])
    assert str(library) in refused(
        rf"has {record['bytes'] - 1000} bytes, expected {record['bytes']}"
    )


@pytest.mark.parametrize("content", [b"", b"no library at all", b"\x7fELF" + bytes(2000)])
def test_a_file_that_is_no_library_is_told(
    made: Callable[..., Any], tmp_path: Path, content: bytes
) -> None:
    record = made()
    (tmp_path / record["file"]).write_bytes(content)
    made_of = {**record, "bytes": len(content), "platform": "windows on x86_64"}
    Path(tmp_path, ahead.RECORD).write_text(json.dumps(made_of))
    refused("it was built for windows on x86_64 and cannot be loaded: ")


def test_a_missing_library_is_told(made: Callable[..., Any], tmp_path: Path) -> None:
    made(file="gone.so")
    refused("cannot be loaded: .*gone.so")


def test_a_library_of_another_version_is_told(made: Callable[..., Any]) -> None:
    made(keys=["0123456789abcdef"])
    refused("has the kernels of another version of gpubp")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"file": "a.so"}'])
def test_a_damaged_record_is_told(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    Path(tmp_path, ahead.RECORD).write_text(text)
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", str(tmp_path))
    refused(f"its record, .*{ahead.RECORD}, cannot be read: ")


def test_a_processor_below_the_baseline_runs_none(made: Callable[..., Any]) -> None:
    made(variants=0)
    assert ahead.opened().account == "this processor has no SSE4.2, which its kernels need"
    assert ahead.find(texts.base_text()) is None


def test_more_variants_than_are_known_are_not_used(made: Callable[..., Any]) -> None:
    made(variants=99)
    assert ahead.opened().variant == NAMED[-1]


@pytest.mark.parametrize("name", ["avx1024", "AVX2"])
def test_a_variant_that_is_none_is_refused(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made()
    monkeypatch.setenv("GPUBP_PROCESSOR", name)
    with pytest.raises(ValueError, match=f"GPUBP_PROCESSOR is '{name}', expected '{NAMED[0]}'"):
        ahead.opened()


def test_a_wheel_without_a_library_says_why(
    fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(tmp_path, ahead.RECORD).write_text('{"missing": "there was no compiler"}')
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", str(tmp_path))
    assert ahead.opened().account == "there was no compiler"


def test_the_library_can_be_turned_off(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    monkeypatch.setenv("GPUBP_BUILT_AHEAD", "0")
    assert ahead.opened().account == "GPUBP_BUILT_AHEAD is 0"
    assert "compiled with" in build.explain()


# Building.


def test_a_compiler_for_a_better_processor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if MACHINE != "x86_64":
        pytest.skip("the baseline of other machines has no flags")
    monkeypatch.setenv("CXX", f"{compiler._command()[0]} -mavx")
    compiler._version.cache_clear()
    with pytest.raises(compiler.CompileError, match="a processor with AVX, expected x86-64"):
        build_ahead.build(tmp_path)
    compiler._version.cache_clear()


def test_without_a_compiler_the_reason_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert build_ahead.main(tmp_path) == 1
    said = capsys.readouterr().err
    assert said == "there is no C++ compiler: CXX is 'no-such-compiler', which is not found\n"


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf, which lists sections")
@pytest.mark.parametrize("variant", NAMED)
def test_nothing_runs_when_a_library_is_loaded(variant: str, tmp_path: Path) -> None:
    """An initialiser of the best variant would run on every processor, and end a lesser one's process.

    So might a function that the linker keeps once for all variants, such as one of the C++ library's.
    """
    runtime, kernels = build_ahead._base(variant)
    entries = build_ahead._united(list(build_ahead.every_text())[1:][::20], variant)
    for name, code in {"runtime": runtime, "kernels": kernels, "entries": entries}.items():
        flags = "-O1", *ahead.VARIANTS[MACHINE][variant]
        made = compiler.compile_object(code, tmp_path, name, flags)
        sections, symbols = (
            subprocess.run(
                ["readelf", "--wide", f"--{what}", str(made)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for what in ("sections", "symbols")
        )
        assert ".text" in sections and f" {variant}_" in symbols
        assert ".init_array" not in sections and ".ctors" not in sections
        weak = [line for line in symbols.splitlines() if " WEAK " in line and " UND " not in line]
        assert name == "runtime" or not weak
