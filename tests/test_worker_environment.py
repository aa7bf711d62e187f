"""What fn finds around it in a worker, and what a worker keeps its hands off."""

import collections
import gc
import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest
from support import PATIENCE, Gate, SharedInts, identity, pids_of_two_workers, run_script

from fast_map import fast_map

# Output, input, handlers: each in an interpreter of its own


@pytest.mark.parametrize("how", ["plain", "nested"])
def test_output_appears_exactly_once(how):
    expected = ["before", "after", *(f"item {number}" for number in range(10))]
    if how == "nested":
        expected += [f"inner {outer} {inner}" for outer in range(10) for inner in range(2)]
    status, out, err = run_script("output_once.py", how)
    assert (status, err) == (0, "")
    assert sorted(out.splitlines()) == sorted(expected)


def test_output_appears_at_most_once_when_the_map_is_closed():
    status, out, err = run_script("output_once.py", "closed")
    assert (status, err) == (0, "")
    counts = collections.Counter(out.splitlines())
    assert counts["before"] == counts["after"] == 1
    assert set(counts.values()) == {1}


def test_output_of_idle_workers_has_more_time_than_that_of_busy_ones(monkeypatch, tmp_path):
    parent = os.getpid()

    class SlowOutput(io.StringIO):
        def flush(self):
            if os.getpid() != parent:
                time.sleep(0.2)
                (tmp_path / str(os.getpid())).touch()

    monkeypatch.setattr(sys, "stdout", SlowOutput())
    pids = pids_of_two_workers()
    assert {int(path.name) for path in tmp_path.iterdir()} == pids


def test_output_of_an_idle_worker_that_gets_no_cpu_is_kept(monkeypatch, tmp_path):
    stopped = threading.Event()

    def numbers():
        yield 0
        stopped.wait(PATIENCE)

    def write(number):
        print("written")
        return os.getpid()

    path = tmp_path / "output"
    with path.open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        results = fast_map(write, numbers())
        pid = next(results)
        os.kill(pid, signal.SIGSTOP)
        continuing = threading.Timer(0.8, os.kill, (pid, signal.SIGCONT))
        continuing.start()
        stopped.set()
        assert list(results) == []
        continuing.join()
    assert path.read_text() == "written\n"


def test_what_is_written_to_closed_descriptors_does_not_reach_the_map(tmp_path):
    report = tmp_path / "report"
    status, out, err = run_script("closed_stdio.py", str(report))
    assert (status, out, err) == (0, "", "")
    ways = ["plain", "with a nursery", "with a time limit", "in threads", "in a loop"]
    assert report.read_text().splitlines() == [f"{way} True" for way in ways]


def test_stdin_of_workers_is_empty_and_that_of_the_parent_stays_whole():
    rest = "next line\n" * 3000  # more than the parent buffers: workers could take of it
    status, out, err = run_script("stdin_of_workers.py", input="first line\n" + rest)
    assert (status, err) == (0, "")
    expected = ["parent first line", *["worker  b''"] * 4, f"parent {len(rest)}"]
    assert out.splitlines() == expected


@pytest.mark.parametrize("how", ["finished", "closed"])
def test_exit_handlers_run_once_and_only_in_the_parent(how):
    status, out, err = run_script("exit_handlers.py", how)
    assert (status, err) == (0, "")
    expected = ["input ended", "threading atexit", "atexit", "finalized", "deleted"]
    assert sorted(out.splitlines()) == sorted(expected)


# Random numbers


def one_in_each_process(number, draw):
    """What draw() gives in each of `number` processes, all at work at the same time."""
    present, gate = SharedInts(number), Gate()

    def meet(index):
        present[index] = 1
        if present.number_set() == number:
            gate.open()
        return gate.hold((os.getpid(), draw()))

    drawn = list(fast_map(meet, range(number), threads_limit=number, procs_limit=number))
    assert len(dict(drawn)) == number
    return [value for _, value in drawn]


def test_random_numbers_differ_among_workers_and_from_the_parents():
    random.seed(1)
    values = one_in_each_process(3, random.random)
    assert len({*values, random.random()}) == 4


