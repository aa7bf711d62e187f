"""What does the number of worker processes do, on the CPUs that there are?

python benchmarks/process_count.py [--quick]
"""

from break_even import make_task
from lineup import CHUNKSIZES, Load, entry
from runner import Entry, Group, Plot, Question, grid, pick, run_question
from workload import Calibration

SHORT, LONG = "a function that does nothing", "a function that takes 20 us"
# The host makes tasks here.
__all__ = ["make_task"]


def make_entries(load: Load, workers: int, chunksizes: list[int]) -> list[Entry]:
    chunked = grid(workers=[workers], chunksize=chunksizes)
    return [
        entry("map", load),
        entry("fast_map", load, {"procs_limit": workers}),
        entry("Pool.imap", load, *chunked),
        entry("Pool.imap_unordered", load, *chunked),
        entry("ProcessPoolExecutor", load, *chunked),
    ]


def make_groups(size: str) -> list[Group]:
    counts = pick(size, [1, 2], [1, 4, 32], [1, 2, 4, 8, 16, 32])
    many = pick(size, 10_000, 100_000, 1_000_000)
    few = pick(size, 500, 5_000, 50_000)
    short = Load({"steps": 0, "count": many}, many)
    long = Load({"steps": Calibration().steps_for(20e-6), "count": few}, few)
    groups = []
    for panel, load, chunksizes in (
        (SHORT, short, list(CHUNKSIZES[size][-2:])),
        (LONG, long, [16, 256] if size != "tiny" else [16]),
    ):
        for workers in counts:
            groups.append(Group(panel, workers, make_entries(load, workers, chunksizes)))
    return groups


QUESTION = Question(
    "process_count",
    "What does the number of processes do?",
    """A list of numbers, and a function that counts them down, over more and more worker processes
    on the CPUs that there are. The time includes their start and end.""",
    Plot("lines", "worker processes"),
    make_groups,
    {"tiny": 5, "quick": 10, "standard": 100, "full": 300},
)

if __name__ == "__main__":
    run_question(QUESTION)
