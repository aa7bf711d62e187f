"""task_timeout ends an item that runs for too long, with its process, and nothing else."""

import asyncio
import collections
import ctypes
import os
import signal
import threading
import time

import pytest
from support import SLOWNESS, Gate, SharedInts, child_pids, thread_names

from fast_map import TaskTimeout, WorkerCrashed, fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


def sleep_in_python():
    time.sleep(60)


def ignore_sigterm():
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def loop_in_python():
    while True:
        pass


def loop_in_c_with_the_gil():
    sum(range(10**13))


def wait_in_c_with_the_gil():
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def sleep_in_c():
    ctypes.CDLL(None).sleep(60)  # a signal cuts it short


def sleep_in_c_with_the_gil():
    ctypes.PyDLL(None).sleep(60)


HOGS = [loop_in_c_with_the_gil, wait_in_c_with_the_gil]
STUCK = [
    sleep_in_python,
    ignore_sigterm,
    loop_in_python,
    wait_for_a_lock,
    sleep_in_c,
    sleep_in_c_with_the_gil,
    *HOGS,
]


@KINDS
@pytest.mark.parametrize("get_stuck", STUCK)
def test_whatever_an_item_is_stuck_in_it_is_ended_and_says_where_it_was(kind, get_stuck):
    def fn(number):
        if number == 3:
            get_stuck()
        return number

    results = list(fast_map(fn, kind(range(8)), task_timeout=0.4, return_exceptions=True))
    error = results.pop(3)
    assert results == [0, 1, 2, 4, 5, 6, 7]
    assert isinstance(error, TaskTimeout)
    assert (error.item, error.seq_index, error.seconds) == (3, 3, 0.4)
    assert get_stuck.__name__ in error.stack
    assert "item 3" in str(error)
    assert "0.4 s" in str(error)
    assert "in fast_map" not in error.stack


@KINDS
def test_by_default_it_is_raised_after_the_results_before_it(kind):
    it = fast_map(lambda n: time.sleep(60 * (n == 2)) or n, kind(range(5)), task_timeout=0.3)
    assert [next(it), next(it)] == [0, 1]
    with pytest.raises(TimeoutError) as caught:
        next(it)
    assert type(caught.value) is TaskTimeout
    assert list(it) == []


def test_neighbours_in_the_same_process_are_run_again():
    starts, stuck, gate = SharedInts(20), SharedInts(), Gate()

    def late_neighbours():
        yield None
        stuck.wait_for()
        time.sleep(0.5)  # so that they have so much time left when the first one's is up
        yield from range(20)

    def fn(number):
        if number is None:
            stuck[0] = 1
            time.sleep(60)
        starts[number] += 1
        return gate.hold(number)

    it = fast_map(fn, late_neighbours(), task_timeout=2, return_exceptions=True, procs_limit=1)
    assert isinstance(next(it), TaskTimeout)
    gate.open()
    assert list(it) == list(range(20))
    assert 2 in [starts[number] for number in range(20)]


@pytest.mark.parametrize("hog", HOGS)
def test_an_item_that_hogs_the_gil_is_blamed_and_not_those_that_wait_for_it(hog):
    def fn(number):
        if number == 5:
            time.sleep(0.1)
            hog()
        time.sleep(0.2)
        return number

    results = list(fast_map(fn, range(10), task_timeout=1, return_exceptions=True, procs_limit=1))
    assert [n for n, result in enumerate(results) if isinstance(result, TaskTimeout)] == [5]


def test_a_thread_of_the_caller_that_hogs_the_gil_does_not_save_late_items():
    def fn(number):
        if number == 5:
            threading.Thread(target=wait_in_c_with_the_gil, daemon=True).start()
        time.sleep(60 if number == 5 else 0)
        return number

    results = list(fast_map(fn, range(10), task_timeout=0.5, return_exceptions=True, procs_limit=1))
    late = [n for n, result in enumerate(results) if isinstance(result, TaskTimeout)]
    assert 5 in late


def count_supervisors(pids):
    """And the threads that they have begun, which have their name."""
    return sum(thread_names(pid).count("fm-supervisor") for pid in pids)


def test_one_thread_at_most_waits_to_see_whether_the_gil_is_hogged():
    """As long as the item that hogs it is not late itself, another that is late has to wait."""

    def late_and_hogging():
        yield 0
        time.sleep(1)
        yield 1

    def fn(number):
        (ctypes.PyDLL if number else ctypes.CDLL)(None).usleep(1_400_000 if number else 60_000_000)
        return number

    it = fast_map(fn, late_and_hogging(), task_timeout=1.5, return_exceptions=True, procs_limit=1)
    counts = set()
    end = time.monotonic() + 2.3
    while time.monotonic() < end:
        counts.add(count_supervisors(child_pids()))
        time.sleep(0.02)
    late, _ = it
    assert isinstance(late, TaskTimeout)
    assert max(counts) <= 2, "the supervisor and one more"


def test_quick_items_are_not_touched():
    assert list(fast_map(abs, range(20_000), task_timeout=5)) == list(range(20_000))


def test_many_timeouts_in_a_row():
    results = list(
        fast_map(
            lambda n: time.sleep(60 if n % 3 == 0 else 0) or n,
            range(30),
            task_timeout=0.2,
            return_exceptions=True,
        )
    )
    kinds = collections.Counter(type(result) for result in results)
    assert kinds == {TaskTimeout: 10, int: 20}


def test_an_exit_with_the_status_that_timeouts_use_is_a_crash():
    it = fast_map(lambda n: os._exit(72), [1], task_timeout=60)
    with pytest.raises(WorkerCrashed, match="status 72"):
        next(it)


def test_what_the_worker_had_printed_comes_out(capfd):
    def fn(number):
        print(f"before {number}\n", end="")  # in one piece, for pytest's stdout is unbuffered
        time.sleep(60 * number)

    list(fast_map(fn, [0, 1], task_timeout=0.3, return_exceptions=True, procs_limit=1))
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "before 0", "before 1"]


@pytest.mark.parametrize("value", [True, "1", b"1", [1], 1j, object])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="task_timeout"):
        fast_map(abs, [1], task_timeout=value)


@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), 10**400, -(10**400)])
def test_what_is_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="task_timeout"):
        fast_map(abs, [1], task_timeout=value)


def test_infinity_is_no_limit():
    assert list(fast_map(abs, [1], task_timeout=float("inf"))) == [1]


def holds(gate):
    return gate.hold


def awaits(gate):
    async def fn(index):
        await asyncio.get_running_loop().run_in_executor(None, gate.hold)
        return index

    return fn


@pytest.mark.parametrize("fn_at", [holds, awaits])
def test_the_time_for_which_its_process_was_stopped_is_not_the_items(fn_at):
    limit = 3 * SLOWNESS
    gate = Gate()
    with fast_map(fn_at(gate), range(4), task_timeout=limit) as it:
        time.sleep(0.2)  # so that all are in the midst of it
        workers = child_pids()
        for number, pause in [(signal.SIGSTOP, limit + 1), (signal.SIGCONT, 0.3)]:
            for pid in workers:
                os.kill(pid, number)
            time.sleep(pause)
        gate.open()
        assert list(it) == list(range(4))


@pytest.mark.slow
def test_no_item_is_late_for_want_of_room_for_its_result():
    """256 MiB at most are in flight; beyond that results wait until the caller takes some."""
    size = 24 << 20

    def fn(number):
        return bytes(size)

    with fast_map(fn, range(16), procs_limit=2, threads_limit=4, task_timeout=2.5) as results:
        time.sleep(4)
        assert [len(result) for result in results] == [size] * 16
