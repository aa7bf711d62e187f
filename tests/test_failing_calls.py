"""Each call of the extension to the system fails in turn: all results arrive, or an exception says
what failed; nothing hangs, the parent lives on, and nothing stays behind."""

import pytest
from markers import time_limit
from preload import build_shim, preload
from support import run_script

# What every map asks for: a shim that is bypassed can't go unnoticed.
ALWAYS = {
    "parent": {
        "fork",
        "pthread_create",
        "mmap",
        "eventfd",
        "pipe2",
        "poll",
        "waitpid",
        "pidfd_open",
    },
    "children": {"eventfd", "pthread_create", "poll"},
}
# Where the system doesn't grant what was asked for at the call, it says so.
REFUSED = {"OSError", "BlockingIOError", "RuntimeError"}
# Without these no process can take the place of one that died.
FOR_SUCCESSORS = {"fork", "poll", "send", "recv"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build_shim(tmp_path_factory.mktemp("shim"), "failing_calls")


def run_faults(shim, monkeypatch, mapped, place):
    """Lines of: call, which one, error, how often it came to pass, the outcome."""
    preload(monkeypatch, shim)
    status, out, err = run_script("failing_calls.py", mapped, place, timeout=280)
    assert (status, err) == (0, ""), f"{out[-200:]}\n{err}"
    return [line.split() for line in out.splitlines()]


def is_to_be_expected(mapped, place, call, error, outcome):
    if outcome in REFUSED:
        return place == "parent"
    if outcome == "WorkerCrashed":
        return mapped in ("retries", "everything") and call in FOR_SUCCESSORS and error != "EINTR"
    return outcome == "all"


@time_limit(300)
@pytest.mark.slow
@pytest.mark.parametrize("place", ["parent", "children"])
@pytest.mark.parametrize("mapped", ["list", "iterator", "retries", "everything"])
def test_whatever_call_fails_the_map_ends_well(shim, monkeypatch, mapped, place):
    outcomes = run_faults(shim, monkeypatch, mapped, place)
    unexpected = [
        (call, nth, error, hits, outcome)
        for call, nth, error, hits, outcome, *_ in outcomes
        if not is_to_be_expected(mapped, place, call, error, outcome)
    ]
    assert unexpected == []
    assert {call for call, _, _, hits, *_ in outcomes if hits == "1"} >= ALWAYS[place]


@time_limit(300)
@pytest.mark.slow
def test_whatever_allocation_fails_the_map_ends_well():
    """Of an input that is read by a thread nothing is asked here: on CPython 3.11 PyThreadState_New
    itself crashes where there is no memory.
    """
    pytest.importorskip("_testcapi", reason="this interpreter comes without its test modules")
    status, out, err = run_script("failing_memory.py", timeout=280)
    assert status == 0, f"{out[-200:]}\n{err[-2000:]}"
    outcomes = {line.split()[1] for line in out.splitlines()}
    # A worker that could not set itself up is an OSError, which names the limit.
    assert outcomes == {"all", "MemoryError", "WorkerCrashed", "OSError"}
