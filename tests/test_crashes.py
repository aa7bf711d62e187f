"""Workers that die: noticed at once, told in the position of the items they were running."""

import concurrent.futures
import itertools
import os
import signal
import threading
import time

import pytest
from support import Gate, SharedInts, child_pids, die, drain, identity, wait_until

from fast_map import WorkerCrashed, fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


def kill_all_workers():
    for pid in child_pids():
        os.kill(pid, signal.SIGKILL)


def crash_at(position, how):
    def fn(index):
        if index == position:
            die(how)
        return index

    return fn


@KINDS
def test_a_killed_worker_is_told_after_the_results_before_it(kind):
    pids = SharedInts(10)

    def stay_at_five(index):
        pids[index] = os.getpid()
        if index == 5:
            time.sleep(600)
        return index

    it = fast_map(stay_at_five, kind(range(10)), threads_limit=1)
    victim = pids.wait_for(5)
    start = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    results, error = drain(it)
    assert time.monotonic() - start < 5
    assert results == list(range(5))
    assert type(error) is WorkerCrashed
    assert isinstance(error, concurrent.futures.BrokenExecutor)
    assert (error.pid, error.signal, error.items) == (victim, signal.SIGKILL, (5,))
    assert "SIGKILL" in str(error)
    assert error.seq_index == 5
    assert list(it) == []


def test_a_consumer_that_waits_is_told_of_a_killed_worker():
    pid = SharedInts()

    def wait_to_be_killed(index):
        pid[0] = os.getpid()
        time.sleep(600)

    killer = threading.Thread(target=lambda: os.kill(pid.wait_for(), signal.SIGKILL))
    it = fast_map(wait_to_be_killed, [0])
    killer.start()
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        next(it)
    killer.join()


def test_all_items_that_a_dead_worker_was_running_are_named():
    pids = SharedInts(4)

    def stay(index):
        pids[index] = os.getpid()
        time.sleep(600)

    it = fast_map(stay, range(4), threads_limit=4, procs_limit=1)
    pids.wait_for_number(4)
    os.kill(pids[0], signal.SIGKILL)
    results, error = drain(it)
    assert (results, error.items, error.seq_index) == ([], (0, 1, 2, 3), 0)


def test_the_items_of_the_surviving_worker_are_not_lost():
    pids, gate = SharedInts(2), Gate()

    def wait_here(index):
        pids[index] = os.getpid()
        return gate.hold(index)

    it = fast_map(wait_here, range(2), threads_limit=2, procs_limit=2)
    pids.wait_for_number(2)
    assert pids[0] != pids[1]
    os.kill(pids[1], signal.SIGKILL)
    assert wait_until(lambda: pids[1] not in running_children())
    gate.open()
    results, error = drain(it)
    assert results == [0]
    assert (type(error), error.pid, error.items) == (WorkerCrashed, pids[1], (1,))


def running_children():
    return {pid for pid in child_pids() if os.path.exists(f"/proc/{pid}/exe")}


@KINDS
@pytest.mark.parametrize("status", [0, 1, 3, 255])
def test_a_worker_that_exits_is_told_with_its_exit_code(kind, status):
    it = fast_map(crash_at(2, lambda: os._exit(status)), kind(range(5)), threads_limit=1)
    results, error = drain(it)
    assert results == [0, 1]
    assert type(error) is WorkerCrashed
    assert (error.exitcode, error.signal, error.items) == (status, None, (2,))
    assert str(status) in str(error)
    assert str(error.pid) in str(error)


@KINDS
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGTERM", "SIGUSR1"])
def test_a_worker_that_dies_of_a_signal_is_told_with_its_name(kind, name):
    number = getattr(signal, name)
    it = fast_map(
        crash_at(2, lambda: os.kill(os.getpid(), number)), kind(range(5)), threads_limit=1
    )
    results, error = drain(it)
    assert results == [0, 1]
    assert type(error) is WorkerCrashed
    assert (error.signal, error.items) == (number, (2,))
    assert name in str(error)
    assert ("faulthandler" in str(error)) == (name in ("SIGSEGV", "SIGABRT", "SIGBUS"))


def test_a_crash_in_the_midst_of_many_items():
    it = fast_map(crash_at(5000, lambda: os._exit(9)), iter(range(20_000)), threads_limit=1)
    results, error = drain(it)
    assert results == list(range(5000))
    assert (type(error), error.exitcode, error.seq_index) == (WorkerCrashed, 9, 5000)


def test_a_crash_while_large_values_are_under_way():
    def crash_late(value):
        if value[:1] == b"\x05":
            os._exit(9)
        return value

    blocks = (bytes([number]) * (4 << 20) for number in range(20))
    results, error = drain(fast_map(crash_late, blocks, threads_limit=1))
    assert [result[0] for result in results] == list(range(5))
    assert (type(error), error.exitcode) == (WorkerCrashed, 9)


def test_workers_killed_while_they_start_are_told():
    for _ in range(5):
        it = fast_map(time.sleep, [600] * 4)
        kill_all_workers()
        results, error = drain(it)
        assert (results, type(error)) == ([], WorkerCrashed)


@pytest.mark.parametrize("size", [1, 8 << 20], ids=["small", "large"])
def test_workers_killed_while_they_wait_for_the_consumer_are_told(size):
    """What they had finished comes first; what cannot be had any more is an error, no hang."""
    it = fast_map(lambda index: bytes(size), itertools.count(), buffersize=50)
    assert len(next(it)) == size
    time.sleep(0.3)
    kill_all_workers()
    results, error = drain(it)
    assert all(len(result) == size for result in results)
    assert type(error) is WorkerCrashed


def test_workers_killed_while_idle_are_told():
    killed = threading.Event()

    def pausing():
        yield 0
        assert killed.wait(20)
        yield 1

    it = fast_map(identity, pausing())
    assert next(it) == 0
    kill_all_workers()
    killed.set()
    results, error = drain(it)
    assert (results, type(error)) == ([], WorkerCrashed)


def test_the_next_map_is_not_affected():
    assert type(drain(fast_map(crash_at(0, lambda: os._exit(1)), range(3)))[1]) is WorkerCrashed
    assert list(fast_map(identity, range(100))) == list(range(100))


def test_a_crash_does_not_disturb_another_map_that_is_running():
    other = fast_map(identity, iter(range(1000)))
    assert next(other) == 0
    assert type(drain(fast_map(crash_at(0, lambda: os._exit(1)), range(3)))[1]) is WorkerCrashed
    assert list(other) == list(range(1, 1000))


def test_a_child_of_the_caller_is_not_taken_for_a_worker():
    """Waiting for workers must not reap processes that the program has started itself."""
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    assert list(fast_map(identity, range(10))) == list(range(10))
    assert type(drain(fast_map(crash_at(0, lambda: os._exit(1)), range(3)))[1]) is WorkerCrashed
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@KINDS
def test_fn_that_closes_all_descriptors_ends_its_process(kind):
    def close_all(index):
        if index == 5:
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            time.sleep(600)
        return index

    results, error = drain(fast_map(close_all, kind(range(10)), threads_limit=1))
    assert results == list(range(5))
    assert (type(error), error.items) == (WorkerCrashed, (5,))
