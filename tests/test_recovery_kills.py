"""Workers and their nursery killed from outside, whatever they are doing at the time."""

import itertools
import os
import signal
import threading
import time

import pytest
from support import (
    Gate,
    SharedInts,
    drain,
    identity,
    leaves_nothing,
    pattern,
    run_script,
    wait_until,
)
from worker_processes import (
    descendants,
    kill_processes,
    kill_workers,
    nursery_pids,
    still_running,
    worker_pids,
)

from fast_map import WorkerCrashed, fast_map

PROCS = pytest.mark.parametrize("procs", [1, 2, 4])
KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])

RETRIES = 100


@pytest.fixture(autouse=True)
def nothing_left():
    with leaves_nothing():
        yield


def await_workers(number):
    assert wait_until(lambda: len(worker_pids()) == number), descendants()


# All workers at once


@PROCS
def test_workers_killed_while_idle_are_replaced(procs):
    gates = [Gate() for _ in range(4)]

    def pausing():
        for index, gate in enumerate(gates):
            yield index
            gate.hold()

    it = fast_map(identity, pausing(), procs_limit=procs, retries=RETRIES)
    for index, gate in enumerate(gates):
        assert next(it) == index
        await_workers(procs)
        assert len(kill_workers()) == procs
        gate.open()
    assert list(it) == []


@PROCS
@KINDS
def test_workers_killed_while_the_ring_is_full_are_replaced(procs, kind):
    """The consumer takes nothing, so that they have nothing to do but wait for it."""
    ran = SharedInts(400)

    def fn(index):
        ran[index] = 1
        return index

    it = fast_map(fn, kind(range(400)), procs_limit=procs, buffersize=20, retries=RETRIES)
    results = []
    while len(results) < 60:
        ran.wait_for_number(len(results) + 20)
        await_workers(procs)
        kill_workers()
        results += itertools.islice(it, 10)
    assert results + list(it) == list(range(400))


@PROCS
@KINDS
def test_workers_killed_while_all_of_them_run_items_are_replaced(procs, kind):
    runs, gate = SharedInts(30), Gate()

    def fn(index):
        runs[index] += 1
        if runs[index] == 1:
            gate.hold()
        return index

    it = fast_map(fn, kind(range(30)), procs_limit=procs, retries=1)
    runs.wait_for_number(30)
    assert len(kill_workers()) == procs
    assert list(it) == list(range(30))
    assert [runs[index] for index in range(30)] == [2] * 30


@PROCS
@pytest.mark.parametrize("fed", [False, True], ids=["results", "results and arguments"])
def test_workers_killed_while_they_hold_large_values_are_replaced(procs, fed):
    """More goes through than the shared memory holds at once."""
    count, sizes = 90, [(1 << 20) + 1000 * index for index in range(9)]
    blocks = [pattern(size) for size in sizes]
    done = threading.Event()

    def kill_now_and_then():
        while not done.wait(0.05):
            kill_workers()

    options = {"procs_limit": procs, "retries": RETRIES, "buffer_bytes": 32 << 20}
    if fed:
        it = fast_map(identity, (blocks[index % 9] for index in range(count)), **options)
    else:
        it = fast_map(lambda index: blocks[index % 9], range(count), **options)
    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        for index, result in enumerate(it):
            assert result == blocks[index % 9]
            time.sleep(0.01)
    finally:
        done.set()
        killer.join()
    assert index == count - 1


@pytest.mark.parametrize("pause", [0, 0.0005, 0.001, 0.002, 0.004])
@KINDS
def test_workers_killed_while_they_start_are_replaced(kind, pause):
    it = fast_map(identity, kind(range(1000)), procs_limit=2, retries=RETRIES)
    assert wait_until(nursery_pids)
    for _ in range(5):
        time.sleep(pause)
        # What the nursery has forked goes by its name at first.
        nursery = {entry.pid for entry in descendants() if entry.parent == os.getpid()}
        nursery &= set(nursery_pids())
        kill_processes([entry.pid for entry in descendants() if entry.pid not in nursery])
    assert list(it) == list(range(1000))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM])
def test_any_signal_that_kills_will_do(number):
    gate = Gate()
    it = fast_map(gate.hold, iter(range(4)), procs_limit=2, return_exceptions=True)
    await_workers(2)
    pids = kill_workers(number)
    gate.open()
    results = list(it)
    assert len(results) == 4
    for index, result in enumerate(results):
        if result != index:
            assert type(result) is WorkerCrashed
            assert result.signal == number
            assert result.pid in pids


