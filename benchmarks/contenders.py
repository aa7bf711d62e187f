"""Those who compete: each one as a context manager that gives run(fn, items, count) -> results.

Entering starts what the contender keeps between two maps (a pool, say), leaving ends it. Libraries
are imported when their contender starts, so that only those that run must be installed.
"""

import concurrent.futures
import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

Function = Callable[[Any], Any]
Run = Callable[[Function, Iterable[Any], int], Iterable[Any]]
Start = Callable[..., AbstractContextManager[Run]]

CPUS = len(os.sched_getaffinity(0))
# Where peers.py installs the package of PyPI that has our name.
NAMESAKE_FOLDER = Path(__file__).resolve().parent / "peers"


class NotInstalled(Exception):
    """A contender that this environment does not have."""


def import_peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotInstalled("not installed") from error


def is_namesake(module: Any) -> bool:
    return NAMESAKE_FOLDER in Path(module.__file__).resolve().parents


@contextmanager
def builtin_map() -> Iterator[Run]:
    yield lambda fn, items, count: map(fn, items)


@contextmanager
def fast_map(**options: Any) -> Iterator[Run]:
    module = import_peer("fast_map")
    if is_namesake(module):
        raise NotInstalled("the package of PyPI hides it")
    yield lambda fn, items, count: module.fast_map(fn, items, **options)


@contextmanager
def namesake(threads_limit: int | None = None) -> Iterator[Run]:
    """The pure-Python fast_map; it asks for an estimate where the input has no length."""
    module = import_peer("fast_map")
    if not is_namesake(module):
        raise NotInstalled("not installed")
    yield lambda fn, items, count: module.fast_map(
        fn, items, threads_limit=threads_limit, tasks_count_estimate=count
    )


@contextmanager
def pool_imap(workers: int = CPUS, chunksize: int = 1) -> Iterator[Run]:
    with multiprocessing.Pool(workers) as pool:
        yield lambda fn, items, count: pool.imap(fn, items, chunksize)


@contextmanager
def pool_imap_unordered(workers: int = CPUS, chunksize: int = 1) -> Iterator[Run]:
    with multiprocessing.Pool(workers) as pool:
        yield lambda fn, items, count: pool.imap_unordered(fn, items, chunksize)


@contextmanager
def process_executor(workers: int = CPUS, chunksize: int = 1) -> Iterator[Run]:
    with concurrent.futures.ProcessPoolExecutor(workers) as executor:
        yield lambda fn, items, count: executor.map(fn, items, chunksize=chunksize)


@contextmanager
def thread_executor(workers: int = CPUS) -> Iterator[Run]:
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        yield lambda fn, items, count: executor.map(fn, items)


@contextmanager
def joblib(
    workers: int = CPUS, backend: str = "loky", batch_size: int | str = "auto"
) -> Iterator[Run]:
    """Its processes outlive the map by themselves: only the first one starts any."""
    module = import_peer("joblib")
    with module.Parallel(
        workers, backend, return_as="generator", batch_size=batch_size
    ) as parallel:
        call = module.delayed
        yield lambda fn, items, count: parallel(call(fn)(item) for item in items)


@contextmanager
def mpire(workers: int = CPUS, method: str = "fork", chunk_size: int = 1) -> Iterator[Run]:
    """It would unpack items that are tuples or dicts into arguments unless they are wrapped."""
    wrap = import_peer("mpire.utils").make_single_arguments
    with import_peer("mpire").WorkerPool(workers, start_method=method) as pool:
        yield lambda fn, items, count: pool.imap(
            fn, wrap(items), iterable_len=count, chunk_size=chunk_size
        )


@contextmanager
def pebble(workers: int = CPUS, chunksize: int = 1) -> Iterator[Run]:
    with import_peer("pebble").ProcessPool(workers) as pool:
        yield lambda fn, items, count: pool.map(fn, items, chunksize=chunksize).result()


NAMESAKE = "fast_map of PyPI"
# Only the first of their maps starts processes, which later ones find there.
KEEP_WORKERS = ("joblib",)
CONTENDERS: dict[str, Start] = {
    "map": builtin_map,
    "fast_map": fast_map,
    "Pool.imap": pool_imap,
    "Pool.imap_unordered": pool_imap_unordered,
    "ProcessPoolExecutor": process_executor,
    "ThreadPoolExecutor": thread_executor,
    "joblib": joblib,
    "mpire": mpire,
    "pebble": pebble,
    NAMESAKE: namesake,
}
