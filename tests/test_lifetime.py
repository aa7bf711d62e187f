"""However a map or its process ends, nothing of it stays behind."""

import gc
import itertools
import json
import os
import signal
import threading
import time
import weakref

import pytest
from markers import measures_memory, time_limit
from preload import build_shim, preload
from support import (
    Script,
    assert_repeatable_without_growth,
    child_pids,
    identity,
    leaves_nothing,
    run_script,
    wait_until,
)

from fast_map import fast_map

STATES = [
    "sleeping",
    "computing",
    "holding the GIL",
    "waiting for its input",
    "waiting for its consumer",
    "full of large results",
]


# Endings within a living process


def exhaust(it):
    assert len(list(it)) == 500


def close(it):
    assert next(it) == 0
    it.close()


def close_unstarted(it):
    it.close()


def drop(it):
    assert next(it) == 0


def leave_the_loop(it):
    for value in it:
        if value == 3:
            break


def throw(it):
    with pytest.raises(LookupError):
        it.throw(LookupError())


def drop_in_a_cycle(it):
    cycle = [it]
    cycle.append(cycle)
    del it, cycle
    gc.collect()


ENDINGS = [exhaust, close, close_unstarted, drop, leave_the_loop, throw, drop_in_a_cycle]


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
def test_every_ending_leaves_nothing(end, kind):
    assert_repeatable_without_growth(lambda: end(fast_map(identity, kind(range(500)))))


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_an_error_leaves_nothing_even_while_the_iterator_is_held(kind):
    held = []

    def fail():
        held.append(fast_map(lambda value: 1 // value, kind([1, 0, *[1] * 500])))
        assert next(held[-1]) == 1
        with pytest.raises(ZeroDivisionError):
            next(held[-1])

    assert_repeatable_without_growth(fail)


@pytest.mark.parametrize("ending", [exhaust, close, throw], ids=lambda end: end.__name__)
def test_a_finished_iterator_that_is_held_holds_no_worker(ending):
    it = fast_map(identity, iter(range(500)))
    ending(it)
    assert wait_until(lambda: not child_pids(), timeout=2)
    assert list(it) == []


def hold_the_gil(seconds):
    sum(itertools.repeat(0, int(seconds * 1e9)))


def block_signals(seconds):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(seconds)


@pytest.mark.parametrize("task", [time.sleep, hold_the_gil, block_signals])
def test_tasks_do_not_delay_the_end(task):
    with leaves_nothing():
        it = fast_map(task, [0, *[600] * 20])
        next(it)
        start = time.monotonic()
        del it
        assert time.monotonic() - start < 5


def test_an_input_that_blocks_does_not_delay_the_end():
    go_on = threading.Event()

    def blocking():
        yield 0
        go_on.wait(20)

    with leaves_nothing():
        it = fast_map(identity, blocking())
        assert next(it) == 0
        it.close()
        assert wait_until(lambda: not child_pids(), timeout=2)
        go_on.set()
        del it


@pytest.mark.parametrize("end", [exhaust, close, drop], ids=lambda end: end.__name__)
def test_fn_and_input_are_let_go(end):
    class Function:
        def __call__(self, value):
            return value

    class Input:
        def __init__(self):
            self.numbers = iter(range(500))

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.numbers)

    def run():
        fn, source = Function(), Input()
        end(fast_map(fn, source))
        return weakref.ref(fn), weakref.ref(source)

    references = run()
    assert wait_until(lambda: all(reference() is None for reference in references), timeout=2)


class Result:
    pass


def test_a_result_is_not_kept_by_the_iterator():
    it = fast_map(lambda value: Result(), range(5))
    reference = weakref.ref(next(it))
    assert reference() is None


@pytest.mark.slow
@time_limit(600)
@measures_memory
def test_many_calls_in_a_row_do_not_grow():
    calls = os.environ.get("FAST_MAP_TEST_CALLS", 200)
    status, out, err = run_script("repeated_calls.py", calls, timeout=580)
    assert (status, err) == (0, "")
    before, after = json.loads(out)
    assert before["children"] == after["children"] == 0
    for what in ("descriptors", "threads", "shared mappings"):
        assert after[what] == before[what]
    assert after["mappings"] <= before["mappings"] + 20
    assert after["resident"] <= before["resident"] + (4 << 20)


# Ends of the process


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("reaction", ["lets", "catches"])
def test_ctrl_c_ends_all_of_it_quietly(state, reaction):
    with Script("interrupted.py", state, reaction) as script:
        assert script.read_line() == "ready"
        time.sleep(0.1)  # so that workers are inside their tasks
        script.signal_group(signal.SIGINT)
        status, out, err = script.finish(timeout=4)
        assert script.leaves_no_process()
    if reaction == "catches":
        assert (status, out, err) == (0, "stopped\n", "")
    else:
        assert status == -signal.SIGINT
        assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1
        assert err.endswith("\nKeyboardInterrupt\n")


@pytest.mark.parametrize("state", STATES)
def test_killing_the_parent_ends_its_workers(state):
    with Script("killed.py", state) as script:
        assert script.read_line() == "ready"
        script.signal_parent(signal.SIGKILL)
        assert script.finish(timeout=4)[0] == -signal.SIGKILL
        assert script.leaves_no_process()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("receiver", ["parent", "group"])
@pytest.mark.parametrize(("how", "status"), [("default", -signal.SIGTERM), ("handler", 7)])
def test_sigterm_ends_all_of_it_quietly(state, receiver, how, status):
    with Script("terminated.py", state, how) as script:
        assert script.read_line() == "ready"
        send = script.signal_group if receiver == "group" else script.signal_parent
        send(signal.SIGTERM)
        assert script.finish(timeout=4) == (status, "", "")
        assert script.leaves_no_process()


@pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008, 0.016])
def test_killing_the_parent_while_it_starts_workers_leaves_none(delay):
    with Script("killed_while_starting.py") as script:
        assert script.read_line() == "ready"
        time.sleep(delay)
        script.signal_parent(signal.SIGKILL)
        assert script.finish(timeout=4)[0] == -signal.SIGKILL
        assert script.leaves_no_process()


