"""How long does a single item take, there and back?

python benchmarks/latency.py [--quick]
"""

import concurrent.futures
import multiprocessing
import queue
from collections.abc import Callable

from contenders import CPUS, NAMESAKE, Start
from results import MICROSECONDS
from runner import Entry, Group, Plot, Question, pick, run_question
from startup import identity, median_time

WHOLE = "a whole map over one item"
STREAM = "one at a time through an open map"


def time_map(start: Start, repeat: int) -> float:
    """Workers that outlive a map are there already."""
    with start() as run:
        list(run(identity, [0], 1))
        return median_time(lambda: list(run(identity, [0], 1)), repeat)


def time_stream(start: Start, repeat: int) -> float:
    """The next item is handed in when the result of the last has come."""
    items: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    with start() as run:
        results = iter(run(identity, iter(items.get, None), repeat + 1))

        def exchange() -> None:
            items.put(1)
            next(results)

        exchange()
        taken = median_time(exchange, repeat)
        items.put(None)
        for _ in results:
            pass
    return taken


def median_call(call: Callable[[], object], repeat: int) -> float:
    call()
    return median_time(call, repeat)


def time_submit(repeat: int) -> float:
    with concurrent.futures.ProcessPoolExecutor(CPUS) as executor:
        return median_call(lambda: executor.submit(identity, 1).result(), repeat)


def time_thread_submit(repeat: int) -> float:
    with concurrent.futures.ThreadPoolExecutor(CPUS) as executor:
        return median_call(lambda: executor.submit(identity, 1).result(), repeat)


def time_apply(repeat: int) -> float:
    with multiprocessing.Pool(CPUS) as pool:
        return median_call(lambda: pool.apply(identity, (1,)), repeat)


def make_groups(size: str) -> list[Group]:
    wholes = {"repeat": pick(size, 5, 20, 50)}
    streams = {"repeat": pick(size, 20, 200, 2000)}
    limit = pick(size, 3.0, 3.0, 5.0)
    names = ["fast_map", "Pool.imap", "Pool.imap_unordered", "ProcessPoolExecutor"]
    names += ["ThreadPoolExecutor", "joblib", "mpire", "pebble", NAMESAKE]
    whole = [Entry(name, name, wholes, measure="time_map") for name in names]
    stream = [Entry(name, name, streams, limit=limit, measure="time_stream") for name in names]
    calls = {
        "Pool.apply": "time_apply",
        "ProcessPoolExecutor.submit": "time_submit",
        "ThreadPoolExecutor.submit": "time_thread_submit",
    }
    stream += [Entry(name, None, streams, measure=measure) for name, measure in calls.items()]
    return [
        Group(WHOLE, "one item", whole, MICROSECONDS),
        Group(STREAM, "one item", stream, MICROSECONDS),
    ]


QUESTION = Question(
    "latency",
    "How long does a single item take?",
    """To the left a new map over a list of one item: pools and executors are started beforehand,
    fast_map and its namesake start their workers anew each time. To the right the time for one item
    through a map that stays open, where the next is handed in when the last has come back. What
    reads its input ahead, or to the end before it yields anything, cannot do that; such contenders
    run into the time limit. Executors have submit for it.""",
    Plot("bars"),
    make_groups,
    {"tiny": 5, "quick": 20, "standard": 60, "full": 120},
)

if __name__ == "__main__":
    run_question(QUESTION)
