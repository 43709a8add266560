"""Build the sdist and wheels, and check them outside the checkout, as a user would use them.

    make package
    make package PYTHONS="python3.10 python3.13"

The build uses a clone of the checkout, with its changes, because files of an earlier build could hide a
fault. A pure wheel
is built from the checkout, as without a compiler, and the wheel of this platform, with the kernels built
ahead, from the sdist; all other files of both must be the same. Each wheel is installed into new
environments with only its declared dependencies, and used there: the platform's one with every Python that
is named, and without a compiler. The tests of the kernels run on the wheel's library, in each variant that
this processor can run. The sdist must be able to run its tests.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import wheels
from wheels import run

ROOT = Path(__file__).resolve().parent.parent

IN_WHEEL = (
    "gpubp/py.typed",
    "gpubp/_version.py",
    "gpubp/__main__.py",
    "gpubp/benchmarks/suite.py",
    "gpubp/benchmarks/contenders/pytorch.py",
    "gpubp/tracing/page.html",
    "gpubp/tracing/page.css",
    "gpubp/tracing/page.js",
)
"""Files that the wheel must have, in addition to all sources of kernels/."""

FOREIGN = ("tests", "results", "tools", "docs", "__pycache__")
"""Folders that the wheel must not have."""

IN_SDIST = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "CITATION.cff",
    "docs/how-to/networks.md",
    "tests/conftest.py",
    "tests/support/machine.h",
    "benchmarks/tools/breakdown.py",
    "benchmarks/tests/test_step.py",
)

TOPS = {
    *("gpubp", "kernels", "benchmarks", "tests", "docs", "examples", ".ci"),
    *(
        "gpubp.egg-info",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "MANIFEST.in",
        "Makefile",
        "PKG-INFO",
    ),
    *("LICENSE", "CITATION.cff", *(path.name for path in ROOT.glob("*.md"))),
}
"""What may lie at the top of the sdist. setuptools-scm adds what MANIFEST.in does not exclude."""

KERNEL_TESTS = (
    *(f"tests/kernels/test_{name}.py" for name in (
        "activations", "calls", "columns", "compiled", "costs", "dropout_masks", "matmul", "rows",
        "sparse_products", "sums", "updates")),
    *(f"tests/backends/test_{name}.py" for name in ("layouts", "replays", "uninterrupted")),
)  # fmt: skip
"""The tests that run compiled kernels. Others of their folders run the compiler, CUDA's text or twins."""

OF_LAUNCHES = "compiled.py", "rows.py", "matmul.py", "replays.py"
"""The ends of files whose tests mostly examine launches on a GPU or this process: no guest runs them."""

GUEST_TESTS = tuple(name for name in KERNEL_TESTS if not name.endswith(OF_LAUNCHES))
IN_GUESTS = "not half_precision and not fused and not end_of_a_step and not aligned and not stop"
"""The tests that run in a guest: those that examine launches on a GPU do not."""

TWINS = """
import sys, numpy as np, gpubp
from gpubp.backends.numpy import NumpyBackend
rng = np.random.default_rng(0)
x, y = rng.normal(size=(300, 6)), rng.integers(0, 4, 300)
networks = []
for backend in (NumpyBackend(), NumpyBackend(compile=False)):
    network = gpubp.Network((6, 40, 4), hidden="gelu", output="softmax", dtype="float64", seed=0,
                            backend=backend)
    gpubp.Trainer(network, "adam", batch_size=50, seed=0).fit(x, y, epochs=3)
    networks.append(network)
np.testing.assert_allclose(*(network.parameters for network in networks), rtol=1e-9, atol=1e-12)
print(networks[0].backend.device)
"""
"""Train with the kernels that there are, and with NumPy twins."""

TYPED = """
import gpubp.benchmarks, gpubp.kernels
from gpubp.benchmarks.results import Results
from pathlib import Path
run: Results = Results.load(Path("run.json"))
reveal_type(gpubp.kernels.ACTIVATIONS)
reveal_type(run.points[0].batch_size)
"""


