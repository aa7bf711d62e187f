"""start_method: workers from a fork server, and the warning where a process with threads forks."""

import asyncio
import functools
import os
import pickle
import re
import signal
import sys
import threading
import time
import warnings

import pytest
import remote_functions
from support import drain, identity, leaves_nothing, processes, run_script, wait_until
from worker_processes import still_running

from fast_map import FastMap, TaskTimeout, WorkerCrashed, _forkserver, fast_map

remote = functools.partial(fast_map, start_method="forkserver")


def square(number):
    return number * number


def fail_at_five(number):
    if number == 5:
        raise ValueError("five")
    return number


def crash_at_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def own_pid(_):
    time.sleep(0.02)
    return os.getpid()


def parent_pid(_):
    return os.getppid()


def add(first, second):
    return first + second


# Results


@pytest.mark.parametrize("procs_limit", [1, 2, 4])
@pytest.mark.parametrize(
    "make", [list, tuple, iter, lambda numbers: numbers], ids=["list", "tuple", "iterator", "range"]
)
def test_results_are_those_of_map(make, procs_limit):
    expected = list(map(square, range(1000)))
    assert list(remote(square, make(range(1000)), procs_limit=procs_limit)) == expected


def test_several_iterables_go_in_step():
    assert list(remote(add, range(5), iter("abc"[:0]))) == []
    assert list(remote(add, [1, 2, 3], (10, 20, 30))) == [11, 22, 33]


def test_empty_input_gives_nothing():
    assert list(remote(square, [])) == []


def test_length_is_known_where_the_input_has_one():
    with remote(square, range(7)) as mapped:
        assert len(mapped) == 7


def test_large_payloads_go_both_ways():
    values = [os.urandom(3 << 20) for _ in range(6)]
    assert list(remote(identity, values)) == values


def test_workers_are_no_children_of_this_process_and_differ_from_map_to_map():
    first = set(remote(own_pid, range(20)))
    second = set(remote(own_pid, range(20)))
    assert os.getpid() not in first | second | set(remote(parent_pid, range(4)))
    assert not first & second


def test_workers_do_not_have_what_this_process_changed():
    remote_functions.CHANGED = True
    try:
        assert list(remote(remote_functions.is_changed, range(4))) == [False] * 4
        assert list(fast_map(remote_functions.is_changed, range(4))) == [True] * 4
    finally:
        remote_functions.CHANGED = False


def test_a_lock_that_another_thread_holds_is_free_in_the_workers():
    with remote_functions.LOCK:
        assert list(remote(remote_functions.take_lock, range(4))) == [True] * 4


# Failures


def test_an_exception_comes_in_its_place():
    results, error = drain(remote(fail_at_five, range(10)))
    assert results == [0, 1, 2, 3, 4]
    assert (type(error), error.seq_index) == (ValueError, 5)
    assert "fail_at_five" in str(error.__cause__)


def test_an_exception_of_the_input_comes_after_its_items():
    def numbers():
        yield from range(3)
        raise KeyError("input")

    results, error = drain(remote(square, numbers()))
    assert (results, type(error)) == ([0, 1, 4], KeyError)


def test_a_killed_worker_says_so_and_nothing_stays():
    with leaves_nothing():
        results, error = drain(remote(crash_at_five, range(10), procs_limit=1, threads_limit=1))
    assert results == [0, 1, 2, 3, 4]
    assert (type(error), error.signal, error.items) == (WorkerCrashed, signal.SIGKILL, (5,))


def test_with_return_exceptions_the_stream_goes_on():
    results = list(remote(crash_at_five, range(100), return_exceptions=True, retries=1))
    assert type(results[5]) is WorkerCrashed
    assert results[:5] + results[6:] == [number for number in range(100) if number != 5]


def test_an_overdue_item_is_ended():
    results = list(
        remote(remote_functions.sleep_at_three, range(6), task_timeout=0.3, return_exceptions=True)
    )
    assert type(results[3]) is TaskTimeout
    assert "sleep_at_three" in results[3].stack
    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("end", [FastMap.close, lambda mapped: None], ids=["close", "drop"])
def test_closing_ends_workers_and_nursery(end):
    with leaves_nothing():
        mapped = remote(parent_pid, range(10**6), buffersize=10)
        nursery = {next(mapped)}
        end(mapped)
        del mapped
    assert wait_until(lambda: not still_running(nursery)), "the nursery is still there"


# fn on its way


def test_what_pickle_cannot_send_goes_by_cloudpickle():
    pytest.importorskip("cloudpickle")
    offset = 10
    assert list(remote(lambda number: number + offset, range(3))) == [10, 11, 12]


def test_without_cloudpickle_an_unpicklable_fn_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with leaves_nothing(), pytest.raises(pickle.PicklingError, match="cloudpickle"):
        remote(lambda number: number, range(3))


def test_what_cloudpickle_cannot_send_either_is_refused():
    pytest.importorskip("cloudpickle")
    lock = threading.Lock()
    with leaves_nothing(), pytest.raises(pickle.PicklingError, match="lock"):
        remote(lambda number: lock, range(3))


def explode():
    raise OSError("cannot be loaded")


class LoadsNowhere:
    def __call__(self, number):
        return number

    def __reduce__(self):
        return explode, ()


def test_an_fn_that_does_not_unpickle_says_so_at_the_call():
    with leaves_nothing(), pytest.raises(pickle.UnpicklingError, match="cannot be loaded"):
        remote(LoadsNowhere(), range(3))


