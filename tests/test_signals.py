"""Signals to the parent, alone or with its workers: never lost, wherever they hit."""

import _thread
import os
import random
import signal
import threading
import time

import pytest
from markers import time_limit
from support import Gate, Script

from fast_map import fast_map

RECEIVERS = pytest.mark.parametrize("receiver", ["parent", "group"])


def send(script, receiver, number):
    """To the group as a terminal does it, or a supervisor that ends a whole service."""
    to = script.signal_group if receiver == "group" else script.signal_parent
    to(number)


@pytest.mark.slow
@time_limit(120)
@RECEIVERS
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_ctrl_c_at_any_moment_is_raised_once_and_leaves_nothing(start_method, receiver):
    times, chance = 80, random.Random(receiver)
    with Script("interrupted_anywhere.py", times, start_method) as script:
        for _ in range(times):
            assert script.read_line() == "ready"
            time.sleep(chance.uniform(0, 0.06))
            send(script, receiver, signal.SIGINT)
        status, out, err = script.finish()
        assert script.leaves_no_process()
    assert (status, out, err) == (0, "clean\n", "")


@time_limit(60)
def test_ctrl_c_of_a_terminal_is_left_to_a_caller_that_handles_it():
    chance = random.Random(0)
    with Script("handles_interrupts.py", 20) as script:
        assert script.read_line() == "ready"
        while script.is_running():
            time.sleep(chance.uniform(0, 0.02))
            script.signal_group(signal.SIGINT)
        assert script.finish() == (0, "done\n", "")


def test_a_signal_that_interrupts_nothing_is_noticed_all_the_same():
    """It may come just before the consumer sleeps, or to another thread."""
    never = Gate()
    it = fast_map(never.hold, [0])

    def interrupt():
        time.sleep(0.2)
        _thread.interrupt_main()

    def interrupted():
        threading.Thread(target=interrupt).start()
        it.next(timeout=10)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - start < 5


def interrupt_process(pid):
    if os.getpid() == pid:
        raise KeyboardInterrupt
    return InterruptsProcess(pid)


class InterruptsProcess(Exception):
    """Unpickles as itself, but where a certain process does it Ctrl-C comes."""

    def __reduce__(self):
        return interrupt_process, self.args


def test_ctrl_c_while_an_exception_is_unpickled_is_no_error_of_the_item():
    def fail(index):
        raise InterruptsProcess(os.getppid())

    with pytest.raises(KeyboardInterrupt):
        list(fast_map(fail, range(3), return_exceptions=True))
