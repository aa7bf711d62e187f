"""The public function: it checks its arguments and leaves the rest to the extension."""

import operator
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Sized
from typing import Any, Literal, get_args

from . import _core
from ._progress import check_progress, make_bar

Generator.register(_core.FastMap)

_StartMethod = Literal["fork", "forkserver"]

_running: "weakref.WeakSet[_core.FastMap[Any]]" = weakref.WeakSet()
_watches_exit = False


def fast_map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    threads_limit: int | None = None,
    procs_limit: int | None = None,
    buffersize: int | None = None,
    buffer_bytes: int | None = None,
    task_timeout: float | None = None,
    retries: int = 0,
    return_exceptions: bool = False,
    start_method: _StartMethod = "fork",
    progress: bool | str = False,
    total: int | None = None,
    tasks_count_estimate: int | None = None,
) -> "_core.FastMap[Any]":
    """Call fn on each item in worker processes and threads; yield the results in order.

    Like the builtin map, with several iterables fn gets one argument of each, and the shortest
    ends it. Work starts at the call. Worker processes are forked, one for each usable CPU; in each
    a pool of threads grows as long as the calls block and the CPU is idle. So fn may sleep, wait
    for the network, compute, or all of it.

    Args:
        fn: What to call. It reaches the workers by fork and need not be picklable.
        *iterables: The input, one or more. Lists, tuples and ranges reach the workers by fork;
            any other iterable, also an infinite one, is read in the background, and its items
            are sent. Results are sent back: what is no plain number, string or small container of
            such must be picklable.
        threads_limit: Most threads over all processes, at least 1. None: as many as the calls can
            use, up to one per item.
        procs_limit: Most worker processes, at least 1. None: the CPUs that this process may use
            by affinity and cgroup quota. There are never more than items or threads_limit.
        buffersize: Most items taken from the input and not yet yielded, at least 1. It also bounds
            how many can run at once. None: 32,768.
        buffer_bytes: Most bytes of arguments and results that lie in shared memory at once, at
            least 1; who wants to add more waits. The item that is next in the order is always let
            through, so that one larger than all of it can pass. Arrays that you were given count
            no more. None: 256 MiB.
        task_timeout: Seconds, more than 0, that one item may run. An item that runs longer gives
            TaskTimeout in its place, which says where it was. Its process is ended, whatever it is
            doing, and replaced; what else ran there is run again. None: no limit.
        retries: How often, at least 0, an item is run again whose worker process died. It is run
            alone in a new process, so that an item which kills its process harms no other. It may
            have run in part before.
        return_exceptions: True: an item that fails yields its exception, as an object, in its
            place, and the stream goes on. False: the exception is raised there.
        start_method: "fork": workers are forked from this process. "forkserver": they are forked
            from a clean process that never had this one's threads and locks, which the standard
            library's fork server provides. Then fn is sent, by pickle or, where that can't, by
            cloudpickle if it is installed; all input is read in the background and sent; and a
            script must start its work below if __name__ == "__main__":. The first such call
            starts the server, which takes about 0.1 seconds.
        progress: True, or a description: tqdm draws a bar on stderr, or in a notebook, while the
            results are taken or waited for. It counts items that are finished, also those that
            wait for one before them. Where stderr is no terminal it is a line every ten seconds
            and at the end. Needs pip install fast_map[progress].
        total: Number of items that the bar shows, at least 0. None: the input's length, if it has
            one. It changes nothing else.
        tasks_count_estimate: Another name of total.

    Returns:
        A FastMap: a generator over the results, and an asynchronous iterator. Closing it, dropping
        it or leaving its with block ends the workers.

    Raises:
        TypeError: fn is not callable, there is no iterable or one that is not iterable, a limit is
            not an int, return_exceptions is not a bool, progress neither a bool nor a str, or
            total was given under both names.
        ValueError: A limit is out of range, or start_method is neither of the two.
        ImportError: A bar is wanted, and tqdm is not installed.
        OSError: The system grants no process, or no shared memory.
        pickle.PicklingError, pickle.UnpicklingError: With "forkserver", fn can't be sent.

    Warns:
        DeprecationWarning: This process has other threads when it is forked, as from os.fork: what
            locks they hold stay locked in the workers. start_method="forkserver" is the way out.

    What fn raises is raised in the item's place in the order, with the worker's traceback as its
    cause and the item's position as its seq_index; with that the generator is finished. An
    exception from an input's iterator follows the results of all items before it. A worker that
    dies gives WorkerCrashed in the place of what it was running.

    In an event loop, asyncio's or another that has add_reader, use async for: the loop goes on
    while it waits, and gets a turn every few milliseconds where results are always there. If the
    task is cancelled while it waits for a result, that ends the map; so asyncio.timeout() and
    wait_for() around one result end it too. async with and aclose() end the map without blocking
    the loop, as its regular end does; dropping it, as break does, may block for the moment that the
    workers need.

    Example:
        >>> def area(width, height):
        ...     return width * height
        >>> list(fast_map(area, [1, 2, 3], [10, 20, 30]))
        [10, 40, 90]
    """
    if not callable(fn):
        raise TypeError(f"fast_map() argument 1 must be callable, not {type(fn).__name__!r}")
    if not iterables:
        raise TypeError("fast_map() needs at least one iterable after fn")
    threads = _check_limit("threads_limit", threads_limit)
    procs = _check_limit("procs_limit", procs_limit)
    buffered = _check_limit("buffersize", buffersize)
    buffered_bytes = _check_limit("buffer_bytes", buffer_bytes)
    retried = _check_int("retries", retries, 0)
    timeout = _check_timeout(task_timeout)
    if not isinstance(return_exceptions, bool):
        kind = type(return_exceptions).__name__
        raise TypeError(f"return_exceptions must be True or False, not {kind!r}")
    if start_method not in get_args(_StartMethod):
        raise ValueError(f"start_method must be 'fork' or 'forkserver', not {start_method!r}")
    check_progress(progress)
    shown_total = _choose_total(total, tasks_count_estimate)
    _watch_exit()
    mapped = _core.start(
        fn,
        iterables,
        _length(iterables),
        threads,
        procs,
        buffered,
        buffered_bytes,
        retried,
        timeout,
        return_exceptions,
        start_method == "forkserver",
    )
    _running.add(mapped)
    if progress is not False:
        _show_progress(mapped, progress, shown_total)
    return mapped


