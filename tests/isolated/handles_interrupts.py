"""Go through maps of fork servers, with a handler of its own for Ctrl-C. Argument: how many.

Says "ready" when Ctrl-C may come, and "done" if all results were right.
"""

import signal
import sys

from support import identity
from worker_processes import kill_fork_server

from fast_map import fast_map

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda number, frame: None)
    print("ready", flush=True)
    for _ in range(int(sys.argv[1])):
        for _ in range(2):  # by a new server, and by one that is running
            assert list(fast_map(identity, range(3), start_method="forkserver")) == [0, 1, 2]
        kill_fork_server()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which lasts until the interpreter has ended
    print("done")
