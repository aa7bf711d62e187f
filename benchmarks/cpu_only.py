"""How long do tasks take that only compute, as in the chart of the fast_map of PyPI?

python benchmarks/cpu_only.py [--quick]
"""

from contenders import CPUS, NAMESAKE
from host import Task
from lineup import Load, entry
from mixed import (
    IDEAL,
    LIMIT,
    MORE_SECONDS,
    ideal_entries,
    lead,
    loop,
    name_panel,
    time_ideal,
    time_ideal_busy,
)
from results import SECONDS, Results, Target
from runner import Entry, Group, Plot, Question, grid, pick, run_question

PANEL = name_panel(0, 10**6)
COUNTS = (100, 400, 700)
# The host measures them here.
__all__ = ["make_task", "time_ideal", "time_ideal_busy"]


def make_task(count: int, seconds: float, steps: int) -> Task:
    return Task(loop, lambda: [steps] * count, count)


def make_entries(count: int, steps: int, rehearsed: int) -> list[Entry]:
    parameters = {"count": count, "seconds": 0.0, "steps": steps}
    load = Load(parameters, 1.0)
    options = {
        "limit": LIMIT * time_ideal(count, 0, steps, 3) + MORE_SECONDS,
        "rehearsal": {**parameters, "count": rehearsed},
    }
    chunks = grid(chunksize=[1, 4, 16])
    return [
        *ideal_entries(parameters, 15),
        entry("fast_map", load, **options),
        entry("Pool.imap", load, *chunks, **options),
        entry("Pool.imap_unordered", load, *chunks, **options),
        entry("ProcessPoolExecutor", load, *chunks, **options),
        entry("mpire", load, *grid(chunk_size=[1, 4, 16]), **options),
        entry("joblib", load, *grid(batch_size=["auto", 1, 4]), **options),
        entry("ThreadPoolExecutor", load, *grid(workers=[1, CPUS]), **options),
        entry(NAMESAKE, load, *grid(threads_limit=[None, CPUS]), **options),
    ]


def make_groups(size: str) -> list[Group]:
    counts = pick(size, [20], [100, 400], list(COUNTS))
    steps = pick(size, 10**4, 10**5, 10**6)
    panel = name_panel(0, steps)
    return [
        Group(panel, count, make_entries(count, steps, min(counts)), SECONDS, count, 1)
        for count in counts
    ]


def find_targets(results: Results) -> list[Target]:
    targets = []
    for count in COUNTS:
        over = results.ratio(PANEL, count, "fast_map", IDEAL)
        targets.append(Target(f"{count} tasks that compute: time over the ideal", 1.03, over))
        ahead = lead(results, PANEL, count, ("ProcessPoolExecutor",))
        what = f"{count} tasks that compute: tuned ProcessPoolExecutor's time over fast_map's"
        targets.append(Target(what, 1.0, ahead, True))
    return targets


QUESTION = Question(
    "cpu_only",
    "How long do tasks take that only compute?",
    """A loop of 10**6 steps (10**5 in a quick run). The ideals are those of the tasks that wait as
    well, without the second.""",
    Plot("lines", "tasks"),
    make_groups,
    {"tiny": 5, "quick": 12, "standard": 220, "full": 600},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