def main() -> None:
    """Build, install and use the package; the first fault ends the script."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder)
        sdist, pure = build(outside)
        check_wheel(pure)
        check_description(sdist, pure)
        source = check_sdist(sdist, outside)
        python = install(pure, outside, sys.executable)
        use(python, outside)
        check_types(python, outside)
        run_tests(source)
        wheel = build_ahead(sdist, pure, outside)
        if wheel is not None:
            check_description(wheel)
            for interpreter in interpreters():
                use_without_compiler(install(wheel, outside, interpreter), outside)
            variants = runnable(outside / "venv/bin/python", outside)
            test_kernels(wheel, variants)
            test_in_guests(sdist, wheel, variants, outside)
    print(f"make package took {time.perf_counter() - began:.0f} s")


def build(outside: Path) -> tuple[Path, Path]:
    """Build the sdist and a pure wheel from a copy of the checkout."""
    copy, built = outside / "checkout", outside / "dist"
    if (ROOT / ".git").exists():
        clone(copy)
    else:
        ignored = shutil.ignore_patterns(".venv", "build", "*.egg-info", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    wheels.build(copy, built, "--sdist")
    wheels.build(copy, built, "--wheel", CXX="no-such-compiler")
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    expect(wheel.name.endswith("-py3-none-any.whl"), f"the pure wheel is {wheel.name}")
    for path in (sdist, wheel):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
    return sdist, wheel


def clone(copy: Path) -> None:
    """Clone the checkout, with its tags, and bring over what has changed since its commit."""
    run("git", "clone", "--quiet", ROOT, copy, cwd=ROOT)
    changed = run("git", "diff", "--name-only", "-z", "--no-renames", "HEAD", cwd=ROOT)
    new = run("git", "ls-files", "-z", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, (changed + new).split("\0")):
        (copy / name).unlink(missing_ok=True)
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)


def check_description(*built: Path) -> None:
    """Check the metadata as PyPI does, and that the description's links are absolute."""
    run(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=ROOT, quiet=False)
    for path in built:
        relative = re.findall(r"\]\((?!https?:|#)[^)]*\)", metadata(path))
        expect(not relative, f"{path.name} has on PyPI the broken links {relative}")


def metadata(path: Path) -> str:
    """Read the metadata of an sdist or a wheel."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return archive.read(name).decode()
    with tarfile.open(path) as archive:
        file = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
        return file.read().decode() if file else ""


def check_wheel(wheel: Path) -> None:
    """Check that the wheel has the sources of kernels/ as files, and no files for developers."""
    with zipfile.ZipFile(wheel) as archive:
        files = {i.filename: i for i in archive.infolist()}
        record = archive.read("gpubp/kernels/cpu/built_ahead.json").decode()
    expect("'no-such-compiler', which is not found" in record, f"its record says {record}")
    tops = {name.partition("/")[0] for name in files}
    expect(len(tops) == 2 and "gpubp" in tops, f"the wheel has {sorted(tops)} at the top")
    kernels = [p for p in sorted((ROOT / "kernels").rglob("*")) if p.is_file()]
    sources = [p for p in kernels if "__pycache__" not in p.parts]
    wanted = [*IN_WHEEL, *(f"gpubp/{p.relative_to(ROOT)}" for p in sources)]
    missing = [name for name in wanted if name not in files]
    expect(not missing, f"the wheel lacks {missing}")
    links = [name for name, i in files.items() if i.external_attr >> 28 == 0o12]
    expect(not links, f"the wheel has links: {links}")
    foreign = [name for name in files if set(FOREIGN) & set(name.split("/"))]
    expect(not foreign, f"the wheel has {foreign}")
    print(f"the wheel has {len(files)} files, {len(sources)} of kernels/")


def check_sdist(sdist: Path, outside: Path) -> Path:
    """Unpack the sdist; check that it is complete; return its folder."""
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
        archive.extractall(outside / "unpacked", filter="data")
    (source,) = (outside / "unpacked").iterdir()
    names = [m.name.partition("/")[2] for m in members if not m.isdir()]
    results = [str(p.relative_to(ROOT)) for p in (ROOT / "benchmarks/results").glob("*/*")]
    missing = [name for name in (*IN_SDIST, *results) if name not in names]
    expect(not missing, f"the sdist lacks {missing}")
    expect(all(m.isfile() or m.isdir() for m in members), "the sdist has links")
    twice = [
        n for n in names if n.startswith(("kernels/", "benchmarks/")) and f"gpubp/{n}" in names
    ]
    expect(not twice, f"the sdist has twice {twice}")
    tops = {name.partition("/")[0] for name in names}
    expect(tops <= TOPS, f"the sdist has at the top {sorted(tops - TOPS)}")
    print(f"the sdist has {len(names)} files")
    return source


def build_ahead(sdist: Path, pure: Path, outside: Path) -> Path | None:
    """Build this platform's wheel from the sdist; its other files must be those of the pure wheel."""
    name = wheels.here()
    if name is None:
        print(f"no wheel is built for {platform.system()} on {platform.machine()}")
        return None
    wheel = wheels.build_wheel(sdist, name, outside / "ahead")
    size = wheels.library_size(wheel)
    expect(contents(wheel) == contents(pure), "the wheel of the sdist has other files")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, its library {size / 1e3:.0f} kB")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """Read all files of a wheel but the library, its record, and the lists of files and tags."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "/built_ahead." not in name]
        return {
            name: archive.read(name) for name in names if not name.endswith(("/RECORD", "/WHEEL"))
        }


