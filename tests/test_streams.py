"""Streams of every kind: input read in the background, never too far; pipelines that end whole."""

import asyncio
import itertools
import threading
import time

import pytest
from coroutine_functions import identity as identity_later
from markers import time_limit
from support import PATIENCE, identity, leaves_nothing, wait_until

from fast_map import fast_map

KINDS = {
    "ordered": {},
    "unordered": {"ordered": False},
    "threads": {"procs_limit": 0},
    "unordered threads": {"procs_limit": 0, "ordered": False},
    "forkserver": {"start_method": "forkserver"},
    "coroutines": {"fn": identity_later},
    "unordered coroutines": {"fn": identity_later, "ordered": False},
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(params=["for", "async for"])
def take(request):
    """Takes some results of a map and leaves it to its caller."""

    async def take_later(mapped, number):
        return [await anext(mapped) for _ in range(number)]

    def take(mapped, number):
        if request.param == "for":
            return [next(mapped) for _ in range(number)]
        return asyncio.run(take_later(mapped, number))

    return take


def stage(kind, items, **options):
    options = {**kind, **options}
    return fast_map(options.pop("fn", identity), items, **options)


class Endless:
    """Numbers without end: how many were taken, on which threads, and whether they were closed."""

    def __init__(self):
        self.taken, self.threads, self.is_closed = 0, set(), False

    def __iter__(self):
        try:
            for number in itertools.count():
                self.threads.add(threading.get_ident())
                self.taken += 1
                yield number
        finally:
            self.is_closed = True


def settled(number):
    """The value of number() once it has stopped changing for a while."""
    value = None
    while value != (value := number()):
        time.sleep(0.15)
    return value


@pytest.mark.parametrize("buffersize", [1, 7])
def test_an_endless_input_is_read_in_the_background_and_no_further_than_buffersize(
    kind, take, buffersize
):
    source, yielded = Endless(), 0
    with leaves_nothing(), stage(kind, source, buffersize=buffersize) as mapped:
        for number in (0, 5, 20):
            yielded += len(set(take(mapped, number)))
            most = yielded + buffersize
            assert wait_until(lambda most=most: source.taken >= most)
            # One more may be in the feeder's hand, waiting to be admitted.
            assert settled(lambda: source.taken) <= most + 1
        assert yielded == 25
    assert threading.get_ident() not in source.threads
    assert wait_until(lambda: source.is_closed)
    del mapped


def test_a_slow_producer_is_overlapped(kind, tmp_path):
    """Item 0 ends only when item 9 is made, and that when the caller has asked for a result."""

    def make():
        yield from range(9)
        assert asked.wait(PATIENCE)
        nine.touch()
        yield 9

    def hold(number, nine=tmp_path / "nine"):
        assert wait_until(nine.exists)
        return number

    async def hold_later(number, nine=tmp_path / "nine"):
        while not nine.exists():
            await asyncio.sleep(0.01)
        return number

    asked, nine = threading.Event(), tmp_path / "nine"
    with stage({**kind, "fn": hold_later if "fn" in kind else hold}, make()) as mapped:
        with pytest.raises(TimeoutError):
            mapped.next(timeout=0.05)
        asked.set()
        assert sorted(mapped) == list(range(10))


def end_by_close(mapped):
    mapped.close()


def end_by_break(mapped):
    for _ in mapped:
        break


def end_by_error(mapped):
    with pytest.raises(LookupError), mapped:
        raise LookupError


def end_in_a_loop(mapped):
    async def leave():
        async with mapped:
            async for _ in mapped:
                break

    asyncio.run(leave())


def end_by_cancellation(mapped):
    async def consume():
        async for _ in mapped:
            begun.set()

    async def cancel():
        task = asyncio.ensure_future(consume())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])

    begun = asyncio.Event()
    asyncio.run(cancel())


@time_limit(120)
@pytest.mark.parametrize(
    "end", [end_by_close, end_by_break, end_by_error, end_in_a_loop, end_by_cancellation]
)
def test_dropping_the_last_stage_of_a_pipeline_stops_the_first(kind, end):
    source = Endless()
    with leaves_nothing():
        last = stage(kind, stage(kind, stage(kind, source)))
        assert len({next(last) for _ in range(100)}) == 100
        end(last)
        del last
        assert wait_until(lambda: source.is_closed)


def test_dropping_the_last_stage_stops_stages_of_other_kinds():
    source, last = Endless(), None
    with leaves_nothing():
        last = source
        for options in KINDS.values():
            last = stage(options, last)
        assert len({next(last) for _ in range(100)}) == 100
        del last
        assert wait_until(lambda: source.is_closed)
