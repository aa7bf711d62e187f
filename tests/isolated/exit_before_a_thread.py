"""End before a thread of the extension has come to its first step. Argument: which map."""

import sys
import time

from fast_map import fast_map

if sys.argv[1] == "feeder":
    it = fast_map(abs, iter([1]), procs_limit=1)
else:
    it = fast_map(lambda _: time.sleep(600), range(10), procs_limit=0, threads_limit=1)
print("ready", flush=True)
