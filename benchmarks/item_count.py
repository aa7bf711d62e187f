"""What do time per item and memory do as the number of items grows?

python benchmarks/item_count.py [--quick | --full]
"""

from contenders import Start
from host import Task
from lineup import Load, chunked, entry
from overhead import identity
from processes import list_session, resident_bytes
from results import MIB, Results, Target
from runner import Entry, Group, Plot, Question, pick, run_question

TIME = "a function that returns its argument, over a range"
MEMORY = "memory after nine tenths of the results"
LARGEST, COMPARED = 10**8, 10**6


def make_task(count: int) -> Task:
    return Task(identity, lambda: range(count), count)


def measure_memory(start: Start, count: int) -> float:
    watched = count * 9 // 10
    found = 0
    with start() as run:
        for place, _ in enumerate(run(identity, range(count), count)):
            if place == watched:
                found = resident_bytes(list_session())
    return found


def make_time_entries(count: int, chunksizes: tuple[int, ...], limit: float) -> list[Entry]:
    load = Load({"count": count}, float(count))
    rehearsal = {"count": min(count, 1_000_000)}
    options = {"limit": limit, "rehearsal": rehearsal}
    return [
        entry("map", load, **options),
        entry("fast_map", load, **options),
        chunked("Pool.imap", load, chunksizes, **options),
        chunked("ProcessPoolExecutor", load, chunksizes, **options),
    ]


def make_memory_entries(count: int, limit: float) -> list[Entry]:
    load = Load({"count": count}, 1.0)
    options = {"measure": "measure_memory", "limit": limit, "rehearsal": {"count": 1000}}
    return [
        entry("map", load, **options),
        entry("fast_map", load, **options),
        entry("Pool.imap", load, {"chunksize": 4096}, **options),
        entry("ProcessPoolExecutor", load, {"chunksize": 4096}, **options),
    ]


def make_groups(size: str) -> list[Group]:
    counts = pick(
        size,
        [10**3, 10**4],
        [10**3, 10**4, 10**5, 10**6],
        [10**3, 10**4, 10**5, 10**6, 10**7],
        [10**3, 10**4, 10**5, 10**6, 10**7, LARGEST],
    )
    chunksizes = pick(size, (256,), (256, 4096), (64, 1024, 4096, 16384))
    limit = pick(size, 10.0, 20.0, 60.0, 300.0)
    times = [
        Group(TIME, count, make_time_entries(count, chunksizes, limit), weight=len(str(count)))
        for count in counts
    ]
    return times + [
        Group(MEMORY, count, make_memory_entries(count, limit), MIB, weight=2) for count in counts
    ]


def find_targets(results: Results) -> list[Target]:
    targets = []
    for what, panel, bound in (("time per item", TIME, 1.05), ("memory", MEMORY, 1.1)):
        most = results.median(panel, LARGEST, "fast_map")
        few = results.median(panel, COMPARED, "fast_map")
        measured = most / few if most is not None and few else None
        targets.append(Target(f"10**8 no-op items: {what} over that of 10**6", bound, measured))
    return targets


QUESTION = Question(
    "item_count",
    "What changes as the number of items grows?",
    """Time per item, start and end of the workers included, and memory, which a stream should not
    need more of for more items (proportional set size of all processes, the interpreter that calls
    included). Settings are searched with at most 10**6 items. 10**8 items are measured with --full
    alone.""",
    Plot("lines", "items"),
    make_groups,
    {"tiny": 5, "quick": 10, "standard": 120, "full": 1200},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
