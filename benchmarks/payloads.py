"""How fast do large payloads travel, as results and as arguments?

python benchmarks/payloads.py [--quick]
"""

import mmap
import time
from functools import lru_cache
from itertools import cycle, islice
from typing import Any

import numpy
from contenders import NAMESAKE
from host import Task
from lineup import Load, entry
from results import GB_PER_SECOND, Results, Target
from runner import Entry, Group, Plot, Question, grid, pick, run_question

MIB = 1 << 20
COPY = "ideal: warm memcpy"
PARTS = 4  # arrays in a list
DIFFERENT = 64
PANELS = {
    "results, bytes": ("results", "bytes"),
    "arguments, bytes": ("arguments", "bytes"),
    "results, arrays": ("results", "array"),
    "arguments, arrays": ("arguments", "array"),
    "results, lists of arrays": ("results", "arrays"),
    "arguments, lists of arrays": ("arguments", "arrays"),
}


def make_payload(kind: str, size: int) -> Any:
    if kind == "bytes":
        return bytes(size)
    if kind == "array":
        return numpy.ones(size, numpy.uint8)
    return [numpy.ones(size // PARTS, numpy.uint8) for _ in range(PARTS)]


@lru_cache(maxsize=1)
def make_payloads(kind: str, size: int) -> list[Any]:
    """Different objects: pickle writes what is in a chunk of items twice but once."""
    return [make_payload(kind, size) for _ in range(DIFFERENT if size < MIB else 1)]


def return_payload(what: tuple[str, int, int]) -> Any:
    kind, size, number = what
    payloads = make_payloads(kind, size)
    return payloads[number % len(payloads)]


def make_task(direction: str, kind: str, size: int, count: int) -> Task:
    """The payload exists before the time runs, in the workers by inheritance where they fork."""
    payloads = make_payloads(kind, size)
    if direction == "results":
        return Task(return_payload, lambda: [(kind, size, i) for i in range(count)], count)
    return Task(len, lambda: islice(cycle(payloads), count), count)


def time_copy(size: int, count: int) -> float:
    """The copy alone, into shared memory that was touched before."""
    source = memoryview(bytes(size))
    with mmap.mmap(-1, size) as shared, memoryview(shared) as target:
        target[:] = source
        began = time.perf_counter()
        for _ in range(count):
            target[:] = source
        return time.perf_counter() - began


def make_entries(direction: str, kind: str, size: int, total: int) -> list[Entry]:
    def load(most: int, part: int) -> Load:
        count = max(4 // part, 2, min(total // part // size, most))
        parameters = {"direction": direction, "kind": kind, "size": size, "count": count}
        return Load(parameters, float(count * size))

    many, few = load(100_000, 1), load(2_000, 4)
    copied = {"size": size, "count": many.parameters["count"]}
    chunksizes = grid(chunksize=[1, 16] if size < MIB else [1])
    entries = [
        Entry(COPY, None, copied, many.amount, measure="time_copy"),
        entry("fast_map", many),
        entry("Pool.imap", few, *chunksizes),
    ]
    if kind == "array":
        entries += [
            entry("ProcessPoolExecutor", few, *chunksizes),
            entry("joblib", few),
            entry("mpire", few),
            entry(NAMESAKE, few, {"threads_limit": 2}),
        ]
    return entries


def make_groups(size: str) -> list[Group]:
    sizes = pick(
        size,
        [MIB],
        [1 << 10, 64 << 10, 8 * MIB],
        [1 << 10, 16 << 10, 256 << 10, 2 * MIB, 8 * MIB, 64 * MIB, 256 * MIB],
    )
    total = pick(size, 8 * MIB, 32 * MIB, 512 * MIB, 1024 * MIB)
    panels = dict(list(PANELS.items())[: pick(size, 2, 6, 6)])
    return [
        Group(
            panel,
            each / 1024,
            make_entries(direction, kind, each, total),
            GB_PER_SECOND,
            weight=2 if kind == "array" else 1,
        )
        for panel, (direction, kind) in panels.items()
        for each in sizes
    ]


def find_targets(results: Results) -> list[Target]:
    targets = []
    for panel in ("results, arrays", "arguments, arrays"):
        for to, bound in (("Pool.imap", 8), (COPY, 0.5)):
            measured = results.ratio(panel, 8192.0, "fast_map", to)
            what = f"8 MiB, {panel}: rate over {to.removeprefix('ideal: ')}'s"
            targets.append(Target(what, bound, measured, True))
    return targets


QUESTION = Question(
    "payloads",
    "How fast do large payloads travel?",
    """Bytes, numpy arrays and lists of four of them, that a function returns or is given. Arguments
    come from a generator. What arrives is dropped without a look at it; threads, which hand over a
    reference and copy nothing, are left out. The ideal is a copy in one thread to shared memory
    that has been touched before. Higher is better.""",
    Plot("lines", "KiB per item"),
    make_groups,
    {"tiny": 5, "quick": 20, "standard": 250, "full": 600},
    find_targets,
)

if __name__ == "__main__":
    run_question(QUESTION)
