"""Queues, locks and managers of multiprocessing in fn: as in processes of multiprocessing's own."""

import multiprocessing
import os
import queue
import threading
import time

import pytest
from support import leaves_nothing, wait_until

from fast_map import _worker, fast_map

METHODS = ["fork", "forkserver"]


@pytest.fixture
def manager():
    with multiprocessing.Manager() as manager:
        yield manager


def take_all(source):
    taken = []
    while True:
        try:
            taken.append(source.get(timeout=0.2))
        except queue.Empty:
            return taken


def discard(source):
    """No thread of the queue stays."""
    source.close()
    source.join_thread()


@pytest.mark.parametrize("options", [{}, {"max_tasks_per_child": 20}], ids=["lasting", "replaced"])
@pytest.mark.parametrize("used_before", [False, True])
def test_what_fn_puts_into_a_queue_arrives(used_before, options):
    log = multiprocessing.Queue()
    if used_before:
        log.put(-1)
        assert log.get() == -1
    with leaves_nothing():
        assert list(fast_map(log.put, range(300), **options)) == [None] * 300
        assert sorted(take_all(log)) == list(range(300))
    discard(log)


def test_so_does_what_coroutines_put():
    log = multiprocessing.Queue()

    async def put(number):
        log.put(number)

    list(fast_map(put, range(100)))
    assert sorted(take_all(log)) == list(range(100))
    discard(log)


def test_and_more_than_a_pipe_holds_if_somebody_reads():
    log = multiprocessing.Queue()
    taken = []
    reader = threading.Thread(target=lambda: taken.extend(iter(log.get, None)))
    with leaves_nothing():
        results = fast_map(lambda number: log.put((number, "x" * 1000)), range(2000))
        reader.start()
        list(results)
        log.put(None)
        reader.join()
        discard(log)
    assert sorted(number for number, _ in taken) == list(range(2000))


def test_a_queue_that_nobody_reads_does_not_hold_the_end_up_for_long(capfd, monkeypatch):
    monkeypatch.setattr(_worker, "_FINISH_MOST", 0.5)
    log = multiprocessing.Queue()
    begin = time.monotonic()
    with leaves_nothing():
        list(fast_map(lambda number: log.put(bytes(10**6)), range(2), procs_limit=1))
        assert time.monotonic() - begin < 10
    assert "before what fn had begun in it: a Queue that nobody reads" in capfd.readouterr().err
    discard(log)


@pytest.mark.parametrize("method", METHODS)
def test_a_manager_that_the_caller_has_used_serves_all(manager, method):
    shared = manager.dict()
    shared["before"] = 0
    assert len(shared) == 1
    results = list(fast_map(shared.setdefault, range(200), range(200), start_method=method))
    assert results == list(range(200))
    assert len(shared) == 201


@pytest.mark.parametrize("options", [{}, {"retries": 1}], ids=["no nursery", "nursery"])
def test_a_manager_drops_what_was_referred_to_by_workers_only(manager, options):
    before = manager._number_of_objects()
    shared = manager.list()
    list(fast_map(shared.append, range(50), **options))
    assert sorted(shared[:]) == list(range(50))
    del shared
    assert wait_until(lambda: manager._number_of_objects() == before)


def test_a_recursive_lock_of_the_caller_is_not_the_workers():
    lock = multiprocessing.RLock()
    with lock:
        assert set(fast_map(lambda _: lock.acquire(block=False), range(20))) == {False}
    assert set(fast_map(lambda _: lock.acquire() and lock.release() is None, range(20))) == {True}


def test_the_callers_processes_are_no_children_of_workers():
    with leaves_nothing():
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        process.start()
        found = list(fast_map(lambda _: multiprocessing.active_children(), range(5)))
        process.kill()
        process.join()
        process.close()
    assert found == [[]] * 5


def test_daemons_that_fn_starts_end_with_its_worker():
    def start(_):
        context = multiprocessing.get_context("fork")
        process = context.Process(target=time.sleep, args=(600,), daemon=True)
        process.start()
        return process.pid

    started = list(fast_map(start, range(2)))
    assert wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started))
