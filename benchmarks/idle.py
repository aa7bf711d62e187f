"""What do CPU and memory cost while nothing happens: all wait for one long task?

python benchmarks/idle.py [--quick]
"""

import threading
import time
from collections.abc import Callable

from contenders import NAMESAKE, Start
from processes import cpu_seconds, list_session, resident_bytes
from results import MIB, MILLISECONDS, Results, Target
from runner import Entry, Group, Plot, Question, grid, pick, run_question

SHORT_TASKS = 63
CPU = "CPU time of all processes while one task sleeps"
OPEN = "the same while the input is open, too"
MEMORY = "memory of all processes meanwhile"
# From the call to the moment at which the short tasks are done, and a long one can be watched.
SETTLE = 0.5


def sleep_for(seconds: float) -> float:
    if seconds:
        time.sleep(seconds)
    return seconds


class Watcher(threading.Thread):
    """Looks at this process and its children at the beginning and the end of a time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds = seconds
        self.cpu = 0.0
        self.memory = 0
        self.done = threading.Event()

    def run(self) -> None:
        own = threading.get_native_id()
        time.sleep(SETTLE)
        pids = list_session()
        self.memory = resident_bytes(pids)
        before = cpu_seconds(pids, own)
        time.sleep(self.seconds)
        self.cpu = cpu_seconds(pids, own) - before
        self.done.set()


def watch(start: Start, seconds: float, make_input: Callable[[Watcher], object]) -> Watcher:
    """The workers have been forked when the thread that watches starts."""
    watcher = Watcher(seconds)
    with start() as run:
        results = run(sleep_for, make_input(watcher), SHORT_TASKS + 1)  # type: ignore[arg-type]
        watcher.start()
        for _ in results:
            pass
    watcher.join()
    return watcher


def closed_input(watcher: Watcher) -> list[float]:
    """The long task first, so that all the others are done soon."""
    return [watcher.seconds + 2 * SETTLE] + [0.0] * SHORT_TASKS


def open_input(watcher: Watcher) -> object:
    yield from closed_input(watcher)
    watcher.done.wait()


def measure_cpu(start: Start, seconds: float) -> float:
    return watch(start, seconds, closed_input).cpu


def measure_open(start: Start, seconds: float) -> float:
    return watch(start, seconds, open_input).cpu


def measure_memory(start: Start, seconds: float) -> float:
    return watch(start, seconds, closed_input).memory


def make_entries(measure: str, seconds: float, names: list[str]) -> list[Entry]:
    settings = {NAMESAKE: grid(threads_limit=[None])}
    return [
        Entry(
            name,
            name,
            {"seconds": seconds},
            candidates=settings.get(name, ({},)),
            measure=measure,
            rehearsal={"seconds": 0.1},
        )
        for name in names
    ]


def make_groups(size: str) -> list[Group]:
    seconds = pick(size, 0.3, 1.0, 5.0)
    names = ["fast_map", "Pool.imap", "ProcessPoolExecutor", "ThreadPoolExecutor"]
    names += ["joblib", "mpire", "pebble", NAMESAKE]
    readers = ["fast_map", "Pool.imap", "Pool.imap_unordered", NAMESAKE]
    x = f"{seconds:g} s"
    return [
        Group(CPU, x, make_entries("measure_cpu", seconds, names), MILLISECONDS, 4),
        Group(OPEN, x, make_entries("measure_open", seconds, readers), MILLISECONDS, 2),
        Group(MEMORY, x, make_entries("measure_memory", 0.1, names), MIB),
    ]


def find_targets(results: Results) -> list[Target]:
    return [
        Target(
            f"CPU of all processes while one task of 5 s runs{how}",
            10,
            results.median(panel, "5 s", "fast_map"),
            unit="ms",
        )
        for panel, how in ((CPU, ""), (OPEN, ", the input open"))
    ]


QUESTION = Question(
    "idle",
    "What does waiting cost?",
    """64 tasks, the first of which sleeps for 5 s (1 s in a quick run) while the others return at
    once. Watched are all processes together: the CPU time of all their threads in those seconds,
    and the memory (proportional set size, the interpreter that calls included). In the second part
    the input does not end before the long task does.""",
    Plot("bars"),
    make_groups,
    {"tiny": 5, "quick": 20, "standard": 160, "full": 300},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
