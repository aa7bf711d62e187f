"""Exceptions: of fn, of the input, of pickling; each in its place, after all results before it."""

import asyncio
import json
import sys
import threading

import pytest
from support import SharedInts, drain, identity

from fast_map import RemoteError, RemoteTraceback, fast_map

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


def raise_at(position, error):
    """A function that returns its argument, but raises error at one position."""

    def fail_there(index):
        if index == position:
            raise error
        return index

    return fail_there


def error_of(value):
    """What comes out when an fn raises value."""
    results, error = drain(fast_map(raise_at(1, value), range(3)))
    assert results == [0]
    return error


def assert_from_worker(error, position):
    assert type(error.__cause__) is RemoteTraceback
    assert error.seq_index == position
    assert any(str(position) in note for note in error.__notes__)


# Exceptions of fn


@KINDS
@pytest.mark.parametrize("position", [0, 1, 5, 99])
def test_an_exception_comes_in_its_place_after_the_results_before_it(kind, position):
    results, error = drain(fast_map(raise_at(position, KeyError("k", 1)), kind(range(100))))
    assert results == list(range(position))
    assert type(error) is KeyError
    assert error.args == ("k", 1)
    assert_from_worker(error, position)


def test_an_early_failure_does_not_overtake_slower_items_before_it():
    failed = SharedInts()

    def slow_then_failing(index):
        if index == 1:
            failed[0] = 1
            raise ValueError("quick")
        failed.wait_for()
        return index

    results, error = drain(fast_map(slow_then_failing, range(2), threads_limit=2))
    assert results == [0]
    assert error.seq_index == 1


def test_of_several_failures_the_first_in_order_is_raised():
    def fail(index):
        raise ValueError(index)

    results, error = drain(fast_map(fail, range(50)))
    assert (results, error.args) == ([], (0,))


def test_the_cause_shows_the_traceback_of_the_worker():
    def innermost_function(value):
        return 1 // value

    results, error = drain(fast_map(lambda value: innermost_function(value), [1, 0]))
    assert results == [1]
    text = str(error.__cause__)
    assert "Traceback (most recent call last)" in text
    assert "innermost_function" in text
    assert "ZeroDivisionError" in text


def test_the_traceback_printed_for_the_caller_contains_that_of_the_worker():
    def deep_inside(index):
        raise LookupError("lost")

    with pytest.raises(LookupError) as caught:
        next(fast_map(deep_inside, [0]))
    assert "deep_inside" in str(caught.getrepr(style="native"))


class Stateful(Exception):
    def __init__(self, message, code=None):
        super().__init__(message)
        self.code = code


def decoding_error():
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error


EXCEPTIONS = [
    Exception(),
    ValueError("one", 2, [3]),
    FileNotFoundError(2, "No such file", "/nowhere"),
    decoding_error(),
    json.JSONDecodeError("bad", "{]", 1),
    Stateful("state", code=7),
    StopAsyncIteration("async"),
    AssertionError("message " * 500_000),
    SystemExit(3),
    SystemExit(),
    KeyboardInterrupt("pressed"),
    GeneratorExit(),
    asyncio.CancelledError("cancelled"),
    BaseException("base"),
]


@pytest.mark.parametrize("raised", EXCEPTIONS, ids=lambda error: type(error).__name__)
def test_every_kind_of_exception_arrives_as_itself(raised):
    error = error_of(raised)
    assert type(error) is type(raised)
    assert error.args == raised.args
    assert str(error) == str(raised)
    assert vars(error).items() >= vars(raised).items()
    assert_from_worker(error, 1)


@KINDS
def test_stop_iteration_does_not_end_the_results_silently(kind):
    results, error = drain(fast_map(raise_at(2, StopIteration("early")), kind(range(5))))
    assert results == [0, 1]
    assert type(error) is RuntimeError
    assert "StopIteration" in str(error) + str(error.__cause__)
    assert_from_worker(error, 2)


def test_exception_groups_arrive_whole():
    inner = ExceptionGroup("inner", [KeyError("k"), OSError(5, "io")])
    error = error_of(BaseExceptionGroup("outer", [inner, KeyboardInterrupt()]))
    assert type(error) is BaseExceptionGroup
    assert error.message == "outer"
    assert [type(part) for part in error.exceptions] == [ExceptionGroup, KeyboardInterrupt]
    assert [part.args for part in error.exceptions[0].exceptions] == [("k",), (5, "io")]
    assert_from_worker(error, 1)


def test_a_chain_is_told_by_the_remote_traceback():
    def chained(index):
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    _, error = drain(fast_map(chained, [0]))
    assert type(error) is ValueError
    text = str(error.__cause__)
    assert text.index("first") < text.index("direct cause") < text.index("second")


