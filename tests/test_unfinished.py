"""What fn has begun and not ended, in threads and processes of its own, when its worker ends."""

import multiprocessing.managers
import multiprocessing.util
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from support import PATIENCE, SharedInts, leaves_nothing, nap

from fast_map import TaskTimeout, _worker, fast_map

KINDS = pytest.mark.parametrize("options", [{}, {"start_method": "forkserver"}], ids=str)

executors = {}


def executor_of(kind):
    """That of this process."""
    key = os.getpid(), kind
    if key not in executors:
        executors[key] = kind(2)
    return executors[key]


def write_late(path):
    time.sleep(0.3)
    path.touch()


def submit_late(path):
    time.sleep(0.1)  # from several threads
    executor_of(ThreadPoolExecutor).submit(write_late, path)


@KINDS
def test_what_an_executor_has_been_given_is_done(tmp_path, options, capfd):
    paths = [tmp_path / str(number) for number in range(6)]
    with leaves_nothing():
        list(fast_map(submit_late, paths, **options))
        assert sorted(tmp_path.iterdir()) == paths
    assert capfd.readouterr().err == ""


pair = threading.Barrier(2)


def start_thread(path):
    pair.wait(PATIENCE)  # for another thread
    threading.Thread(target=write_late, args=(path,)).start()
    return threading.current_thread().name


def test_threads_are_waited_for_whichever_thread_starts_them(tmp_path, capfd):
    paths = [tmp_path / str(number) for number in range(6)]
    with leaves_nothing():
        starters = set(fast_map(start_thread, paths, procs_limit=1))
        assert len(starters) > 1
        assert sorted(tmp_path.iterdir()) == paths
    assert capfd.readouterr().err == ""


def square(number):
    return number * number


def square_elsewhere(number):
    return executor_of(ProcessPoolExecutor).submit(square, number).result()


def test_processes_of_an_executor_that_fn_has_not_shut_down_end(capfd):
    with leaves_nothing():
        results = fast_map(square_elsewhere, range(6), threads_limit=2)
        assert list(results) == [square(number) for number in range(6)]
    assert capfd.readouterr().err == ""


def test_a_thread_that_goes_on_is_given_up_and_named(capfd, monkeypatch):
    monkeypatch.setattr(_worker, "_FINISH_MOST", 0.5)

    def start_endless(_):
        threading.Thread(target=nap, args=(600,), name="endless").start()

    begin = time.monotonic()
    with leaves_nothing():
        list(fast_map(start_endless, range(1)))
        assert time.monotonic() - begin < 10
    assert "before what fn had begun in it: endless\n" in capfd.readouterr().err


def test_threads_of_items_that_still_run_do_not_hold_the_end_up(capfd):
    def wait_for_threads(number):
        with ThreadPoolExecutor(2) as executor:
            executor.map(nap, [600 * (number > 0)] * 2)
        return number

    with leaves_nothing():
        results = fast_map(wait_for_threads, range(8), threads_limit=8)
        assert next(results) == 0
        begin = time.monotonic()
        results.close()
        assert time.monotonic() - begin < 1.5
    assert capfd.readouterr().err == ""


def test_an_item_does_not_fail_because_its_process_ends_for_another():
    """Its manager ends with the process, and some time before it, so that it would."""
    runs = SharedInts(2)

    def use_manager(number):
        runs[number] += 1
        if number == 0:
            time.sleep(600)
        multiprocessing.util.Finalize(None, time.sleep, (0.3,), exitpriority=-1)
        with multiprocessing.managers.SyncManager() as manager:
            shared = manager.dict()
            while runs[number] == 1:  # until its process ends
                time.sleep(0.01)
                shared["key"] = number
            return dict(shared)

    def late_neighbour():
        yield 0
        runs.wait_for(0)
        time.sleep(1)  # so that this one has so much time left when the other's is up
        yield 1

    it = fast_map(
        use_manager, late_neighbour(), task_timeout=3, return_exceptions=True, procs_limit=1
    )
    assert isinstance(next(it), TaskTimeout)
    assert list(it) == [{}]
    assert runs[1] == 2
