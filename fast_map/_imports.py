"""Imports that other threads are in the middle of, while workers are to be forked.

A worker would have such a module half made, and locked by a thread that is not there, so that to
import it would never end in the worker. The extension looks for them; see src/python/imports.c.
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

# References to the lock of each import, by its module. A private name of CPython; without it
# nothing is waited for.
locks: dict[str, "weakref.ref[Any]"] = getattr(_bootstrap, "_module_locks", {})

# Those that took longer, or whose threads are not there.
given_up: set["weakref.ref[Any]"] = set()


def await_those_under_way() -> bool:
    """Wait until other threads have done what they import now; False if that takes too long."""
    # Each import of a name has a lock of its own, unless the last one is kept.
    references = _find()
    end = time.monotonic() + _WAIT_MOST
    while any(map(_is_held_by_another, references)):
        if time.monotonic() > end:
            _give_up_all()
            return False
        time.sleep(_LOOK)
    return True


def _find() -> list["weakref.ref[Any]"]:
    return [reference for reference in list(locks.values()) if _is_held_by_another(reference)]


def _is_held_by_another(reference: "weakref.ref[Any]") -> bool:
    return getattr(reference(), "owner", None) not in (None, threading.get_ident())


def _give_up_all() -> None:
    given_up.difference_update([reference for reference in given_up if reference() is None])
    given_up.update(_find())


os.register_at_fork(after_in_child=_give_up_all)