def test_notes_of_its_own_are_kept():
    raised = ValueError("noted")
    raised.__notes__ = ["written by fn"]
    error = error_of(raised)
    assert "written by fn" in error.__notes__
    assert_from_worker(error, 1)


def test_a_call_that_fn_does_not_fit_is_an_error_of_the_item():
    results, error = drain(fast_map(lambda: None, [1]))
    assert results == []
    assert type(error) is TypeError
    assert_from_worker(error, 0)


def test_endless_recursion_in_fn_is_its_error():
    def endless(value):
        return endless(value) + 1

    results, error = drain(fast_map(endless, range(2)))
    assert results == []
    assert type(error) is RecursionError


# Exceptions that cannot travel


class HoldsLock(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


class RefusesToPickle(Exception):
    def __reduce__(self):
        raise OSError("never")


class BecomesNoException(Exception):
    def __reduce__(self):
        return int, ()


class EndsTheProcess(Exception):
    """Unpickling it raises SystemExit."""

    def __reduce__(self):
        return sys.exit, (4,)


def make_local(message):
    class Local(Exception):
        pass

    return Local(message)


UNABLE = [
    HoldsLock("the lock"),
    RefusesToPickle("stubborn"),
    BecomesNoException("odd"),
    EndsTheProcess("exit"),
    make_local("local message"),
    ValueError("holds a function", lambda: None),
]


@pytest.mark.parametrize("raised", UNABLE, ids=lambda error: type(error).__name__)
def test_an_exception_that_cannot_travel_is_told_by_a_remote_error(raised):
    error = error_of(raised)
    assert type(error) is RemoteError
    assert isinstance(error, RuntimeError)
    assert type(raised).__name__ in str(error)
    assert str(raised) in str(error)
    assert "raise_at" in str(error.__cause__) or "fail_there" in str(error.__cause__)
    assert_from_worker(error, 1)


class Unprintable(Exception):
    def __str__(self):
        raise OSError("no words")


class RefusesAttributes(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)


@pytest.mark.parametrize(
    "raised", [Unprintable(1), RefusesAttributes("stubborn")], ids=["str", "set"]
)
def test_an_exception_that_refuses_to_be_described_still_arrives(raised):
    error = error_of(raised)
    assert type(error) is type(raised)
    assert type(error.__cause__) is RemoteTraceback


# Exceptions of the input


def failing_input(number, error):
    yield from range(number)
    raise error


@pytest.mark.parametrize("number", [0, 1, 50, 5000])
@pytest.mark.parametrize(
    "raised", [ValueError("input"), KeyboardInterrupt(), SystemExit(2)], ids=repr
)
def test_an_exception_of_the_input_comes_after_the_results_of_all_items_before_it(number, raised):
    it = fast_map(lambda value: value + 1, failing_input(number, raised))
    results, error = drain(it)
    assert results == list(range(1, number + 1))
    assert type(error) is type(raised)
    assert error.args == raised.args
    assert list(it) == []


def test_an_exception_of_the_second_input_comes_in_its_place():
    it = fast_map(lambda left, right: left * right, range(100), failing_input(10, OSError(5, "io")))
    results, error = drain(it)
    assert results == [value * value for value in range(10)]
    assert (type(error), error.errno) == (OSError, 5)


def test_an_exception_of_fn_before_one_of_the_input_is_the_one_raised():
    it = fast_map(raise_at(3, KeyError("fn")), failing_input(5, ValueError("input")))
    results, error = drain(it)
    assert results == [0, 1, 2]
    assert type(error) is KeyError


# Afterwards


@KINDS
def test_an_iterator_that_has_raised_is_finished(kind):
    it = fast_map(raise_at(1, ValueError("once")), kind(range(100)))
    assert next(it) == 0
    with pytest.raises(ValueError, match="once"):
        next(it)
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(it)
    assert list(it) == []
    it.close()


@KINDS
def test_exceptions_returned_by_fn_are_results(kind):
    values = [ValueError("value"), StopIteration(5), KeyError, SystemExit(1), RemoteError("r")]
    results = list(fast_map(identity, kind(values)))
    assert [type(result) for result in results] == [type(value) for value in values]
    assert [result.args for result in results if result is not KeyError] == [
        value.args for value in values if value is not KeyError
    ]


def test_failures_all_over_do_not_hinder_the_next_call():
    def fail_often(index):
        if index % 3 == 2:
            raise ValueError("x" * index)
        return index

    for _ in range(10):
        results, error = drain(fast_map(fail_often, iter(range(1000)), threads_limit=20))
        assert results == [0, 1]
        assert error.seq_index == 2
    assert list(fast_map(identity, range(10))) == list(range(10))
