"""NumPy arrays both ways: writable on arrival, shared with no other, alive while they are held."""

import gc
import os

import pytest
from support import Gate, both_ways, identity, leaves_nothing

from fast_map import fast_map

numpy = pytest.importorskip("numpy")

MIB = 1 << 20


def numbered(index, size=MIB):
    """An array of `size` bytes that tells which item it belongs to."""
    return numpy.full(size // 8, index, dtype=numpy.int64)


def is_numbered(array, index):
    return array[0] == array[-1] == index and (array == index).all()


def assert_equal(result, array):
    assert type(result) is type(array)
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    if array.dtype.hasobject:
        assert result.tolist() == array.tolist()
    else:
        assert result.tobytes() == array.tobytes()


KINDS = ["?", "i1", "u2", "i4", "u8", ">i4", "f2", "f4", "f8", "c16", "S5", "U3", "M8[s]", "O"]


@pytest.mark.parametrize("length", [0, 1, 10, 3000])
def test_every_dtype_survives(length):
    arrays = [numpy.zeros(length, dtype=kind) for kind in KINDS]
    arrays += [numpy.arange(length).astype(kind) for kind in KINDS]
    arrays.append(numpy.zeros(length, dtype=[("a", "i4"), ("b", "f8", (2,))]))
    for result, array in zip(both_ways(arrays), arrays, strict=True):
        assert_equal(result, array)
        assert result.flags.writeable


def test_every_layout_survives():
    base = numpy.arange(24_000, dtype="i4").reshape(20, 30, 40)
    arrays = [base, base.T, base[::2, :, ::-3], numpy.asfortranarray(base), base[0, 0, 0:0]]
    arrays += [
        numpy.array(5),
        numpy.float64(2.5),
        base[:, 1],
        numpy.broadcast_to(base[0], (3, 30, 40)),
    ]
    for result, array in zip(both_ways(arrays), arrays, strict=True):
        assert_equal(result, array)


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(24.0).reshape(2, 3, 4),
        numpy.asfortranarray(numpy.arange(24, dtype="i2").reshape(4, 6)),
        numpy.zeros((0, 3), dtype="?"),
        numpy.array(1 + 2j),
        numpy.zeros(5, dtype=numpy.longlong),
        numpy.ones(MIB // 16, dtype="u1"),
        read_only(numpy.arange(5)),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_a_small_one_needs_no_pickle(array):
    it = fast_map(identity, [array])
    (result,) = it
    assert it.stats().result_bytes == 4 + 8 * array.ndim + array.nbytes
    assert_equal(result, array)
    flags = ("c_contiguous", "f_contiguous", "writeable", "aligned")
    assert [getattr(result.flags, name) for name in flags] == [
        getattr(array.flags, name) for name in flags
    ]
    assert result.dtype.char == array.dtype.char


class Labelled(numpy.ndarray):
    pass


def with_metadata(array):
    return array.astype(numpy.dtype(array.dtype, metadata={"unit": "m"}))


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(5).view(Labelled),
        with_metadata(numpy.arange(5)),
        numpy.arange(5, dtype=">i4"),
        numpy.arange(10)[::2],
        numpy.array([1, "a"], dtype=object),
        numpy.zeros((1,) * 12),
    ],
    ids=["subclass", "metadata", "swapped", "strided", "objects", "many dimensions"],
)
def test_what_is_more_than_its_numbers_is_pickled(array):
    it = fast_map(identity, [array])
    (result,) = it
    assert it.stats().result_bytes > 4 + 8 * array.ndim + array.nbytes
    assert_equal(result, array)
    assert result.dtype.metadata == array.dtype.metadata


@pytest.mark.parametrize("size", [8, 800, 80_000, 8 * MIB])
def test_an_array_may_be_written_to_on_both_sides(size):
    def increase(array):
        array += 1
        return array

    results = list(fast_map(increase, (numbered(index, size) for index in range(5))))
    for index, result in enumerate(results):
        assert result.flags.writeable
        assert is_numbered(result, index + 1)
        result += 1
        assert is_numbered(result, index + 2)


def test_writing_to_one_result_changes_no_other():
    results = list(fast_map(numbered, range(20)))
    for result in results[::2]:
        result[:] = -1
    assert all(is_numbered(result, index) for index, result in enumerate(results) if index % 2)


def test_writing_to_a_result_does_not_reach_an_inherited_input():
    array = numbered(1)
    for result in fast_map(identity, [array] * 4):
        result[:] = 9
    assert is_numbered(array, 1)


