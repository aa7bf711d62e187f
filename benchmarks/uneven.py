"""How well is uneven work spread: one task in fifty takes a hundred times as long?

python benchmarks/uneven.py [--quick]
"""

import random

from contenders import CPUS, NAMESAKE
from host import Task
from lineup import Load, entry
from results import SECONDS, Results, Target
from runner import Entry, Group, Plot, Question, grid, pick, run_question
from workload import Calibration, count_down

PANEL = "one task in fifty takes a hundred times as long"
SHORT_SECONDS = 0.0002
LONGER = 100
ONE_IN = 50


def make_task(count: int, steps: int) -> Task:
    """Long ones at random places, the same in every run."""
    numbers = [steps] * count
    for place in random.Random(1).sample(range(count), count // ONE_IN):
        numbers[place] = steps * LONGER
    return Task(count_down, lambda: numbers, count)


def make_groups(size: str) -> list[Group]:
    count = pick(size, 100, 1000, 5000)
    load = Load({"count": count, "steps": Calibration().steps_for(SHORT_SECONDS)}, 1.0)
    chunks = grid(chunksize=[1, 4, 16, 64])
    entries: list[Entry] = [
        entry("map", load),
        entry("fast_map", load),
        entry("Pool.imap", load, *chunks),
        entry("Pool.imap_unordered", load, *chunks),
        entry("ProcessPoolExecutor", load, *chunks),
        entry("mpire", load, *grid(chunk_size=[1, 4, 16, 64])),
        entry("joblib", load, *grid(batch_size=["auto", 4, 16])),
        entry("ThreadPoolExecutor", load, *grid(workers=[1, CPUS])),
        entry(NAMESAKE, load, *grid(threads_limit=[CPUS, 4 * CPUS])),
    ]
    return [Group(PANEL, f"{count} tasks", entries, SECONDS)]


def find_targets(results: Results) -> list[Target]:
    """The ideal is map's time over the CPUs."""
    x = results.xs(PANEL)[0]
    over = results.ratio(PANEL, x, "fast_map", "map")
    measured = over * CPUS if over is not None else None
    return [Target("uneven tasks: time over the ideal", 1.05, measured)]


QUESTION = Question(
    "uneven",
    "How well is uneven work spread?",
    """Tasks of 0.2 ms, but one in fifty, at random places, of 20 ms. The ideal is map's time over
    the number of CPUs. The time includes start and end of the workers, but for joblib's.""",
    Plot("bars", log_x=False),
    make_groups,
    {"tiny": 5, "quick": 8, "standard": 80, "full": 200},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
