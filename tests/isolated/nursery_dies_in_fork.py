"""The nursery dies when it has forked a successor and before it has said so. Argument: "lives" or
"dies", what the lost item's second run would do to its process."""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

from support import SharedInts

from fast_map import WorkerCrashed, fast_map

runs = SharedInts()


def die_if_nursery():
    if Path("/proc/self/comm").read_text() == "fm-nursery\n":
        os.kill(os.getpid(), signal.SIGKILL)


def fn(index):
    if index == 0:
        runs[0] += 1
        time.sleep(0.1)
        if runs[0] == 1 or sys.argv[1] == "dies":
            os._exit(1)
    time.sleep(0.001)
    return index


os.register_at_fork(after_in_parent=die_if_nursery)
results = fast_map(
    fn, itertools.count(), threads_limit=2, procs_limit=2, retries=3, return_exceptions=True
)
for result in itertools.islice(results, 200):
    print(list(result.items) if isinstance(result, WorkerCrashed) else result, flush=True)
results.close()
print(runs[0])
