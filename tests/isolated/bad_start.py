"""Lose a worker, and then the first N processes forked in its place, as they start.

Arguments: "crash", or "starve" for processes with no address space left for a thread; N.
"""

import os
import resource
import sys
from pathlib import Path

from support import SharedInts

from fast_map import WorkerCrashed, fast_map

how, losses = sys.argv[1], int(sys.argv[2])
successors = SharedInts()


def starve():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = (pages * os.sysconf("SC_PAGE_SIZE")) + (200 << 10)
    resource.setrlimit(resource.RLIMIT_AS, (room, room))


def spoil_successor():
    """The nursery forks one after the other, so that the count needs no lock."""
    if Path(f"/proc/{os.getppid()}/comm").read_text() != "fm-nursery\n":
        return
    successors[0] += 1
    if successors[0] > losses:
        return
    if how == "starve":
        starve()
    else:
        os._exit(1)


def crash_at_first(index):
    if not successors[0]:
        os._exit(1)
    return index


os.register_at_fork(after_in_child=spoil_successor)
try:
    print(len(list(fast_map(crash_at_first, range(10), procs_limit=1, retries=1))), "results")
except (WorkerCrashed, OSError) as error:
    print(type(error).__name__, error)
print(successors[0], "successors")
