"""The processes of this process's maps, found by what they call themselves; how to kill them."""

import os
import signal
from contextlib import suppress

from support import lasting_pids, processes, wait_until

from fast_map import _forkserver


def descendants():
    """The children of this process, and theirs, that still run."""
    lasting = lasting_pids()
    running = [
        entry for entry in processes() if entry.state not in "ZX" and entry.pid not in lasting
    ]
    found, pids = [], {os.getpid()}
    while below := [entry for entry in running if entry.parent in pids]:
        found += below
        pids = {entry.pid for entry in below}
    return found


def worker_pids():
    """The workers of this process's maps as far as they are set up, successors included."""
    return [entry.pid for entry in descendants() if entry.name.startswith("fm-w")]


def nursery_pids():
    """The processes that fork the successors of dead workers, one for each map that has any."""
    return [entry.pid for entry in descendants() if entry.name == "fm-nursery"]


def still_running(pids):
    """Those of the processes that have not ended, whoever their parent is."""
    return {entry.pid for entry in processes() if entry.state not in "ZX"} & set(pids)


def kill_processes(pids, number=signal.SIGKILL):
    """Kill those that are still there, and wait until they have gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    assert wait_until(lambda: not still_running(pids))


def kill_workers(number=signal.SIGKILL):
    """Kill the workers that there are now: their ids."""
    pids = worker_pids()
    kill_processes(pids, number)
    return pids


def kill_fork_server():
    """Return when it has ended; it is left to whoever needs the next one to reap it."""
    server = _forkserver._server._forkserver_pid
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
