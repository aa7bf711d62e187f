"""fast_map called from unexpected places: each gets its results or a clear error."""

import contextlib
import itertools
import os
import threading

import pytest
from markers import time_limit
from support import (
    Gate,
    SharedInts,
    child_pids,
    drain,
    identity,
    leaves_nothing,
    run_script,
    wait_until,
)

from fast_map import fast_map

KINDS = pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])


def total(number, kind=iter):
    return sum(fast_map(identity, kind(range(number))))


def in_thread(fn, *arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(fn(*arguments)))
    thread.start()
    thread.join()
    return results[0]


# Inside fn


@KINDS
def test_maps_several_levels_deep(kind):
    def leaves_below(depth):
        if depth == 0:
            return 1
        return sum(fast_map(leaves_below, kind([depth - 1] * 3), procs_limit=2))

    with leaves_nothing():
        assert leaves_below(4) == 81


def test_a_map_inside_a_map_that_is_closed_early_leaves_no_process():
    inner = SharedInts(2)

    def endless(index):
        it = fast_map(lambda value: os.getpid(), itertools.count(), procs_limit=1)
        for pid in it:
            inner[index] = pid

    it = fast_map(endless, range(2), threads_limit=2)
    inner.wait_for_number(2)
    it.close()
    assert wait_until(lambda: not any(os.path.exists(f"/proc/{inner[i]}") for i in range(2)))


def test_a_map_in_a_thread_of_a_worker():
    assert list(fast_map(lambda n: in_thread(total, n), range(6))) == [0, 0, 1, 3, 6, 10]


# Inside what Python calls by itself


def test_a_map_in_a_finalizer():
    totals = []

    class Finalized:
        def __del__(self):
            totals.append(total(10))

    Finalized()
    assert totals == [45]


@pytest.mark.parametrize("end", [lambda it: it.close(), list], ids=["close", "exhaust"])
def test_a_map_in_the_end_of_a_generator(end):
    totals = []

    def generator():
        try:
            yield 1
        finally:
            totals.append(total(10))

    it = generator()
    next(it)
    end(it)
    assert totals == [45]


@KINDS
def test_a_map_in_the_input_of_a_map(kind):
    def triangles():
        for number in range(5):
            yield total(number, kind)

    assert list(fast_map(identity, triangles())) == [0, 0, 1, 3, 6]


# Pipelines


def pipeline():
    stage = itertools.count()
    for _ in range(3):
        stage = fast_map(lambda value: value + 1, stage, procs_limit=2)
    return stage


def test_a_pipeline_of_maps():
    with leaves_nothing():
        assert list(itertools.islice(pipeline(), 2000)) == list(range(3, 2003))


def test_closing_the_last_stage_ends_all_of_them():
    with leaves_nothing():
        last = pipeline()
        assert next(last) == 3
        assert len(child_pids()) > 2
        last.close()
        assert wait_until(lambda: not child_pids())


def test_closing_the_last_stage_ends_one_that_waits_for_another():
    never = Gate()
    with leaves_nothing():
        last = fast_map(identity, fast_map(lambda v: v and never.hold(v), range(2)))
        assert next(last) == 0
        last.close()
        assert wait_until(lambda: not child_pids())


@pytest.mark.parametrize("stage", range(3))
def test_an_error_of_any_stage_of_a_pipeline_comes_out_at_its_end(stage):
    def stage_of(number):
        return lambda value: 1 // (value - 50) if number == stage else value

    it = itertools.count()
    for number in range(3):
        it = fast_map(stage_of(number), it)
    with leaves_nothing():
        results, error = drain(it)
        assert len(results) == 50
        assert type(error) is ZeroDivisionError
        del it


def test_maps_in_greenlets_leave_the_other_greenlets_where_they_are():
    pytest.importorskip("gevent")
    assert run_script("in_greenlets.py") == (0, "", "")


# In other processes


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_of_the_caller_may_use_maps_of_its_own_but_not_those_it_inherited():
    told = SharedInts(2)
    with contextlib.closing(fast_map(identity, itertools.count())) as it:
        assert next(it) == 0
        if (pid := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                told[0] = total(10)
                try:
                    next(it)
                except RuntimeError as error:
                    told[1] = "belongs to the process that made it" in str(error)
            os._exit(0)
        os.waitpid(pid, 0)
        assert (told[0], told[1]) == (45, 1)
        assert next(it) == 1


@time_limit(120)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [("Pool", "[45, 190, 435]\n"), ("Executor", "[45, 190, 435]\n"), ("Process", "190\n")],
)
def test_processes_of_multiprocessing_may_use_maps(kind, told, method):
    out = run_script("multiprocessing_caller.py", kind, method, timeout=40)
    assert out == (0, told, "")