fast_map.__module__ = "fast_map"


def _check_limit(name: str, value: int | None) -> int:
    """The limit as the extension takes it: 0 for none."""
    return 0 if value is None else _check_int(name, value, 1, " or None")


def _check_int(name: str, value: int, least: int, also: str = "") -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int{also}, not bool")
    try:
        number = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{name} must be an int{also}, not {kind!r}") from None
    if not least <= number <= sys.maxsize:
        raise ValueError(f"{name} must be from {least} to {sys.maxsize}{also}, not {number}")
    return number


def _check_timeout(value: float | None) -> float:
    """The timeout as the extension takes it: 0 for none."""
    if value is None:
        return 0.0
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(f"task_timeout must be a number of seconds or None, not {value!r}")
    try:
        seconds = float(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"task_timeout must be a number of seconds or None, not {kind!r}") from None
    if not seconds > 0:
        raise ValueError(f"task_timeout must be more than 0 seconds or None, not {value!r}")
    return seconds


def _choose_total(total: int | None, estimate: int | None) -> int | None:
    if total is not None and estimate is not None:
        raise TypeError("total and tasks_count_estimate are the same: give one of them")
    if total is not None:
        return _check_int("total", total, 0, " or None")
    if estimate is not None:
        return _check_int("tasks_count_estimate", estimate, 0, " or None")
    return None


def _show_progress(mapped: "_core.FastMap[Any]", progress: bool | str, total: int | None) -> None:
    """After the fork, so that no worker has a copy of what the bar writes."""
    try:
        if total is None and (length := operator.length_hint(mapped, -1)) >= 0:
            total = length
        show = make_bar(progress, total)
    except BaseException:
        mapped.close()
        raise
    if show is not None:
        mapped._set_progress(show)


def _length(iterables: tuple[Iterable[Any], ...]) -> int:
    """The number of items, or -1 if an input does not tell."""
    length = sys.maxsize
    for iterable in iterables:
        if not isinstance(iterable, Sized):
            return -1
        try:
            length = min(length, len(iterable))
        except (TypeError, OverflowError):
            return -1
    return length


def _watch_exit() -> None:
    """End what still runs when the interpreter exits, before threads are taken from under it."""
    global _watches_exit
    if not _watches_exit:
        # The public atexit runs only after all threads were joined, and a thread may be waiting
        # for one of our results. concurrent.futures uses the same hook.
        threading._register_atexit(_end_all)  # type: ignore[attr-defined]
        _watches_exit = True


def _end_all() -> None:
    for mapped in list(_running):
        mapped._shut_down()
