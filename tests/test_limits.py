"""Where the system grants little, a map gives all its results or an error that names the limit."""

import ast
import re

import pytest
from markers import measures_memory, time_limit
from support import run_script

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
