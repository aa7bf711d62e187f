"""Is there a better number of threads than the one that fast_map finds by itself?

python benchmarks/threads_limit.py [--quick]
"""

from host import Task
from mixed import time_loops, wait_and_loop
from results import SECONDS, Results, Target
from runner import Entry, Group, Plot, Question, pick, run_question

MANY_STEPS = 100_000
# As contenders: the one that chooses has the plain name.
CHOSEN = "fast_map"
# Seconds that a task sleeps, and computes.
PANELS = {
    "tasks that sleep": (0.1, 0.0),
    "tasks that compute": (0.0, 0.005),
    "tasks that sleep, then compute": (0.2, 0.005),
}


def make_task(count: int, seconds: float, steps: int) -> Task:
    return Task(wait_and_loop, lambda: [(seconds, steps)] * count, count)


def make_entries(parameters: dict[str, float], limits: list[int]) -> list[Entry]:
    fixed = [
        Entry(f"threads_limit={limit}", "fast_map", parameters, 1.0, ({"threads_limit": limit},))
        for limit in limits
    ]
    return [Entry(CHOSEN, "fast_map", parameters), *fixed]


def make_groups(size: str) -> list[Group]:
    count = pick(size, 20, 100, 400)
    limits = pick(size, [2, 16], [2, 32, 512], [2, 8, 32, 128, 512])
    step = time_loops(MANY_STEPS, 5) / MANY_STEPS
    groups = []
    for panel, (seconds, work) in PANELS.items():
        parameters = {"count": count, "seconds": seconds, "steps": round(work / step)}
        groups.append(Group(panel, f"{count} tasks", make_entries(parameters, limits), SECONDS))
    return groups


def find_targets(results: Results) -> list[Target]:
    targets = []
    for panel in PANELS:
        (x,) = results.xs(panel)
        others = [label for label in results.labels(panel) if label != CHOSEN]
        over = [results.ratio(panel, x, CHOSEN, label) for label in others]
        known = [ratio for ratio in over if ratio is not None]
        what = f"{panel}, threads_limit=None: time over the best limit's"
        targets.append(Target(what, 1.05, max(known, default=None)))
    return targets


QUESTION = Question(
    "threads_limit",
    "Is there a better number of threads than the one that fast_map finds by itself?",
    """Tasks that sleep for 0.1 s, that compute for about 5 ms, and that sleep for 0.2 s and then
    compute for 5 ms. Bare fast_map has threads_limit=None; the limit is that of all processes
    together.""",
    Plot("bars", log_x=False),
    make_groups,
    {"tiny": 5, "quick": 10, "standard": 120, "full": 300},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
