"""retries: items that were lost with their worker are run again, alone, and that harms nobody."""

import itertools
import os
import signal
import threading
import time
import zlib

import numpy as np
import pytest
from markers import time_limit
from support import (
    Gate,
    RunLog,
    SharedInts,
    assert_repeatable_without_growth,
    die,
    die_of,
    drain,
    identity,
    leaves_nothing,
    pattern,
    run_script,
    wait_until,
)
from worker_processes import descendants

from fast_map import WorkerCrashed, fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


def poison_among(log, count, poison):
    """An fn for `count` items that are all in flight when one of them, now as ever, is deadly."""

    def fn(index):
        with log.run(index) as run:
            if index == poison:
                if run == 1:
                    log.runs.wait_for_number(count)
                die_of(signal.SIGKILL)
            if run == 1:
                time.sleep(600)
            return index

    return fn


# What is run again


@KINDS
@pytest.mark.parametrize("retries", [1, 3])
def test_a_poison_item_is_found_and_its_neighbours_survive(kind, retries):
    log = RunLog(40)
    fn = poison_among(log, 40, 17)
    results = list(
        fast_map(fn, kind(range(40)), procs_limit=1, retries=retries, return_exceptions=True)
    )
    error = results[17]
    assert [*results[:17], *results[18:]] == [*range(17), *range(18, 40)]
    assert type(error) is WorkerCrashed
    assert (error.pid, error.signal, error.exitcode) == (log.pids[17], signal.SIGKILL, None)
    assert (error.items, error.seq_index) == ((17,), 17)
    for text in ("item 17", "SIGKILL", str(error.pid)):
        assert text in str(error)
    runs = [log.runs[index] for index in range(40)]
    assert runs == [2] * 17 + [1 + retries] + [2] * 22
    assert [log.together[index] for index in range(40)] == [1] * 40


@KINDS
def test_the_crash_of_a_poison_item_is_raised_after_all_results_before_it(kind):
    log = RunLog(20)
    it = fast_map(poison_among(log, 20, 17), kind(range(20)), procs_limit=1, retries=1)
    results, error = drain(it)
    assert results == list(range(17))
    assert (type(error), error.items) == (WorkerCrashed, (17,))
    assert list(it) == []


@KINDS
@pytest.mark.parametrize("how", [lambda: os._exit(5), os.abort], ids=["exit", "abort"])
@pytest.mark.parametrize(("crashes", "retries"), [(1, 1), (2, 2), (3, 10**9)])
def test_an_item_that_crashes_no_oftener_than_allowed_succeeds(kind, how, crashes, retries):
    log = RunLog(10)

    def fn(index):
        with log.run(index) as run:
            if index == 3 and run <= crashes:
                die(how)
            return index, run

    it = fast_map(fn, kind(range(10)), threads_limit=1, retries=retries)
    runs = [1 + crashes if index == 3 else 1 for index in range(10)]
    assert list(it) == list(zip(range(10), runs, strict=True))
    assert [log.runs[index] for index in range(10)] == runs


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_an_item_is_run_again_as_often_as_said(retries):
    log = RunLog(1)
    results, error = drain(fast_map(poison_among(log, 1, 0), [0], retries=retries))
    assert (results, error.items, error.pid) == ([], (0,), log.pids[0])
    assert log.runs[0] == 1 + retries


def test_an_item_that_raises_is_not_run_again():
    log = RunLog(5)

    def fn(index):
        with log.run(index):
            return 1 // (index - 3)

    results, error = drain(fast_map(fn, range(5), retries=9, threads_limit=1))
    assert len(results) == 3
    assert type(error) is ZeroDivisionError
    assert log.runs[3] == 1


