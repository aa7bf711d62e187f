"""End while threads of this process are in fn. Arguments: what they do there, how this ends."""

import itertools
import sys
import threading
import time

from fast_map import fast_map

state, how = sys.argv[1:]
started = threading.Barrier(200 if state == "many" else 1)


def work(index):
    if state == "many" or index == 0:
        started.wait()
    if state in ("sleeping", "many"):
        time.sleep(600)
    while state == "computing":
        pass
    return [index]


def source():
    yield 0
    if state == "waiting for its input":
        time.sleep(600)
    yield from itertools.count(1)


it = fast_map(work, source(), procs_limit=0, threads_limit=None if state == "many" else 4)
time.sleep(0.3)
print("ready", flush=True)
if how == "daemon thread":
    threading.Thread(target=lambda: list(it), daemon=True).start()
    time.sleep(0.05)
elif how == "sys.exit":
    sys.exit(5)