def interpreters() -> list[str]:
    """Return the Pythons that PYTHONS names, and this one."""
    named = os.environ.get("PYTHONS", "").split()
    return list(dict.fromkeys([sys.executable, *named]))


def install(wheel: Path, outside: Path, interpreter: str) -> Path:
    """Install the wheel and its dependencies into a fresh environment; return its interpreter."""
    shutil.rmtree(outside / "venv", ignore_errors=True)
    run(interpreter, "-m", "venv", outside / "venv", cwd=outside)
    python = outside / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=outside)
    return python


def use(python: Path, outside: Path) -> None:
    """Run the commands, train, compile the kernels, and measure one point."""
    cache, command = outside / "cache", python.parent / "gpubp"
    where = run(python, "-c", "import gpubp; print(gpubp.__file__)", cwd=outside).strip()
    expect("site-packages" in where, f"gpubp comes from {where}")
    run(command, "info", cwd=outside, quiet=False)
    run(python, "-m", "gpubp", "--help", cwd=outside)
    run(command, "bench", "--help", cwd=outside)
    run(python, ROOT / ".ci/smoke.py", cwd=outside, quiet=False, XDG_CACHE_HOME=str(cache))
    compiled = [path.name for path in (cache / "gpubp").rglob("*.so")]
    compiler = which("g++") or which("clang++")
    expect(bool(compiled) == bool(compiler), f"{compiler} compiled {compiled}")
    print(f"{len(compiled)} kernels compiled by {compiler or 'nothing: there is no compiler'}")
    point = ("--architectures", "narrow", "--batch-sizes", "8", "--optimizer", "sgd")
    run(command, "bench", "--contenders", "gpubp-numpy", *point, "--rounds", "1", cwd=outside)


def use_without_compiler(python: Path, outside: Path) -> None:
    """Use the wheel with nothing but its environment on PATH: its kernels run, in every variant."""
    empty = outside / "empty"
    empty.mkdir(exist_ok=True)
    alone = {"PATH": str(python.parent), "HOME": str(empty), "XDG_CACHE_HOME": str(empty)}
    told = run(python.parent / "gpubp", "info", cwd=outside, **alone)
    expect("built ahead by clang" in told, f"gpubp info says {told}")
    print(told.splitlines()[0])
    for variant in ("", *runnable(python, outside)):
        print(run(python, "-c", TWINS, cwd=outside, GPUBP_PROCESSOR=variant, **alone).strip())
    expect(not list(empty.iterdir()), f"the wheel wrote {list(empty.iterdir())}")


