"""The C++ compiler: its flags, its failures, and Ctrl-C while it runs."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from environment import rounds
from fake_compiler import FakeCompiler, answer, forget, is_closed, stored, wait_for

from gpubp.kernels.cpu import build, cache, compiler

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)

REFUSE = """
case "$*" in
*{flag}*) echo "g++: error: unrecognized command-line option '{flag}'" >&2; exit 1;;
esac
"""


# Which compiler, and which flags.


@pytest.mark.parametrize(
    ("refused", "expected"),
    [("", "-march=native"), ("-march=native", "-mcpu=native"), ("native", "")],
)
def test_the_compiler_is_asked_for_its_flag_once(
    fake: FakeCompiler, place: Path, refused: str, expected: str
) -> None:
    fake.behave(REFUSE.format(flag=refused) if refused else "")
    assert answer() == 42
    assert {cache.flag_of(library) for library in stored(place)} == {expected}
    assert sum(" -E " in run for run in fake.runs) == (1 if not refused else 2)
    compiles = [run for run in fake.runs if " -c " in run]
    assert all(expected in run and ("native" in run) == bool(expected) for run in compiles)
    forget()
    how = f"with {expected}" if expected else "without a flag for this processor"
    assert build.explain() == f"compiled {how}, stored in {place}"


@pytest.mark.parametrize(
    "failure", ["kill -9 $$", "kill -15 $$", "echo error: no memory >&2; exit 1"]
)
def test_a_compiler_that_fails_is_not_taken_to_refuse_the_flag(
    fake: FakeCompiler, place: Path, failure: str
) -> None:
    fake.behave(f'case "$*" in *-E*) {failure};; esac')
    reason = (
        "error: no memory" if "exit" in failure else f"signal {failure.split()[1][1:]} ended it"
    )
    with pytest.warns(RuntimeWarning, match=f"NumPy twin runs instead, more slowly: .*{reason}"):
        assert build.kernel("answer", np.float32, "// a text") is None
    assert not stored(place)
    fake.behave("")
    assert answer() == 42
    assert cache.flag_of(stored(place)[0]) == "-march=native"


def test_cxx_may_have_arguments(
    fake: FakeCompiler, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer()
    launcher = tmp_path / "a launcher"
    launcher.write_text('#!/bin/sh\nexec "$@"\n')
    launcher.chmod(0o755)
    command = (str(launcher), str(fake.program), "-pthread")
    monkeypatch.setenv("CXX", shlex.join(command))
    fake.behave("")
    assert answer() == 42
    assert all(run.startswith("-pthread ") for run in fake.runs)
    assert fake.compilations == 2  # another command has libraries of its own


@pytest.mark.parametrize("named", ["-march=armv8.2-a", "-mcpu=cortex-a72"])
def test_a_processor_that_cxx_names_takes_the_place_of_this_one(
    fake: FakeCompiler, place: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    answer()
    monkeypatch.setenv("CXX", shlex.join([str(fake.program), "-march=older", named]))
    fake.behave("")
    assert answer() == 42
    assert all(run.startswith(f"-march=older {named} ") for run in fake.runs)
    assert not [run for run in fake.runs if "native" in run or " -E " in run]
    assert fake.compilations == 2  # its libraries are apart from those for this processor
    fake.behave("")
    forget()
    assert build.explain() == f"compiled with {named}, stored in {place}"
    assert fake.compilations == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-compiler -O3", "CXX is 'no-such-compiler -O3', which is not found"),
        ("g++ 'of", 'CXX is "g\\+\\+ \'of", which is not a command'),
    ],
)
def test_a_cxx_that_names_no_compiler_is_told(
    fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    monkeypatch.setenv("CXX", command)
    if "not found" in message:
        assert build.made_by() == ""
    else:
        with pytest.warns(RuntimeWarning, match=message):
            assert build.made_by() == ""
    account = build.explain()
    assert account.startswith("NumPy twins, because ") and "which is not" in account


def test_compilation_that_is_turned_off_is_told(
    fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUBP_COMPILE", "0")
    assert build.explain() == "NumPy twins, because GPUBP_COMPILE is 0"
    assert not fake.runs


def test_a_compiler_that_hangs_is_ended_with_its_children_and_twins_run(
    fake: FakeCompiler, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(compiler, "TIMEOUT", 1.0)
    fake.behave(f'case "$*" in *" -c "*) sleep 1000 > {shlex.quote(str(pipe))} & wait;; esac')
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.warns(RuntimeWarning, match="more slowly: .* took more than 1 seconds"):
            assert build.kernel("answer", np.float32, "// a text") is None
        assert not stored(place)
        wait_for(lambda: is_closed(end))
    finally:
        os.close(end)


def test_a_text_that_is_refused_ends_the_compilers_of_the_others(
    fake: FakeCompiler, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refuse = "echo error: it is refused >&2; exit 1"
    wait = f"sleep 1000 > {shlex.quote(str(pipe))}"
    fake.behave(f'case "$*" in *" -c "*kernels0*) {refuse};; *" -c "*) {wait} & wait;; esac')
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(compiler.CompileError, match=r"^error: it is refused$"):
            compiler.compile_library(["one text", "another"], tmp_path, ())
        wait_for(lambda: is_closed(end))
    finally:
        os.close(end)


# Ctrl-C.


def test_an_interrupted_compilation_leaves_nothing_and_the_next_call_compiles(
    fake: FakeCompiler, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, ready = tmp_path / "scratch", tmp_path / "ready"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    fake.behave(f'case "$*" in *" -c "*) touch {shlex.quote(str(ready))}; sleep 1000;; esac')

    def send_control_c() -> None:
        wait_for(ready.exists)
        os.kill(os.getpid(), signal.SIGINT)

    control_c = threading.Thread(target=send_control_c)
    control_c.start()
    with pytest.raises(KeyboardInterrupt):
        build.made_by()
    control_c.join()
    assert not stored(scratch) and not stored(place)
    fake.behave("")
    assert build.made_by() == "fake 1.0"  # without `forget`: no failure is remembered
    assert len(stored(place)) == 1


TRIAL = """
import signal, sys
from gpubp.kernels.cpu import build, texts
texts.BASE = ("matmul.cpp", "sums.cpp", "arithmetic.cpp")
if sys.argv[1] == "deferred":  # as during Trainer.fit
    signal.signal(signal.SIGINT, lambda *_: None)
try:
    print("begin", flush=True)
    build.base()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted", flush=True)
print(build.explain(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["at once", "deferred"])
def test_control_c_at_any_moment_of_a_first_compilation_does_no_harm(
    kind: str, tmp_path: Path
) -> None:
    """The process group gets the signal, as from a terminal: the compiler too, if it is in the group."""
    rng = random.Random(kind)
    for trial in range(rounds(3, 30)):
        home, scratch = tmp_path / f"home{trial}", tmp_path / f"scratch{trial}"
        scratch.mkdir()
        environment = {"XDG_CACHE_HOME": str(home), "TMPDIR": str(scratch)}
        process = subprocess.Popen(
            (sys.executable, "-W", "error", "-c", TRIAL, kind),
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "begin\n"
        time.sleep(rng.uniform(0, 0.8))
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=600)
        assert (process.returncode, errors) == (0, ""), (trial, said)
        *interrupted, account = said.splitlines()
        assert interrupted in ([], ["interrupted"]) and (kind == "at once" or not interrupted)
        assert "-march=native, stored in" in account
        assert not list(scratch.iterdir())
        (library,) = (home / "gpubp").iterdir()
        assert cache.flag_of(library) == "-march=native"
