"""ordered=False: each result comes as soon as it is there, and none is lost or doubled."""

import os
import random
import signal
import time

import pytest
from support import PATIENCE, Gate, drain, identity, leaves_nothing

from fast_map import TaskTimeout, WorkerCrashed, fast_map

MIB = 1 << 20


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("buffersize", [1, 2, 7, None])
@pytest.mark.parametrize("procs_limit", [1, 2, 4])
def test_every_result_comes_once(feed, buffersize, procs_limit, start_method):
    items = 3000 if buffersize is None else 100 * buffersize
    mapped = fast_map(
        identity,
        feed(range(items)),
        ordered=False,
        buffersize=buffersize,
        procs_limit=procs_limit,
        start_method=start_method,
    )
    assert sorted(mapped) == list(range(items))


@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
def test_a_slow_item_holds_up_nothing_but_itself(feed):
    """Many times as many items as there are slots pass the one that waits."""
    gate = Gate()

    def wait_at_three(number):
        return gate.hold(number) if number == 3 else number

    with fast_map(
        wait_at_three, feed(range(5000)), ordered=False, buffersize=8, threads_limit=4
    ) as mapped:
        first = [mapped.next(timeout=20) for _ in range(4999)]
        assert sorted(first) == [number for number in range(5000) if number != 3]
        with pytest.raises(TimeoutError):
            mapped.next(timeout=0.05)
        gate.open()
        assert list(mapped) == [3]


def test_results_come_by_the_time_they_take():
    gates = [Gate() for _ in range(3)]
    mapped = fast_map(lambda number: gates[number].hold(number), iter(range(3)), ordered=False)
    for number in (1, 2, 0):
        gates[number].open()
        assert mapped.next(timeout=PATIENCE) == number


def test_length_counts_down():
    mapped = fast_map(identity, range(5), ordered=False)
    assert len(mapped) == 5
    next(mapped)
    assert mapped.__length_hint__() == 4
    assert len(list(mapped)) == 4


def test_an_empty_input_ends_at_once():
    assert list(fast_map(identity, [], ordered=False)) == []
    assert list(fast_map(identity, iter([]), ordered=False)) == []


def test_an_endless_input_is_read_no_further_than_buffersize():
    reads = []

    def numbers():
        while True:
            reads.append(1)
            yield len(reads)

    with leaves_nothing(), fast_map(identity, numbers(), ordered=False, buffersize=10) as mapped:
        for _ in range(1000):
            next(mapped)
        assert len(reads) <= 1011
    del mapped


# Failures


def test_an_error_says_which_item_it_was():
    def fail_at_five(number):
        if number == 5:
            raise ValueError("five")
        return number

    results, error = drain(fast_map(fail_at_five, range(10), ordered=False, threads_limit=1))
    assert 5 not in results
    assert (type(error), error.seq_index) == (ValueError, 5)
    assert "item 5, 5" in error.__notes__[0]


def test_an_error_of_the_input_comes_after_its_items():
    def numbers():
        yield from range(100)
        raise KeyError("input")

    results, error = drain(fast_map(identity, numbers(), ordered=False))
    assert (sorted(results), type(error)) == (list(range(100)), KeyError)


def test_an_argument_that_cannot_be_sent_fails_alone():
    values = [1, lambda: None, 2]
    results = list(fast_map(identity, iter(values), ordered=False, return_exceptions=True))
    errors = [each for each in results if isinstance(each, Exception)]
    assert sorted(each for each in results if isinstance(each, int)) == [1, 2]
    assert [each.seq_index for each in errors] == [1]


@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("retries", [0, 1])
def test_lost_items_are_those_that_the_error_names(retries, feed):
    def die_at_some(number):
        if number % 50 == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)
        return number

    with leaves_nothing():
        results = list(
            fast_map(
                die_at_some,
                feed(range(200)),
                ordered=False,
                retries=retries,
                return_exceptions=True,
                buffersize=16,
            )
        )
    lost = sorted(each.seq_index for each in results if isinstance(each, WorkerCrashed))
    kept = sorted(each for each in results if isinstance(each, int))
    assert sorted(lost + kept) == list(range(200))
    assert {7, 57, 107, 157} <= set(lost)
    assert retries == 0 or len(lost) == 4
    for each in results:
        if isinstance(each, WorkerCrashed):
            assert each.items[0] == each.seq_index
            assert set(each.items) <= set(lost)


def test_an_overdue_item_is_replaced_by_its_timeout():
    naps = [0.0, 600.0, 0.0, 0.01] * 3
    results = list(
        fast_map(time.sleep, naps, ordered=False, task_timeout=0.5, return_exceptions=True)
    )
    overdue = [each for each in results if isinstance(each, TaskTimeout)]
    assert sorted(each.item for each in overdue) == [1, 5, 9]
    assert results.count(None) == 9


# Memory


@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("buffer_bytes", [1, 3 * MIB])
def test_large_values_pass_a_small_buffer(feed, buffer_bytes):
    values = [bytes([index]) * MIB for index in range(40)]
    mapped = fast_map(identity, feed(values), ordered=False, buffer_bytes=buffer_bytes)
    assert sorted(mapped) == values


def test_random_kills_lose_and_double_nothing():
    random.seed(20)

    def work(number):
        if random.random() < 0.003:
            os.kill(os.getpid(), signal.SIGKILL)
        return number, b"x" * random.choice([0, 10, 1000, 100_000])

    mapped = fast_map(
        work, iter(range(4000)), ordered=False, retries=50, buffersize=64, procs_limit=2
    )
    assert sorted(number for number, _ in mapped) == list(range(4000))