@KINDS
@pytest.mark.parametrize("procs", [1, 2, 4])
def test_results_come_once_and_in_order_whatever_crashes(kind, procs):
    log = RunLog(20_000)

    def fn(index):
        with log.run(index) as run:
            if index % 500 == 7 and run == 1:
                os._exit(1)
            return index

    it = fast_map(fn, kind(range(20_000)), procs_limit=procs, retries=50)
    assert list(it) == list(range(20_000))
    assert [log.runs[index] >= 2 for index in range(7, 20_000, 500)] == [True] * 40


@KINDS
def test_a_rerun_item_is_alone_while_others_go_on_elsewhere(kind):
    log, gate = RunLog(60), Gate()

    def fn(index):
        with log.run(index) as run:
            if index == 0 and run == 1:
                log.runs.wait_for_number(20)
                os._exit(1)
            if index == 0:
                gate.hold()
            time.sleep(0.001)
            return index

    it = fast_map(fn, kind(range(60)), procs_limit=2, threads_limit=20, retries=1)
    lone = wait_until(lambda: log.runs[0] == 2)
    # The nine other threads of the process that died may have been about to begin an item each.
    elsewhere = wait_until(lambda: log.runs.number_set() >= 60 - 9)
    gate.open()
    assert lone
    assert elsewhere
    assert list(it) == list(range(60))
    rerun = [index for index in range(60) if log.runs[index] == 2]
    assert 0 in rerun
    assert {log.together[index] for index in rerun} == {1}


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_a_successor_gets_threads_again(kind):
    """Once it has run what was lost, a successor runs as many blocking items at once as any."""
    pids, gate = SharedInts(101), Gate()

    def fn(index):
        if index == 0 and not pids[0]:
            pids[0] = os.getpid()
            os._exit(1)
        pids[index] = os.getpid()
        return index if index == 0 else gate.hold(index)

    it = fast_map(fn, kind(range(101)), procs_limit=1, retries=1)
    assert next(it) == 0
    pids.wait_for_number(101)
    assert len({pids[index] for index in range(101)}) == 1
    gate.open()
    assert list(it) == list(range(1, 101))


def test_items_that_arrive_do_not_wait_for_one_that_runs_alone():
    """The other process takes them all, however few arrive at a time."""
    log, gate = RunLog(21), Gate()

    def arriving():
        for index in range(21):
            assert index < 2 or log.runs.wait_for(index - 1)
            yield index

    def fn(index):
        with log.run(index) as run:
            if index == 0 and run == 1:
                os._exit(1)
            return gate.hold(index)

    it = fast_map(fn, arriving(), procs_limit=2, retries=1)
    log.runs.wait_for_number(21)
    gate.open()
    assert list(it) == list(range(21))


# Arguments


def checksum_the_second_time(log):
    """An fn for pairs of a position and a buffer, that dies when it has read each for once."""

    def fn(pair):
        index, buffer = pair
        with log.run(index) as run:
            checksum = zlib.crc32(buffer)
            if run == 1:
                os._exit(1)
            return len(memoryview(buffer).cast("B")), checksum

    return fn


def array_of(block):
    return np.frombuffer(block, np.uint8).copy()


@pytest.mark.parametrize("make", [bytes, bytearray, array_of])
def test_large_arguments_are_whole_for_the_second_run(make):
    log = RunLog(8)
    blocks = [pattern((index + 1 << 20) + 13 * index) for index in range(8)]
    it = fast_map(checksum_the_second_time(log), enumerate(map(make, blocks)), retries=8)
    assert list(it) == [(len(block), zlib.crc32(block)) for block in blocks]


def test_what_the_first_run_did_to_its_argument_is_not_seen_by_the_second():
    log = RunLog(4)

    def fn(pair):
        index, array = pair
        with log.run(index) as run:
            total = int(array.sum())
            array[:] = 0
            if run == 1:
                os._exit(1)
            return total

    arrays = ((index, np.full(1 << 20, index + 1, np.uint8)) for index in range(4))
    results = list(fast_map(fn, arrays, retries=4))
    assert results == [(index + 1) << 20 for index in range(4)]


