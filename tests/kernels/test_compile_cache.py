"""The cache of compiled kernels: damaged libraries, other users' files, folders that cannot be used."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment import rounds
from fake_compiler import FakeCompiler, answer, stored

from gpubp.kernels.cpu import build, cache

pytestmark = [
    pytest.mark.skipif(not build.made_by(), reason="no C++ compiler: install g++ or set CXX"),
    pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no users of files"),
]


def test_a_library_is_compiled_once_and_a_warm_start_asks_only_for_the_version(
    fake: FakeCompiler, place: Path
) -> None:
    assert answer() == 42
    assert fake.compilations == 2  # the base library, and that of the text
    assert len(stored(place)) == 2
    fake.behave("")
    assert answer() == 42
    assert fake.runs == ["--version"]


def test_the_log_says_once_a_process_that_kernels_are_compiled_and_where_they_are_stored(
    fake: FakeCompiler, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gpubp")
    line = f"kernels for the CPU are being compiled by fake 1.0, stored in {place}"
    answer()  # two libraries
    assert caplog.record_tuples == [("gpubp", logging.INFO, line)]
    caplog.clear()
    answer()  # a new process that finds both stored
    assert caplog.record_tuples == []


def test_the_log_says_why_compiled_kernels_are_not_stored(
    fake: FakeCompiler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gpubp")
    (tmp_path / "home").write_text("not a folder")
    answer()
    (record,) = caplog.records
    assert re.search(r"compiled by fake 1\.0, for this process alone \(.*home", record.message)


def test_a_stored_library_is_private_and_names_its_flag(fake: FakeCompiler, place: Path) -> None:
    answer()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    for library in stored(place):
        assert stat.S_IMODE(library.stat().st_mode) == 0o600
        assert cache.flag_of(library) == "-march=native"
    assert build.explain() == f"compiled with -march=native, stored in {place}"


# Damage.


def truncate(path: Path, other: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def empty(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path, other: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def replace_by_noise(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(rng.randrange(1, 2**15)))


def replace_by_a_library(path: Path, other: Path, rng: random.Random) -> None:
    shutil.copy(other, path)


def replace_by_a_link(path: Path, other: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(other)


def replace_by_a_pipe(path: Path, other: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_a_folder(path: Path, other: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Callable[[Path, Path, random.Random], None], ...] = (
    truncate, flip_a_bit, empty, truncate, flip_a_bit, replace_by_noise, replace_by_a_library,
    replace_by_a_link, replace_by_a_pipe, replace_by_a_folder,
)  # fmt: skip

CALL_KERNELS = """
import sys
import numpy as np
from gpubp.kernels.cpu import build
for k in range(int(sys.argv[1])):
    print(build.kernel("answer", np.float32, f"// text {k}")(), flush=True)
