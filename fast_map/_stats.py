"""FastMap.stats(): what a map's time went to, and what holds it up.

The extension counts (src/core/stats.h) and hands the numbers over (src/python/account.c); here they
get names and a verdict.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Times(NamedTuple):
    """Seconds that one thread, or several together, spent.

    Where items are quick, only some are timed, and what they spent stands
    for the others.

    Attributes:
        decode: Unpacking arguments (a worker) or results (the consumer).
        call: In fn; of coroutines, from their starts to their ends, which
            overlap. Of the thread that reads the input: in the caller's
            iterators. It contains what fn itself waits for, also for the
            GIL.
        encode: Packing results (a worker) or arguments (the reader).
        gil: Waiting for the GIL with an item in hand.
        input: Waiting for items (a worker) or for results (the consumer).
        room: Waiting for the consumer to take results, with buffersize or
            buffer_bytes used up.
    """

    decode: float
    call: float
    encode: float
    gil: float
    input: float
    room: float


class ThreadStats(NamedTuple):
    """What one thread did: items that it has run, and its time."""

    items: int
    times: Times


class WorkerStats(NamedTuple):
    """One worker process and those that it replaced, or procs_limit=0.

    Attributes:
        items: Items that it has run.
        cpu: Seconds of CPU time; measured from time to time and at its end.
            0 with procs_limit=0.
        most_threads: The most threads that it had.
        times: Of all its threads together.
        threads: Of each thread; from the 64th on they are counted together
            in the last.
    """

    items: int
    cpu: float
    most_threads: int
    times: Times
    threads: tuple[ThreadStats, ...]


class Stats(NamedTuple):
    """How a map has spent its time until now; str() gives it as a table.

    Attributes:
        items: Results that were taken.
        result_bytes: Their bytes, as they came from the workers.
        argument_bytes: Bytes of the items that were sent to workers; 0
            where they inherit them.
        elapsed: Seconds since the call.
        consumer: The thread that takes results: decode, and waiting for
            results (input).
        reader: The thread that reads the iterables: in them (call), encode,
            room. None where workers inherit the input.
        workers: One for each worker process.
        threads: The most threads that the processes had, all together.
        bound: In a line, what holds this map up: its input, its consumer,
            the CPUs, the GIL, blocking calls with too few threads, or
            serialisation.
    """

    items: int
    result_bytes: int
    argument_bytes: int
    elapsed: float
    consumer: Times
    reader: Times | None
    workers: tuple[WorkerStats, ...]
    threads: int
    bound: str

    def __str__(self) -> str:
        return "\n".join(_describe(self))


_Record = tuple[Any, ...]

# Of the time that could have been spent, from when on something is what holds a map up.
_MOST = 0.5
_CPU_IS_BUSY = 0.8
_SERIALISING = 0.4


def make_stats(
    is_local: bool,
    elapsed: float,
    cpus: int,
    threads_limit: int,
    consumer: _Record,
    reader: _Record | None,
    workers: tuple[tuple[float, int, tuple[_Record, ...]], ...],
) -> Stats:
    """From what the extension counts. A record is items, bytes, and Times; a worker is its CPU
    time, most threads, and their records.
    """
    made = tuple(map(_make_worker, workers))
    stats = Stats(
        items=consumer[0],
        result_bytes=consumer[1],
        argument_bytes=reader[1] if reader else 0,
        elapsed=elapsed,
        consumer=Times(*consumer[2:]),
        reader=Times(*reader[2:]) if reader else None,
        workers=made,
        threads=sum(worker.most_threads for worker in made),
        bound="",
    )
    return stats._replace(bound=_find_bound(stats, is_local, cpus, threads_limit))


def _make_worker(raw: tuple[float, int, tuple[_Record, ...]]) -> WorkerStats:
    cpu, most_threads, records = raw
    threads = tuple(ThreadStats(record[0], Times(*record[2:])) for record in records)
    return WorkerStats(
        items=sum(thread.items for thread in threads),
        cpu=cpu,
        most_threads=most_threads,
        times=_add(thread.times for thread in threads),
        threads=threads,
    )


def _add(times: Iterable[Times]) -> Times:
    return (
        Times(*map(sum, zip(*times, strict=True))) if (times := list(times)) else Times(*[0.0] * 6)
    )


def _find_bound(stats: Stats, is_local: bool, cpus: int, threads_limit: int) -> str:
    if stats.items == 0 and not any(worker.items for worker in stats.workers):
        return "nothing has been finished yet"
    span = max(stats.elapsed, 1e-9)
    work = _add(worker.times for worker in stats.workers)
    processes = max(len(stats.workers), 1)
    busy = work.decode + work.call + work.encode
    # One thread of each process waits for all that are idle there.
    if work.room > _MOST * span * processes:
        return "the consumer: results are taken more slowly than they come"
    if stats.reader is not None and work.input > _MOST * span * processes:
        if stats.reader.encode > stats.reader.call:
            return "serialisation: packing the items takes longer than running them"
        return "the input: the iterable gives items more slowly than they are run"
    if work.decode + work.encode > _SERIALISING * busy:
        return "serialisation: arguments and results take about as long as fn"
    if not is_local and sum(worker.cpu for worker in stats.workers) > (
        _CPU_IS_BUSY * span * processes
    ):
        if processes >= cpus:
            return "the CPUs: all of them are busy"
        return (
            f"the GIL: {processes} of {cpus} CPUs can be used by {processes} process"
            f"{'es' if processes > 1 else ''} (procs_limit)"
        )
    return _describe_blocking(stats, is_local, threads_limit)


def _describe_blocking(stats: Stats, is_local: bool, threads_limit: int) -> str:
    if 0 < threads_limit <= stats.threads:
        return f"blocking calls with too few threads: all {threads_limit} are taken (threads_limit)"
    if is_local:
        return "fn: its calls block, or want the GIL that all threads of a process share"
    return "fn: its calls block, in threads enough, or other programs take the CPUs"


def _describe(stats: Stats) -> Iterable[str]:
    yield (
        f"{stats.items} results, {_size(stats.result_bytes)}, in {stats.elapsed:.3f} s; "
        f"{len(stats.workers)} processes, {stats.threads} threads"
    )
    yield f"bound by {stats.bound}"
    yield f"{'seconds':12}{'items':>10}{'cpu':>9}" + "".join(f"{name:>9}" for name in Times._fields)
    yield _row("consumer", stats.items, None, stats.consumer)
    if stats.reader is not None:
        yield _row("reader", None, None, stats.reader)
    for number, worker in enumerate(stats.workers):
        yield _row(f"worker {number}", worker.items, worker.cpu, worker.times)


def _row(name: str, items: int | None, cpu: float | None, times: Times) -> str:
    shown = f"{'' if items is None else items:>10}{'' if cpu is None else f'{cpu:.3f}':>9}"
    return f"{name:12}{shown}" + "".join(f"{seconds:9.3f}" for seconds in times)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
