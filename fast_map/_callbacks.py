"""fast_map_async: the results go to callbacks, on a thread."""

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from . import _api, _core
from ._checks import check_callable

_numbers = itertools.count(1)


def fast_map_async(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    on_result: Callable[[Any], object] | None = None,
    on_done: Callable[[], object] | None = None,
    on_error: Callable[[BaseException], object] | None = None,
    **options: Any,
) -> threading.Thread:
    """Do what fast_map does on a thread, which hands each result to a callback.

    The arguments are checked and the workers forked before this returns; the
    thread only takes the results. It is no daemon: a program that ends waits
    for it, and for all results.

    Args:
        fn: As for fast_map.
        *iterables: As for fast_map.
        on_result: Called with each result, in order; with ordered=False, as
            they come.
        on_done: Called without arguments after the last result, if there was no
            error.
        on_error: Called with the exception that ended the map: that of an item,
            of an input, of a worker, or one that on_result or on_done raised.
            Nothing is called after it. None: it goes to threading.excepthook,
            as from any thread, which prints it, unless it is SystemExit.
        **options: Those of fast_map.

    Returns:
        The thread that calls the callbacks, started. To stop early, raise in
        on_result.

    Raises:
        What fast_map raises, at the call and in the caller's thread; TypeError
        for a callback that can't be called.

    Example:
        >>> thread = fast_map_async(pow, [1, 2, 3], [2, 2, 2], on_result=print)
        >>> thread.join()
        1
        4
        9
    """
    check_callable("on_result", on_result)
    check_callable("on_done", on_done)
    check_callable("on_error", on_error)
    mapped = _api.fast_map(fn, *iterables, **options)
    thread = threading.Thread(
        target=_run,
        args=(mapped, on_result, on_done, on_error),
        name=f"fast_map_async-{next(_numbers)}",
        daemon=False,
    )
    try:
        thread.start()
    except BaseException:
        mapped.close()
        raise
    return thread


fast_map_async.__module__ = "fast_map"


def _run(
    mapped: "_core.FastMap[Any]",
    on_result: Callable[[Any], object] | None,
    on_done: Callable[[], object] | None,
    on_error: Callable[[BaseException], object] | None,
) -> None:
    try:
        with mapped:
            for result in mapped:
                if on_result is not None:
                    on_result(result)
        if on_done is not None:
            on_done()
    except BaseException as error:
        if on_error is None:
            raise
        on_error(error)
