"""Coroutine functions: how they are told from others, and the event loops that run them.

The extension calls the functions here; see src/python/coroutines.c. asyncio takes long to import,
and is left alone until there is a coroutine function.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

# How long what coroutines have left behind may take to end when all items are done: the tasks, and
# then the asynchronous generators. See LOOP_MOST in src/python/worker.c.
_GRACE = 0.4

_CO_COROUTINE = 0x80  # inspect's


def is_coroutine_function(fn: Callable[..., Any]) -> bool:
    """Whether calls of fn are to be awaited, by what asyncio says of it or of its __call__."""
    called = fn
    while isinstance(called, functools.partial):
        called = called.func
    candidates = [call for call in (fn, called, type(called).__call__) if _may_be_one(call)]
    if not candidates:
        return False
    import asyncio
    import inspect

    # Up to 3.11 only asyncio's knows a mark; from 3.14 on it is deprecated.
    ask = inspect if sys.version_info >= (3, 14) else asyncio
    return any(map(ask.iscoroutinefunction, candidates))


def _may_be_one(call: Any) -> bool:
    """Whether anything speaks for it."""
    call = call.__func__ if isinstance(call, MethodType) else call
    flags = getattr(getattr(call, "__code__", None), "co_flags", 0)
    marked = hasattr(call, "_is_coroutine_marker") or hasattr(call, "_is_coroutine")
    return marked or bool(flags & _CO_COROUTINE)


def open_event_loop(descriptor: int, take: Callable[[], None]) -> "asyncio.AbstractEventLoop":
    """In a worker: make its event loop, which calls `take` whenever the descriptor is readable."""
    import asyncio

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.add_reader(descriptor, take)
    return loop


def call_in_loop(
    loop: "asyncio.AbstractEventLoop", fn: Callable[..., object], args: tuple[Any, ...]
) -> None:
    """Call fn while the loop runs, and await what it returns if that is possible."""

    async def call() -> None:
        returned = fn(*args)
        if isinstance(returned, Awaitable):
            await returned

    loop.run_until_complete(call())


def close_event_loop(loop: "asyncio.AbstractEventLoop") -> None:
    """End what coroutines have left behind, as asyncio.run does; but nobody waits for it long."""
    with contextlib.suppress(BaseException):
        loop.run_until_complete(_end_leftovers(loop))


async def _end_leftovers(loop: "asyncio.AbstractEventLoop") -> None:
    import asyncio

    tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE)
    await asyncio.wait_for(loop.shutdown_asyncgens(), _GRACE)


def write_stack(descriptor: int, task: "asyncio.Task[Any]") -> None:
    """Write where a task waits, the innermost call first, as faulthandler does for threads."""
    lines = [
        f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n'
        for frame in _awaiting_frames(task)
    ]
    os.write(descriptor, "".join(reversed(lines)).encode(errors="replace"))


def _awaiting_frames(task: Any) -> "Iterator[FrameType]":
    """From the task's own coroutine inwards, also through tasks that it awaits."""
    while hasattr(task, "get_coro"):
        awaited = task.get_coro()
        while awaited is not None:
            frame, awaited = _look_at(awaited)
            if frame is not None:
                yield frame
        task = getattr(task, "_fut_waiter", None)


def _look_at(awaitable: Any) -> tuple[FrameType | None, Any]:
    """The frame of a coroutine or generator, and what it awaits."""
    for kind, awaited in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
        if hasattr(awaitable, awaited):
            return getattr(awaitable, kind + "_frame"), getattr(awaitable, awaited)
    return None, None
