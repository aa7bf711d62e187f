"""What the benchmarks share: alternating repetitions, medians, ratios, and a table.

Repetitions of all contenders alternate within one run, so that whatever else the machine does meets
all of them; what is quoted is the ratio of medians.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping


def parse_repetitions(description: str | None, default: int = 7) -> int:
    """Repetitions of each contender, from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repetitions", type=int, default=default, help="default: %(default)s")
    return max(1, parser.parse_args().repetitions)


def measure(contenders: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each contender over alternating repetitions, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if repetition > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def print_machine() -> None:
    """One line about where the figures come from."""
    cpus = len(os.sched_getaffinity(0))
    print(f"CPython {platform.python_version()}, Linux {platform.release()}, {cpus} CPUs")


def print_table(title: str, per_item: Mapping[str, float], reference: str) -> None:
    """Nanoseconds per item, and how many times `reference` each contender takes."""
    print(f"\n{title}")
    width = max(map(len, per_item))
    for name, seconds in per_item.items():
        ratio = seconds / per_item[reference]
        print(f"  {name:{width}}  {seconds * 1e9:12,.0f} ns/item  {ratio:10.2f} x {reference}")
