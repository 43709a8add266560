"""Writing a file whole or not at all: errors, Ctrl-C, modes, links, and what killed processes leave."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from gpubp.files import whole, write_whole

OLD, NEW = b"old content", b"new content" * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    path.write_bytes(OLD)
    return path


def only(path: Path) -> bool:
    return os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcd")[1:], b"bcd"),
        ([b"ab", b"", np.arange(3, dtype="u1"), np.zeros((0, 2))], b"ab\0\1\2"),
        (np.arange(4, dtype="<u2").reshape(2, 2), b"\0\0\1\0\2\0\3\0"),
        ((bytes([k]) for k in range(3)), b"\0\1\2"),
    ],
)
def test_bytes_and_parts_are_written(path: Path, content: Any, expected: bytes) -> None:
    write_whole(path, content)
    assert path.read_bytes() == expected
    assert only(path)


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut needs: the order of the system's calls."""
    called: list[str] = []
    sync, replace = os.fsync, os.replace

    def logged_sync(descriptor: int) -> None:
        called.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def logged_replace(source: str, target: str) -> None:
        called.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", logged_sync)
    monkeypatch.setattr(os, "replace", logged_replace)
    write_whole(path, NEW)
    assert called == ["file", "replace", "folder"]


def test_a_str_and_bytes_are_paths_too(tmp_path: Path) -> None:
    write_whole(str(tmp_path / "a"), b"1")
    write_whole(os.fsencode(tmp_path / "b"), b"2")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize("failing", ["open", "write", "chmod", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_whole(path, NEW)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == OLD
    assert only(path)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_whole(path, [NEW, NEW])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == OLD
    assert only(path)


def test_parts_that_fail_leave_the_old_file_and_nothing_else(path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield NEW
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_whole(path, parts())
    with pytest.raises(TypeError):
        write_whole(path, "text")
    assert path.read_bytes() == OLD
    assert only(path)


class Interrupting:
    """A trace function that raises KeyboardInterrupt before the nth bytecode of the module `whole`."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != whole.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self


def interrupted(path: Path, moment: int) -> bool:
    """Write NEW, with Ctrl-C at this moment; return whether the moment came before the end."""
    before = sys.gettrace()
    sys.settrace(Interrupting(moment))
    try:
        write_whole(path, NEW)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_control_c_at_any_moment_leaves_a_whole_file_and_nothing_else(path: Path) -> None:
    moment, seen = 0, set()
    while interrupted(path, moment):
        seen.add(path.read_bytes())
        assert only(path)
        path.write_bytes(OLD)
        moment += 1
    assert moment > 100
    assert seen == {OLD, NEW}


def test_a_new_file_has_the_mode_that_the_umask_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            with monkeypatch.context() as patched:  # other threads would see a change of the umask
                patched.delattr(os, "umask")
                write_whole(tmp_path / f"{mask}", NEW)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{mask}").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o666])
def test_a_file_keeps_its_mode_and_is_never_open_to_others(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path.chmod(mode)
    while_written = []
    write = os.write

    def watch(descriptor: int, content: Any) -> int:
        while_written.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", watch)
    write_whole(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [seen & ~mode for seen in while_written] == [0]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to("folder/target")
    for content in (OLD, NEW):  # at first the target does not exist
        write_whole(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
        assert os.listdir(tmp_path / "folder") == ["target"]


def odd_places(tmp_path: Path) -> Iterator[tuple[Any, type[OSError], str]]:
    """Yield paths that cannot be written, the error that this raises, and its text."""
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        yield tmp_path / "socket", OSError, "this is a device, FIFO or socket, expected a file"
    yield tmp_path / "fifo", OSError, "this is a device, FIFO or socket, expected a file"
    yield "/dev/full", OSError, "this is a device, FIFO or socket, expected a file"
    yield tmp_path, IsADirectoryError, "this is a folder, expected a file"
    yield f"{tmp_path}/new/", IsADirectoryError, "this is a folder, expected a file"
    yield "", IsADirectoryError, "this is a folder, expected a file"
    yield tmp_path / "no" / "net", FileNotFoundError, "there is no folder to write this file in"
    (tmp_path / "file").touch()
    yield tmp_path / "file" / "net", NotADirectoryError, "Not a directory"
    yield tmp_path / ("n" * 300), OSError, "File name too long"
    (tmp_path / "loop").symlink_to("loop")
    yield tmp_path / "loop", OSError, "Too many levels of symbolic links"
    yield "/proc/net.safetensors", FileNotFoundError, "No such file or directory"


def test_places_that_cannot_be_written_are_refused_by_name(tmp_path: Path) -> None:
    for place, kind, text in odd_places(tmp_path):
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(kind, match=re.escape(text)) as caught:
            write_whole(place, NEW)
        assert caught.value.filename == os.fspath(place)
        assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_that_is_read_only_is_told() -> None:
    folder = tempfile.mkdtemp()  # other users can reach it, unlike tmp_path
    user = os.geteuid()
    try:
        os.chmod(folder, 0o555)
        if user == 0:  # root may write anywhere
            os.seteuid(65534)
        with pytest.raises(PermissionError) as caught:
            write_whole(f"{folder}/net", NEW)
    finally:
        os.seteuid(user)
        os.rmdir(folder)
    assert caught.value.filename == f"{folder}/net"


@pytest.mark.parametrize(
    ("wrong", "kind"), [(None, TypeError), (5, TypeError), (["a"], TypeError), ("a\0b", ValueError)]
)
def test_what_is_no_path_is_refused(wrong: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=re.escape(f"path is {wrong!r}, expected the name of a file")):
        write_whole(wrong, NEW)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127 + "n")
    write_whole(path, OLD)
    write_whole(path, NEW)
    assert path.read_bytes() == NEW
    assert only(path)


def test_what_a_killed_writer_left_is_removed_by_the_next_write_of_that_file(path: Path) -> None:
    (path.parent / "net.safetensors.0123456789abcdef.part").write_bytes(NEW)
    others = [
        "net.safetensors.part",
        "net.safetensors.0123.part",
        "net.safetensors.0123456789abcdeX.part",
        "net.0123456789abcdef.part",
        "net.safetensors.0123456789abcdef.part.txt",
    ]
    for name in others:
        (path.parent / name).write_bytes(NEW)
    (path.parent / "net.safetensors.00000000000000aa.part").mkdir()
    (path.parent / "net.safetensors.00000000000000bb.part").symlink_to(path)
    write_whole(path, NEW)
    assert set(os.listdir(path.parent)) == {
        path.name,
        *others,
        "net.safetensors.00000000000000aa.part",
        "net.safetensors.00000000000000bb.part",
    }


def test_the_temporary_file_of_a_living_writer_is_left_alone(path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield NEW
        write_whole(path, b"another writer's")
        assert path.read_bytes() == b"another writer's"
        assert len(os.listdir(path.parent)) == 2
        yield b" and more"

    write_whole(path, parts())
    assert path.read_bytes() == NEW + b" and more"
    assert only(path)


def test_a_file_that_was_removed_before_it_was_locked_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = whole.fcntl.flock, []

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            (temporary,) = set(os.listdir(path.parent)) - {path.name}
            os.unlink(path.parent / temporary)
            removed.append(temporary)
        flock(descriptor, operation)

    monkeypatch.setattr(whole.fcntl, "flock", remove_first)
    write_whole(path, NEW)
    assert removed
    assert path.read_bytes() == NEW
    assert only(path)


def test_file_systems_without_locks_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    leftover = path.parent / "net.safetensors.0123456789abcdef.part"
    leftover.write_bytes(NEW)
    monkeypatch.setattr(whole.fcntl, "flock", unable)
    write_whole(path, NEW)
    assert path.read_bytes() == NEW
    assert leftover.exists()  # nobody can tell whether its writer lives


def test_on_windows_old_temporary_files_are_leftovers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no such locks, but does not remove a file that is open."""
    old, new = (path.with_name(f"{path.name}.{digit * 16}.part") for digit in "ab")
    for left in old, new:
        left.write_bytes(b"a part")
    os.utime(old, (0, 0))
    with monkeypatch.context() as patched:
        patched.setattr(whole.sys, "platform", "win32")
        write_whole(path, NEW)
    assert sorted(path.parent.iterdir()) == [path, new] and path.read_bytes() == NEW
