"""Compiling on Windows and macOS, simulated: folders, names, commands; and the package ziglang."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache as once
from pathlib import Path

import numpy as np
import pytest
from environment import LONG
from fake_compiler import FakeCompiler, answer, forget, stored

from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.cpu import build, cache, compiler, system
from gpubp.kernels.cpu.texts import activation_text, base_text, dropout_text, joined

needs_compiler = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gpubp take this system for Windows."""
    for module in (system, compiler, cache):
        monkeypatch.setattr(module, "is_windows", lambda: True)


@pytest.fixture
def windows_place(
    windows: None, fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the cache folder on Windows; a fake compiler is the compiler."""
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    forget()
    return tmp_path / "local/gpubp"


# Folders.


@pytest.mark.parametrize("named", [True, False], ids=["named", "usual"])
@pytest.mark.parametrize(
    ("name", "variable", "usual"),
    [
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", "XDG_CACHE_HOME", "Library/Caches"),
        ("linux", "XDG_CACHE_HOME", ".cache"),
    ],
)
def test_each_system_has_its_folder_for_what_can_be_made_again(
    name: str, variable: str, usual: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "is_windows", lambda: name == "win32")
    monkeypatch.setattr(system, "is_mac", lambda: name == "darwin")
    monkeypatch.setattr(Path, "home", lambda: Path("/users/me"))
    for other in ("LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(other, "/another")
    monkeypatch.setenv(variable, "/a/folder" if named else "relative")
    assert system.cache_home() == Path("/a/folder" if named else f"/users/me/{usual}")


@needs_compiler
def test_on_windows_libraries_are_dlls_and_no_flag_of_other_systems_is_given(
    windows_place: Path, fake: FakeCompiler
) -> None:
    assert answer() == 42
    assert [path.suffix for path in stored(windows_place)] == [".dll", ".dll"]
    links = [run.split() for run in fake.runs if "-shared" in run]
    compiles = [run.split() for run in fake.runs if " -c " in run]
    assert all("-static" in run and not {"-lm", "-pthread"} & {*run} for run in links)
    assert all("-Wa,-muse-unaligned-vector-move" in run for run in compiles)
    assert not [run for run in fake.runs if "-fPIC" in run]
    fake.behave("")
    assert answer() == 42
    assert fake.runs == ["--version"]


@needs_compiler
@pytest.mark.parametrize(
    ("told", "links"),
    [
        ("clang version 20.1.0\nTarget: x86_64-pc-windows-msvc", []),
        ("clang version 20.1.0\nTarget: x86_64-w64-windows-gnu", ["-static"]),
        ("clang version 22.1.8\nTarget: x86_64-unknown-windows-gnu", []),  # Zig's
    ],
)
def test_clang_links_as_its_target_needs(
    windows_place: Path,
    fake: FakeCompiler,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    links: list[str],
) -> None:
    monkeypatch.setattr(compiler, "_version", once(lambda: told))
    assert answer() == 42
    assert all(run.split()[4:] == links for run in fake.runs if "-shared" in run)
    assert not [run for run in fake.runs if "-Wa," in run]


@needs_compiler
def test_clang_cl_is_asked_for_the_arguments_of_clang(
    fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "clang-cl"
    shutil.copy(fake.program, program)
    monkeypatch.setenv("CXX", f"{program} -O1")
    assert answer() == 42
    assert fake.runs and all(run.startswith("--driver-mode=g++ -O1 ") for run in fake.runs)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (r"C:\llvm\bin\clang++.exe -O2", [r"C:\llvm\bin\clang++.exe", "-O2"]),
        (r'"C:\Program Files\clang++.exe" "-DX=1 2"', [r"C:\Program Files\clang++.exe", "-DX=1 2"]),
    ],
)
def test_backslashes_are_parts_of_paths_on_windows(
    windows: None, command: str, expected: list[str]
) -> None:
    assert system.words(command) == expected


# Files that Windows has loaded.


@needs_compiler
def test_a_stored_library_that_cannot_be_replaced_is_used(
    windows_place: Path, fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(old: object, new: object) -> None:
        raise PermissionError(13, "Access is denied")

    answer()
    library, size = tmp_path / "library", len(stored(windows_place))
    library.write_bytes(stored(windows_place)[0].read_bytes())
    key = stored(windows_place)[0].name.split("-")[0]
    monkeypatch.setattr(os, "replace", loaded)
    assert cache.store(key, "-march=native", library) == stored(windows_place)[0]
    assert cache.store("another", "", library) is None
    assert len(stored(windows_place)) == size
    fake.behave("")
    stored(windows_place)[0].unlink()
    assert answer() == 42  # from the temporary folder
    assert fake.compilations == 1


def test_libraries_that_ended_processes_had_loaded_are_removed(
    windows: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: Path) -> None:
        if path.parent.name == "gpubp-loaded":
            raise PermissionError(13, "Access is denied")
        remove(path)

    remove = Path.unlink
    contents = {
        "gpubp-ended": ["kernels.dll"],
        "gpubp-loaded": ["kernels.dll"],
        "gpubp-compiling": ["kernels.cpp", "kernels.dll"],
        "gpubp-starting": [],
        "other": ["kernels.dll"],
    }
    for folder, names in contents.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    (tmp_path / "gpubp-file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "unlink", unlink)
    cache.remove_leftovers()
    kept = {*contents, "gpubp-file"} - {"gpubp-ended"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    assert len(list((tmp_path / "gpubp-compiling").iterdir())) == 2


@needs_compiler
def test_windows_ends_the_compiler_with_the_processes_that_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[tuple[str, ...]] = []
    process = subprocess.Popen(
        (sys.executable, "-c", "import time; time.sleep(1000)"), stdout=subprocess.PIPE, text=True
    )
    monkeypatch.delattr(os, "killpg")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    compiler._end(process)
    assert commands == [("taskkill", "/T", "/F", "/PID", str(process.pid))]
    assert process.returncode is not None


# The processor.


def test_the_processor_is_described_on_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def sysctl(*arguments: str) -> str:
        names = {"machdep.cpu": "machdep.cpu.features: FPU", "hw.perflevel0.logicalcpu": "1\n"}
        return {**names, "machdep.cpu.brand_string": "Apple M9\n"}[arguments[-1]]

    describe: Callable[[], str] = system.processor.__wrapped__
    name: Callable[[], str] = system.processor_name.__wrapped__
    assert describe() and name()
    monkeypatch.setattr(system, "_sysctl", sysctl)
    monkeypatch.setattr(system, "_cpuinfo", list)
    monkeypatch.setattr(system, "is_mac", lambda: True)
    assert describe().startswith("machdep.cpu.features: FPU") and name() == "Apple M9"
    assert system.performance_cores() == 1
    monkeypatch.setattr(system, "_sysctl", lambda *_: "")
    assert system.performance_cores() == system.usable_processors() and describe() and name()
    monkeypatch.setattr(system, "is_mac", lambda: False)
    monkeypatch.setattr(system, "is_windows", lambda: True)
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", "Intel64 Family 6")
    assert describe().startswith("Intel64 Family 6") and name()


def test_a_system_without_affinity_counts_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = system.usable_processors()
    assert 1 <= expected <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert expected <= system.usable_processors() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    assert system.usable_processors() == 1


# The package ziglang.


@pytest.fixture
def zig(
    fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Install a package ziglang, whose program is the fake compiler; return the folders that it got."""
    package, record = tmp_path / "packages/ziglang", tmp_path / "given"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    fake.behave(f'echo "$ZIG_GLOBAL_CACHE_DIR:$ZIG_LOCAL_CACHE_DIR" >> {shlex.quote(str(record))}')
    shutil.copy(fake.program, package / "zig")
    find = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: find(name, path=path) if path else None
    )
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delenv("CXX")
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return lambda: record.read_text().splitlines()