"""


def call_kernels(count: int) -> list[str]:
    """Call kernels of `count` libraries in a new process; return the results."""
    command = (sys.executable, "-W", "error", "-c", CALL_KERNELS, str(count))
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.slow
def test_a_damaged_library_is_never_loaded_and_is_compiled_again(
    fake: FakeCompiler, place: Path, tmp_path: Path
) -> None:
    """A damaged library would end the process (SIGBUS, SIGSEGV), or hang it (a pipe)."""
    count = rounds(20, 200)
    assert call_kernels(count) == ["42"] * count
    good = {path.name: path.read_bytes() for path in stored(place)}
    other = tmp_path / "other.so"
    wrong = 'extern "C" int answer_float() { return 7; }'
    command = ("g++", "-shared", "-x", "c++", "-", "-o", str(other))
    subprocess.run(command, input=wrong, text=True, check=True)
    rng = random.Random(0)
    for trial, path in enumerate(stored(place)):
        DAMAGES[trial % len(DAMAGES)](path, other, rng)
    fake.behave("")
    assert call_kernels(count) == ["42"] * count
    assert fake.compilations == count + 1
    assert {path.name for path in stored(place)} == set(good)
    folders = [path for path in stored(place) if path.is_dir()]
    assert all(
        path.read_bytes() == good[path.name] for path in stored(place) if path not in folders
    )
    fake.behave("")
    assert call_kernels(count) == ["42"] * count
    assert fake.compilations == len(folders)  # a folder cannot be replaced by a file


def test_a_library_that_does_not_load_here_is_compiled_again(
    fake: FakeCompiler, place: Path
) -> None:
    answer()
    path = stored(place)[0]
    foreign = b"\x7fELF for another system"
    path.unlink()
    path.with_name(f"{path.name.split('.')[0]}.{cache._hash(foreign)}.so").write_bytes(foreign)
    os.chmod(place, 0o700)
    fake.behave("")
    assert answer() == 42
    assert fake.compilations == 1


# Other users.


def refused(place: Path, fake: FakeCompiler, why: str) -> None:
    """Check that a folder is refused with a warning, and that nothing in it is loaded or changed."""
    before = {path.name: path.read_bytes() for path in stored(place)}
    for _ in range(2):
        fake.behave("")
        with pytest.warns(RuntimeWarning, match=f"^compiled kernels are not stored, .*: {why}"):
            assert answer() == 42
        assert fake.compilations == 2
        assert "for this process alone" in build.explain() and why in build.explain()
    assert {path.name: path.read_bytes() for path in stored(place)} == before


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777], ids=oct)
def test_a_folder_that_others_can_write_is_refused(
    fake: FakeCompiler, place: Path, mode: int
) -> None:
    answer()
    place.chmod(mode)
    refused(place, fake, f"other users can write to {place}")


def test_a_folder_of_another_user_is_refused(
    fake: FakeCompiler, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    refused(place, fake, f"{place} belongs to another user")


def test_a_link_to_a_folder_is_judged_by_the_folder(
    fake: FakeCompiler, place: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place.parent.mkdir()
    place.symlink_to(elsewhere)
    assert answer() == 42
    assert len(stored(elsewhere)) == 2
    elsewhere.chmod(0o777)
    refused(place, fake, f"other users can write to {elsewhere}")


def test_a_folder_above_that_others_can_write_is_refused(
    fake: FakeCompiler, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    home = place.parent
    for mode, group in ((0o757, os.getegid()), (0o775, os.getegid() + 1)):
        home.chmod(mode)
        with monkeypatch.context() as patched:
            patched.setattr(os, "getegid", lambda group=group: group)
            refused(place, fake, f"other users can write to {home}")


@pytest.mark.parametrize("mode", [0o775, 0o1777], ids=["own group", "sticky"])
def test_folders_above_may_have_the_modes_that_systems_give_them(
    fake: FakeCompiler, place: Path, mode: int
) -> None:
    answer()
    place.parent.chmod(mode)
    fake.behave("")
    assert answer() == 42
    assert fake.compilations == 0


@pytest.mark.parametrize("mode", [0o660, 0o602], ids=oct)
def test_a_library_that_others_can_write_is_compiled_again_with_a_warning(
    fake: FakeCompiler, place: Path, mode: int
) -> None:
    answer()
    for library in stored(place):
        library.chmod(mode)
    with pytest.warns(RuntimeWarning, match="^a kernel is compiled again: other users can write"):
        assert answer() == 42
    assert all(stat.S_IMODE(library.stat().st_mode) == 0o600 for library in stored(place))
    assert answer() == 42


def test_a_library_of_another_user_is_removed_and_compiled_again_with_a_warning(
    fake: FakeCompiler, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash may be right: whoever can write a file can choose its name."""
    answer()
    for path in stored(place):
        content = path.read_bytes() + b" with other code"
        key_and_flag = path.name.split(".")[0]
        path.with_name(f"{key_and_flag}.{cache._hash(content)}.so").write_bytes(content)
        path.unlink()
    theirs = stored(place)
    me, fstat = os.geteuid(), os.fstat

    def of_another(descriptor: int) -> Any:
        status = fstat(descriptor)
        return os.stat_result((*status[:4], me + 1, *status[5:]))

    monkeypatch.setattr("gpubp.kernels.cpu.cache.os.fstat", of_another)
    fake.behave("")
    with pytest.warns(RuntimeWarning, match="^a kernel is compiled again: .* another user"):
        assert answer() == 42
    assert fake.compilations == 2
    assert not set(theirs) & set(stored(place))


# Folders and disks.


def test_a_relative_cache_home_is_ignored(
    fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert answer() == 42
    assert not (tmp_path / "relative").exists()
    assert len(stored(tmp_path / "user/.cache/gpubp")) == 2


@pytest.mark.parametrize("home", ["none", "relative", "not a folder"])
def test_without_a_home_kernels_are_compiled_for_the_process(
    fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    if home == "none":
        monkeypatch.setattr(Path, "home", no_home)
    else:
        monkeypatch.setenv("HOME", {"relative": "here", "not a folder": "/dev/null"}[home])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert answer() == 42
    assert "for this process alone (" in build.explain()
    assert not stored(scratch)
    assert stored(tmp_path) == [tmp_path / "native", scratch]


def test_a_full_cache_disk_costs_only_the_copy(
    fake: FakeCompiler, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert answer() == 42
    assert not stored(place)


def test_without_any_room_twins_run_with_a_warning(
    fake: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.warns(RuntimeWarning, match="NumPy twin runs instead, more slowly: .*missing"):
        assert build.kernel("answer", np.float32, "// a text") is None
    assert build.explain().startswith("NumPy twins, because a kernel does not compile: ")


def test_a_read_only_cache_is_read(fake: FakeCompiler, place: Path) -> None:
    answer()
    place.chmod(0o500)
    fake.behave("")
    assert answer() == 42
    assert fake.compilations == 0


@pytest.mark.slow
def test_processes_that_compile_the_same_library_at_the_same_time_all_succeed(
    fake: FakeCompiler, place: Path
) -> None:
    fake.behave("sleep 0.2")
    command = (sys.executable, "-W", "error", "-c", CALL_KERNELS, "3")
    together = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=600)[0].split() for process in together] == [["42"] * 3] * 3
    assert len(stored(place)) == 4