def runnable(python: Path, outside: Path) -> list[str]:
    """List the variants of the wheel that this processor can run."""
    code = (
        "from gpubp.kernels.cpu.ahead import VARIANTS, opened; chosen = opened().variant;"
        "names = next(list(v) for v in VARIANTS.values() if chosen in v);"
        "print(*names[: names.index(chosen) + 1])"
    )
    return run(python, "-c", code, cwd=outside).split()


def test_kernels(wheel: Path, variants: list[str]) -> None:
    """Run the kernels' tests of the checkout on the wheel's library, in each variant."""
    with tempfile.TemporaryDirectory() as unpacked:
        library = unpacked_library(wheel, unpacked)
        for variant in variants:
            test_library(variant, KERNEL_TESTS, GPUBP_BUILT_AHEAD=str(library))


def test_in_guests(sdist: Path, wheel: Path, variants: list[str], outside: Path) -> None:
    """Build the wheels of other platforms, and run tests on their libraries in guests.

    The library of this platform's `wheel` runs on lesser processors. x86-64's `variants` are those that
    this processor can run.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from support.guest.targets import TARGETS  # noqa: PLC0415

    for name, guest, own in (
        ("manylinux_2_28_x86_64", "nehalem", ["baseline"]),
        ("manylinux_2_28_x86_64", "haswell", ["avx2"]),
        ("manylinux_2_28_aarch64", "aarch64", ["neon"]),
        ("win_amd64", "windows", variants),
    ):
        if TARGETS[guest].missing:
            print(f"{name} is not tested in {guest}: {TARGETS[guest].missing}")
            continue
        built = wheel
        if name not in wheel.name:
            built = wheels.build_wheel(sdist, name, outside / "ahead")
            print(f"{built.name}: its library {wheels.library_size(built) / 1e3:.0f} kB")
        with tempfile.TemporaryDirectory() as unpacked:
            library = unpacked_library(built, unpacked)
            for variant in own:
                variables = {"GPUBP_TEST_GUEST": guest, "GPUBP_TEST_GUEST_AHEAD": str(library)}
                test_library(variant, (*GUEST_TESTS, "-k", IN_GUESTS), **variables)


def unpacked_library(wheel: Path, folder: str) -> Path:
    """Unpack a wheel; return the folder of its library."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return Path(folder, "gpubp/kernels/cpu")


def test_library(variant: str, tests: Sequence[str], **variables: str) -> None:
    """Run tests of the checkout on a library, and print how many passed."""
    began = time.perf_counter()
    command = (sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider")
    shown = run(*command, *tests, cwd=ROOT, GPUBP_PROCESSOR=variant, **variables)
    where, seconds = variables.get("GPUBP_TEST_GUEST", "here"), time.perf_counter() - began
    print(f"kernels built ahead for {variant}, {where}: {shown.splitlines()[-1]}, {seconds:.0f} s")


def check_types(python: Path, outside: Path) -> None:
    """Check that mypy sees the types of the installed package, not Any."""
    script = outside / "script.py"
    script.write_text(TYPED, encoding="utf-8")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python)
    seen = run(*mypy, "--cache-dir", outside / "mypy", script, cwd=outside)
    expect("builtins.int" in seen or '"int"' in seen, f"mypy sees no types: {seen}")
    expect("Activation" in seen, f"mypy sees no types: {seen}")


def run_tests(source: Path) -> None:
    """Collect all tests of the unpacked sdist, and run those that read its files."""
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    run(*pytest, "-q", "--collect-only", cwd=source, PYTHONPATH=str(source))
    files = [p for name in ("test_docs.py", "test_installing.py") for p in source.rglob(name)]
    expect(len(files) == 2, f"the sdist has {files}")
    shown = run(*pytest, *files, cwd=source, PYTHONPATH=str(source))
    print(f"tests of the sdist: {shown.splitlines()[-1]}")


def expect(holds: bool, otherwise: str) -> None:
    """End the script with a message unless a condition holds."""
    if not holds:
        raise SystemExit(f"make package: {otherwise}")


if __name__ == "__main__":
    main()
