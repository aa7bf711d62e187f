"""End while one thread of this process is in fn, and another one, on its way there, has the lock of
threading's records."""

import itertools
import threading
import time

from fast_map import fast_map

make_record = threading._DummyThread.__init__
calls = itertools.count()
starting = threading.Event()


def make_record_slowly(self):
    with threading._active_limbo_lock:
        if next(calls) > 0:
            starting.set()
            time.sleep(0.5)
        make_record(self)


threading._DummyThread.__init__ = make_record_slowly
it = fast_map(lambda _: time.sleep(600), range(10), procs_limit=0, threads_limit=2)
print(starting.wait(30))
