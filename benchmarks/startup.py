"""What do start and end cost: a map over two items?

python benchmarks/startup.py [--quick]
"""

import os
import statistics
import time
from collections.abc import Callable

from contenders import NAMESAKE, Start, import_peer
from results import MILLISECONDS, Results, Target
from runner import Entry, Group, Plot, Question, pick, run_question

PANEL = "start, two items, end"
FORKS = "two bare os.fork"
POOL = "with Pool(2)"


def identity(value: int) -> int:
    return value


def median_time(act: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def map_two(start: Start) -> None:
    with start() as run:
        for _ in run(identity, range(2), 2):
            pass


def time_start(start: Start, repeat: int) -> float:
    return median_time(lambda: map_two(start), repeat)


def time_joblib(start: Start, repeat: int) -> float:
    """It keeps its processes, unless they are told to end."""

    def map_and_end() -> None:
        map_two(start)
        import_peer("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)

    return median_time(map_and_end, repeat)


def fork_two() -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def time_forks(repeat: int) -> float:
    return median_time(fork_two, repeat)


def make_groups(size: str) -> list[Group]:
    repeat = {"repeat": pick(size, 3, 10, 30)}
    # Its processes start as slowly as an interpreter does.
    few = {"repeat": 3}
    two = ({"workers": 2},)
    own_settings = {"fast_map": ({"procs_limit": 2},), NAMESAKE: ({"threads_limit": 2},)}
    peers = ["fast_map", "Pool.imap", "ProcessPoolExecutor", "ThreadPoolExecutor"]
    peers += ["mpire", "pebble", "joblib", NAMESAKE]
    entries = [Entry(FORKS, None, repeat, measure="time_forks")]
    for name in peers:
        measure, load = ("time_joblib", few) if name == "joblib" else ("time_start", repeat)
        label = POOL if name == "Pool.imap" else name
        candidates = own_settings.get(name, two)
        entries.append(Entry(label, name, load, candidates=candidates, measure=measure))
    return [Group(PANEL, "2 items", entries, MILLISECONDS)]


def find_targets(results: Results) -> list[Target]:
    def over(to: str) -> float | None:
        return results.ratio(PANEL, "2 items", "fast_map", to)

    return [
        Target("start, 2 items, end: time over with Pool(2)", 0.25, over(POOL)),
        Target("start, 2 items, end: time over two bare os.fork", 1.3, over(FORKS)),
    ]


QUESTION = Question(
    "startup",
    "What do start and end cost?",
    """A function that returns its argument, over two items with two workers, from the call to the
    last worker's end. joblib's processes are told to end. The forks are os.fork, os._exit in the
    child and os.waitpid, twice. Each value is a median within one process.""",
    Plot("bars"),
    make_groups,
    {"tiny": 5, "quick": 8, "standard": 40, "full": 80},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
