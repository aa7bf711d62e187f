"""Eight tasks that each wait for a second and then compute, done in about one second.

Run it with:  python examples/basic_usage.py
"""

import time

from fast_map import fast_map


def wait_and_compute(number: int) -> int:
    time.sleep(1)
    total = 0
    for step in range(10**5):
        total += number * step
    return total


def main() -> None:
    started = time.perf_counter()
    for result in fast_map(wait_and_compute, range(8)):
        print(f"{time.perf_counter() - started:5.2f} s  {result}", flush=True)
    print(f"{time.perf_counter() - started:5.2f} s  in total, one after the other takes over 8 s")


if __name__ == "__main__":
    main()
