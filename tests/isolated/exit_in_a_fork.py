"""Fork while a thread of a map is on its way into fn; the child ends by itself."""

import os
import sys
import threading
import time

from fast_map import fast_map

make_record = threading._DummyThread.__init__
starting = threading.Event()
gate = threading.Event()


def make_record_late(self):
    starting.set()
    gate.wait()
    make_record(self)


threading._DummyThread.__init__ = make_record_late
it = fast_map(abs, range(10), procs_limit=0, threads_limit=1)
print(starting.wait(30), flush=True)
begun = time.monotonic()
child = os.fork()
if child == 0:
    sys.exit(3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
took = time.monotonic() - begun
gate.set()
print(status, list(it) == list(range(10)), took < 4 or took)
