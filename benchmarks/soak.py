"""Kill workers at random while items of all sizes go through, and check every result.

    python benchmarks/soak.py [--items N] [--kills N] [--seconds N] [--seed N] [--procs N]

Maps over generators and over ranges take turns until enough items have come back and enough workers
were killed. With retries nobody may notice: each result comes once, in order, and is right. The
exit status is 0 if that is so, both numbers were reached within the time, and no process is left.
"""

import argparse
import faulthandler
import itertools
import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Iterator

from processes import Process, list_processes

from fast_map import FastMap, WorkerCrashed, fast_map

# Without a result for so long it hangs. A lost item may be run again many times before it comes.
STALL_SECONDS = 30.0
CHECKS_PER_ALARM = 2048

ITEMS_PER_MAP = 40_000
RETRIES = 1_000_000
MEAN_SECONDS_TO_KILL = 0.01

LEAST_LARGE, MOST_LARGE = 100 << 10, 4 << 20
ALPHABET = bytes(range(256))
ROTATED = ALPHABET[7:] + ALPHABET[:7]

# The consumer sleeps for as long, now and then, so that workers are killed when the ring is full.
PAUSE = 0.05
BUFFERSIZES = [None, 4, 64, 1000]


class Failure(Exception):
    """Something that a user would have noticed; its text says what."""


# ---- items ----


def make_value(seed: int, index: int) -> object:
    """The argument of an item: the same whenever and wherever it is asked for."""
    mixed = (index + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03 & (1 << 64) - 1
    mixed ^= mixed >> 31
    kind = mixed % 1000
    if kind < 800:
        return mixed >> 10
    if kind < 900:
        return f"{index}: {mixed:x} " * (1 + (mixed >> 40) % 20)
    if kind < 999:
        return index, mixed / 3, [str(mixed), None], b"-" * (index % 90)
    size = LEAST_LARGE + (mixed >> 20) % (MOST_LARGE - LEAST_LARGE)
    unit = mixed.to_bytes(8, "little") + ALPHABET + b"?"
    return (unit * (size // len(unit) + 1))[:size]


def transform(value: object) -> object:
    """What the workers make of it: every bit of the result depends on the argument."""
    if isinstance(value, bytes):
        return value.translate(ROTATED)
    if isinstance(value, tuple):
        return list(value[::-1])
    return value.upper() if isinstance(value, str) else ~value  # type: ignore[operator]


def work(value: object) -> object:
    """What the workers run: some items block, so that there are many in one process."""
    if isinstance(value, int) and value % 512 == 0:
        time.sleep(0.001 * (value >> 9 & 7))
    return transform(value)


# ---- processes ----


def find_below(ancestor: int) -> list[Process]:
    """Its children and theirs, zombies excluded."""
    alive = [process for process in list_processes() if process.state not in "ZX"]
    children = [process for process in alive if process.parent == ancestor]
    pids = {process.pid for process in children}
    return children + [process for process in alive if process.parent in pids]


def find_workers(parent: int) -> list[int]:
    """Who may be killed. A new process has its parent's name at first: what the nursery has forked
    is a worker whatever its name, what the parent has forked only once it is called one."""
    return [
        process.pid
        for process in find_below(parent)
        if process.parent != parent or process.name.startswith("fm-w")
    ]


def kill_one(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Killer:
    """A process that kills workers of this one at random, and counts them in shared memory."""

    def __init__(self, kills: int, rng: random.Random) -> None:
        self._count = memoryview(mmap.mmap(-1, 8)).cast("q")
        self._parent = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            try:
                self._run(kills, rng)
            finally:
                os._exit(0)

    def _run(self, kills: int, rng: random.Random) -> None:
        while self.count < kills and os.getppid() == self._parent:
            time.sleep(rng.expovariate(1 / MEAN_SECONDS_TO_KILL))
            workers = find_workers(self._parent)
            if workers and kill_one(rng.choice(workers)):
                self._count[0] += 1

    @property
    def count(self) -> int:
        return self._count[0]

    def stop(self) -> None:
        kill_one(self._pid)
        os.waitpid(self._pid, 0)


# ---- the soak ----


class Soak:
    """One map after the other, with a count of what came back."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.seed = options.seed
        self.procs = options.procs
        self.rng = random.Random(self.seed)
        self.items = 0
        self.deadline = time.monotonic() + options.seconds

    def start_map(self, fed: bool, first: int) -> "FastMap[object]":
        indexes = range(first, first + ITEMS_PER_MAP)
        buffersize = self.rng.choice(BUFFERSIZES)
        seed = self.seed
        if fed:
            values: Iterator[object] = (make_value(seed, index) for index in indexes)
            return fast_map(
                work, values, procs_limit=self.procs, buffersize=buffersize, retries=RETRIES
            )
        return fast_map(
            lambda index: work(make_value(seed, index)),
            indexes,
            procs_limit=self.procs,
            buffersize=buffersize,
            retries=RETRIES,
        )

    def check(self, index: int, result: object) -> None:
        expected = transform(make_value(self.seed, index))
        if result != expected:
            raise Failure(f"item {index} gave {result!r:.200}, not {expected!r:.200}")

    def take_breath(self) -> None:
        faulthandler.dump_traceback_later(STALL_SECONDS, exit=True)
        if time.monotonic() > self.deadline:
            raise Failure("the time is over")
        if self.rng.random() < 0.3:
            time.sleep(PAUSE)

    def run_map(self, fed: bool) -> None:
        first = self.items
        end = first + ITEMS_PER_MAP
        with self.start_map(fed, first) as results:
            for result in results:
                if self.items == end:
                    raise Failure(f"a result more than there were items, {result!r:.200}")
                self.check(self.items, result)
                self.items += 1
                if self.items % CHECKS_PER_ALARM == 0:
                    self.take_breath()
        if self.items != end:
            raise Failure(f"the map over items {first} to {end - 1} ended before {self.items}")

    def run(self, items: int, kills: int, killer: Killer) -> None:
        for fed in itertools.cycle([True, False]):
            self.take_breath()
            self.run_map(fed)
            if self.items >= items and killer.count >= kills:
                return


def find_left_over() -> list[Process]:
    """The processes that are still there after some time to end in."""
    deadline = time.monotonic() + 2
    while (left := find_below(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=500_000, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=300, help="at most; default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--procs", type=int, default=None, help="default: the usable CPUs")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    print(f"seed {options.seed}", flush=True)
    start = time.monotonic()
    soak = Soak(options)
    # Forked before the watchdog, which is a thread.
    killer = Killer(options.kills, random.Random(options.seed + 1))
    crashes = 0
    failure = None
    try:
        soak.run(options.items, options.kills, killer)
    except WorkerCrashed as error:
        crashes = 1
        failure = f"{error}, with retries left"
    except Failure as error:
        failure = str(error)
    finally:
        killer.stop()
    seconds = time.monotonic() - start
    left = find_left_over()
    faulthandler.cancel_dump_traceback_later()
    print(f"{soak.items} items, {killer.count} kills, {seconds:.1f} s")
    print(f"{crashes} WorkerCrashed, {len(left)} processes left")
    if failure is not None:
        print(f"failed after {soak.items} items: {failure}")
    return int(failure is not None or bool(left))


if __name__ == "__main__":
    sys.exit(main())
