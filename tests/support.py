"""Helpers of the tests: memory that workers share, what a process holds, scripts run apart.

The scripts use it too, and so it does without pytest, which takes long to import.
"""

import faulthandler
import gc
import mmap
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import NamedTuple

from fast_map import _forkserver, fast_map

ISOLATED = Path(__file__).with_name("isolated")

# What the installed extension was built with, if whoever runs the tests says so; it is slow then.
SANITIZERS = os.environ.get("FM_SANITIZE", "")
SLOWNESS = 4 if SANITIZERS else 1

# Generous: it only bounds how long a failing test waits, a passing one goes on at once.
PATIENCE = 30.0 * SLOWNESS


def wait_until(condition, timeout=PATIENCE):
    """Poll until condition() is true; False if it has not come true within timeout seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class SharedInts:
    """Integers that this process and the workers forked from it both see; 0 until set.

    Each cell has one writer, so no lock is needed: tests use one cell per item.
    """

    def __init__(self, count=1):
        self._cells = memoryview(mmap.mmap(-1, 8 * count)).cast("q")

    def __getitem__(self, index):
        return self._cells[index]

    def __setitem__(self, index, value):
        self._cells[index] = value

    def number_set(self):
        return sum(1 for value in self._cells if value)

    def wait_for(self, index=0, timeout=PATIENCE):
        if not wait_until(lambda: self._cells[index], timeout):
            raise AssertionError(f"cell {index} was not set within {timeout} s")
        return self._cells[index]

    def wait_for_number(self, number, timeout=PATIENCE):
        if not wait_until(lambda: self.number_set() >= number, timeout):
            raise AssertionError(f"{self.number_set()} cells set, waited for {number}")


class Gate:
    """Tasks block here, using no CPU, until any process opens it.

    It is a pipe that becomes readable and stays so. (Tasks that poll would look busy, and the more
    of them there are, the busier.)
    """

    def __init__(self):
        self._read, self._write = os.pipe()

    def __del__(self):
        os.close(self._read)
        os.close(self._write)

    def open(self):
        os.write(self._write, b"!")

    def hold(self, value=None):
        """An fn that returns its argument, but only once the gate is open."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if not poll.poll(2000 * PATIENCE):
            raise AssertionError("the gate was not opened")
        return value


def meeting(number):
    """An fn that returns, its process id, only once `number` items have been started."""
    present, gate = SharedInts(number), Gate()

    def meet(index):
        present[index] = 1
        if present.number_set() == number:
            gate.open()
        return gate.hold(os.getpid())

    return meet


class RunLog:
    """What became of each item: how often it ran, where its last run was, and in what company.

    `together` is the most items that its process ran at the same time during its last run, itself
    included. An item runs in one place at a time, so each cell has one writer.
    """

    def __init__(self, count):
        self.runs = SharedInts(count)
        self.pids = SharedInts(count)
        self.together = SharedInts(count)
        self._lock = threading.Lock()
        self._here = set()  # what runs in this process

    @contextmanager
    def run(self, item):
        """Around one run of an item: gives the number of the run, from 1."""
        with self._lock:
            self.runs[item] += 1
            self.pids[item] = os.getpid()
            self.together[item] = 0
            self._here.add(item)
            for each in self._here:
                self.together[each] = max(self.together[each], len(self._here))
        yield self.runs[item]
        with self._lock:
            self._here.discard(item)


def identity(value):
    return value


def nap(seconds):
    time.sleep(seconds)
    return seconds


