"""The public function: it checks its arguments and leaves the rest to the extension."""

import atexit
import operator
import os
import sys
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sized
from typing import Any, Literal

from . import _core
from ._checks import (
    check_arguments,
    check_bool,
    check_choice,
    check_fn,
    check_initializer,
    check_int,
    check_keywords,
    check_limit,
    check_local,
    check_procs,
    check_seconds,
    check_star,
    check_total,
)
from ._coroutines import is_coroutine_function
from ._progress import check_progress, make_bar
from ._signature import declared

Generator.register(_core.FastMap)

# A process that was forked has arrays of its own to write to, like all else that it inherits, and
# none of the extension's threads.
os.register_at_fork(after_in_child=_core.enter_fork)

# Not a WeakSet: its callback is Python code, and would be the first to run after a map was dropped.
# A Ctrl-C that came meanwhile would be raised there, where it is lost.
_running: "set[weakref.ref[_core.FastMap[Any]]]" = set()
_watches_exit = False


@declared
def fast_map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    star: bool | None = False,
    kwstar: bool = False,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    ordered: bool = True,
    threads_limit: int | None = None,
    procs_limit: int | None = None,
    buffersize: int | None = None,
    buffer_bytes: int | None = None,
    chunksize: int | None = None,
    return_exceptions: bool = False,
    task_timeout: float | None = None,
    retries: int = 0,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    max_tasks_per_child: int | None = None,
    start_method: Literal["fork", "forkserver"] = "fork",
    progress: bool | str = False,
    total: int | None = None,
    tasks_count_estimate: int | None = None,
) -> _core.FastMap[Any]:
    """Call fn on each item in processes and threads; yield results in order.

    Like the builtin map, with several iterables fn gets one argument of each,
    and the shortest ends it. Work starts at the call. Worker processes are
    forked, one for each usable CPU; in each a pool of threads grows as long as
    the calls block and the CPU is idle. So fn may sleep, wait for the network,
    compute, or all of it. If fn is a coroutine function (async def), each
    worker runs an event loop instead, and in it many items at once.

    Args:
        fn: What to call. It reaches the workers by fork and need not be
            picklable. Its calls are awaited if asyncio.iscoroutinefunction or,
            from 3.14 on, inspect.iscoroutinefunction says so of it, of what a
            functools.partial calls, or of its class's __call__. An ordinary
            function that returns a coroutine does not count.
        *iterables: The input, one or more. Lists, tuples and ranges reach the
            workers by fork; any other iterable, also an infinite one, is read
            in the background, and its items are sent. Results are sent back:
            what is no plain number, string or small container of such must be
            picklable.
        star: False: an item is fn's argument. True: an item is an iterable of
            fn's arguments. None: an item is no argument. With True and None
            there is one iterable.
        kwstar: True: items bring keyword arguments along. An item is a pair
            then, of its argument (star=False) or arguments (star=True) and a
            mapping of its keywords; with star=None it is the mapping alone.
            There is one iterable.
        args: Arguments that follow the item's own in each call.
        kwargs: Keyword arguments of each call (a mapping); an item's own
            override them.
        ordered: True: results come in the order of the input. False: each comes
            as soon as it is there, so that a slow item holds up nothing but
            itself.
        threads_limit: Most threads over all processes, at least 1; of a
            coroutine function, most coroutines. None: as many threads as the
            calls can use, up to one per item; as many coroutines as buffersize
            admits.
        procs_limit: Most worker processes. None: the CPUs that this process may
            use by affinity and cgroup quota; workers are not pinned to one of
            them, which is left to the system. There are never more than items
            or threads_limit. 0: none, but threads of this process: nothing is
            sent, items and results are the objects themselves and an exception
            the one that was raised. A thread can't be ended: one that is in fn
            when the map is closed, or the interpreter exits, leaves when fn
            returns, if it ever does; until then it keeps fn and the input.
            Nobody waits longer than a moment for it. Coroutine functions need a
            process.
        buffersize: Most items taken from the input and not yet yielded, at
            least 1. It also bounds how many can run at once. None: 32,768.
        buffer_bytes: Most bytes of arguments and results that lie in shared
            memory at once, at least 1; who wants to add more waits. The item
            that is next in the order is always let through, so that one larger
            than all of it can pass. Arrays that you were given count no more.
            None: 256 MiB. With procs_limit=0 nothing lies there.
        chunksize: Items that a thread takes at a time, at least 1. It changes
            nothing but speed: each result still comes as soon as it is there.
            None: one where items block or are slow, many where they are quick.
        return_exceptions: True: an item that fails yields its exception, as an
            object, in its place, and the stream goes on. False: the exception
            is raised there.
        task_timeout: Seconds, more than 0, that one item may run. An item that
            runs longer gives TaskTimeout in its place, which says where it was.
            Its process is ended, whatever it is doing, and replaced; what else
            ran there is run again. None: no limit. Not with procs_limit=0.
        retries: How often, at least 0, an item is run again whose worker
            process died. It is run alone in a new process, so that an item
            which kills its process harms no other. It may have run in part
            before. With procs_limit=0 no process can die, and none is.
        initializer: Called with initargs once in each worker process, before
            its first item. If it raises, every item of that process gives that
            exception in its place. With procs_limit=0 it is called in each
            thread. If fn is a coroutine function it is called in the event
            loop, and may be one too.
        initargs: Arguments of initializer.
        max_tasks_per_child: Items, at least 1, after which a worker process
            ends and a new one takes its place: for functions that leak. None: a
            process runs as many as there are. Not with procs_limit=0.
        start_method: "fork": workers are forked from this process.
            "forkserver": they are forked from a clean process that never had
            this one's threads and locks, which the standard library's fork
            server provides. Then fn, args, kwargs, initializer and initargs are
            sent, by pickle or, where that can't, by cloudpickle if it is
            installed; all input is read in the background and sent; and a
            script must start its work below if __name__ == "__main__":. The
            first such call starts the server, which takes about 0.1 seconds.
        progress: True, or a description: tqdm draws a bar on stderr, or in a
            notebook, while the results are taken or waited for. It counts items
            that are finished, also those that wait for one before them. Where
            stderr is no terminal it is a line every ten seconds and at the end.
            Needs pip install 'fast_map[progress]'.
        total: Number of items that the bar shows, at least 0. None: the input's
            length, if it has one. It changes nothing else.
        tasks_count_estimate: Another name of total.

    Returns:
        A FastMap: a generator over the results, and an asynchronous iterator.
        Closing it, dropping it or leaving its with block ends the workers.

    Raises:
        TypeError: An argument is not of the type that is said here, or total
            was given under both names.
        ValueError: A limit is out of range, star or kwstar is given with
            several iterables, or start_method is neither of the two, or
            procs_limit=0 comes with an option that needs processes.
        ImportError: A bar is wanted, and tqdm is not installed.
        OSError: The system grants no process, or no shared memory.
        pickle.PicklingError, pickle.UnpicklingError: With "forkserver", fn or
            what goes with it can't be sent.

    Warns:
        DeprecationWarning: This process has other threads when it is forked, as
            from os.fork: what locks they hold stay locked in the workers.
            start_method="forkserver" is the way out.

    What fn raises is raised in the item's place in the order, with the worker's
    traceback as its cause and the item's position as its seq_index; with that
    the generator is finished. An exception from an input's iterator follows the
    results of all items before it. A worker that dies gives WorkerCrashed in
    the place of what it was running.

    Coroutines run in tasks of a new event loop on the worker's main thread, of
    the kind that the event loop policy makes (so by uvloop, where that is
    installed as the policy), and in copies of the caller's context. What one
    raises, CancelledError and SystemExit included, belongs to its item. One
    that blocks its loop holds up the others of its process. Tasks that it
    leaves behind are cancelled when all items are done.

    In an event loop, asyncio's or another that has add_reader, use async for:
    the loop goes on while it waits, and gets a turn every few milliseconds
    where results are always there. If the task is cancelled while it waits for
    a result, that ends the map; so asyncio.timeout() and wait_for() around one
    result end it too. async with and aclose() end the map without blocking the
    loop, as its regular end does; dropping it, as break does, may block for the
    moment that the workers need.

    Example:
        >>> def area(width, height):
        ...     return width * height
        >>> list(fast_map(area, [1, 2, 3], [10, 20, 30]))
        [10, 40, 90]
    """
    check_fn(fn)
    if not iterables:
        raise TypeError("fast_map() needs at least one iterable after fn")
    coroutines = is_coroutine_function(fn)
    procs = check_procs(procs_limit)
    if procs == 0:
        check_local(coroutines, task_timeout, max_tasks_per_child, start_method)
        # As a fork would see them, whatever becomes of the lists meanwhile.
        iterables = tuple(tuple(it) if type(it) is list else it for it in iterables)
    check_progress(progress)
    shown_total = check_total(total, tasks_count_estimate)
    _watch_exit()
    mapped = _core.start(
        fn,
        iterables,
        length=_length(iterables),
        star=check_star(star, kwstar, len(iterables)),
        kwstar=kwstar,
        args=check_arguments("args", args),
        kwargs=check_keywords("kwargs", kwargs),
        initializer=check_initializer(initializer, coroutines),
        initargs=check_arguments("initargs", initargs),
        threads_limit=check_limit("threads_limit", threads_limit),
        procs_limit=procs,
        buffersize=check_limit("buffersize", buffersize),
        buffer_bytes=check_limit("buffer_bytes", buffer_bytes),
        chunksize=check_limit("chunksize", chunksize),
        max_tasks_per_child=check_limit("max_tasks_per_child", max_tasks_per_child),
        retries=check_int("retries", retries, 0),
        task_timeout=check_seconds("task_timeout", task_timeout),
        return_exceptions=check_bool("return_exceptions", return_exceptions),
        ordered=check_bool("ordered", ordered),
        coroutines=coroutines,
        remote=check_choice("start_method", start_method, ("fork", "forkserver")) != "fork",
    )
    _running.add(weakref.ref(mapped, _running.discard))
    if progress is not False:
        _show_progress(mapped, progress, shown_total)
    return mapped


fast_map.__module__ = "fast_map"


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
    """End what still runs when the interpreter exits, before threads are taken from under it.

    Threads that are no daemons have ended by then: they get all of their results.
    """
    global _watches_exit
    if sys.is_finalizing():
        raise RuntimeError("fast_map() cannot start workers: the interpreter is exiting")
    if not _watches_exit:
        atexit.register(_end_all)
        _watches_exit = True


def _end_all() -> None:
    for reference in list(_running):
        mapped = reference()
        if mapped is not None:
            mapped._shut_down()
    _core.await_threads()
