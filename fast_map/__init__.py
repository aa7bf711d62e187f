"""map() over processes and threads at once.

``fast_map(fn, iterable)`` calls ``fn`` on each item in worker processes,
each with a pool of threads, and yields the results in order while they
arrive::

    from fast_map import fast_map

    for page in fast_map(download_and_parse, urls):
        ...

See ``help(fast_map.fast_map)``.
"""

import importlib.util as _util
import sys as _sys

if not _sys.platform.startswith("linux") or _sys.implementation.name != "cpython":
    raise ImportError("fast_map runs on CPython under Linux only: it needs fork, futex and pidfd.")

if _util.find_spec("fast_map._core") is None:
    raise ImportError(
        f"the extension of fast_map is not in {__path__[0]}, which looks like its source: "
        "run Python from another folder, or build it in place with pip install -e ."
    )

from ._api import fast_map
from ._callbacks import fast_map_async
from ._core import FastMap
from ._errors import RemoteError, RemoteTraceback, TaskTimeout, WorkerCrashed
from ._stats import Stats

__all__ = [
    "FastMap",
    "RemoteError",
    "RemoteTraceback",
    "Stats",
    "TaskTimeout",
    "WorkerCrashed",
    "fast_map",
    "fast_map_async",
]


def __getattr__(name: str) -> str:
    # The version stands in pyproject.toml; reading it back costs too much for every import.
    if name == "__version__":
        from importlib.metadata import version

        return version("fast_map")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
