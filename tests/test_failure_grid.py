"""Every way to fail at every step of an item's life: its own clear error, in its place, at once.

    how      an exception, sys.exit, os._exit, SIGKILL, SIGSEGV
    where    the argument's pickling and unpickling, the call, the result's pickling and unpickling

Arguments are pickled and results unpickled by the caller's own process. There, what ends a process
ends the caller, and all that can be asked for is that its workers end too.
"""

import os
import pickle
import signal
import sys

import pytest
from markers import time_limit
from support import Script, Trap, die_of, drain, identity

from fast_map import RemoteTraceback, WorkerCrashed, fast_map

pytestmark = time_limit(5)

COUNT, AT = 12, 5


def raise_error():
    raise LookupError("on purpose")


# What to call; and of what ends a process, the exit status and the signal.
ACTS = {
    "exception": (raise_error,),
    "sys.exit": (sys.exit, 3),
    "os._exit": (os._exit, 3),
    "SIGKILL": (die_of, signal.SIGKILL),
    "SIGSEGV": (die_of, signal.SIGSEGV),
}
ENDS = {
    "os._exit": (3, None),
    "SIGKILL": (None, signal.SIGKILL),
    "SIGSEGV": (None, signal.SIGSEGV),
}
KINDS = {"list": list, "iter": iter}

# An input that is a list reaches the workers by fork: its items are not pickled.
WHERE_AND_KIND = [
    ("argument encode", "iter"),
    ("argument decode", "iter"),
    ("call", "list"),
    ("call", "iter"),
    ("result encode", "list"),
    ("result encode", "iter"),
    ("result decode", "list"),
    ("result decode", "iter"),
]
IN_THE_CALLER = ("argument encode", "result decode")


def call_at(act, *arguments):
    def fn(index):
        if index == AT:
            act(*arguments)
        return index

    return fn


def start_map(where, how, kind, **options):
    """A map of which one item fails. With one thread in each of two processes, a crash takes what
    its own thread runs, and nothing else."""
    subject, _, step = where.partition(" ")
    values = list(range(COUNT))
    fn = identity
    if subject == "call":
        fn = call_at(*ACTS[how])
    elif subject == "argument":
        values[AT] = Trap(step, *ACTS[how])
    else:
        results = [*values[:AT], Trap(step, *ACTS[how]), *values[AT + 1 :]]
        fn = results.__getitem__
    return fast_map(fn, KINDS[kind](values), procs_limit=2, threads_limit=2, **options)


def check_crash(error, how):
    exitcode, number = ENDS[how]
    assert type(error) is WorkerCrashed
    assert (error.exitcode, error.signal, error.items) == (exitcode, number, (AT,))
    assert ("status 3" if how == "os._exit" else how) in str(error)


def check_exit(error, where):
    assert type(error) is SystemExit
    assert error.code == 3
    assert isinstance(error.__cause__, RemoteTraceback) == (where != "result decode")


def check_exception(error, where):
    subject, _, step = where.partition(" ")
    if subject == "call":
        assert type(error) is LookupError
    else:
        own = pickle.PicklingError if step == "encode" else pickle.UnpicklingError
        assert type(error) is own
        assert f"the {subject} of item {AT}" in str(error)
    assert "on purpose" in str(error)


def check(error, where, how):
    assert error.seq_index == AT
    if how in ENDS:
        check_crash(error, how)
    elif how == "sys.exit":
        check_exit(error, where)
    else:
        check_exception(error, where)


def cells(hows_in_the_caller, hows=tuple(ACTS)):
    return pytest.mark.parametrize(
        ("where", "how", "kind"),
        [
            (where, how, kind)
            for where, kind in WHERE_AND_KIND
            for how in (hows_in_the_caller if where in IN_THE_CALLER else hows)
        ],
    )


@cells(["exception", "sys.exit"])
def test_the_error_is_raised_after_all_earlier_results(where, how, kind):
    it = start_map(where, how, kind)
    results, error = drain(it)
    assert results == list(range(AT))
    check(error, where, how)
    assert list(it) == []


@cells(["exception"])
def test_the_error_takes_its_place_among_all_other_results(where, how, kind):
    results = list(start_map(where, how, kind, return_exceptions=True))
    error = results.pop(AT)
    assert results == [index for index in range(COUNT) if index != AT]
    check(error, where, how)


@cells(["exception"])
def test_with_retries_only_the_failing_item_fails(where, how, kind):
    results = list(start_map(where, how, kind, return_exceptions=True, retries=2))
    error = results.pop(AT)
    assert results == [index for index in range(COUNT) if index != AT]
    check(error, where, how)


@cells(["sys.exit"], hows=[])
def test_leaving_while_the_caller_pickles(where, how, kind):
    """An argument is pickled on a thread of ours, so that SystemExit is its item's. A result is
    unpickled on the caller's thread, within next(): there it is the caller who leaves."""
    it = start_map(where, how, kind, return_exceptions=True)
    results, error = drain(it)
    if where == "argument encode":
        assert error is None
        error = results.pop(AT)
        assert results == [index for index in range(COUNT) if index != AT]
    else:
        assert results == list(range(AT))
    check(error, where, how)


@cells(ENDS, hows=[])
def test_a_caller_that_dies_leaves_no_process(where, how, kind):
    exitcode, number = ENDS[how]
    with Script("failing_caller.py", where, how, kind) as script:
        assert script.wait() == (exitcode if number is None else -number)
        assert script.leaves_no_process(2.0)
        _, out, _ = script.finish()
    results = [] if where == "argument encode" else list(map(str, range(AT)))
    assert out.split() == ["ready", *results]
