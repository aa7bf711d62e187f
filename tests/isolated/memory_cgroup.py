"""Run maps whose workers share a memory cgroup of 64 MiB; print what became of each.

Prints why instead where this user can't make a cgroup.
"""

import os
import sys
from pathlib import Path

from support import child_pids, drain, wait_until

from fast_map import fast_map

MIB = 1 << 20

# The hierarchy of version 1 and the only one of version 2, with their names of the limit.
PLACES = {"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"}


def make_group():
    for place, limit in PLACES.items():
        group = Path(place, f"fast_map-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(64 * MIB))
            return group
        except OSError:
            group.rmdir()
    print("no memory cgroup can be made")
    sys.exit()


def use_memory(item):
    """The fourth wants more than there is."""
    return len(bytearray(b"x") * (256 * MIB if item == 3 else 1000))


def send_much(item):
    return b"x" * (8 * MIB)


def tell(results):
    results, error = drain(results)
    told = [value if isinstance(value, int) else type(value).__name__ for value in results]
    print(told if error is None else [*told, str(error)], flush=True)


group = make_group()
os.register_at_fork(after_in_child=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
try:
    tell(fast_map(use_memory, range(6), procs_limit=2))
    tell(fast_map(use_memory, range(6), procs_limit=2, retries=1, return_exceptions=True))
    sizes = map(len, fast_map(send_much, range(30), procs_limit=2))
    tell(size // MIB for size in sizes)
finally:
    wait_until(lambda: not child_pids(), timeout=2)
    group.rmdir()
