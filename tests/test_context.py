"""What threads take over from the caller: its context (contextvars), and who traces them."""

import contextlib
import contextvars
import decimal
import gc
import os
import sys
import threading
import time
import weakref

import pytest
from support import leaves_nothing, meeting, pids_of_two_workers, run_script

from fast_map import fast_map

WHERE = [{}, {"procs_limit": 0}]

variable = contextvars.ContextVar("variable", default="nothing")


@pytest.fixture
def settings():
    """The caller's; gone with the test."""
    with decimal.localcontext() as context:
        context.prec = 5
        token = variable.set("the caller's")
        yield
        variable.reset(token)


def look(_=None):
    return variable.get(), str(1 / decimal.Decimal(3))


def threads_that_look(**options):
    """What the threads of a map see, one for each of its items, and how many they are."""
    meet = meeting(8)

    def look_together(number):
        seen = look()
        meet(number)
        return seen, threading.get_native_id()

    seen = list(fast_map(look_together, range(8), **options))
    return {what for what, _ in seen}, len({thread for _, thread in seen})


CALLERS = {("the caller's", "0.33333")}


@pytest.mark.parametrize("where", WHERE)
def test_all_threads_have_the_context_of_the_call(settings, where):
    seen, threads = threads_that_look(**where)
    assert seen == CALLERS
    assert threads == 8  # more than the main threads of the workers


@pytest.mark.parametrize("where", WHERE)
def test_it_is_that_of_the_task_that_calls(settings, where):
    other = contextvars.copy_context()
    other.run(variable.set, "the task's")
    seen, _ = other.run(threads_that_look, **where)
    assert seen == {("the task's", "0.33333")}
    assert look() in CALLERS


@pytest.mark.parametrize("where", WHERE)
def test_so_has_the_thread_that_reads_the_input(settings, where):
    def numbers():
        for _ in range(3):
            yield look()
        decimal.getcontext().prec = 9
        variable.set("the input's")
        yield look()

    read = list(fast_map(lambda seen: seen, numbers(), **where))
    assert read == [*CALLERS] * 3 + [("the input's", "0.333333333")]
    assert look() in CALLERS


@pytest.mark.parametrize("where", WHERE)
def test_what_a_thread_sets_no_other_sees(settings, where):
    def set_and_look(number):
        decimal.getcontext().prec = number
        variable.set(number)
        return look() == (number, f"0.{'3' * number}")

    assert all(fast_map(set_and_look, range(1, 60), **where))
    assert look() in CALLERS


def test_what_the_caller_sets_later_no_thread_sees(settings):
    with fast_map(look, iter([0] * 50), procs_limit=0, buffersize=5) as results:
        seen = {next(results)}
        decimal.getcontext().prec = 9
        variable.set("later")
        assert seen | set(results) == CALLERS


@pytest.mark.parametrize("where", WHERE)
def test_what_the_initializer_sets_holds_in_its_threads(settings, where):
    def initializer():
        time.sleep(0.1)
        decimal.getcontext().prec = 7
        variable.set("the initializer's")

    seen, threads = threads_that_look(initializer=initializer, **where)
    assert seen == {("the initializer's", "0.3333333")}
    assert threads == 8


def test_what_the_main_module_sets_holds_in_workers_of_the_fork_server():
    assert run_script("fork_server.py", "sets the precision") == (0, "['0.333']\n", "")


def test_a_map_that_its_own_context_refers_to_is_collected():
    class Holder(list):
        pass

    def abandon():
        holder = Holder()
        variable.set(holder)
        holder.append(fast_map(abs, range(1000), buffersize=10))
        next(holder[0])
        return weakref.ref(holder)

    with leaves_nothing():
        abandoned = contextvars.copy_context().run(abandon)
        gc.collect()
        assert abandoned() is None


# Tracing


@contextlib.contextmanager
def new_threads_have(setter, function):
    getter = {threading.settrace: threading.gettrace, threading.setprofile: threading.getprofile}
    before = getter[setter]()
    setter(function)
    try:
        yield
    finally:
        setter(before)


@pytest.mark.parametrize(
    ("setter", "getter"),
    [(threading.settrace, sys.gettrace), (threading.setprofile, sys.getprofile)],
    ids=["trace", "profile"],
)
@pytest.mark.parametrize("where", WHERE)
def test_new_threads_are_traced_as_those_of_threading(where, setter, getter):
    def trace(frame, event, argument):
        return None

    def numbers():
        for number in range(8):
            yield number, getter() is trace

    meet = meeting(8)

    def is_traced(numbered):
        number, input_is = numbered
        meet(number)
        in_main_thread = threading.get_native_id() == os.getpid()
        return input_is, in_main_thread or getter() is trace, in_main_thread

    with new_threads_have(setter, trace):
        results = list(fast_map(is_traced, numbers(), **{"procs_limit": 2, **where}))
    inputs, threads, in_main_thread = map(set, zip(*results, strict=True))
    assert inputs == threads == {True}
    assert False in in_main_thread


def test_workers_leave_by_os_exit_whatever_was_put_there(monkeypatch, tmp_path):
    leave = os._exit

    def note(status):
        (tmp_path / str(os.getpid())).write_text(str(status))
        leave(status)

    monkeypatch.setattr(os, "_exit", note)
    pids = pids_of_two_workers()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        str(pid): "0" for pid in pids
    }


def test_workers_leave_although_os_exit_fails(monkeypatch):
    monkeypatch.setattr(os, "_exit", None)
    with leaves_nothing():
        assert list(fast_map(abs, range(-5, 5))) == [*range(5, 0, -1), *range(5)]
