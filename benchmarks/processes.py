"""What /proc says of processes: who there is, what CPU they used, what memory they hold."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    pid: int
    name: str
    state: str
    parent: int
    session: int


def list_processes() -> list[Process]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", errors="replace") as file:
                head, _, tail = file.read().rpartition(")")
        except OSError:
            continue
        state, parent, _, session = tail.split()[:4]
        name = head.partition("(")[2]
        found.append(Process(int(entry), name, state, int(parent), int(session)))
    return found


def list_session() -> list[int]:
    """This process and all that it has started, as a host leads a session of its own."""
    session = os.getsid(0)
    return [process.pid for process in list_processes() if process.session == session]


def cpu_seconds(pids: Iterable[int], except_thread: int) -> float:
    """CPU time of all threads that there are now, but for the one that asks."""
    total = 0
    for pid in pids:
        for path in Path("/proc", str(pid), "task").glob("*/schedstat"):
            if path.parent.name != str(except_thread):
                with suppress(OSError):
                    total += int(path.read_text().split()[0])
    return total / 1e9


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory of all together; what they share counts once (proportional set size)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            text = Path("/proc", str(pid), "smaps_rollup").read_text()
            total += sum(
                int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")
            )
    return total * 1024
