"""Where the system grants little, a map gives all its results or an error that names the limit."""

import ast
import os
import re
import resource
import sys
import threading
import time
from pathlib import Path

import pytest
from markers import measures_memory, time_limit
from support import SharedInts, leaves_nothing, run_script

from fast_map import TaskTimeout, fast_map

CASES = ["list", "iterator", "blocking", "killing", "overdue", "payloads"]

# Beyond what the process has already: from nothing to enough. A map of two workers has up to seven
# processes and threads, seven descriptors, and 16 MiB of stacks.
PROCESSES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 60]
FILES = [0, 1, 2, 3, 4, 5, 6, 20]
MEMORY = [0, 1, 8, 16, 32, 40, 48, 64, 96, 200, 400, 1024, 4096]
MEMORY_LATER = [0, 0, 0, 0, 1, 4, 9, 16, 256]

# A MemoryError, in whatever place, says it too.
MEMORY_NAMED = r"MemoryError|(OSError|BlockingIOError): .*RLIMIT_AS"


def outcomes(limit, case, values, named):
    """What became of the map with each of the values: all its results, or an error so named."""
    status, out, err = run_script("limited.py", limit, case, *values, timeout=170)
    told = [line.partition(" ")[2] for line in out.splitlines()]
    if told == ["the limit binds nobody"]:
        pytest.skip("no limit on processes binds this user")
    assert status == 0, err
    assert len(told) == len(values), f"{out}\n{err}"
    wrong = [what for what in told if what != "complete" and not re.match(named, what)]
    assert not wrong, f"{told}\n{err}"
    assert told[-1] == "complete", f"{told}\n{err}"
    return told


@time_limit(180)
@pytest.mark.parametrize("case", CASES)
def test_few_processes_and_threads(case):
    named = r"(OSError|BlockingIOError): .*RLIMIT_NPROC"
    told = outcomes("processes", case, PROCESSES, named)
    assert told[0] != "complete"


@time_limit(180)
def test_few_processes_of_which_workers_could_use_all():
    outcomes("processes", "slow start", [7, 8, 10, 20], "complete")


@time_limit(180)
@pytest.mark.parametrize("case", CASES)
def test_few_descriptors(case):
    told = outcomes("files", case, FILES, r"OSError: .*RLIMIT_NOFILE")
    assert told[0] != "complete"


@measures_memory
@time_limit(180)
@pytest.mark.parametrize("case", CASES)
def test_little_address_space(case):
    told = outcomes("memory", case, MEMORY, MEMORY_NAMED)
    assert told[0] != "complete"
    # Once it is enough for small items, more is never too little.
    if case != "payloads":
        assert set(told[told.index("complete") :]) == {"complete"}


@measures_memory
@time_limit(180)
@pytest.mark.parametrize("case", CASES)
def test_little_address_space_for_workers(case):
    told = outcomes("worker memory", case, MEMORY_LATER, MEMORY_NAMED)
    assert told[0] != "complete"


@measures_memory
@time_limit(180)
@pytest.mark.parametrize("case", CASES)
def test_little_address_space_for_the_reader(case):
    outcomes("reader memory", case, MEMORY_LATER, MEMORY_NAMED)


@time_limit(180)
def test_a_memory_cgroup():
    status, out, err = run_script("memory_cgroup.py", timeout=170)
    assert (status, err) == (0, "")
    if "can be made" in out:
        pytest.skip(out.strip())
    crash, crashes, large = map(ast.literal_eval, out.splitlines())
    assert crash[:-1] == [1000] * 3
    assert "want of memory" in crash[-1]
    assert crashes == [1000, 1000, 1000, "WorkerCrashed", 1000, 1000]
    # Results that wait for the reader count as their worker's memory.
    assert large[:-1] == [8] * (len(large) - 1)
    assert large[-1] == 8 or "want of memory" in large[-1]


def test_a_full_tmpfs():
    status, out, err = run_script("full_tmpfs.py")
    assert (status, err) == (0, "")
    if "mounted" in out:
        pytest.skip(out.strip())
    assert out == "20 results\n"


# What a worker does at its end without the threads that it would have for that

UNUSED_UID = 90_000


def grant_no_thread():
    """In a worker, of which the limit counts the threads. It does not bind root."""
    if os.getuid() == 0:
        os.setresuid(UNUSED_UID, UNUSED_UID, UNUSED_UID)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))


def is_thread_granted():
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True


@pytest.fixture(scope="module")
def binding_limit():
    if next(fast_map(lambda _: (grant_no_thread(), is_thread_granted())[1], [0])):
        pytest.skip("no limit on threads binds this user")


@pytest.fixture
def output(tmp_path):
    """A file with a buffer, for tests to put in the place of sys.stdout."""
    with (tmp_path / "output").open("w") as file:
        yield file


def test_a_busy_worker_writes_its_output_without_another_thread(binding_limit, output, monkeypatch):
    monkeypatch.setattr(sys, "stdout", output)
    started = SharedInts(1)

    def write(number):
        print("written")
        grant_no_thread()
        started[number] = 1
        time.sleep(600)

    with leaves_nothing(), fast_map(write, [0], procs_limit=1):
        started.wait_for_number(1)
    assert Path(output.name).read_text() == "written\n"


def test_what_fn_has_begun_is_done_without_another_thread(binding_limit):
    done = SharedInts(1)

    def finish_late():
        time.sleep(0.3)
        done[0] = 1

    def begin(_):
        threading.Thread(target=finish_late).start()
        grant_no_thread()

    with leaves_nothing():
        assert list(fast_map(begin, [0])) == [None]
        assert done[0] == 1


def sleep_for_long():
    time.sleep(600)


def sum_for_ever():
    sum(range(10**13))  # with the GIL


@pytest.mark.parametrize(
    ("get_stuck", "written"),
    [(sleep_for_long, "0\n1\n"), (sum_for_ever, "")],
    ids=["sleeps", "keeps the GIL"],
)
def test_an_item_is_overdue_without_another_thread(
    binding_limit, output, monkeypatch, get_stuck, written
):
    monkeypatch.setattr(sys, "stdout", output)

    def fn(number):
        print(number)
        grant_no_thread()
        if number == 1:
            get_stuck()
        return number

    with leaves_nothing():
        results = fast_map(fn, range(2), procs_limit=1, task_timeout=1, return_exceptions=True)
        result, error = results
    assert result == 0
    assert isinstance(error, TaskTimeout)
    assert Path(output.name).read_text() == written
