"""A little of everything, for whoever watches the memory: values of all kinds both ways, errors,
workers that die, iterators that are closed early or dropped."""

import os
import pickle
from contextlib import suppress

from fast_map import WorkerCrashed, fast_map

VALUES = [
    *(None, True, 0, -1, 2**200, 1.5, 2j, "", "ascii", "\xff", "\u0100" * 40, "\U00010000"),
    *(b"", b"bytes" * 100, (1, "two", (3.0,)), [[], {"key": None}], {1, 2}, bytearray(b"x" * 300)),
    list(range(5000)),
]


def identity(value):
    return value


def fail_at(limit):
    def fail(index):
        if index >= limit:
            raise LookupError(f"item {index}")
        return index

    return fail


def exit_at_5(index):
    if index == 5:
        os._exit(3)
    return index


def send_values():
    assert list(fast_map(identity, iter(VALUES))) == VALUES
    assert list(fast_map(VALUES.__getitem__, range(len(VALUES)))) == VALUES


def send_buffers():
    """As arrays are sent: what is large arrives as a view of the shared memory."""
    buffers = [bytearray(size) for size in (10, 300_000, 300_000)]
    assert list(fast_map(pickle.PickleBuffer, iter(map(pickle.PickleBuffer, buffers)))) == buffers


def fail():
    with suppress(LookupError):
        list(fast_map(fail_at(50), range(100)))
    errors = list(fast_map(fail_at(20), iter(range(40)), return_exceptions=True))[20:]
    assert {*map(type, errors)} == {LookupError}


def lose_a_worker():
    *_, crash = fast_map(exit_at_5, range(6), return_exceptions=True)
    assert type(crash) is WorkerCrashed


def leave_early():
    it = fast_map(identity, iter(int, 1), retries=1, task_timeout=600)
    assert next(it) == 0
    it.close()
    fast_map(identity, ["x" * 1000] * 1000)


for step in (send_values, send_buffers, fail, lose_a_worker, leave_early):
    step()
print("done")
