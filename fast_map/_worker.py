"""What a worker process sets right after the fork, and its output before it ends.

The extension calls these functions; see src/python/worker.c.
"""

import _signal  # type: ignore[import-not-found, unused-ignore]
import contextlib
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_SIGINT = int(signal.SIGINT)
_SIGTERM = int(signal.SIGTERM)
_SIG_DFL = int(signal.SIG_DFL)

# How long a worker waits at its end for what fn has begun in it, in seconds. It is granted 3 s for
# that (FM_FINISH_GRACE_MS).
_FINISH_MOST = 2.0

# What sys.stdin becomes in workers; once there is a map.
_empty_input: io.TextIOWrapper | None = None


def prepare_workers() -> None:
    """In the parent, before the fork: what is buffered goes out, or each process would write it.

    And what each worker would have to make for itself is made here. A new worker shares its pages
    with the parent until one of them writes, so that all that it does first costs many times what
    it would cost later.
    """
    global _empty_input
    if _empty_input is None and sys.stdin is not None:
        # It reads descriptor 0, which is its own in each worker; nothing is read from it here.
        with contextlib.suppress(OSError):
            descriptor = io.BufferedReader(io.FileIO(0, closefd=False))
            _empty_input = io.TextIOWrapper(descriptor, encoding="utf-8")
    flush_output()


def set_up_worker(role: str) -> None:
    """Make a forked copy of the parent, or of the nursery, a worker."""
    set_up_process(role)
    _enter_multiprocessing()


def set_up_process(role: str) -> None:
    """What workers and the nursery have in common: own signals, stdin, randomness and name."""
    # Collecting what was inherited would only write to pages that are shared until then.
    gc.freeze()
    # Not by way of the module signal, which looks up an enumeration's member each time.
    _signal.set_wakeup_fd(-1)
    _signal.signal(_SIGTERM, _SIG_DFL)
    leave_interrupts_to_parent()
    _detach_stdin()
    _leave_greenlets()
    _reseed_numpy()
    _name_process(role)


def leave_interrupts_to_parent() -> None:
    """The parent decides what Ctrl-C ends."""
    # SIG_IGN would do, but programs that fn starts inherit it.
    _signal.signal(_SIGINT, _ignore_interrupt)


def prepare_stack_dump() -> tuple[int, int]:
    """Let a signal make the thread that gets it write its stack, whatever it is doing.

    Returns the descriptor of the file that it is written to, and the signal.
    """
    import faulthandler
    import fcntl

    file = os.memfd_create("fast_map-stack", os.MFD_CLOEXEC)
    # Not in the place of a stderr that the caller has closed.
    descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(file)
    number = int(signal.SIGRTMAX) - 1
    faulthandler.register(number, file=descriptor, all_threads=False)
    return descriptor, number


def find_unfinished(busy: bool) -> Callable[[], None] | None:
    """Return what has to be called before the process ends, which may take a while; mostly None.

    The threads of items that still run are given up with them.
    """
    unfinished = (not busy and _find_threads()) or _has_finalizers() or _find_children()
    return _finish if unfinished else None


def _find_threads() -> list[threading.Thread]:
    """Those that Python itself would wait for, but for threads that it has not started."""
    main = threading.main_thread()
    started = (t for t in threading.enumerate() if not isinstance(t, threading._DummyThread))
    return [thread for thread in started if not thread.daemon and thread is not main]


def _has_finalizers() -> bool:
    util = sys.modules.get("multiprocessing.util")
    return util is not None and any(
        priority is not None for priority, _ in list(util._finalizer_registry)
    )


def _find_children() -> list[Any]:
    process = sys.modules.get("multiprocessing.process")
    return process.active_children() if process is not None else []


def _finish() -> None:
    flush_output()
    finisher = threading.Thread(target=_wait_for_all, daemon=True)
    try:
        finisher.start()
    except RuntimeError:
        _wait_for_all()  # without a thread for it the parent ends what takes too long
        return
    finisher.join(_FINISH_MOST)
    if finisher.is_alive():
        names = [unfinished.name for unfinished in (*_find_threads(), *_find_children())]
        what = ", ".join(names) or "a Queue that nobody reads (read it while the map runs)"
        print(
            f"fast_map: a worker ended, after {_FINISH_MOST:g} s, before what fn had begun in it:"
            f" {what}",
            file=sys.stderr,
        )


def _wait_for_all() -> None:
    """Do what a process of multiprocessing does at its end: wait for threads and executors, pass on
    what was put into queues, give managers' references back, end daemons, wait for processes."""
    threading._shutdown()  # type: ignore[attr-defined]
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._exit_function()


def leave(status: int) -> None:
    """End the process, as multiprocessing's do: what measures coverage has a hook there."""
    flush_output()
    os._exit(status)


def flush_output() -> None:
    """Write out what sys.stdout and sys.stderr have buffered."""
    for stream in (sys.stdout, sys.stderr):
        # The stream may be closed, None, or anything that the caller put there.
        with contextlib.suppress(Exception):
            stream.flush()


def _ignore_interrupt(signum: int, frame: FrameType | None) -> None:
    pass


def _detach_stdin() -> None:
    """Several processes reading one terminal or pipe would steal from each other."""
    if sys.stdin is None:
        return
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        if null != 0:
            os.close(null)
        sys.stdin = _empty_input or os.fdopen(0, closefd=False)


def _leave_greenlets() -> None:
    """gevent's hub has the caller's greenlets too, and would run them here once fn waits.

    It gives the thread a new one when one is needed.
    """
    local = sys.modules.get("gevent._hub_local")
    # A version that has other names for these goes without.
    with contextlib.suppress(AttributeError):
        if local is not None and (hub := local.get_hub_if_exists()) is not None:
            hub.loop.destroy()
            local.set_hub(None)


def _reseed_numpy() -> None:
    """Python's own random is reseeded by its fork hook; numpy's global generator has none."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def _name_process(role: str) -> None:
    """Let multiprocessing.current_process() tell workers from the parent, if it is in use."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        current = process.current_process()
        current._name = f"fast_map-{role}"
        current._parent_pid = os.getppid()
        process._children = set()


def _enter_multiprocessing() -> None:
    """Have multiprocessing's objects take notice of the fork, of which it tells for its own only.

    Its queues, locks and proxies know which process and which threads use them. The proxies count
    the processes, of which only those that leave by way of find_unfinished() are taken off again.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
