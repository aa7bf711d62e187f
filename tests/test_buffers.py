"""Sizes from nothing to far beyond a slot, both ways, and objects that are buffers."""

import pickle
import time

import pytest
from support import (
    Gate,
    SharedInts,
    back_only,
    both_ways,
    drain,
    identity,
    pattern,
    wait_until,
)

from fast_map import fast_map

MIB = 1 << 20


def around_powers_of_two(largest):
    power = 1
    while power <= largest:
        yield from (power - 1, power, power + 1)
        power *= 2


@pytest.mark.parametrize("make", [pattern, lambda size: pattern(size).decode("latin-1")])
def test_every_size_up_to_8_mib_survives_both_ways(make):
    sizes = list(around_powers_of_two(8 * MIB))
    results = fast_map(identity, map(make, sizes))
    for size, result in zip(sizes, results, strict=True):
        assert result == make(size), size


def test_sizes_may_change_from_item_to_item():
    sizes = [1, 5 * MIB, 0, 100, 300_000, 64, 4096, 2 * MIB + 1, 3] * 4
    assert [len(result) for result in both_ways([pattern(size) for size in sizes])] == sizes


def test_64_mib_survive_both_ways():
    value = pattern(64 * MIB)
    (result,) = fast_map(identity, iter([value]))
    assert result == value


def test_more_large_results_than_shared_memory_holds_wait_for_the_consumer():
    it = fast_map(lambda index: bytes([index]) * (8 * MIB), range(40))
    time.sleep(0.3)
    for index, result in enumerate(it):
        assert len(result) == 8 * MIB
        assert result[0] == result[-1] == index
    assert index == 39


# buffer_bytes


def test_results_beyond_buffer_bytes_wait_for_the_consumer():
    started = SharedInts(100)

    def make(index):
        started[index] = 1
        return bytes([index]) * MIB if index else b""

    it = fast_map(make, range(100), threads_limit=2, procs_limit=1, buffer_bytes=5 * MIB)
    started.wait_for_number(8)
    time.sleep(0.3)
    # The empty one, those that fit, and in each of the two threads one that waits for room.
    assert started.number_set() == 8
    for index, result in enumerate(it):
        assert result == make(index)
    assert index == 99


def test_arguments_beyond_buffer_bytes_are_not_read_yet():
    reads = []

    def values():
        for index in range(50):
            reads.append(index)
            yield bytes([index]) * MIB

    gate = Gate()
    with fast_map(lambda value: gate.hold(value[0]), values(), buffer_bytes=4 * MIB) as it:
        wait_until(lambda: len(reads) >= 5)
        time.sleep(0.3)
        assert len(reads) == 5  # four lie there, the fifth waits for room
        gate.open()
        assert list(it) == list(range(50))


@pytest.mark.parametrize("buffer_bytes", [1, 100, MIB])
@pytest.mark.parametrize("feed", [list, iter])
def test_an_item_larger_than_buffer_bytes_passes(buffer_bytes, feed):
    sizes = [3 * MIB, 0, 49, 200, 2 * MIB, 3 * MIB, 48, 5000] * 3
    values = [pattern(size) for size in sizes]
    for _ in range(3):
        assert list(fast_map(identity, feed(values), buffer_bytes=buffer_bytes)) == values


def test_arrays_that_were_given_out_count_no_more():
    np = pytest.importorskip("numpy")
    kept = list(fast_map(lambda index: np.full(MIB, index), range(20), buffer_bytes=MIB))
    assert [int(array[-1]) for array in kept] == list(range(20))


# Buffers


def test_bytearrays_stay_mutable_and_independent():
    values = [bytearray(pattern(size)) for size in (0, 1, 50, 5000, 3 * MIB)]
    for results in (both_ways(values), back_only(values)):
        assert results == values
        assert {*map(type, results)} == {bytearray}
    results = both_ways(values * 2)
    for result in results[:5]:
        result[:] = b"changed"
    assert results[5:] == values


@pytest.mark.parametrize("size", [3, 5000, 3 * MIB])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_pickle_buffer_arrives_with_its_content(kind, size):
    values = [pickle.PickleBuffer(kind(pattern(size)))]
    assert list(fast_map(bytes, iter(values))) == [pattern(size)]
    assert [bytes(result) for result in back_only(values)] == [pattern(size)]


@pytest.mark.parametrize(
    "value",
    [memoryview(b"data"), pickle.PickleBuffer(memoryview(b"strided")[::2])],
    ids=["memoryview", "strided PickleBuffer"],
)
def test_a_buffer_that_pickle_refuses_is_refused(value):
    for it in (fast_map(identity, iter([1, value])), fast_map([1, value].__getitem__, range(2))):
        results, error = drain(it)
        assert results == [1]
        assert type(error) is pickle.PicklingError
        assert type(value).__name__ in str(error)


def test_a_memoryview_in_a_list_is_inherited_not_pickled():
    assert list(fast_map(bytes, [memoryview(b"one"), memoryview(b"two")])) == [b"one", b"two"]
