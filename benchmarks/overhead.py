"""What one item costs: a function that returns its argument, by kind of input and contender.

python benchmarks/overhead.py [--quick] [--repetitions N]
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from host import Task
from lineup import CHUNKSIZES, Load, all_for_short_items, chunked, entry
from results import Results, Target, worst
from runner import Group, Plot, Question, pick, run_question


class Point:
    def __init__(self, x: int, y: float) -> None:
        self.x = x
        self.y = y


def identity(value: object) -> object:
    return value


def to_float(value: int) -> float:
    return value * 0.5


def to_tuple(value: int) -> tuple[int, float]:
    return value, value * 0.5


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"float": to_float, "tuple": to_tuple}
MAKERS: dict[str, Callable[[int], object]] = {
    "str": lambda i: f"item {i}",
    "record": lambda i: (i, f"name {i}", i * 0.5),
    "dict": lambda i: {"number": i, "name": f"name {i}", "value": i * 0.5},
    "object": lambda i: Point(i, i * 0.5),
}


def make_task(source: str, kind: str, count: int) -> Task:
    """The values are there before the time runs: a generator only hands them over."""
    if source == "range":
        return Task(FUNCTIONS.get(kind, identity), lambda: range(count), count)
    values: Sequence[Any] = range(count)
    if kind in MAKERS:
        values = list(map(MAKERS[kind], values))
    elif source == "list":
        values = list(values)
    inputs: dict[str, Callable[[], Iterable[object]]] = {
        "list": lambda: values,
        "generator": lambda: (value for value in values),
    }
    return Task(identity, inputs[source], count)


def make_group(size: str, source: str, kind: str, count: int, few_count: int) -> Group:
    load = Load({"source": source, "kind": kind, "count": count}, count)
    few = Load({"source": source, "kind": kind, "count": few_count}, few_count)
    if kind == "int":
        entries = all_for_short_items(load, few, CHUNKSIZES[size])
        plain = entry("Pool.imap", few, {"chunksize": 1})._replace(label="Pool.imap(fn, it)")
        pebble = chunked("pebble", few, CHUNKSIZES[size])
        return Group(source, kind, [*entries, pebble, plain], weight=3)
    entries = [entry("map", load), entry("fast_map", load)]
    for label in ("Pool.imap", "ProcessPoolExecutor"):
        entries.append(chunked(label, load, CHUNKSIZES[size][-3:]))
    return Group(source, kind, entries)


def make_groups(size: str) -> list[Group]:
    many = pick(size, 20_000, 200_000, 1_000_000)
    objects = pick(size, 5_000, 50_000, 500_000)
    few = pick(size, 500, 5_000, 50_000)
    pairs = [("range", "int"), ("range", "float"), ("range", "tuple")]
    kinds = pick(size, ["int"], ["int", "dict"], ["int", *MAKERS])
    pairs += [(source, kind) for source in ("list", "generator") for kind in kinds]
    return [
        make_group(size, source, kind, objects if kind in MAKERS else many, few)
        for source, kind in pairs
    ]


def find_targets(results: Results) -> list[Target]:
    def ratio(source: str, kind: str, peer: str, to: str) -> float | None:
        return results.ratio(source, kind, peer, to)

    small = ("float", "tuple")
    own, tuned = "fast_map", "Pool.imap"
    return [
        Target("no-op, range: time over map's", 1.0, ratio("range", "int", own, "map")),
        Target(
            "no-op, range: times faster than Pool.imap(fn, it)",
            300,
            ratio("range", "int", "Pool.imap(fn, it)", own),
            True,
        ),
        Target(
            "no-op, range: times faster than the best chunksize",
            4,
            ratio("range", "int", tuned, own),
            True,
        ),
        Target(
            "small tuples and floats returned: time over map's",
            1.5,
            worst(ratio("range", kind, own, "map") for kind in small),
        ),
        Target(
            "small tuples and floats returned: times faster than tuned Pool.imap",
            4,
            worst((ratio("range", kind, tuned, own) for kind in small), True),
            True,
        ),
        Target("no-op, generator: time over map's", 1.5, ratio("generator", "int", own, "map")),
        Target(
            "no-op, generator: times faster than tuned Pool.imap",
            2.5,
            ratio("generator", "int", tuned, own),
            True,
        ),
    ]


QUESTION = Question(
    "overhead",
    "What does one item cost?",
    """A function that returns its argument, by kind of input and of item. Over a range, "float" and
    "tuple" are what it returns. The time is from the start of the workers to their end, divided by
    the number of items; contenders that take microseconds per item run over fewer. Lists and the
    values that generators hand over exist beforehand.""",
    Plot("dots"),
    make_groups,
    {"tiny": 10, "quick": 25, "standard": 280, "full": 600},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