def test_blocks_of_lost_results_come_back():
    """Otherwise each crash would leave less shared memory, until nobody could work ahead."""
    log, block = RunLog(20), bytes(64 << 20)

    def kill_soon():
        time.sleep(0.03)
        os.kill(os.getpid(), signal.SIGKILL)

    def fn(index):
        with log.run(index):
            if index >= 8:
                return bytes(1 << 20)
            threading.Thread(target=kill_soon, daemon=True).start()
        return block  # copying it takes longer

    it = fast_map(fn, range(20), threads_limit=1, buffersize=4, return_exceptions=True)
    results = [next(it) for _ in range(8)]
    assert WorkerCrashed in map(type, results)
    log.runs.wait_for(11)  # in the same thread as 8, 9 and 10, whose results it has stored


# The end


@KINDS
def test_close_in_the_midst_of_recoveries(kind):
    log = RunLog(300)

    def fn(index):
        with log.run(index):
            if index % 3 == 1:
                os._exit(1)
            return index

    def close_early():
        it = fast_map(fn, kind(range(300)), procs_limit=2, retries=10**6)
        assert next(it) == 0
        wait_until(lambda: log.runs[1] > 2)
        start = time.monotonic()
        it.close()
        assert time.monotonic() - start < 2

    assert_repeatable_without_growth(close_early)


def test_break_out_of_an_infinite_input_with_crashes():
    log = RunLog(4000)

    def fn(index):
        with log.run(index % 4000) as run:
            if index % 97 == 5 and run == 1:
                die_of(signal.SIGSEGV)
            return index

    with leaves_nothing():
        results = []
        it = fast_map(fn, itertools.count(), procs_limit=2, retries=100, buffersize=100)
        for result in it:
            results.append(result)
            if len(results) == 2000:
                break
        it.close()
    assert results == list(range(2000))


def test_processes_that_crash_while_they_start_are_replaced():
    status, out, err = run_script("bad_start.py", "crash", 5)
    assert (status, out.split(), err) == (0, ["10", "results", "6", "successors"], "")


def test_processes_that_never_start_are_given_up():
    status, out, err = run_script("bad_start.py", "crash", 10**6)
    assert (status, err) == (0, "")
    assert out.startswith("WorkerCrashed")
    assert int(out.split()[-2]) < 50


def test_processes_that_never_get_a_thread_are_given_up():
    status, out, _ = run_script("bad_start.py", "starve", 10**6)
    assert status == 0
    assert "could not set up a worker process" in out
    assert "RLIMIT_AS" in out
    assert int(out.split()[-2]) < 50


@time_limit(120)
def test_repeated_crashes_leave_nothing():
    log = RunLog(50)

    def fn(index):
        with log.run(index):
            if log.runs[index] % 2 and index % 10 == 3:
                os._exit(1)
            return index

    def crash():
        assert list(fast_map(fn, iter(range(50)), retries=50, procs_limit=2)) == list(range(50))

    assert_repeatable_without_growth(crash)


# The argument


@pytest.mark.parametrize("retries", [True, False, "1", 1.0, None, [1]])
def test_retries_of_a_wrong_type_are_refused(retries):
    with pytest.raises(TypeError, match="retries must be an int"):
        fast_map(identity, [1], retries=retries)


@pytest.mark.parametrize("retries", [-1, -(10**9), 1 << 63])
def test_retries_out_of_range_are_refused(retries):
    with pytest.raises(ValueError, match="retries must be from 0"):
        fast_map(identity, [1], retries=retries)


@pytest.mark.parametrize(("retries", "others"), [(0, 0), (1, 1)])
def test_there_is_no_process_but_the_workers_without_retries(retries, others):
    gate = Gate()
    with fast_map(gate.hold, range(4), procs_limit=2, retries=retries):
        assert wait_until(lambda: len(descendants()) == 2 + others)