def test_the_random_state_of_the_parent_is_left_alone():
    random.seed(1)
    state = random.getstate()
    list(fast_map(lambda _: random.random(), range(10)))
    assert random.getstate() == state


def test_random_numbers_of_numpy_differ_among_workers_and_from_the_parents():
    numpy = pytest.importorskip("numpy")
    numpy.random.seed(1)
    values = one_in_each_process(3, numpy.random.random)
    assert len({*values, numpy.random.random()}) == 4


# Threads


def test_the_threading_module_knows_the_threads_of_a_worker():
    def describe(index):
        current = threading.current_thread()
        return (
            current in threading.enumerate(),
            current.is_alive(),
            bool(current.name),
            current.ident == threading.get_ident(),
            threading.active_count() >= 1,
            threading.main_thread().is_alive(),
        )

    assert set(fast_map(describe, range(50))) == {(True,) * 6}


def test_the_threads_of_the_parent_do_not_show_in_a_worker():
    stop = threading.Event()
    parents = threading.Thread(target=stop.wait, name="thread of the parent")
    parents.start()
    names = list(fast_map(lambda _: {t.name for t in threading.enumerate()}, range(4)))
    stop.set()
    parents.join()
    assert "thread of the parent" not in set().union(*names)


def test_garbage_is_collected_in_a_worker():
    class Node:
        pass

    def collect(index):
        node = Node()
        node.itself = node
        reference = weakref.ref(node)
        del node
        gc.collect()
        return gc.isenabled(), reference() is None

    # One thread: a collection that meets another one in its process does nothing.
    assert list(fast_map(collect, range(4), threads_limit=1)) == [(gc.isenabled(), True)] * 4


# Signals


@pytest.fixture
def sigterm_handled():
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm_handled")
def test_sigterm_has_its_default_meaning_in_a_worker():
    assert set(fast_map(lambda _: signal.getsignal(signal.SIGTERM), range(4))) == {signal.SIG_DFL}


def test_sigint_does_not_disturb_a_worker():
    """Ctrl-C reaches the whole group; what becomes of it is the parent's to decide."""

    def interrupt_itself(index):
        os.kill(os.getpid(), signal.SIGINT)
        return index

    assert list(fast_map(interrupt_itself, range(20))) == list(range(20))


def test_sigint_ends_a_program_that_fn_runs():
    def run(index):
        script = 'kill -INT "$$"; echo survived'
        return subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.PIPE)

    for done in fast_map(run, range(4)):
        assert (done.returncode, done.stdout) == (-signal.SIGINT, b"")


def test_fn_has_the_signal_mask_of_its_caller():
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    masks = fast_map(lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, []), range(4))
    assert list(masks) == [mask] * 4


def test_a_signal_in_a_worker_does_not_wake_the_event_loop_of_the_parent():
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = signal.set_wakeup_fd(writing.fileno())
    try:
        list(fast_map(lambda _: os.kill(os.getpid(), signal.SIGINT), range(4)))
    finally:
        signal.set_wakeup_fd(before)
    reading.setblocking(False)
    with reading, writing, pytest.raises(BlockingIOError):
        reading.recv(1)


# The rest


def test_fn_has_the_surroundings_of_its_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAST_MAP_TEST", "seen")
    around = fast_map(lambda _: (os.getcwd(), os.environ["FAST_MAP_TEST"], sys.argv), range(3))
    assert list(around) == [(str(tmp_path), "seen", sys.argv)] * 3


def test_files_opened_by_the_caller_stay_usable(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(range(100)))
    with path.open("rb") as file:
        read = list(fast_map(lambda place: os.pread(file.fileno(), 1, place)[0], range(100)))
        assert read == list(range(100))
        assert file.read() == bytes(range(100))


def test_what_fn_changes_stays_in_its_worker():
    changed = {"by": "nobody"}
    list(fast_map(lambda index: changed.update(by=index), range(10)))
    assert changed == {"by": "nobody"}
    assert list(fast_map(identity, [changed])) == [changed]