def test_a_result_that_is_held_is_not_overwritten_by_later_ones():
    it = fast_map(numbered, range(200))
    held = [next(it) for _ in range(3)]
    for index, result in enumerate(it, 3):
        assert is_numbered(result, index)
    assert all(is_numbered(result, index) for index, result in enumerate(held))


def fork_and(run):
    pid = os.fork()
    if pid == 0:
        run()
        os._exit(0)
    os.waitpid(pid, 0)


def drop_in_workers_of_another_map(held):
    list(fast_map(lambda _: held.clear(), range(4)))


@pytest.mark.parametrize(
    "drop", [lambda held: fork_and(held.clear), drop_in_workers_of_another_map], ids=["fork", "map"]
)
def test_a_result_that_a_forked_process_drops_is_not_overwritten(drop):
    results = fast_map(numbered, range(30), buffersize=4, procs_limit=1)
    held = [next(results) for _ in range(10)]
    drop(held)
    held += results
    assert all(is_numbered(result, index) for index, result in enumerate(held))


def test_workers_of_another_map_keep_the_results_that_they_inherit():
    """Also when their parent has dropped them and takes more."""
    gate = Gate()

    def check(index):
        gate.hold()
        return is_numbered(held[index], index)

    results = fast_map(numbered, range(30), buffersize=4, procs_limit=1)
    held = [next(results) for _ in range(10)]
    checked = fast_map(check, range(10))
    held.clear()
    assert all(is_numbered(result, index) for index, result in enumerate(results, 10))
    gate.open()
    assert list(checked) == [True] * 10


def write_to_all(arrays):
    for array in arrays:
        array += 1000
    assert all(is_numbered(array, index + 1000) for index, array in enumerate(arrays))


def write_in_a_child_of_a_child(arrays):
    write_to_all(arrays)
    fork_and(lambda: all(array.fill(-1) for array in arrays))
    assert all(is_numbered(array, index + 1000) for index, array in enumerate(arrays))


@pytest.mark.parametrize("write", [write_to_all, write_in_a_child_of_a_child])
@pytest.mark.parametrize("options", [{}, {"retries": 1}, {"procs_limit": 1}], ids=str)
def test_what_workers_write_to_results_that_they_inherit_stays_there(options, write):
    results = list(fast_map(numbered, range(20)))
    views = [result[10:] for result in results]
    list(fast_map(lambda _: write(results), range(1), **options))
    assert all(is_numbered(result, index) for index, result in enumerate(results))
    assert all(is_numbered(view, index) for index, view in enumerate(views))


def test_so_does_what_a_process_writes_that_the_caller_forks():
    results = list(fast_map(numbered, range(20)))
    fork_and(lambda: write_to_all(results))
    assert all(is_numbered(result, index) for index, result in enumerate(results))


def test_a_map_may_change_in_place_what_another_one_made():
    def halve(array):
        array //= 2
        return array

    arrays = list(fast_map(numbered, range(0, 40, 2)))
    for _ in range(2):
        halves = list(fast_map(halve, arrays))
        assert all(is_numbered(half, index) for index, half in enumerate(halves))


def test_results_outlive_their_iterator():
    it = fast_map(numbered, range(200))
    held = [next(it) for _ in range(10)]
    view = held.pop()[1000:]
    it.close()
    del it
    gc.collect()
    list(fast_map(numbered, range(50)))  # whatever was given back would be used again here
    assert all(is_numbered(result, index) for index, result in enumerate(held))
    assert is_numbered(view, 9)


def test_more_results_may_be_held_than_shared_memory_has_room_for():
    results = list(fast_map(lambda index: numbered(index, 8 * MIB), range(40)))
    assert all(is_numbered(result, index) for index, result in enumerate(results))


@pytest.mark.parametrize("order", ["iterator first", "results first"])
def test_nothing_is_left_once_iterator_and_results_have_gone(order):
    with leaves_nothing():
        it = fast_map(numbered, range(20))
        results = list(it)
        if order == "iterator first":
            del it
            del results
        else:
            del results
            del it


def test_several_arrays_in_one_item_keep_what_they_share():
    def item(index):
        array = numbered(index, 100_000)
        return {"one": array, "same": array, "other": numbered(index + 1), "small": [index]}

    for index, result in enumerate(fast_map(item, range(10))):
        assert result["one"] is result["same"]
        assert is_numbered(result["one"], index)
        assert is_numbered(result["other"], index + 1)
        assert result["small"] == [index]


def test_large_arguments_reach_the_worker_unchanged():
    arrays = (numbered(index, 4 * MIB) for index in range(20))
    assert list(fast_map(lambda array: (int(array[0]), int(array.sum())), arrays)) == [
        (index, index * MIB // 2) for index in range(20)
    ]
