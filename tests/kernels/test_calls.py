"""Lists of compiled calls, run once or repeatedly, and the addresses that they read."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from gpubp.backends import Rows
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels.arithmetic import add_cpu
from gpubp.kernels.cpu.calls import Call, Group, joined, together
from gpubp.kernels.cpu.source import MOST_COPIED, address


@pytest.fixture(autouse=True)
def needs_a_compiler() -> None:
    if not NumpyBackend().compiles:
        pytest.skip("no compiled kernels")


def adding(size: int = 3) -> tuple[np.ndarray, Call]:
    """Make numbers of zero, and a call that adds one to them."""
    numbers = np.zeros(size)
    call = add_cpu(np.ones(size), numbers)
    assert call is not None
    return numbers, call


def test_calls_are_repeated_as_often_as_asked_or_until_the_time_is_over() -> None:
    numbers, call = adding()
    group = Group([call, call])
    assert group.repeat(1, 0.0) == 1
    assert group.repeat(7, 60.0) == 7
    np.testing.assert_array_equal(numbers, 16.0)
    assert group.repeat(10**12, 0.0) == 1
    done = group.repeat(10**12, 0.01)
    assert done > 1
    np.testing.assert_array_equal(numbers, 18.0 + 2 * done)


def test_only_calls_beside_each_other_are_joined() -> None:
    order: list[int] = []
    numbers, call = adding()

    def note() -> None:
        order.append(int(numbers[0]))

    calls = joined([call, call, note, note, call])
    assert [type(each) for each in calls] == [Group, type(note), type(note), Group]
    for each in calls:
        each()
    assert order == [2, 2] and numbers[0] == 3


def test_a_group_knows_what_its_calls_and_their_shards_are_called_with() -> None:
    (one, first), (other, second) = adding(), adding()
    outer = together([joined([first]), joined([second])], 2)
    assert outer is not None
    group = Group([outer])
    assert group.passes(address(one)) and group.passes(address(other))
    assert not group.passes(address(np.zeros(3)))


def test_shards_are_repeated_in_several_threads_at_once() -> None:
    """Each thread has workers of its own, or runs all shards itself; the sums are those of one thread."""
    sums: list[Any] = []

    def run() -> None:
        shards = [adding(500) for _ in range(3)]
        call = together([joined([call]) for _, call in shards], 3)
        assert call is not None
        done = sum(Group([call]).repeat(400, 0.002) for _ in range(20))
        sums.append([set(numbers) == {float(done)} for numbers, _ in shards])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [[True] * 3] * 3


def test_denormal_numbers_are_0_within_calls_alone() -> None:
    """In this thread and in those of shards; afterwards this thread knows them as before."""
    denormal = np.full(500, 2.0**-1060)
    shards = []
    for _ in range(3):
        numbers = np.zeros(500)
        call = add_cpu(denormal, numbers)
        assert call is not None
        shards.append((numbers, call))
    call = together([joined([call]) for _, call in shards], 3)
    assert call is not None
    group = Group([call])
    for run in (group, lambda: group.repeat(50, 60.0)):
        run()
        halves = (denormal * 0.5).view(np.int64)  # a comparison of numbers could take them to be 0
        np.testing.assert_array_equal(halves, denormal.view(np.int64) // 2)
    assert not any(numbers.view(np.int64).any() for numbers, _ in shards)


FEW, MANY = MOST_COPIED // 8 // 4, MOST_COPIED


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_a_replay_reads_the_numbers_that_rows_have_then(rows: int) -> None:
    """The same array with other numbers, another array, another shape or dtype, with an order or not."""
    backend, held = NumpyBackend(), Rows(None)
    out, counters = np.zeros((rows, 4)), np.zeros(2, np.int64)
    step = backend.capture(lambda: backend.gather(held, "x", counters, 0, out))
    rng = np.random.default_rng(0)
    array, longer = rng.normal(size=(rows, 4)), rng.normal(size=(rows + 1, 4))
    order = rng.permutation(rows)
    for _ in range(2):
        for held.x, held.order in (
            (array, None),
            (array, None),
            (array.copy(), None),
            (longer, None),
            (array.astype(np.float32), None),
            (array, order),
            (np.asfortranarray(array), None),  # by columns; its copy is by rows
            (array, order),
            (array, None),
            (array[::-1], None),
            (longer, order[::-1].copy()),
            (np.asfortranarray(array), None),
            (array[:, ::-1], None),
        ):
            for _ in range(2):
                step()
                expected = held.x[:rows] if held.order is None else held.x[held.order]
                np.testing.assert_array_equal(out, expected)
                np.multiply(held.x, 2, out=held.x)


def test_a_read_only_array_has_an_address() -> None:
    array = np.arange(4.0)
    expected = array.__array_interface__["data"][0]
    assert address(array) == expected
    array.flags.writeable = False
    assert address(array) == expected
    assert address(array[2:]) == expected + 16
