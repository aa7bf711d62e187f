"""What happens in a worker process before its first item and after its last: initializer,
max_tasks_per_child. And chunksize, which nobody must notice."""

import collections
import os
import signal
import threading
import time

import pytest
from support import RunLog, SharedInts, drain, leaves_nothing

from fast_map import WorkerCrashed, fast_map

state = {}


def remember(*args):
    state["args"] = args
    state.setdefault("calls", []).append((os.getpid(), threading.current_thread().name))


def recall(_):
    return os.getpid(), state


def own_pid(_):
    return os.getpid()


# initializer


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_the_initializer_runs_once_in_each_process_before_any_item(start_method):
    def slow_recall(item):
        time.sleep(0.01)
        return recall(item)

    fn = slow_recall if start_method == "fork" else recall
    mapped = fast_map(
        fn, range(40), initializer=remember, initargs=[1, "two"], start_method=start_method
    )
    for pid, seen in mapped:
        assert seen["args"] == (1, "two")
        assert [each for each, _ in seen["calls"]] == [pid]
    assert state == {}


def test_a_replaced_worker_is_initialized_too():
    died = SharedInts()

    def die_once(item):
        if not died[0]:
            died[0] = 1
            os.kill(os.getpid(), signal.SIGKILL)
        return recall(item)

    results = list(fast_map(die_once, range(5), procs_limit=1, retries=1, initializer=remember))
    assert [seen["args"] for _, seen in results] == [()] * 5


def fail():
    raise OSError("not today")


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_a_failing_initializer_is_the_first_items_error(start_method):
    with leaves_nothing():
        results, error = drain(
            fast_map(own_pid, range(5), initializer=fail, start_method=start_method)
        )
    assert results == []
    assert (type(error), str(error), error.seq_index) == (OSError, "not today", 0)
    assert "initializer" in error.__notes__[0]
    assert "in fail" in str(error.__cause__)


def test_every_item_of_a_process_that_could_not_be_initialized_says_so():
    results = list(fast_map(own_pid, range(50), initializer=fail, return_exceptions=True))
    assert {(type(each), str(each)) for each in results} == {(OSError, "not today")}
    assert [each.seq_index for each in results] == list(range(50))


def test_an_initializer_that_exits_python_is_an_error_like_another():
    results, error = drain(fast_map(own_pid, range(3), initializer=lambda: exit(3)))
    assert (results, type(error), error.code) == ([], SystemExit, 3)


@pytest.mark.parametrize("options", [{}, {"return_exceptions": True}, {"retries": 2}], ids=repr)
def test_an_initializer_that_kills_its_process_ends_the_map(options):
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    with leaves_nothing():
        results, error = drain(fast_map(own_pid, range(3), initializer=die, **options))
    assert (results, type(error), error.signal) == ([], WorkerCrashed, signal.SIGKILL)
    assert error.items == ()
    assert "no worker is left" in str(error)


def test_a_map_is_closed_while_the_initializer_hangs():
    with leaves_nothing():
        start = time.monotonic()
        fast_map(own_pid, range(3), initializer=time.sleep, initargs=(600,)).close()
        assert time.monotonic() - start < 5


# max_tasks_per_child


@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("most", [1, 3, 10, 1000])
def test_no_process_runs_more_items_than_it_may(most, feed):
    with leaves_nothing():
        pids = list(fast_map(own_pid, feed(range(60)), max_tasks_per_child=most))
    counts = collections.Counter(pids)
    assert len(pids) == 60
    assert max(counts.values()) <= most


def test_results_stay_in_order_while_processes_change():
    mapped = fast_map(lambda number: number * 2, iter(range(500)), max_tasks_per_child=20)
    assert list(mapped) == list(range(0, 1000, 2))


def test_items_that_block_run_side_by_side_within_the_budget():
    log = RunLog(40)

    def sleep(item):
        with log.run(item):
            time.sleep(0.2)
        return os.getpid()

    counts = collections.Counter(fast_map(sleep, range(40), procs_limit=2, max_tasks_per_child=10))
    assert max(counts.values()) <= 10
    assert sum(log.together[item] > 1 for item in range(40)) > 20


def test_it_goes_with_retries_and_the_fork_server():
    for start_method in ("fork", "forkserver"):
        mapped = fast_map(
            own_pid, range(20), max_tasks_per_child=4, retries=1, start_method=start_method
        )
        assert max(collections.Counter(mapped).values()) <= 4


def test_an_error_ends_the_map_as_ever():
    results, error = drain(fast_map((1).__truediv__, [2, 1, 0, 4], max_tasks_per_child=1))
    assert (results, type(error)) == ([0.5, 1.0], ZeroDivisionError)


# chunksize


@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("chunksize", [1, 7, 1000, 10**6])
def test_chunks_change_no_result(chunksize, feed):
    mapped = fast_map(abs, feed(range(-500, 500)), chunksize=chunksize)
    assert list(mapped) == [*range(500, 0, -1), *range(500)]


def test_a_result_does_not_wait_for_the_rest_of_its_chunk():
    def stall_at_five(number):
        if number == 5:
            time.sleep(600)
        return number

    with fast_map(stall_at_five, range(20), procs_limit=1, threads_limit=1, chunksize=20) as it:
        assert [it.next(timeout=5) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(TimeoutError):
            it.next(timeout=0.1)


def test_an_error_in_a_chunk_has_its_own_place():
    results = list(fast_map((1).__truediv__, [1, 0, 2], chunksize=3, return_exceptions=True))
    assert (results[0], type(results[1]), results[1].seq_index, results[2]) == (
        1.0,
        ZeroDivisionError,
        1,
        0.5,
    )
