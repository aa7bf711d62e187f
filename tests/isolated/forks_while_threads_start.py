"""Fork over and over while another thread has maps start threads. Argument: for how many seconds.

Says "done" if all the processes have ended.
"""

import os
import sys
import threading
import time

from support import identity

from fast_map import fast_map

end = time.monotonic() + float(sys.argv[1])


def start_threads():
    while time.monotonic() < end:
        list(fast_map(identity, range(100), procs_limit=0, threads_limit=16))


starter = threading.Thread(target=start_threads)
starter.start()
while time.monotonic() < end:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
starter.join()
print("done")
