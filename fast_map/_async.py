"""FastMap in an event loop: what its awaitables do in steps.

The extension makes these coroutines; see src/python/async.c. While one runs, nobody else can use
the map.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

from . import _core

_Wait = tuple[int, float]


async def take(mapped: "_core.FastMap[Any]") -> Any:
    """The next result, where it is not there yet or the loop should have a turn first."""
    asyncio.get_running_loop()  # Without one, nothing happens to the map.
    try:
        await asyncio.sleep(0)
        await _wait(mapped._arm)
        return mapped._take()
    except GeneratorExit:
        # Nobody awaits this any more, the loop may be closed.
        mapped._finish()
        raise
    except BaseException:
        await end(mapped)
        raise


async def end(mapped: "_core.FastMap[Any]") -> None:
    """End the map as close() does, and let the loop run until the workers are gone."""
    try:
        await _wait(mapped._end)
    except GeneratorExit:
        mapped._finish()
        raise
    mapped._finish()


async def fail(mapped: "_core.FastMap[Any]", error: BaseException) -> NoReturn:
    await end(mapped)
    raise error


async def enter(mapped: "_core.FastMap[Any]") -> "_core.FastMap[Any]":
    return mapped


async def _wait(look: Callable[[], _Wait | None]) -> None:
    while (wait := look()) is not None:
        await _readable(*wait)


async def _readable(descriptor: int, most: float) -> None:
    """Wait until the descriptor is readable, or for that many seconds; 0 for any number."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    timer = loop.call_later(most, _wake, readable) if most else None
    loop.add_reader(descriptor, _wake, readable)
    try:
        await readable
    finally:
        if timer is not None:
            timer.cancel()
        if not loop.is_closed():
            loop.remove_reader(descriptor)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
