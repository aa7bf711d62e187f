"""stats(): counts that add up, times that fit the clock, and a verdict that a user can follow."""

import asyncio
import os
import time

import pytest
from support import Gate, SharedInts, identity, nap, wait_until

from fast_map import Stats, WorkerCrashed, fast_map


def burn(seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        pass


def drain(mapped):
    for _ in mapped:
        pass
    return mapped.stats()


def check_sums(stats, items):
    assert stats.items == items
    assert sum(worker.items for worker in stats.workers) == items
    assert stats.threads == sum(worker.most_threads for worker in stats.workers)
    for worker in stats.workers:
        assert worker.items == sum(thread.items for thread in worker.threads)
        assert len(worker.threads) == min(worker.most_threads, 64)
        by_kind = zip(*(thread.times for thread in worker.threads), strict=True)
        assert tuple(map(sum, by_kind)) == pytest.approx(worker.times)
        for thread in worker.threads:
            # All that a thread does within the life of the map, whose end it may outlive a little.
            assert min(thread.times) >= 0
            assert sum(thread.times) < stats.elapsed + 0.5 or worker.most_threads > 64


# What is counted


@pytest.mark.parametrize("feed", [range, lambda count: iter(range(count))])
@pytest.mark.parametrize(
    "options", [{}, {"ordered": False}, {"procs_limit": 0}, {"procs_limit": 1}, {"chunksize": 7}]
)
def test_counts_add_up(feed, options):
    stats = drain(fast_map(identity, feed(5000), **options))
    check_sums(stats, 5000)
    assert (stats.reader is None) == isinstance(feed(1), range)
    assert isinstance(stats, Stats)


@pytest.mark.parametrize(
    ("value", "size"), [(1, 8), (0.5, 8), (None, 0), ("abc", 3), (b"x" * 100_000, 100_000)]
)
def test_bytes_are_those_that_travel(value, size):
    stats = drain(fast_map(identity, iter([value] * 50)))
    assert stats.result_bytes == stats.argument_bytes == 50 * size
    assert drain(fast_map(identity, [value] * 50)).argument_bytes == 0
    local = drain(fast_map(identity, iter([value] * 50), procs_limit=0))
    assert local.result_bytes == local.argument_bytes == 0


def test_slow_items_are_all_timed():
    def has_waited():
        with pytest.raises(TimeoutError):
            mapped.next(timeout=0.02)
        return mapped.stats().consumer.input > 0.1

    gate = Gate()
    mapped = fast_map(lambda n: nap(0.02) if n else gate.hold(), range(21), threads_limit=2)
    assert wait_until(has_waited)
    gate.open()
    stats = drain(mapped)
    check_sums(stats, 21)
    call = sum(worker.times.call for worker in stats.workers)
    assert 0.4 <= call <= stats.elapsed * stats.threads
    assert stats.elapsed >= 0.2


def test_cpu_time_is_that_of_the_processes():
    stats = drain(fast_map(burn, [0.1] * 4, procs_limit=2))
    assert 0.4 <= sum(worker.cpu for worker in stats.workers) < 1.5


def test_coroutines_count_from_start_to_end():
    async def hold(number):
        begun[number] = 1
        while not opened[0]:
            await asyncio.sleep(0.005)

    begun, opened = SharedInts(40), SharedInts()
    mapped = fast_map(hold, range(40))
    begun.wait_for_number(40)
    since = mapped.stats().elapsed
    time.sleep(0.05)
    until = mapped.stats().elapsed
    opened[0] = 1
    stats = drain(mapped)
    assert stats.items == 40
    call = sum(worker.times.call for worker in stats.workers)
    assert 40 * (until - since) <= call <= 40 * stats.elapsed


def test_threads_beyond_the_records_share_one():
    gate = Gate()
    mapped = fast_map(gate.hold, range(150), procs_limit=1)
    assert wait_until(lambda: mapped.stats().threads > 64)
    gate.open()
    stats = drain(mapped)
    assert len(stats.workers[0].threads) == 64


def test_workers_that_replace_others_count_with_them():
    pids = []
    # What a worker reserves and does not come to counts as run: it reserves one at a time.
    one = {"procs_limit": 1, "threads_limit": 1, "chunksize": 1}
    mapped = fast_map(lambda _: os.getpid(), range(40), max_tasks_per_child=10, **one)
    pids.extend(mapped)
    stats = mapped.stats()
    assert len(set(pids)) == 4
    check_sums(stats, 40)
    assert len(stats.workers) == 1


def test_workers_that_inherit_nothing_count_too():
    check_sums(drain(fast_map(abs, range(100), start_method="forkserver")), 100)


# When it can be asked


def test_while_it_runs():
    with fast_map(nap, [0.01] * 100 + [600] * 100, threads_limit=2) as mapped:
        first = mapped.stats()
        for _ in range(100):
            next(mapped)
        second = mapped.stats()
        assert (first.items, second.items) == (0, 100)
        assert 0 < first.elapsed < second.elapsed
        assert wait_until(lambda: sum(w.items for w in mapped.stats().workers) == 100)


def test_after_a_close_it_stays_as_it_was():
    mapped = fast_map(nap, [0.01] * 200, threads_limit=2)
    next(mapped)
    mapped.close()
    stats = mapped.stats()
    time.sleep(0.05)
    assert mapped.stats() == stats
    assert stats.items == 1


def test_after_an_error():
    mapped = fast_map(lambda number: 1 // (5 - number), range(10))
    with pytest.raises(ZeroDivisionError):
        list(mapped)
    assert mapped.stats().items == 6


def test_after_a_crash():
    mapped = fast_map(lambda _: os._exit(3), range(2), procs_limit=1)
    with pytest.raises(WorkerCrashed):
        list(mapped)
    assert mapped.stats().workers[0].items == 0


@pytest.mark.parametrize("items", [[], iter([])])
def test_of_nothing(items):
    stats = drain(fast_map(identity, items))
    assert (stats.items, stats.bound) == (0, "nothing has been finished yet")
    assert str(stats)


def test_in_a_fork_of_the_caller():
    mapped = fast_map(identity, range(10))
    assert list(mapped) == list(range(10))
    pid = os.fork()
    if pid == 0:
        os._exit(mapped.stats().items)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 10


# The verdict


def slowly(count, seconds):
    for number in range(count):
        time.sleep(seconds)
        yield number


def test_a_slow_input_is_named():
    assert drain(fast_map(identity, slowly(20, 0.05))).bound.startswith("the input")


def test_a_slow_consumer_is_named():
    mapped = fast_map(identity, range(150), buffersize=10)
    for _ in mapped:
        time.sleep(0.005)
    assert mapped.stats().bound.startswith("the consumer")


def test_too_few_threads_are_named():
    def nap_beside_two(number):
        begun[number] = 1
        begun.wait_for_number(3)
        nap(0.02)

    begun = SharedInts(60)
    bound = drain(fast_map(nap_beside_two, range(60), threads_limit=3)).bound
    assert bound.startswith("blocking calls with too few threads")
    assert "threads_limit" in bound


def test_as_many_threads_as_it_takes_are_no_fault():
    assert drain(fast_map(nap, [0.3] * 30)).bound.startswith("fn: its calls block")


def test_serialisation_is_named():
    many = [object() for _ in range(3000)]
    bound = drain(fast_map(lambda _: many, range(60))).bound
    assert bound.startswith("serialisation")


@pytest.mark.parametrize(
    ("cpu", "workers", "cpus", "named"),
    [(0.95, 2, 2, "the CPUs"), (0.95, 1, 2, "the GIL"), (0.05, 2, 2, "fn: its calls block")],
)
def test_the_cpu_and_the_gil_are_told_apart(cpu, workers, cpus, named):
    """By numbers that were not measured, for what a process gets of the CPU is not ours to say."""
    from fast_map._stats import make_stats

    record = (100, 0, 0.0, 0.9, 0.01, 0.0, 0.0, 0.0)
    worker = (cpu, 1, (record,))
    consumer = (100, 0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0)
    stats = make_stats(False, 1.0, cpus, 0, consumer, None, (worker,) * workers)
    assert stats.bound.startswith(named)


# How it reads


def test_it_reads_as_a_table():
    stats = drain(fast_map(identity, iter(range(100)), procs_limit=2))
    lines = str(stats).splitlines()
    assert lines[0].startswith("100 results, 800 B, in ")
    assert lines[1] == f"bound by {stats.bound}"
    assert [line.split()[0] for line in lines[2:]] == [
        *("seconds", "consumer", "reader", "worker", "worker")
    ]
    assert all(len(line) <= 100 for line in lines)
