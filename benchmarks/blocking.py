"""How long do many tasks take that only wait: sleep(1), by their number?

python benchmarks/blocking.py [--quick]
"""

import time

from contenders import NAMESAKE
from host import Task
from lineup import Load, entry
from results import SECONDS, Results, Target
from runner import Entry, Group, Plot, Question, grid, pick, run_question

PANEL = "tasks of sleep(1)"
# What any contender may take; the next larger size is not tried then.
LIMIT = {"tiny": 5.0, "quick": 5.0, "standard": 15.0, "full": 60.0}
# With more tasks, 1,000 threads could not be the better choice.
MOST_BY_TURNS = 5000


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def make_task(count: int, seconds: float) -> Task:
    return Task(sleep_for, lambda: [seconds] * count, count)


def make_entries(count: int, seconds: float, limit: float) -> list[Entry]:
    load = Load({"count": count, "seconds": seconds}, 1.0)
    processes = grid(workers=sorted({min(count, most) for most in (64, 256)}))
    threads = sorted({min(count, 1000), count}) if count <= MOST_BY_TURNS else [count]
    peers = [
        entry("ThreadPoolExecutor", load, *grid(workers=threads), limit=limit),
        entry(NAMESAKE, load, *grid(threads_limit=[None]), limit=limit),
        entry("joblib", load, *grid(backend=["threading"], workers=threads), limit=limit),
        entry("mpire", load, *grid(method=["threading"], workers=threads), limit=limit),
        entry("Pool.imap", load, *processes, limit=limit),
        entry("ProcessPoolExecutor", load, *processes, limit=limit),
    ]
    return [entry("fast_map", load, limit=limit), *peers]


def make_groups(size: str) -> list[Group]:
    counts = pick(size, [20], [100, 1000], [100, 1000, 5000, 20_000])
    seconds = pick(size, 0.1, 1.0, 1.0)
    return [
        Group(PANEL, count, make_entries(count, seconds, LIMIT[size]), SECONDS) for count in counts
    ]


def find_targets(results: Results) -> list[Target]:
    measured = results.median(PANEL, 20_000, "fast_map")
    return [Target("20,000 tasks of sleep(1)", 3.0, measured, unit="s")]


QUESTION = Question(
    "blocking",
    "How long do tasks take that only wait?",
    """A function that calls time.sleep(1). Ideal is 1 s for any number. fast_map chooses the number
    of threads by itself; for the others the better of 1,000 and one for each task is taken, or of
    64 and 256 processes.""",
    Plot("lines", "tasks"),
    make_groups,
    {"tiny": 5, "quick": 20, "standard": 200, "full": 600},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