def die(how):
    """End this process without a core file or a dump of its stack; how() may take its time."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    how()
    time.sleep(600)


def die_of(number):
    """End this process by a signal."""
    die(lambda: os.kill(os.getpid(), number))


class Trap:
    """Calls act(*arguments) in whoever pickles or, if step is "decode", unpickles it."""

    def __init__(self, step, act, *arguments):
        self.step, self.act, self.arguments = step, act, arguments

    def __reduce__(self):
        if self.step == "encode":
            self.act(*self.arguments)
        return self.act, self.arguments


def both_ways(values):
    """The values after the way to the workers, through the feeder, and back."""
    return list(fast_map(identity, iter(values)))


def back_only(values):
    """The values after the way back from the workers, which have them by inheritance."""
    return list(fast_map(values.__getitem__, range(len(values))))


def pattern(size):
    """Bytes that differ along the way and from those of another size."""
    unit = struct.pack("<I", size) + bytes(range(251))
    return (unit * (size // len(unit) + 1))[:size]


def drain(iterator):
    """All results up to the end or the first exception, and that exception (or None).

    The exception comes without its own traceback, which would keep the iterator alive.
    """
    results = []
    while True:
        try:
            results.append(next(iterator))
        except StopIteration:
            return results, None
        except BaseException as error:
            return results, error.with_traceback(None)


# What a process holds


class ProcessEntry(NamedTuple):
    pid: int
    name: str
    state: str
    parent: int
    group: int


def processes():
    """Every process that /proc shows, zombies included."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path("/proc", name, "stat").read_text(errors="replace")
            except OSError:
                continue
            head, _, tail = text.rpartition(")")
            state, parent, group = tail.split()[:3]
            comm = head.partition("(")[2]
            found.append(ProcessEntry(int(name), comm, state, int(parent), int(group)))
    return found


def lasting_pids():
    """The fork server's two processes, which live as long as this one."""
    return {_forkserver._server._forkserver_pid, resource_tracker._resource_tracker._pid}


def child_pids():
    """The children of this process, also those that nobody has waited for yet."""
    return frozenset(all_child_pids() - lasting_pids())


def pids_of_two_workers():
    """Those of a map that has ended, in which each of them ran an item."""
    gate = Gate()
    pids = SharedInts(2)

    def note_and_hold(number):
        pids[number] = os.getpid()
        return gate.hold(number)

    results = fast_map(note_and_hold, range(2), procs_limit=2, threads_limit=2)
    pids.wait_for_number(2)
    gate.open()
    assert list(results) == [0, 1]
    assert pids[0] != pids[1]
    return {pids[0], pids[1]}


def all_child_pids():
    try:
        return {pid for thread in os.listdir("/proc/self/task") for pid in children_of(thread)}
    except OSError:  # a thread has just ended, or the kernel has no such file
        return {entry.pid for entry in processes() if entry.parent == os.getpid()}


def children_of(thread):
    """What a thread of this process has forked; /proc as a whole takes 50 times as long to read."""
    return map(int, Path("/proc/self/task", thread, "children").read_text().split())


def running_in_group(group):
    """The processes of a group that still run: an orphan's zombie is init's business."""
    return [entry.pid for entry in processes() if entry.group == group and entry.state not in "ZX"]


def open_descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that listed the folder
    return found


def thread_count():
    return len(os.listdir("/proc/self/task"))


def thread_names(pid="self"):
    """The names that the kernel has for the threads of a process."""
    names = []
    for path in Path("/proc", str(pid), "task").glob("*/comm"):
        with suppress(OSError):  # It has just ended.
            names.append(path.read_text(errors="replace").strip())
    return names


def mappings():
    return Path("/proc/self/maps").read_text(errors="replace").splitlines()


def shared_mappings(lines=None):
    return [line for line in (lines or mappings()) if line.split(maxsplit=2)[1].endswith("s")]


