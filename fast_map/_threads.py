"""What the extension's own threads take over from the thread that called, and from threading; and
their names.

The extension calls these functions; see src/python/context.c, worker.c and local.c.
"""

import contextlib
import contextvars
import sys
import threading


def capture_context() -> contextvars.Context:
    """Return a copy of the current context, with nothing in it that the caller may still change."""
    context = contextvars.copy_context()
    context.run(_own_decimal_context)
    return context


def begin_thread() -> None:
    """Make a new thread independent of others in its context, and traced as threading's are."""
    _own_decimal_context()
    if (profile := threading.getprofile()) is not None:
        sys.setprofile(profile)
    if (trace := threading.gettrace()) is not None:
        sys.settrace(trace)


def _own_decimal_context() -> None:
    """decimal's context is one object, which would change for all contexts that share it."""
    decimal = sys.modules.get("decimal")
    # It may be there in part only, while another thread imports it.
    with contextlib.suppress(AttributeError):
        if decimal is not None:
            decimal.setcontext(decimal.getcontext().copy())


def name_worker_thread(worker: int, number: int) -> None:
    """Give a thread of a worker process a name that Python knows too.

    What fn starts in it is no daemon by itself, as in the main thread.
    """
    thread = threading.current_thread()
    thread.name = f"fast_map-worker-{worker}-thread-{number}"
    thread._daemonic = False  # type: ignore[attr-defined]


def name_local_thread(number: int) -> None:
    """Name a thread that the extension has started in the caller's process."""
    threading.current_thread().name = f"fast_map-thread-{number}"


def forget_local_thread() -> None:
    """Have threading forget the thread, as it would only from CPython 3.13 on."""
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]
