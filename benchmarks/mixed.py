"""How long do tasks take that wait and then compute, as in the chart of the fast_map of PyPI?

python benchmarks/mixed.py [--quick]
"""

import os
import statistics
import time

from contenders import CPUS, NAMESAKE
from host import Task
from lineup import Load, entry
from results import SECONDS, Results, Target
from runner import Entry, Group, Plot, Question, grid, pick, run_question

COUNTS = (120, 230, 446, 877, 1744)
IDEAL = "ideal"
IDEAL_BUSY = "ideal, all CPUs busy"
PEERS = ("Pool.imap", "ProcessPoolExecutor", "ThreadPoolExecutor", "mpire", "joblib", NAMESAKE)
BACKENDS = ["loky", "threading"]
# How many times the ideal a contender may take, and so many seconds more.
LIMIT, MORE_SECONDS = 2.5, 10.0


def name_panel(seconds: float, steps: int) -> str:
    """Only what has the sizes of the chart is held against the targets."""
    waits = f"sleep({seconds:g}), then " if seconds else ""
    return f"{waits}a loop of {steps:,} steps"


PANEL = name_panel(1.0, 10**6)


def loop(steps: int) -> int:
    for _ in range(steps):
        pass
    return steps


def wait_and_loop(what: tuple[float, int]) -> int:
    seconds, steps = what
    if seconds:
        time.sleep(seconds)
    return loop(steps)


def make_task(count: int, seconds: float, steps: int) -> Task:
    return Task(wait_and_loop, lambda: [(seconds, steps)] * count, count)


def time_loops(steps: int, repeat: int) -> float:
    """The median of one loop alone."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        loop(steps)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def time_ideal(count: int, seconds: float, steps: int, repeat: int) -> float:
    """The cost of all loops, as one takes that has the machine for itself, over the CPUs."""
    return time_loops(steps, repeat) * count / CPUS + seconds


def time_ideal_busy(count: int, seconds: float, steps: int, repeat: int) -> float:
    """The same, but all CPUs loop at once, as they do in a map."""
    children = []
    for _ in range(CPUS):
        readable, writable = os.pipe()
        if not os.fork():
            os.write(writable, str(time_loops(steps, repeat)).encode())
            os._exit(0)
        os.close(writable)
        children.append(readable)
    times = []
    for readable in children:
        times.append(float(os.read(readable, 100)))
        os.close(readable)
        os.wait()
    return statistics.mean(times) * count / CPUS + seconds


def ideal_entries(parameters: dict[str, float], repeat: int) -> list[Entry]:
    measured = {**parameters, "repeat": repeat}
    return [
        Entry(IDEAL, None, measured, measure="time_ideal"),
        Entry(IDEAL_BUSY, None, measured, measure="time_ideal_busy"),
    ]


def make_entries(count: int, seconds: float, steps: int, rehearsed: int) -> list[Entry]:
    parameters = {"count": count, "seconds": seconds, "steps": steps}
    load = Load(parameters, 1.0)
    options = {
        "limit": LIMIT * time_ideal(count, seconds, steps, 3) + MORE_SECONDS,
        "rehearsal": {**parameters, "count": rehearsed},
    }
    processes = grid(workers=[16, 64, 256])
    return [
        *ideal_entries(parameters, 15),
        entry("fast_map", load, **options),
        entry(NAMESAKE, load, *grid(threads_limit=[None, 64]), **options),
        entry("Pool.imap", load, *processes, **options),
        entry("ProcessPoolExecutor", load, *processes, **options),
        entry("mpire", load, *processes, **options),
        entry("ThreadPoolExecutor", load, *grid(workers=[64, 2000]), **options),
        entry("joblib", load, *grid(workers=[16, 64], backend=BACKENDS, batch_size=[1]), **options),
    ]


def make_groups(size: str) -> list[Group]:
    counts = pick(size, [20], [120, 230], list(COUNTS))
    seconds, steps = pick(size, (0.05, 10**4), (0.3, 10**5), (1.0, 10**6))
    panel = name_panel(seconds, steps)
    return [
        Group(panel, count, make_entries(count, seconds, steps, min(counts)), SECONDS, count, 1)
        for count in counts
    ]


def lead(results: Results, panel: str, count: int, peers: tuple[str, ...]) -> float | None:
    """The best peer's time over fast_map's."""
    best, own = results.best(panel, count, peers), results.median(panel, count, "fast_map")
    return best / own if best is not None and own else None


def find_targets(results: Results) -> list[Target]:
    targets = []
    for count in COUNTS:
        over = results.ratio(PANEL, count, "fast_map", IDEAL)
        targets.append(Target(f"{count} mixed tasks: time over the ideal", 1.05, over))
        ahead = lead(results, PANEL, count, PEERS)
        what = f"{count} mixed tasks: the best peer's time over fast_map's"
        targets.append(Target(what, 1.0, ahead, True))
    return targets


QUESTION = Question(
    "mixed",
    "How long do tasks take that wait and then compute?",
    """time.sleep(1), then a loop of 10**6 steps, as in the chart of the fast_map of PyPI; a quick
    run has less of both. The ideal is what one loop takes alone, times the tasks, over the CPUs,
    plus the second; the other ideal is the same with a loop that runs on all CPUs at once. fast_map
    gets no threads_limit. The peers' settings are those that were best with 120 tasks.""",
    Plot("lines", "tasks"),
    make_groups,
    {"tiny": 5, "quick": 20, "standard": 540, "full": 2400},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
