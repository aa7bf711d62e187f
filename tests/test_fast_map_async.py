"""fast_map_async: callbacks on a thread."""

import itertools
import pickle
import signal
import sys
import threading

import pytest
from support import Gate, die_of, identity, leaves_nothing, run_script, wait_until

from fast_map import WorkerCrashed, fast_map_async


@pytest.fixture
def excepthook(monkeypatch):
    """What reaches threading.excepthook: pairs of an exception and its thread."""
    seen = []
    monkeypatch.setattr(
        threading, "excepthook", lambda args: seen.append((args.exc_value, args.thread))
    )
    return seen


class Log:
    """Callbacks that note what they are called with, and on which thread."""

    def __init__(self):
        self.calls, self.threads = [], set()

    def __getattr__(self, name):
        def note(*arguments):
            self.calls.append((name, *arguments))
            self.threads.add(threading.current_thread())

        return note

    def start(self, fn, *iterables, **options):
        for name in ("on_result", "on_done", "on_error"):
            options.setdefault(name, getattr(self, name))
        thread = fast_map_async(fn, *iterables, **options)
        assert isinstance(thread, threading.Thread)
        return thread


def fail_at_two(number):
    if number == 2:
        raise LookupError("two")
    return number


def test_callbacks_are_called_in_order_on_the_thread():
    log = Log()
    with leaves_nothing():
        thread = log.start(pow, range(4), iter(range(4)))
        thread.join()
    expected = [("on_result", number**number) for number in range(4)]
    assert log.calls == [*expected, ("on_done",)]
    assert log.threads == {thread}
    assert not thread.daemon
    assert thread.name.startswith("fast_map_async")


def test_results_arrive_while_the_map_runs():
    gate, log = Gate(), Log()
    thread = log.start(lambda number: gate.hold(number) if number else number, range(2))
    assert wait_until(lambda: log.calls == [("on_result", 0)])
    assert thread.is_alive()
    gate.open()
    thread.join()
    assert log.calls == [("on_result", 0), ("on_result", 1), ("on_done",)]


def test_no_callback_is_needed():
    with leaves_nothing():
        fast_map_async(identity, range(3)).join()


def test_an_empty_input_is_done():
    log = Log()
    log.start(identity, []).join()
    assert log.calls == [("on_done",)]


def test_an_error_goes_to_on_error_and_is_the_last_call():
    log = Log()
    with leaves_nothing():
        log.start(fail_at_two, range(10)).join()
    name, error = log.calls.pop()
    assert name == "on_error"
    assert isinstance(error, LookupError)
    assert error.seq_index == 2
    assert log.calls == [("on_result", 0), ("on_result", 1)]


def raise_in_input():
    yield 0
    yield 1
    raise KeyError("input")


def kill_at_two(number):
    if number == 2:
        die_of(signal.SIGKILL)
    return number


@pytest.mark.parametrize(
    ("fn", "items", "error"),
    [
        (fail_at_two, range(4), LookupError),
        (lambda n: sys.exit(3) if n == 2 else n, range(4), SystemExit),
        (lambda n: threading.Lock() if n == 2 else n, range(4), pickle.PicklingError),
        (kill_at_two, range(4), WorkerCrashed),
        (identity, raise_in_input(), KeyError),
    ],
    ids=["in fn", "exit in fn", "result", "crash", "in the input"],
)
def test_every_error_comes_after_the_results_before_it(fn, items, error):
    log = Log()
    with leaves_nothing():
        log.start(fn, items, threads_limit=1, buffersize=1).join()
    *results, (name, raised) = log.calls
    assert results == [("on_result", 0), ("on_result", 1)]
    assert name == "on_error"
    assert isinstance(raised, error)


def test_an_error_without_on_error_goes_to_the_excepthook(excepthook):
    log = Log()
    thread = log.start(fail_at_two, range(10), on_error=None)
    thread.join()
    [(error, where)] = excepthook
    assert isinstance(error, LookupError)
    assert where is thread
    assert log.calls == [("on_result", 0), ("on_result", 1)]


@pytest.mark.parametrize("callback", ["on_result", "on_done"])
def test_an_error_of_a_callback_ends_it_likewise(excepthook, callback):
    def fail(*arguments):
        raise LookupError(callback)

    log = Log()
    with leaves_nothing():
        log.start(identity, range(1000), **{callback: fail}).join()
    assert log.calls[-1][0] == "on_error"
    assert log.calls[-1][1].args == (callback,)
    assert ("on_done",) not in log.calls
    with leaves_nothing():
        log.start(identity, range(1000), on_error=None, **{callback: fail}).join()
    assert [error.args for error, _ in excepthook] == [(callback,)]


@pytest.mark.parametrize("options", [{}, {"procs_limit": 0}, {"ordered": False}], ids=repr)
def test_an_error_of_a_callback_ends_an_endless_map(options):
    def stop(result):
        raise StopIteration

    log = Log()
    with leaves_nothing():
        log.start(identity, itertools.count(), on_result=stop, **options).join()
    [(name, error)] = log.calls
    assert name == "on_error"
    assert isinstance(error, StopIteration)


def test_an_error_of_on_error_goes_to_the_excepthook(excepthook):
    def fail(error):
        raise KeyError("mine") from error

    Log().start(fail_at_two, range(10), on_error=fail).join()
    [(error, _)] = excepthook
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, LookupError)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((5, [1]), {}),
        ((identity,), {}),
        ((identity, 5), {}),
        ((identity, [1]), {"on_result": 5}),
        ((identity, [1]), {"on_done": "text"}),
        ((identity, [1]), {"on_error": [print]}),
        ((identity, [1]), {"unknown": 1}),
        ((identity, [1]), {"retries": None}),
        ((identity, [1]), {"buffersize": 0}),
        ((identity, [1], [2]), {"star": True}),
    ],
)
def test_arguments_are_checked_at_the_call(arguments, options):
    with leaves_nothing(), pytest.raises((TypeError, ValueError)):
        fast_map_async(*arguments, **options)


def test_options_are_those_of_fast_map():
    log = Log()
    log.start(fail_at_two, range(4), return_exceptions=True, procs_limit=1).join()
    assert len(log.calls) == 5
    assert isinstance(log.calls[2][1], LookupError)


def test_a_thread_that_cannot_be_started_leaves_nothing(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with leaves_nothing(), pytest.raises(RuntimeError, match="start new thread"):
        fast_map_async(identity, range(3))


def test_a_program_that_ends_waits_for_all_results():
    status, out, err = run_script("ends_with_callbacks.py")
    assert (status, err) == (0, "")
    assert out.splitlines() == ["main ends", *map(str, range(20)), "done"]
