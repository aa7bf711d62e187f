"""Arguments and results that do not survive pickling: the error of their item, nothing worse."""

import os
import pickle
import sys
import threading

import pytest
from support import drain, identity

from fast_map import WorkerCrashed, fast_map


class FailsToDump:
    def __reduce__(self):
        raise LookupError("will not be pickled")


def fail_to_load():
    raise LookupError("will not be unpickled")


class FailsToLoad:
    def __reduce__(self):
        return fail_to_load, ()


def local_object():
    class LocalClass:
        pass

    return LocalClass()


UNPICKLABLE = [threading.Lock(), lambda: None, sys, (_ for _ in ()), local_object(), FailsToDump()]
by_type = {"ids": lambda value: type(value).__name__}


@pytest.mark.parametrize("value", UNPICKLABLE, **by_type)
def test_a_result_that_cannot_be_pickled_is_the_error_of_its_item(value):
    results, error = drain(fast_map(lambda index: value if index == 2 else index, range(5)))
    assert results == [0, 1]
    assert type(error) is pickle.PicklingError
    assert type(value).__name__ in str(error)
    assert "procs_limit=0" in str(error)
    assert error.seq_index == 2


@pytest.mark.parametrize("value", UNPICKLABLE, **by_type)
def test_an_argument_that_cannot_be_pickled_is_the_error_of_its_item(value):
    results, error = drain(fast_map(identity, iter([0, 1, value, 3])))
    assert results == [0, 1]
    assert type(error) is pickle.PicklingError
    assert type(value).__name__ in str(error)
    assert error.seq_index == 2


@pytest.mark.parametrize("value", [*UNPICKLABLE, FailsToLoad()], **by_type)
def test_what_is_in_a_list_is_inherited_and_needs_no_pickling(value):
    names = list(fast_map(lambda item: type(item).__name__, [value, 1]))
    assert names == [type(value).__name__, "int"]


def test_an_argument_that_cannot_be_unpickled_is_the_error_of_its_item():
    results, error = drain(fast_map(identity, iter([0, 1, FailsToLoad(), 3])))
    assert results == [0, 1]
    assert type(error) is pickle.UnpicklingError
    assert error.seq_index == 2


def test_a_result_that_cannot_be_unpickled_is_the_error_of_its_item():
    results, error = drain(fast_map(identity, [0, 1, FailsToLoad(), 3]))
    assert results == [0, 1]
    assert type(error) is pickle.UnpicklingError
    assert error.seq_index == 2


def test_a_value_nested_too_deeply_is_refused_or_survives():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    for it in (fast_map(identity, iter([1, deep])), fast_map(identity, [1, deep])):
        results, error = drain(it)
        assert results[0] == 1
        assert len(results) == 2 or isinstance(error, (pickle.PicklingError, RecursionError))


def act(how):
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    os._exit(3)


class Trap:
    """Exits, interrupts or crashes whoever pickles or unpickles it."""

    def __init__(self, step, how):
        self.step, self.how = step, how

    def __reduce__(self):
        if self.step == "encode":
            act(self.how)
        return act, (self.how,)


@pytest.mark.parametrize("how", ["exit", "interrupt"])
@pytest.mark.parametrize("step", ["encode", "decode"])
@pytest.mark.parametrize("kind", [iter, list], ids=["argument", "result"])
def test_leaving_in_the_midst_of_pickling_is_the_error_of_its_item(step, how, kind):
    results, error = drain(fast_map(identity, kind([0, 1, Trap(step, how), 3])))
    assert results == [0, 1]
    own = SystemExit if how == "exit" else KeyboardInterrupt
    assert isinstance(error, (own, pickle.PicklingError, pickle.UnpicklingError))


@pytest.mark.parametrize(
    ("step", "kind"), [("decode", iter), ("encode", list)], ids=["argument", "result"]
)
def test_a_crash_in_the_midst_of_pickling_is_the_error_of_its_item(step, kind):
    it = fast_map(identity, kind([0, 1, Trap(step, "crash"), 3]), threads_limit=1)
    results, error = drain(it)
    assert results == [0, 1]
    assert type(error) is WorkerCrashed
    assert error.exitcode == 3
    assert 2 in error.items
