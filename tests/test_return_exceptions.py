"""With return_exceptions=True an item that fails yields its exception, and the stream goes on."""

import os
import pickle
import signal

import pytest

from fast_map import RemoteError, RemoteTraceback, WorkerCrashed, fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")


class Unloadable:
    """Pickles, and raises when it is unpickled."""

    def __reduce__(self):
        return int, ("no number",)


def fail_for_some(number):
    if number % 5 == 1:
        raise ValueError(number)
    if number % 5 == 2:
        raise SystemExit(number)
    if number % 5 == 3:
        raise Unpicklable(number)
    return number


@KINDS
def test_every_item_has_its_result_or_its_exception(kind):
    results = list(fast_map(fail_for_some, kind(range(500)), return_exceptions=True))
    kinds = [int, ValueError, SystemExit, RemoteError, int]
    assert [type(result) for result in results] == kinds * 100
    assert [result for result in results if isinstance(result, int)] == [
        number for number in range(500) if number % 5 in (0, 4)
    ]


@KINDS
def test_an_exception_that_is_yielded_is_as_complete_as_one_that_is_raised(kind):
    error = list(fast_map(fail_for_some, kind(range(3)), return_exceptions=True))[1]
    assert error.args == (1,)
    assert error.seq_index == 1
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "fail_for_some" in str(error.__cause__)
    assert any("item 1" in note for note in error.__notes__)


@KINDS
def test_values_that_cannot_be_sent_take_their_place_too(kind):
    values = [1, (lambda: None), Unloadable(), 4]
    results = list(fast_map(values.__getitem__, kind(range(4)), return_exceptions=True))
    assert results[0] == 1
    assert isinstance(results[1], pickle.PicklingError)
    assert isinstance(results[2], pickle.UnpicklingError)
    assert results[3] == 4


def test_arguments_that_cannot_be_sent_take_their_place_too():
    results = list(fast_map(type, iter([1, (i for i in ()), 2.0]), return_exceptions=True))
    assert results[0] is int
    assert isinstance(results[1], pickle.PicklingError)
    assert results[2] is float


@KINDS
def test_a_crash_takes_the_place_of_what_was_lost(kind):
    def die_once(number):
        if number == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    results = list(fast_map(die_once, kind(range(300)), return_exceptions=True, procs_limit=3))
    lost = [index for index, result in enumerate(results) if isinstance(result, WorkerCrashed)]
    assert 7 in lost
    assert all(results[index].seq_index == index for index in lost)
    assert [r for r in results if isinstance(r, int)] == [
        number for number in range(300) if number not in lost
    ]


def test_an_error_of_the_input_is_raised_all_the_same():
    def numbers():
        yield 1
        raise KeyError("input")

    results = fast_map(fail_for_some, numbers(), return_exceptions=True)
    assert isinstance(next(results), ValueError)
    with pytest.raises(KeyError, match="input"):
        next(results)


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_what_is_no_bool_is_refused(value):
    with pytest.raises(TypeError, match="return_exceptions"):
        fast_map(fail_for_some, [1], return_exceptions=value)
