"""Imports that other threads are in the middle of, while workers are to be forked.

A worker would have such a module half made, and locked by a thread that is not there, so that to
import it would never end in the worker.
"""

import os
import threading
import time
import weakref
from importlib import _bootstrap
from typing import Any

# How long to wait for an import, in seconds. Some programs run in one as a whole; large libraries
# take some seconds.
_WAIT_MOST = 10.0
_LOOK = 0.005

# The locks of those that took longer, or whose threads are not there.
_given_up: "weakref.WeakSet[Any]" = weakref.WeakSet()


def is_any_under_way() -> bool:
    """Whether another thread imports, and nobody has waited for that in vain."""
    return bool(_find())


def await_those_under_way() -> bool:
    """Wait until other threads have done what they import now; False if that takes too long."""
    # Each import of a name has a lock of its own, unless the last one is kept.
    references = [weakref.ref(lock) for lock in _find()]
    end = time.monotonic() + _WAIT_MOST
    while any(_is_held(reference()) for reference in references):
        if time.monotonic() > end:
            _give_up_all()
            return False
        time.sleep(_LOOK)
    return True


def _find() -> list[Any]:
    # Private names of CPython; without them nothing is waited for.
    references = list(getattr(_bootstrap, "_module_locks", {}).values())
    locks = [lock for reference in references if (lock := reference()) is not None]
    return [lock for lock in locks if _is_held(lock) and lock not in _given_up]


def _is_held(lock: Any) -> bool:
    """By another thread."""
    return getattr(lock, "owner", None) not in (None, threading.get_ident())


def _give_up_all() -> None:
    _given_up.update(_find())


os.register_at_fork(after_in_child=_give_up_all)
