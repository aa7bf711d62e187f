"""From how much work per item does a parallel map pay?

python benchmarks/break_even.py [--quick]
"""

import os
import time

from contenders import CPUS
from host import Task
from lineup import CHUNKSIZES, Load, all_for_short_items
from results import Results, Target
from runner import Entry, Group, Plot, Question, pick, run_question
from workload import Calibration, count_down

PANEL = "a list of numbers, and a function that counts them down"
IDEAL = "ideal: bare forks, no results"
MOST_ITEMS = 2_000_000
# What slow contenders cost for each item, about: they get as many items as take the same time.
SLOW_MICROSECONDS = 30.0


def make_task(steps: int, count: int) -> Task:
    numbers = [steps] * count
    return Task(count_down, lambda: numbers, count)


def time_bare_forks(steps: int, count: int) -> float:
    """What the machine itself gains: an os.fork for each CPU, each with its part of the list."""
    numbers = [steps] * count
    began = time.perf_counter()
    for first in range(CPUS):
        if not os.fork():
            for _ in map(count_down, numbers[first::CPUS]):
                pass
            os._exit(0)
    for _ in range(CPUS):
        os.wait()
    return time.perf_counter() - began


def make_load(steps: int, count: float) -> Load:
    items = max(20, min(MOST_ITEMS, round(count)))
    return Load({"steps": steps, "count": items}, items)


def make_groups(size: str) -> list[Group]:
    microseconds = pick(
        size,
        [0.5, 20.0],
        [0.1, 1.5, 20.0, 1000.0],
        [0.05, 0.1, 0.2, 0.5, 1.5, 5.0, 20.0, 100.0, 1000.0],
    )
    total = pick(size, 0.02, 0.1, 0.8, 2.0) * 1e6
    calibration = Calibration()
    groups = []
    for each in microseconds:
        steps = calibration.steps_for(each / 1e6)
        load = make_load(steps, total / each)
        few = make_load(steps, total / max(each, SLOW_MICROSECONDS))
        most_per_chunk = max(1, int(load.amount) // 8)
        sizes = sorted({min(chunk, most_per_chunk) for chunk in (*CHUNKSIZES[size], 1)})
        chunksizes = tuple(sizes[-4:]) if each < SLOW_MICROSECONDS else tuple(sizes[:4])
        ideal = Entry(IDEAL, None, load.parameters, load.amount, measure="time_bare_forks")
        groups.append(Group(PANEL, each, [ideal, *all_for_short_items(load, few, chunksizes)]))
    return groups


def find_targets(results: Results) -> list[Target]:
    bounds = {0.1: 1.0, 0.5: 1.5, 1.5: 1.75, 20.0: 1.9}
    return [
        Target(
            f"{each:g} us of work: times as fast as map",
            bound,
            results.ratio(PANEL, each, "map", "fast_map"),
            True,
        )
        for each, bound in bounds.items()
    ]


QUESTION = Question(
    "break_even",
    "From how much work per item does it pay?",
    """The speed-up over the builtin map by the work for one item: the microseconds that a call
    takes in map, which a loop is calibrated to beforehand. (An empty function may take longer than
    the shortest.) The time includes start and end of the workers, but for joblib, which keeps
    them. The ideal is what the machine itself gains: an os.fork for each CPU, which maps its part
    of the list and passes nothing on.""",
    Plot("lines", "microseconds of work per item", log_y=False, speedup_over="map"),
    make_groups,
    {"tiny": 5, "quick": 20, "standard": 270, "full": 600},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
