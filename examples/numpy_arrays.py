"""Send large NumPy arrays to the workers and get others back, without a copy on arrival.

Each array holds bytes of the standard library's sources. They come from a generator, so that they
are sent (a list would be inherited). An array arrives as a view of memory that both processes
share; it is writable on either side, as no other item uses that memory.

Needs NumPy:  pip install numpy
Run it with:  python examples/numpy_arrays.py [--arrays N] [--megabytes N]
Compare with: python examples/numpy_arrays.py --compare
"""

import argparse
import multiprocessing
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from _common import exit_with, positive

from fast_map import fast_map

try:
    import numpy as np
except ImportError:
    sys.exit("numpy_arrays.py needs NumPy, which is not installed: pip install numpy")


def invert(array: np.ndarray) -> np.ndarray:
    return np.bitwise_not(array, out=array)  # in place: the caller's own array stays as it was


def source_bytes(size: int) -> np.ndarray:
    """That many bytes of real text, over again if there are too few of them."""
    text = b""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= size:
            break
    return np.resize(np.frombuffer(text, dtype=np.uint8), size)


def with_pool(fn: Callable, arrays: Iterable) -> Iterator:
    with multiprocessing.Pool() as pool:
        yield from pool.imap(fn, arrays)


CONTENDERS = {"fast_map": fast_map, "Pool.imap": with_pool}


def measure(name: str, original: np.ndarray, count: int) -> bool:
    """Print how fast that many arrays went there and back; True if all of them are right."""
    started = time.perf_counter()
    right = True
    for result in CONTENDERS[name](invert, (original for _ in range(count))):
        # One byte of each page, so that checking takes little of the time.
        right &= np.array_equal(result[::4096], ~original[::4096])
    seconds = time.perf_counter() - started
    speed = 2 * original.nbytes * count / 1e9 / seconds
    outcome = "results right" if right else "RESULTS WRONG"
    print(f"{name:<10} {speed:6.2f} GB/s {seconds:8.2f} s  {outcome}", flush=True)
    return right


def describe_arrival(original: np.ndarray) -> None:
    """What the result of a single call is, and that it may be changed."""
    result = next(fast_map(invert, iter([original])))
    result += 1
    print(
        f"{original.nbytes / 1e6:.0f} MB each; owns its memory: {result.flags.owndata}, "
        f"writable: {result.flags.writeable}, after += 1 still right: "
        f"{np.array_equal(result, ~original + np.uint8(1))}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Send NumPy arrays to the workers and back.")
    parser.add_argument(
        "--arrays", metavar="N", type=positive, default=50, help="default: %(default)s"
    )
    parser.add_argument(
        "--megabytes", metavar="N", type=positive, default=16, help="each (default: %(default)s)"
    )
    parser.add_argument(
        "--compare", action="store_true", help="measure multiprocessing.Pool.imap as well"
    )
    options = parser.parse_args(arguments)
    original = source_bytes(options.megabytes * 10**6)
    describe_arrival(original)
    names = list(CONTENDERS) if options.compare else ["fast_map"]
    outcomes = [measure(name, original, options.arrays) for name in names]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    exit_with(main)
