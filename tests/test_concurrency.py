"""How tasks are spread over threads and processes, within which limits, and what may be nested."""

import asyncio
import collections
import itertools
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from markers import time_limit
from support import Gate, SharedInts, child_pids, drain, identity, leaves_nothing, meeting

from fast_map import fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


def most_at_once(spans):
    """The largest number of (start, end) spans that overlap."""
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(itertools.accumulate(step for _, step in steps))


def nap(index):
    start = time.monotonic()
    time.sleep(0.02)
    return start, time.monotonic()


# Threads


@KINDS
@pytest.mark.parametrize("number", [2, 7, 60, 300])
def test_by_default_all_blocking_tasks_run_at_once(kind, number):
    assert len(list(fast_map(meeting(number), kind(range(number))))) == number


@KINDS
def test_two_hundred_half_seconds_pass_together(kind):
    """One after the other they would take 50 s on two cores. Timing proper is for benchmarks."""
    start = time.monotonic()
    assert list(fast_map(time.sleep, kind([0.5] * 200))) == [None] * 200
    assert time.monotonic() - start < 2.5


@KINDS
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 16])
def test_threads_limit_holds_over_all_processes(kind, limit):
    spans = list(fast_map(nap, kind(range(4 * limit + 3)), threads_limit=limit))
    assert most_at_once(spans) <= limit


@KINDS
@pytest.mark.parametrize("limit", [2, 3, 16])
def test_threads_limit_is_reached_by_blocking_tasks(kind, limit):
    pids = list(fast_map(meeting(limit), kind(range(limit)), threads_limit=limit))
    assert len(pids) == limit


def test_buffersize_limits_the_tasks_that_run_at_once():
    assert most_at_once(list(fast_map(nap, range(20), buffersize=2))) <= 2


@KINDS
def test_one_thread_means_one_process_and_one_thread(kind):
    here = lambda index: (os.getpid(), threading.get_ident(), threading.get_native_id())  # noqa: E731
    assert len(set(fast_map(here, kind(range(200)), threads_limit=1))) == 1


@KINDS
def test_a_thread_keeps_its_thread_local_state(kind):
    local = threading.local()

    def count(index):
        local.count = getattr(local, "count", 0) + 1
        time.sleep(0.001)
        return os.getpid(), threading.get_ident(), local.count

    counts = collections.defaultdict(list)
    for *thread, number in fast_map(count, kind(range(300)), threads_limit=6):
        counts[tuple(thread)].append(number)
    assert len(counts) <= 6
    for numbers in counts.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_a_thread_is_the_same_python_thread_for_all_its_items():
    threads = list(
        fast_map(lambda index: id(threading.current_thread()), range(50), threads_limit=1)
    )
    assert len(set(threads)) == 1


# Processes


def test_tasks_run_in_other_processes():
    pids = set(fast_map(lambda index: os.getpid(), range(10)))
    assert os.getpid() not in pids


@KINDS
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_procs_limit_is_the_number_of_processes(kind, processes):
    number = 4 * processes
    meet, counted = meeting(number), Gate()
    # One item has no room yet: a worker that comes late would end if it found nothing to wait for.
    it = fast_map(
        lambda index: counted.hold(meet(index % number)),
        kind(range(number + 1)),
        procs_limit=processes,
        buffersize=number,
    )
    children = child_pids()
    counted.open()
    assert len(children) == processes
    assert set(it) <= children


@KINDS
def test_blocking_tasks_are_spread_evenly(kind):
    per_process = collections.Counter(fast_map(meeting(60), kind(range(60)), procs_limit=2))
    assert len(per_process) == 2
    assert min(per_process.values()) >= 20


@pytest.mark.parametrize(
    ("tasks", "threads", "expected"),
    [(1, None, 1), (3, None, 3), (50, 2, 2), (2, 3, 2), (50, 50, 4)],
)
def test_there_are_never_more_processes_than_tasks_or_threads(tasks, threads, expected):
    gate = Gate()
    it = fast_map(gate.hold, range(tasks), threads_limit=threads, procs_limit=4)
    # One that started late may have found nothing to do, and be gone.
    assert 1 <= len(child_pids()) <= expected
    gate.open()
    assert list(it) == list(range(tasks))


def test_no_tasks_need_no_process():
    it = fast_map(identity, [], procs_limit=4)
    assert not child_pids()
    assert list(it) == []


def test_by_default_there_is_at_most_a_process_for_each_usable_cpu():
    it = fast_map(time.sleep, [600] * 100)
    assert 1 <= len(child_pids()) <= len(os.sched_getaffinity(0))
    it.close()


@pytest.fixture
def one_cpu():
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    yield
    os.sched_setaffinity(0, usable)


@pytest.mark.usefixtures("one_cpu")
def test_affinity_sets_the_number_of_processes():
    it = fast_map(time.sleep, [600] * 10)
    assert len(child_pids()) == 1
    it.close()


def test_a_slow_item_does_not_hold_up_those_after_it():
    """They wait for it in the order of results, but they are computed meanwhile."""
    done = SharedInts(50)

    def first_waits_for_the_rest(index):
        if index == 0:
            done.wait_for_number(49)
        done[index] = 1
        return index

    assert list(fast_map(first_waits_for_the_rest, range(50))) == list(range(50))