def test_without_retries_each_lost_item_is_told_and_the_rest_goes_on():
    started, gate = SharedInts(20), Gate()

    def fn(index):
        started[index] = os.getpid()
        return index if index >= 6 else gate.hold()

    it = fast_map(fn, iter(range(20)), threads_limit=6, procs_limit=2, return_exceptions=True)
    assert wait_until(lambda: all(started[index] for index in range(6)))
    kill_workers()
    results = list(it)
    assert results[6:] == list(range(6, 20))
    for index, error in enumerate(results[:6]):
        mine = tuple(i for i in range(index, 6) if started[i] == started[index])
        assert type(error) is WorkerCrashed
        assert (error.pid, error.signal) == (started[index], signal.SIGKILL)
        assert (error.items, error.seq_index) == (mine, index)


def test_two_maps_recover_side_by_side():
    one = fast_map(identity, iter(range(3000)), buffersize=50, retries=RETRIES)
    two = fast_map(identity, range(3000), buffersize=50, retries=RETRIES)
    taken = []
    for index, pair in enumerate(zip(one, two, strict=True)):
        taken.append(pair)
        if index % 500 == 100:
            kill_workers()
    assert taken == [(index, index) for index in range(3000)]


# The nursery


def kill_nursery():
    kill_processes(nursery_pids())


def start_slow_map(**options):
    """A map, its workers and its nursery being there, some results having been taken."""

    def slow(index):
        time.sleep(0.001)
        return index

    it = fast_map(slow, iter(range(2000)), procs_limit=2, buffersize=20, **options)
    assert [next(it) for _ in range(5)] == list(range(5))
    assert wait_until(nursery_pids)
    await_workers(2)
    return it


@pytest.mark.parametrize("options", [{"retries": 3}, {"return_exceptions": True}], ids=str)
def test_without_its_nursery_a_map_goes_on(options):
    it = start_slow_map(**options)
    kill_nursery()
    assert list(it) == list(range(5, 2000))


def test_without_its_nursery_a_map_goes_on_with_the_workers_that_live():
    it = start_slow_map(return_exceptions=True)
    kill_nursery()
    os.kill(worker_pids()[0], signal.SIGKILL)
    results = list(it)
    lost = [result for result in results if isinstance(result, WorkerCrashed)]
    assert len(results) == 1995
    assert len(lost) <= 20
    assert [r for r in results if isinstance(r, int)] == [
        index for index in range(5, 2000) if index not in {error.seq_index for error in lost}
    ]


@pytest.mark.parametrize("replaced_once", [False, True])
def test_without_nursery_and_workers_the_end_is_an_error(replaced_once):
    it = start_slow_map(retries=3)
    if replaced_once:
        kill_workers()
        await_workers(2)
    pids = worker_pids()
    kill_nursery()
    kill_processes(pids)
    start = time.monotonic()
    results, error = drain(it)
    assert time.monotonic() - start < 5
    assert results == list(range(5, 5 + len(results)))
    assert type(error) is WorkerCrashed
    assert error.seq_index == 5 + len(results)
    # How a successor ended is known to its parent only, and that was the nursery.
    assert (error.exitcode, error.signal) == (None, None if replaced_once else signal.SIGKILL)


def test_successors_end_with_the_map_even_if_their_nursery_has_died():
    it = start_slow_map(retries=RETRIES)
    kill_workers()
    assert next(it) == 5
    await_workers(2)
    pids = worker_pids()
    kill_nursery()
    assert list(it) == list(range(6, 2000))
    assert wait_until(lambda: not still_running(pids))


@pytest.mark.parametrize("round_", range(10))
def test_the_nursery_killed_in_the_midst_of_recoveries(round_):
    """At whatever instant: a result or an error for each item, and no process that stays."""
    it = start_slow_map(return_exceptions=True)
    (nursery,) = nursery_pids()
    seen = set(worker_pids())
    for pid in seen:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.0004 * round_)
    seen |= {entry.pid for entry in descendants()}
    os.kill(nursery, signal.SIGKILL)
    results, error = drain(it)
    assert [getattr(r, "seq_index", r) for r in results] == list(range(5, 5 + len(results)))
    assert len(results) == 1995 if error is None else type(error) is WorkerCrashed
    assert wait_until(lambda: not still_running(seen))


@pytest.mark.parametrize("fate", ["lives", "dies"])
def test_the_nursery_killed_before_it_can_tell_of_a_successor(fate):
    """Nobody watches that successor, so it must run nothing, least of all with others' items."""
    status, out, err = run_script("nursery_dies_in_fork.py", fate)
    assert (status, err) == (0, "")
    assert out.split() == ["[0]", *map(str, range(1, 200)), "1"]
