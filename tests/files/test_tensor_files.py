"""Safetensors files: what is written is read, by the library too; everything else is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import load_file, save_file
from traced import traced_memory

from gpubp import CorruptFileError
from gpubp.files import TensorFile, corrupt, parse_json, write_tensors
from gpubp.files.header import LARGEST_HEADER

ODD_NAME = 'quotes " \\ and \n lines, é, 漢'
TENSORS = {
    "weights": np.arange(6, dtype="f4").reshape(2, 3),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "big endian": np.arange(3, dtype=">i4"),
    "strided": np.arange(10, dtype="u1")[::3],
    "empty": np.zeros((0, 3), "f2"),
    "scalar": np.array(7, "i8"),
    ODD_NAME: np.array([2**64 - 1], "u8"),
}


def read(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    with TensorFile(path) as file:
        return file.metadata, file.read()


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)


def test_what_is_written_is_read_and_the_library_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_tensors(path, TENSORS, {"é": "漢\0"})
    metadata, tensors = read(path)
    assert_same(tensors, TENSORS)
    assert_same(load_file(path), TENSORS)
    assert metadata.keys() == {"é", "checksum"}
    assert metadata["é"] == "漢\0"


def test_the_header_tells_dtypes_and_shapes_and_tensors_can_be_read_twice(tmp_path: Path) -> None:
    write_tensors(tmp_path / "f", TENSORS, {})
    with TensorFile(tmp_path / "f") as file:
        found = {name: (entry.dtype, entry.shape) for name, entry in file.tensors.items()}
        assert_same(file.read(), file.read())
        assert_same(file.read(["scalar"]), {"scalar": TENSORS["scalar"]})
    assert found == {name: (a.dtype.newbyteorder("="), a.shape) for name, a in TENSORS.items()}


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    native = {
        name: np.ascontiguousarray(a, a.dtype.newbyteorder("=")) for name, a in TENSORS.items()
    }
    native["scalar"] = TENSORS["scalar"]
    for metadata in (None, {"a": "b"}):
        save_file(native, tmp_path / "f", metadata)
        found, tensors = read(tmp_path / "f")
        assert found == (metadata or {})
        assert_same(tensors, native)


def test_the_same_content_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    metadata = {f"key {k}": str(k) for k in range(20)}
    for name, order in (("a", 1), ("b", -1)):
        write_tensors(
            tmp_path / name, dict([*TENSORS.items()][::order]), dict([*metadata.items()][::order])
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_another_program_has_laid_out_anew_has_the_same_checksum(
    tmp_path: Path,
) -> None:
    write_tensors(tmp_path / "f", TENSORS, {"a": "b"})
    metadata, tensors = read(tmp_path / "f")
    save_file(dict(reversed(tensors.items())), tmp_path / "again", metadata)
    assert_same(read(tmp_path / "again")[1], TENSORS)


def test_a_change_of_any_byte_of_content_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_tensors(path, {"a": np.arange(3, dtype="f4")}, {"key": "value"})
    content = path.read_bytes()
    name = content.index(b"checksum")  # without this name there is no checksum
    padding = range(content.rindex(b"}}") + 2, len(content) - 12)
    for place in set(range(len(content))) - set(padding) - set(range(name, name + 8)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CorruptFileError, match=re.escape(str(path))):
            read(path)


def test_tensors_that_change_while_they_are_written_give_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, write = np.zeros(1000), os.write

    def train(descriptor: int, part: Any) -> int:
        array[:] += 1
        return write(descriptor, part)

    monkeypatch.setattr(os, "write", train)
    write_tensors(tmp_path / "f", {"a": array}, {})
    assert array[0] > 0
    assert_same(read(tmp_path / "f")[1], {"a": np.zeros(1000)})


@pytest.mark.parametrize(
    ("tensors", "metadata", "text"),
    [
        (
            {"a": np.zeros(2, complex)},
            {},
            "a has dtype complex128, expected one of float64, float32",
        ),
        ({"a": np.zeros(2, bool)}, {}, "a has dtype bool, expected"),
        ({"a": np.array([None])}, {}, "a has dtype object, expected"),
        ({}, {"a": 1}, "metadata has 'a': 1, expected str: str"),
        ({}, {2: "a"}, "metadata has 2: 'a', expected str: str"),
    ],
)
def test_what_no_file_can_hold_is_refused(
    tmp_path: Path, tensors: Any, metadata: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
        write_tensors(tmp_path / "f", tensors, metadata)
    assert os.listdir(tmp_path) == []


def test_a_header_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^names and metadata need 104.* expected at most 1048576$"
    ):
        write_tensors(tmp_path / "f", {}, {"a": " " * LARGEST_HEADER})
    assert os.listdir(tmp_path) == []


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(start: Any, stop: Any, shape: Any = (1,), dtype: Any = "F32", **more: Any) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop], **more}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "it has 0 bytes, expected at least 8"),
        (b"1234567", "it has 7 bytes, expected at least 8"),
        (file_of({}, length=3), "its header needs 3 bytes, expected at most 2"),
        (file_of({}, length=2**64 - 1), f"its header needs {2**64 - 1} bytes, expected at most 2"),
        (file_of(b""), "Expecting value: line 1 column 1 (char 0)"),
        (
            file_of(b"\xff"),
            "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (file_of(b"{}x"), "Extra data: line 1 column 3 (char 2)"),
        (file_of(b"[" * 100_000), "its JSON is nested too deeply"),
        (file_of(b'{"a":' * 100_000), "its JSON is nested too deeply"),
        (file_of([]), "its header is not a JSON object"),
        (file_of({"__metadata__": None}), "its metadata is not a JSON object of strings"),
        (file_of({"__metadata__": {"a": 1}}), "its metadata is not a JSON object of strings"),
        (file_of(b'{"__metadata__":{"a":"1","a":"1"}}'), "the key 'a' occurs twice"),
        (file_of(b'{"__metadata__":{},"__metadata__":{}}'), "the key '__metadata__' occurs twice"),
        (file_of({"a": 1}), "'a' does not have exactly dtype, shape and data_offsets"),
        (file_of({"a": entry(0, 4, more=1)}), "'a' does not have exactly dtype, shape and data"),
        (file_of({"a": entry(0, 4, dtype="C64")}), "'a' has dtype 'C64', expected one of F64, F32"),
        (file_of({"a": entry(0, 4, dtype=["F32"])}), "'a' has dtype ['F32'], expected one of F64"),
        (file_of({"a": entry(0, 4, 1)}), "'a' has shape 1, expected at most 32 sizes"),
        (file_of({"a": entry(0, 4, [-1])}), "'a' has shape [-1], expected at most 32 sizes"),
        (file_of({"a": entry(0, 4, [True])}), "'a' has shape [True], expected at most 32 sizes"),
        (file_of({"a": entry(0, 4, [1.0])}), "'a' has shape [1.0], expected at most 32 sizes"),
        (file_of({"a": entry(0, 4, [1] * 33)}), "'a' has shape [1, 1, 1, 1, 1, 1, ...], expected"),
        (
            file_of({"a": entry(0, 0, [0, 2**62])}),
            f"'a' has shape (0, {2**62}), which is too large",
        ),
        (file_of({"a": entry(0, 4, [2**40] * 9)}), "'a' has shape (1099511627776, 1099511627776"),
        (file_of({"a": entry(0, 4.0)}), "'a' has data_offsets [0, 4.0], expected two places"),
        (file_of({"a": entry(0, 2**64)}), "'a' has data_offsets [0, 18446744073709551616], exp"),
        (file_of({"a": entry(4, 0)}), "'a' of shape (1,) and dtype float32 has -4 bytes of data"),
        (file_of({"a": entry(0, 8)}), "'a' of shape (1,) and dtype float32 has 8 bytes of data"),
        (file_of({"a": entry(4, 8)}, b"12345678"), "the data of 'a' begin at byte 4, expected 0"),
        (
            file_of({"a": entry(0, 4), "b": entry(0, 4)}),
            "the data of 'b' begin at byte 0, expected 4",
        ),
        (file_of({"a": entry(0, 4)}, b"123"), "its tensors have 4 bytes, but 3 follow the header"),
        (
            file_of({"a": entry(0, 4)}, b"12345"),
            "its tensors have 4 bytes, but 5 follow the header",
        ),
        (file_of({"a": entry(0, 4 * 10**9, [10**9])}), "its tensors have 4000000000 bytes, but 0"),
    ],
)
def test_what_is_no_whole_safetensors_file_is_refused(
    tmp_path: Path, content: bytes, text: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError) as caught:
        TensorFile(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a whole safetensors file: {text}")
    assert len(message) <= 300
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"a": 1, "b": {"a": 1, "a": 2}}', "the key 'a' occurs twice"),
        ("[NaN]", "the number nan is not finite"),
        ("[-Infinity]", "the number -Infinity is not finite"),
        ("1e999", "the number 1e999 is not finite"),
        ("9" * 5000, "has 5000 digits, expected at most 50"),
    ],
)
def test_json_with_two_meanings_or_none_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wrong) if "nan" not in wrong else "(?i)nan"):
        parse_json(text)


def test_damage_of_a_tensor_that_is_not_read_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_tensors(path, {"a": np.zeros(2), "b": np.ones(2)}, {})
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with TensorFile(path) as file:
        assert_same(file.read(["a"]), {"a": np.zeros(2)})
        with pytest.raises(CorruptFileError, match="the data of 'b' do not match their checksum"):
            file.read()


@pytest.mark.parametrize("checksum", ["", "abc", "{}", "[]", '{"data": {}, "header": ""}'])
def test_a_checksum_that_is_none_is_refused(tmp_path: Path, checksum: str) -> None:
    save_file({"a": np.zeros(1, "f4")}, tmp_path / "f", {"checksum": checksum})
    with pytest.raises(CorruptFileError, match=r"its checksum is damaged|Expecting value"):
        TensorFile(tmp_path / "f")


def test_json_is_parsed_as_the_standard_library_does() -> None:
    value = {"a": [1, -2.5e-3, True, None, "é\n"], "b": {"a": {}}, "c": 2**128, "d": -(10**40)}
    assert parse_json(json.dumps(value)) == value


def test_messages_are_short_one_line_and_survive_a_pickle() -> None:
    for path, what in [
        ("f", "has\n\na " + "long " * 1000),
        ("folder/" * 1000 + "file", "is wrong"),
    ]:
        error = pickle.loads(pickle.dumps(corrupt(path, what)))
        assert type(error) is CorruptFileError
        assert len(str(error)) <= 300
        assert "\n" not in str(error)
    assert str(error).endswith("folder/file is wrong")


def test_nothing_is_allocated_for_what_the_file_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(file_of({"a": entry(0, 10**12, [10**12 // 4])}, b"1234"))
    with traced_memory():
        with pytest.raises(CorruptFileError):
            TensorFile(path)
        path.write_bytes(file_of({"a": entry(0, 2**35, [2**33])}))
        os.truncate(path, path.stat().st_size + 2**35)  # a hole of 32 GiB
        TensorFile(path).close()
        assert tracemalloc.get_traced_memory()[1] < 2**20


def test_a_file_that_becomes_shorter_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_tensors(path, {"a": np.zeros(10_000)}, {})
    with TensorFile(path) as file:
        os.truncate(path, 5000)
        with pytest.raises(CorruptFileError, match="it became shorter while it was read"):
            file.read()


def odd_places(tmp_path: Path) -> Iterator[tuple[Path, type[OSError]]]:
    yield tmp_path / "nowhere", FileNotFoundError
    yield tmp_path, IsADirectoryError
    yield Path("/dev/zero"), OSError
    os.mkfifo(tmp_path / "fifo")
    yield tmp_path / "fifo", OSError  # without O_NONBLOCK, this would wait for a writer
    yield tmp_path / ("n" * 300), OSError


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    for place, kind in odd_places(tmp_path):
        with pytest.raises(kind) as caught:
            TensorFile(place)
        assert caught.value.filename == str(place)
    with pytest.raises(TypeError, match=r"^path is None, expected the name of a file$"):
        TensorFile(None)