# Several at once


def test_several_maps_advance_side_by_side():
    maps = [fast_map(lambda value, n=n: value * n, range(500)) for n in range(1, 5)]
    assert list(zip(*maps, strict=True)) == [tuple(v * n for n in range(1, 5)) for v in range(500)]


def test_closing_one_map_leaves_another_alone():
    with leaves_nothing():
        older, newer = (fast_map(identity, iter(range(1000))) for _ in range(2))
        assert (next(older), next(newer)) == (0, 0)
        older.close()
        assert list(newer) == list(range(1, 1000))

        older, newer = (fast_map(identity, iter(range(1000))) for _ in range(2))
        assert (next(older), next(newer)) == (0, 0)
        newer.close()
        assert list(older) == list(range(1, 1000))


def test_maps_in_several_threads_at_once():
    with leaves_nothing(), ThreadPoolExecutor(4) as threads:
        sums = threads.map(lambda n: sum(fast_map(lambda v: v * n, iter(range(500)))), range(12))
        assert list(sums) == [sum(range(500)) * n for n in range(12)]


@KINDS
def test_a_map_outlives_the_thread_that_made_it(kind):
    """A worker that dies with the thread, not with the process, that forked it would be lost."""
    gate, made = Gate(), []
    thread = threading.Thread(target=lambda: made.append(fast_map(gate.hold, kind(range(100)))))
    thread.start()
    thread.join()
    gate.open()
    assert list(made.pop()) == list(range(100))


def test_a_map_made_here_may_be_consumed_by_another_thread():
    it = fast_map(identity, iter(range(1000)))
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(list, it).result() == list(range(1000))


# Inside fn


@KINDS
def test_a_map_inside_a_map(kind):
    def table(n):
        return list(fast_map(lambda value: value * n, kind([1, 2, 3])))

    assert list(fast_map(table, kind(range(8)))) == [[n, 2 * n, 3 * n] for n in range(8)]


def test_an_abandoned_map_inside_a_map_leaves_nothing():
    pids = SharedInts(4)

    def abandon(index):
        inner = fast_map(lambda value: os.getpid(), itertools.count(), procs_limit=1)
        pids[index] = next(inner)
        return next(inner) == pids[index]

    assert list(fast_map(abandon, range(4))) == [True] * 4
    for index in range(4):
        with pytest.raises(ProcessLookupError):
            os.kill(pids[index], 0)


def test_an_error_inside_an_inner_map_passes_through():
    def inner(value):
        return list(fast_map(lambda divisor: 12 // divisor, [2, value]))

    results, error = drain(fast_map(inner, [3, 0, 4]))
    assert results == [[6, 4]]
    assert type(error) is ZeroDivisionError
    assert error.seq_index == 1


def test_fn_may_start_threads():
    def in_threads(n):
        with ThreadPoolExecutor(3) as threads:
            return list(threads.map(lambda value: value * n, range(4)))

    assert list(fast_map(in_threads, range(6))) == [[0, n, 2 * n, 3 * n] for n in range(6)]


@time_limit(120)
def test_fn_may_run_programs():
    def run(index):
        code = f"import sys; print({index}); sys.exit({index})"
        done = subprocess.run([sys.executable, "-Sc", code], stdout=subprocess.PIPE)
        return done.returncode, done.stdout

    assert list(fast_map(run, range(6))) == [(n, f"{n}\n".encode()) for n in range(6)]


def test_fn_may_run_an_event_loop():
    async def later(value):
        await asyncio.sleep(0.01)
        return value + 1

    assert list(fast_map(lambda value: asyncio.run(later(value)), range(6))) == list(range(1, 7))


# Rest


def supervisor_wakes(pid):
    """How often the supervisor of that worker has been woken until now."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == "fm-supervisor\n":
            found = re.search(
                r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M
            )
            return int(found[1])
    raise LookupError(pid)


def test_nobody_looks_often_at_a_task_that_sleeps():
    started, gate = SharedInts(), Gate()

    def hold(_):
        started[0] = 1
        return gate.hold()

    with fast_map(hold, range(1)) as mapped:
        (pid,) = child_pids()
        started.wait_for()
        time.sleep(0.3)
        begin, before = time.monotonic(), supervisor_wakes(pid)
        time.sleep(0.7)
        wakes, duration = supervisor_wakes(pid) - before, time.monotonic() - begin
        # With a look every 16 ms there would be 43 in 0.7 s, with one every 64 ms there are 11.
        assert wakes / duration < 20 / 0.7
        gate.open()
        next(mapped)


def test_work_that_comes_after_a_rest_gets_its_threads():
    """The supervisor hardly looks by then, nor where an idle thread takes the first item."""

    def late(number):
        yield 0
        time.sleep(0.5)
        yield from range(number)

    start = time.monotonic()
    spans = list(fast_map(lambda _: (time.sleep(0.3), nap(0))[1], late(100)))
    assert most_at_once(spans) > 1
    assert time.monotonic() - start < 5  # 15 s on two threads