def resident_bytes(pid="self"):
    """Resident memory of a process; 0 for one that has gone."""
    try:
        pages = Path("/proc", str(pid), "statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Footprint(NamedTuple):
    children: frozenset
    descriptors: dict
    threads: int
    shared: int

    @classmethod
    def now(cls):
        return cls(child_pids(), open_descriptors(), thread_count(), len(shared_mappings()))

    def is_within(self, other):
        """Less may be there: numpy's threads end at the first fork."""
        return (
            self.children <= other.children
            and self.descriptors.items() <= other.descriptors.items()
            and self.threads <= other.threads
            and self.shared <= other.shared
        )


@contextmanager
def leaves_nothing(timeout=2.0):
    """What the block started has gone soon after it: processes, descriptors, threads, mappings."""
    before = Footprint.now()
    yield
    wait_until(lambda: Footprint.now().is_within(before), timeout)
    after = Footprint.now()
    assert after.is_within(before), f"there were {before}, and now {after}"


def assert_repeatable_without_growth(action, times=8):
    """Repeating action leaves nothing; a private mapping lost per call would show in the total.

    A few private mappings may come and stay: the allocator keeps arenas, glibc keeps stacks.
    """
    with leaves_nothing():
        action()
    total = len(mappings())
    with leaves_nothing():
        for _ in range(times):
            action()
    assert len(mappings()) < total + times


def kill_leftover_children(before):
    """Children that were not there before and do not go away: their ids, after ending them."""
    if wait_until(lambda: child_pids() <= before, 0.2):
        return []
    gc.collect()  # a test's own cycle (an exception and its frame) may hold an iterator
    wait_until(lambda: child_pids() <= before, 1.0)
    left = sorted(child_pids() - before)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return left


# Scripts in an interpreter of their own


def read_line_of(path):
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return "?"


def describe_thread(folder):
    """Its name, the number and arguments of the system call that it is in, and where there."""
    return " ".join(read_line_of(folder / name) for name in ("comm", "syscall", "wchan"))


def describe_group(group):
    """Where each thread of a group of processes stands, with its C stack where gdb is there."""
    lines = []
    for pid in running_in_group(group):
        threads = sorted(Path(f"/proc/{pid}/task").glob("*"))
        lines += [f"{pid} {folder.name}: {describe_thread(folder)}" for folder in threads]
        if gdb := shutil.which("gdb"):
            command = [gdb, "-nx", "-iex", "set auto-load off", "-batch", "-p", str(pid)]
            command += ["-ex", "thread apply all backtrace 30"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            lines.append(done.stdout)
    return "\n".join(lines)


class Script:
    """A script of tests/isolated, run in its own session, hence its own process group.

    Output is buffered there as in anybody's program: PYTHONUNBUFFERED would hide output that is
    lost or written twice at a fork.
    """

    def __init__(self, name, *arguments, stdin=subprocess.DEVNULL):
        environment = {key: v for key, v in os.environ.items() if key != "PYTHONUNBUFFERED"}
        search = [str(ISOLATED.parent), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, search))
        # Threads are what many of them are about; those of the warning set a filter of their own.
        environment["PYTHONWARNINGS"] = "ignore::DeprecationWarning"
        self._process = subprocess.Popen(
            [sys.executable, str(ISOLATED / name), *map(str, arguments)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
        self.group = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self._process.communicate()

    def read_line(self):
        """The next line, byte by byte: what a buffered reader took would be missing in finish()."""
        line, stream = bytearray(), self._process.stdout.fileno()
        while select.select([stream], [], [], PATIENCE)[0]:
            if (byte := os.read(stream, 1)) in (b"", b"\n"):
                return line.decode()
            line += byte
        raise AssertionError(f"no more output within {PATIENCE} s, after {line}")

    def signal_parent(self, number):
        self._process.send_signal(number)

    def signal_group(self, number):
        """As a terminal does for Ctrl-C: the parent and its workers all get it."""
        os.killpg(self.group, number)

    def is_running(self):
        """Whether the parent is; it does not wait."""
        return self._process.poll() is None

    def wait(self, timeout=PATIENCE):
        """Wait for the parent alone: workers may still have its stdout open. The exit status."""
        with self._told_where_it_hangs():
            return self._process.wait(timeout)

    def finish(self, input=None, timeout=PATIENCE):
        """Wait for the end: (exit status, rest of stdout, stderr)."""
        with self._told_where_it_hangs():
            out, err = self._process.communicate(input, timeout)
        return self._process.returncode, out, err

    @contextmanager
    def _told_where_it_hangs(self):
        try:
            yield
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}:\n{describe_group(self.group)}") from error

    def leaves_no_process(self, timeout=2.0):
        return wait_until(lambda: not running_in_group(self.group), timeout)


def run_script(name, *arguments, input=None, timeout=PATIENCE):
    """Run a script to its end; it must leave no process behind."""
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    with Script(name, *arguments, stdin=stdin) as script:
        outcome = script.finish(input, timeout)
        assert script.leaves_no_process(), f"{name} left {running_in_group(script.group)}"
        return outcome
