"""What one item costs: a function that returns its argument, by kind of input and contender.

    python benchmarks/overhead.py [--repetitions N]

Slow contenders run over fewer items, and the time is divided by their number.
"""

import multiprocessing
from collections.abc import Callable, Iterable

from runner import measure, parse_repetitions, print_machine, print_table

from fast_map import fast_map

ITEMS = 1_000_000
FEW_ITEMS = 20_000


def identity(value: object) -> object:
    return value


def exhaust(results: Iterable[object]) -> None:
    for _ in results:
        pass


def pool_imap(make_input: Callable[[int], Iterable[object]], items: int, chunksize: int) -> None:
    with multiprocessing.Pool() as pool:
        exhaust(pool.imap(identity, make_input(items), chunksize=chunksize))


def compare(title: str, make_input: Callable[[int], Iterable[object]], repetitions: int) -> None:
    """Measure all contenders over one kind of input and print the table."""
    runs: dict[str, tuple[Callable[[], None], int]] = {
        "map": (lambda: exhaust(map(identity, make_input(ITEMS))), ITEMS),
        "fast_map": (lambda: exhaust(fast_map(identity, make_input(ITEMS))), ITEMS),
        "Pool.imap": (lambda: pool_imap(make_input, FEW_ITEMS, 1), FEW_ITEMS),
    }
    for chunksize in (256, 1024, 4096):
        name = f"Pool.imap, chunksize={chunksize}"
        runs[name] = (lambda size=chunksize: pool_imap(make_input, ITEMS, size), ITEMS)
    medians = measure({name: run for name, (run, _) in runs.items()}, repetitions)
    per_item = {name: medians[name] / items for name, (_, items) in runs.items()}
    print_table(title, per_item, "map")


def main() -> None:
    repetitions = parse_repetitions(__doc__)
    print_machine()
    compare("a range of integers", range, repetitions)
    compare("a generator of integers", lambda n: (i for i in range(n)), repetitions)


if __name__ == "__main__":
    main()
