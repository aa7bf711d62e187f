"""Run a map under many values of a resource limit, each in a process of its own.

Arguments: the name of a limit and that of a case (below), and the values: what is granted beyond
what the process has already; of memory, MiB. Prints for each value what became of the map:
"complete", an error's type and text, or what went wrong.
"""

import functools
import os
import resource
import signal
import sys
import time
from pathlib import Path

from support import (
    SharedInts,
    child_pids,
    drain,
    open_descriptors,
    running_in_group,
    wait_until,
)

from fast_map import TaskTimeout, fast_map

# Nobody's, so that nothing else counts against its limit on processes, nor another run of this.
UNUSED_UID = 100_000 + os.getpid()

# For one map; a map that has no thread to spare takes a second or two.
PATIENCE = 60

MIB = 1 << 20


def say(granted, what):
    """At once, also where this process forks or dies."""
    os.write(1, f"{granted} {what}\n".encode())


# ---- limits ----


def count_threads(uid):
    """All threads of a user, which is what the limit on processes counts."""
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                count += len(list((entry / "task").iterdir()))
        except OSError:
            continue
    return count


def is_fork_refused():
    try:
        pid = os.fork()
    except BlockingIOError:
        return True
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return False


def limit_processes(granted):
    """The limit binds neither root nor who has certain capabilities, which setresuid takes away."""
    if os.getuid() == 0:
        os.setresuid(UNUSED_UID, UNUSED_UID, UNUSED_UID)
    used = count_threads(os.getuid())
    resource.setrlimit(resource.RLIMIT_NPROC, (used, used + granted))
    if granted == 0 and not is_fork_refused():
        say(granted, "the limit binds nobody")
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_NPROC, (used + granted, used + granted))


def limit_files(granted):
    most = max(open_descriptors()) + 1 + granted
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )


def limit_memory(granted):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + granted * MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def limit_worker_memory(granted):
    os.register_at_fork(after_in_child=lambda: limit_memory(granted))


def lift_limits():
    """So that this process can look around and say what it sees, which takes memory and files."""
    for what in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (hard, hard))


LIMITS = {
    "processes": limit_processes,
    "files": limit_files,
    "memory": limit_memory,
    "worker memory": limit_worker_memory,
    "reader memory": limit_memory,  # once the map has been started
}


# ---- cases; each gives a map and the results that it should have ----

# Made here, where nothing is limited yet.
runs = SharedInts(40)


def add_one(value):
    return value + 1


def run_list():
    return fast_map(add_one, list(range(100)), procs_limit=3), list(range(1, 101))


def run_iterator():
    return fast_map(add_one, iter(range(100)), procs_limit=3), list(range(1, 101))


def block(value):
    time.sleep(0.005)
    return value


def run_blocking():
    """It could use a thread for each item."""
    return fast_map(block, range(200), procs_limit=2), list(range(200))


def run_slow_start():
    """Its workers have long been at work when what else it needs is started."""
    os.register_at_fork(after_in_parent=lambda: time.sleep(0.2))
    return fast_map(time.sleep, [0.1] * 40, procs_limit=2), [None] * 40


def run_killing():
    def die_at_first(value):
        runs[value] += 1
        if value % 8 == 3 and runs[value] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    return fast_map(die_at_first, range(40), procs_limit=2, retries=3), list(range(40))


def run_overdue():
    def stand_still_at_five(value):
        time.sleep(600 if value == 5 else 0)
        return value

    items = fast_map(
        stand_still_at_five, range(10), procs_limit=2, task_timeout=0.2, return_exceptions=True
    )
    return (TaskTimeout if isinstance(x, TaskTimeout) else x for x in items), [
        TaskTimeout if value == 5 else value for value in range(10)
    ]


def run_payloads():
    sizes = [1 * MIB + value for value in range(16)]
    values = (bytes(size) for size in sizes)
    return fast_map(bytes.upper, values, procs_limit=2), [bytes(size) for size in sizes]


CASES = {
    "list": run_list,
    "iterator": run_iterator,
    "blocking": run_blocking,
    "slow start": run_slow_start,
    "killing": run_killing,
    "overdue": run_overdue,
    "payloads": run_payloads,
}


# ---- one value ----


def describe(error):
    text = " ".join(str(error).split())
    cause = f" <- {describe(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{type(error).__name__}: {text}{cause}"


def judge(results, expected, error):
    """What became of the map, in a line."""
    if results != expected[: len(results)]:
        return f"wrong results {results!r:.200}"
    if error is None and len(results) < len(expected):
        return f"only {len(results)} results of {len(expected)}"
    return "complete" if error is None else describe(error)


def run_limited(name, granted, run):
    """In a process of its own, and in a group of its own."""
    os.setpgid(0, 0)
    limit = functools.partial(LIMITS[name], granted)
    results = expected = ()
    try:
        if name != "reader memory":
            limit()
        items, expected = run()
        if name == "reader memory":
            limit()
        results, error = drain(items)
    except Exception as refused:
        error = refused
    lift_limits()
    told = judge(results, expected, error)
    if child_pids():
        told = "processes left"
    say(granted, told)
    os._exit(0)


def report(name, granted, run):
    pid = os.fork()
    if pid == 0:
        run_limited(name, granted, run)
    deadline = time.monotonic() + PATIENCE
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            say(granted, "hangs")
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.002)
    if ended[1] != 0:
        say(granted, f"dies of {ended[1]}")
    if not wait_until(lambda: not running_in_group(pid), timeout=2):
        say(granted, "leaves a process")


name, case, *values = sys.argv[1:]
for value in values:
    report(name, int(value), CASES[case])