class EndsItsProcess(LoadsNowhere):
    def __reduce__(self):
        return os._exit, (3,)


def test_an_fn_that_ends_the_process_it_is_loaded_in_says_so_at_the_call():
    with leaves_nothing(), pytest.raises(RuntimeError, match="before it had loaded fn"):
        remote(EndsItsProcess(), range(3))


class TakesLongToLoad(LoadsNowhere):
    def __reduce__(self):
        return time.sleep, (60,)


@pytest.fixture(params=["running", "stopped"])
def server(request):
    """One that is stopped doesn't say which process it has forked, as one that is just starting."""
    pid = _forkserver._server._forkserver_pid
    if request.param == "stopped":
        os.kill(pid, signal.SIGSTOP)
    yield pid
    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("size", [0, 10**6])
def test_an_interrupted_call_leaves_no_process_of_the_server(server, size):
    # On that thread, so that it does not end what the main one waits in.
    ctrl_c = threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,))

    def interrupted():
        ctrl_c.start()
        remote(TakesLongToLoad(), range(3), args=(bytes(size),))

    with leaves_nothing(), pytest.raises(KeyboardInterrupt):
        interrupted()
    os.kill(server, signal.SIGCONT)
    assert list(remote(square, range(3))) == [0, 1, 4], "the server has come to this request"
    assert wait_until(lambda: server not in {entry.parent for entry in processes()})


@pytest.mark.parametrize("value", ["spawn", "", None, 1, ["fork"]])
def test_other_start_methods_are_refused(value):
    with pytest.raises(ValueError, match=re.escape(f"not {value!r}")):
        fast_map(square, range(3), start_method=value)


# Callers


@pytest.mark.parametrize("outer", ["fork", "forkserver"])
def test_maps_may_be_nested(outer):
    results = list(fast_map(remote_functions.map_remotely, range(3), start_method=outer))
    assert results == [[0, 0, 0], [0, 1, 2], [0, 2, 4]]


def test_one_may_feed_another():
    inner = remote(square, range(50))
    assert list(remote(square, inner)) == [number**4 for number in range(50)]


@pytest.mark.parametrize("how", ["guarded", "unguarded", "slow import", "killed", "server killed"])
def test_scripts(how):
    status, out, err = run_script("fork_server.py", how)
    if how == "unguarded":
        assert status == 1
        assert out == ""
        assert "start your work below if __name__ == '__main__':" in err.splitlines()[-1]
    elif how == "slow import":
        assert (status, out) == (0, "KeyboardInterrupt\n")
    elif how == "killed":
        assert status == -signal.SIGKILL
    elif how == "server killed":
        assert (status, out, err) == (0, "[0, 1, 4]\n[0, 1, 4]\n", "")
    else:
        assert (status, out, err) == (0, "[0, 1, 4]\n", "")


# The warning


@pytest.fixture
def another_thread():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    yield
    stop.set()
    thread.join()


def warnings_of(start):
    """Those about threads that start() causes; each time it would show, not once a place."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(start())
    return [each for each in caught if "multi-threaded" in str(each.message)]


def test_a_process_with_threads_is_warned_once_for_each_fork(another_thread):
    (warning,) = warnings_of(lambda: fast_map(square, range(10), procs_limit=4))
    assert warning.category is DeprecationWarning
    assert warning.filename == __file__
    assert "start_method='forkserver'" in str(warning.message)


def test_a_fork_server_needs_no_warning(another_thread):
    assert warnings_of(lambda: remote(square, range(10))) == []


def test_the_threads_of_a_map_are_no_cause_for_a_warning():
    status, out, err = run_script("threads_of_maps.py")
    assert (status, out, err) == (0, "[0, 1, 4, 9, 16]\n" * 20, "")


def test_a_warning_made_an_error_leaves_nothing(another_thread):
    with leaves_nothing(), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DeprecationWarning, match="multi-threaded"):
            fast_map(time.sleep, [60] * 10)


# Coroutine functions


class Doubler:
    async def __call__(self, number):
        await asyncio.sleep(0.001 * (number % 3))
        return 2 * number


async def block_at_five(number):
    await asyncio.sleep(0.01)
    if number == 5:
        time.sleep(600)
    return number


@pytest.mark.parametrize("fn", [Doubler(), functools.partial(Doubler())], ids=["object", "partial"])
def test_coroutine_functions_are_awaited(fn):
    assert list(remote(fn, range(100))) == list(range(0, 200, 2))


def test_a_coroutine_that_blocks_its_loop_times_out():
    results = list(remote(block_at_five, range(9), return_exceptions=True, task_timeout=0.7))
    error = results.pop(5)
    assert results == [0, 1, 2, 3, 4, 6, 7, 8]
    assert isinstance(error, TaskTimeout)
    # Nothing of the event loop, nor of the process that the worker was forked from.
    assert [line.rpartition(" ")[2] for line in error.stack.splitlines()] == ["block_at_five"]


def test_an_event_loop_is_woken_by_workers_that_did_not_inherit_its_descriptor():
    async def collect():
        return [result async for result in remote(nap_and_square, range(20), threads_limit=4)]

    assert asyncio.run(collect()) == [number * number for number in range(20)]


def nap_and_square(number):
    time.sleep(0.01)
    return number * number