@pytest.mark.parametrize("state", STATES)
def test_a_parent_that_executes_another_program_leaves_it_no_worker(state):
    with Script("becomes_another.py", state) as script:
        assert script.finish(timeout=8) == (0, "ready\nalone\n", "")
        assert script.leaves_no_process()


def assert_ends(state, how, status=0):
    """The script ends soon, with that status; its last words."""
    ended, out, err = run_script("exit_while_running.py", state, how, timeout=5)
    assert (ended, out) == (status, "ready\n")
    return err


@pytest.mark.parametrize("state", STATES)
def test_a_process_ends_although_a_map_is_alive(state):
    assert assert_ends(state, "end of script") == ""


@pytest.mark.parametrize("state", ["sleeping", "waiting for its input", "waiting for its consumer"])
@pytest.mark.parametrize("how", ["cycle", "daemon thread", "closed at exit"])
def test_a_process_ends_whoever_holds_the_map(state, how):
    assert assert_ends(state, how) == ""


@pytest.mark.parametrize(("how", "status"), [("sys.exit", 5), ("os._exit", 6)])
def test_exits_in_the_midst_of_iteration(how, status):
    assert assert_ends("waiting for its consumer", how, status) == ""


def test_an_exception_in_the_midst_of_iteration_is_the_only_one_told():
    err = assert_ends("sleeping", "exception", status=1)
    assert err.count("Traceback") == 1
    assert err.endswith("LookupError: at the end\n")


@pytest.mark.parametrize(
    ("thread", "told"), [("thread", "complete 50\n"), ("executor", "complete 50\n"), ("daemon", "")]
)
def test_a_thread_that_the_exit_waits_for_gets_all_results_and_a_daemon_no_false_end(thread, told):
    assert run_script("exit_and_threads.py", thread) == (0, told, "")


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ("begun, before the handler", "50\n"),
        ("new, in a handler", "20\n"),
        ("left alive by a handler", "0\n"),
        ("begun, in a finalizer", "the map was ended before its last result"),
        ("new, in a finalizer", "the interpreter is exiting"),
    ],
)
def test_maps_of_exit_handlers_work_and_those_of_finalizers_are_refused(which, told):
    status, out, err = run_script("map_at_exit.py", which)
    assert (status, err) == (0, "")
    assert told in out


def test_a_map_that_was_ended_at_exit_says_so_to_handlers_that_come_later():
    status, out, err = run_script("map_at_exit.py", "begun, after the handler")
    assert (status, out) == (0, "")
    assert "RuntimeError: the map was ended before its last result" in err


@pytest.mark.parametrize("action", ["exits", "closes", "looks", "crashes", "lingers"])
def test_a_fork_by_the_user_does_no_harm(action):
    status, out, err = run_script("forked_by_user.py", action)
    assert status == 0
    assert "Traceback" not in err
    child = f"child {signal.SIGKILL.value if action == 'crashes' else 0}"
    assert sorted(out.splitlines()) == sorted([child, "complete True"])


@pytest.mark.parametrize("which", ["feeder", "threads"])
def test_a_thread_that_begins_after_the_exit_does_no_harm(which, monkeypatch, tmp_path):
    preload(monkeypatch, build_shim(tmp_path, "late_thread"))
    # The first one is the map's monitor, or the supervisor of its threads.
    monkeypatch.setenv("LATE_THREAD", "2")
    assert run_script("exit_before_a_thread.py", which) == (0, "ready\nlate\n", "")


def test_a_fork_while_threads_start_does_not_hang():
    """A thread that starts holds locks that nobody would let go of in the fork."""
    assert run_script("forks_while_threads_start.py", 4) == (0, "done\n", "")


def test_a_fork_does_not_wait_at_its_exit_for_threads_of_its_parent():
    assert run_script("exit_in_a_fork.py") == (0, "True\n3 True True\n", "")
