"""Signals to the parent, alone or with its workers: never lost, wherever they hit."""

import _thread
import os
import threading
import time

import pytest
from support import Gate

from fast_map import fast_map


def test_a_signal_that_interrupts_nothing_is_noticed_all_the_same():
    """It may come just before the consumer sleeps, or to another thread."""
    never = Gate()
    it = fast_map(never.hold, [0])

    def interrupt():
        time.sleep(0.2)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        it.next(timeout=10)
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