@needs_compiler
def test_the_package_ziglang_is_the_last_choice_and_writes_to_the_cache_only(
    zig: Callable[[], list[str]], fake: FakeCompiler, place: Path
) -> None:
    assert answer() == 42
    assert fake.runs and all(run.startswith("c++ -fno-sanitize=undefined ") for run in fake.runs)
    assert set(zig()) == {f"{place}/zig:{place}/zig"}
    assert "stored in" in build.explain()


@needs_compiler
def test_zig_keeps_the_folder_that_the_user_names(
    zig: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", "/the/users")
    assert answer() == 42
    assert set(zig()) == {f"/the/users:{place}/zig"}


@needs_compiler
def test_without_a_cache_zig_has_a_folder_of_the_process(
    zig: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("not a folder")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert answer() == 42
    (folder,) = set(zig())
    assert folder.startswith(f"{scratch}/gpubp-zig-")
    compiler._temporary_folder().cleanup()  # as at the end of the process
    assert not stored(scratch)


def test_the_error_names_a_compiler_that_can_be_installed(
    fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert build.explain() == (
        "NumPy twins, because there is no C++ compiler: g++ and clang++ are not found; "
        "`pip install ziglang` installs a compiler"
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("ziglang"), reason="the package ziglang is not installed"
)
@pytest.mark.skipif(not LONG, reason="Zig's first run, a minute, is part of the long form")
def test_zig_compiles_kernels_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: find(name, path=path) if path else None
    )
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    try:
        began = time.monotonic()
        assert "stored in" in build.explain(), build.explain()
        assert time.monotonic() - began < compiler.ZIGS_TIMEOUT
        assert build.kernel("column_sums", np.float32) is not None
    finally:
        monkeypatch.undo()
        forget()


# Compilers for other systems.


def texts() -> str:
    """Join the base library's text and those of a wide choice of kernels with table entries."""
    return joined("\n".join((base_text(), activation_text(ACTIVATIONS["gelu"]), dropout_text())))


MINGW = "x86_64-w64-mingw32-g++-posix"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(MINGW), reason=f"{MINGW} is not installed")
def test_kernels_compile_for_windows_by_mingw(tmp_path: Path) -> None:
    """The library needs no other than those of Windows, and exports its functions."""
    (tmp_path / "text.cpp").write_text(texts())
    compiled, library = str(tmp_path / "text.o"), tmp_path / "text.dll"
    flags = [flag for flag in compiler.FLAGS if flag not in ("-O3", "-w")]
    flags += ["-O1", "-Wall", "-Werror", "-Wno-unused-function", "-march=haswell"]
    for words in (
        [MINGW, *flags, "-c", str(tmp_path / "text.cpp"), "-o", compiled],
        [MINGW, "-shared", compiled, "-o", str(library), "-static"],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    content = library.read_bytes()
    assert b"run_shards\0" in content and b"bias_activate_float\0" in content
    assert b"libstdc++" not in content and b"libwinpthread" not in content


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("ziglang"), reason="the package ziglang is not installed"
)
@pytest.mark.parametrize(
    "target", ["x86_64-windows-gnu", "aarch64-linux-gnu", "aarch64-macos", "x86_64-macos"]
)
def test_kernels_compile_for_other_systems_by_zig(target: str, tmp_path: Path) -> None:
    if target != "aarch64-macos" and not LONG:
        pytest.skip("systems other than macOS on ARM are part of the long form of the tests")
    zig = compiler._zig()
    assert zig is not None
    (tmp_path / "text.cpp").write_text(texts())
    flags = [flag for flag in compiler.FLAGS if flag != "-w"]
    words = [zig, *compiler.ZIG, "-target", target, *flags, "-Wall", "-Werror"]
    words += ["-Wno-unused-function", "-Wno-unused-const-variable"]
    words += ["-c", str(tmp_path / "text.cpp"), "-o", str(tmp_path / "text.o")]
    places = {f"ZIG_{kind}_CACHE_DIR": str(tmp_path / "zig") for kind in ("GLOBAL", "LOCAL")}
    environment = {**os.environ, **places}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
