"""Calls that type checkers accept, and what they know of the results; read, never run."""

import functools
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Literal

from typing_extensions import assert_type

from fast_map import FastMap, fast_map, fast_map_async


def half(number: int) -> float:
    return number / 2


def repeat(text: str, times: int) -> str:
    return text * times


def five(a: int, b: str, c: float, d: bytes, e: bool) -> set[int]:
    return {a}


def options(number: int, *, scale: float = 1.0) -> list[float]:
    return [number * scale]


def maybe(number: int) -> str | None:
    return str(number) if number else None


def first(items: Iterable[bytes]) -> bytes:
    return next(iter(items))


async def fetch(url: str) -> bytes:
    return url.encode()


async def fetch_part(url: str, start: int) -> bytes:
    return url.encode()[start:]


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, number: int) -> complex:
        return complex(number * self.factor)

    def method(self, number: int) -> bytes:
        return bytes(number * self.factor)

    async def later(self, number: int) -> str:
        return str(number)


numbers: list[int] = [1, 2, 3]
texts: list[str] = ["a", "b"]
pairs: list[tuple[str, int]] = [("a", 1)]


def kinds_of_fn(unknown: Callable[..., int]) -> None:
    assert_type(fast_map(half, numbers), FastMap[float])
    assert_type(fast_map(half, range(3)), FastMap[float])
    assert_type(fast_map(half, (number for number in numbers)), FastMap[float])
    assert_type(fast_map(options, numbers), FastMap[list[float]])
    assert_type(fast_map(maybe, numbers), FastMap[str | None])
    assert_type(fast_map(first, [[b"a"], [b"b"]]), FastMap[bytes])
    assert_type(fast_map(lambda number: number + 0.5, numbers), FastMap[float])
    assert_type(fast_map(len, texts), FastMap[int])
    assert_type(fast_map(str.upper, texts), FastMap[str])
    assert_type(fast_map("a".join, [texts]), FastMap[str])
    assert_type(fast_map(Scale, numbers), FastMap[Scale])
    assert_type(fast_map(Scale(2), numbers), FastMap[complex])
    assert_type(fast_map(Scale(2).method, numbers), FastMap[bytes])
    assert_type(fast_map(functools.partial(repeat, "a"), numbers), FastMap[str])
    assert_type(fast_map(unknown, numbers), FastMap[int])


def several_iterables() -> None:
    assert_type(fast_map(repeat, texts, numbers), FastMap[str])
    assert_type(fast_map(lambda a, b: a + b, numbers, [0.5]), FastMap[float])
    assert_type(
        fast_map(lambda a, b, c: (a, b, c), numbers, "a", [b""]), FastMap[tuple[int, str, bytes]]
    )
    assert_type(fast_map(five, numbers, texts, [0.5], [b""], [True]), FastMap[set[int]])


def coroutine_functions() -> None:
    assert_type(fast_map(fetch, texts), FastMap[bytes])
    assert_type(fast_map(fetch_part, texts, numbers), FastMap[bytes])
    assert_type(fast_map(Scale(2).later, numbers), FastMap[str])
    assert_type(fast_map(fetch, texts, return_exceptions=True), FastMap[bytes | BaseException])
    assert_type(fast_map(fetch_part, pairs, star=True), FastMap[bytes])
    assert_type(fast_map(fetch_part, texts, args=(1,)), FastMap[bytes])


def items_as_arguments(star: bool | None, keywords: Mapping[str, float]) -> None:
    assert_type(fast_map(repeat, pairs, star=True), FastMap[str])
    assert_type(fast_map(repeat, pairs, star=star), FastMap[str])
    assert_type(fast_map(repeat, range(3), star=None, args=("a", 1)), FastMap[str])
    assert_type(fast_map(options, [(1, {"scale": 2.0})], kwstar=True), FastMap[list[float]])
    assert_type(fast_map(options, [((1,), {})], star=True, kwstar=True), FastMap[list[float]])
    assert_type(fast_map(repeat, texts, args=[3]), FastMap[str])
    assert_type(fast_map(five, numbers, texts, args=(0.5, b"", True)), FastMap[set[int]])
    assert_type(fast_map(options, numbers, kwargs=keywords), FastMap[list[float]])
    assert_type(fast_map(options, numbers, args=(), kwargs={"scale": 2}), FastMap[list[float]])


def failures_as_results(wanted: bool) -> None:
    assert_type(fast_map(half, numbers, return_exceptions=False), FastMap[float])
    failing = fast_map(str, numbers, return_exceptions=True)
    assert_type(failing, FastMap[str | BaseException])
    for result in failing:
        if not isinstance(result, BaseException):
            assert_type(result, str)
    assert_type(fast_map(half, numbers, return_exceptions=wanted), FastMap[float | BaseException])
    both = fast_map(repeat, texts, numbers, return_exceptions=True)
    assert_type(both, FastMap[str | BaseException])
    starred = fast_map(repeat, pairs, star=True, return_exceptions=True)
    assert_type(starred, FastMap[str | BaseException])


def all_options(method: Literal["fork", "forkserver"]) -> FastMap[float]:
    return fast_map(
        half,
        numbers,
        ordered=False,
        threads_limit=8,
        procs_limit=2,
        buffersize=100,
        buffer_bytes=1_000_000,
        chunksize=4,
        task_timeout=1,
        retries=1,
        initializer=print,
        initargs=["started"],
        max_tasks_per_child=100,
        start_method=method,
        progress="halves",
        total=3,
    )


def nothing_as_option() -> FastMap[float]:
    return fast_map(
        half,
        numbers,
        threads_limit=None,
        procs_limit=None,
        buffersize=None,
        buffer_bytes=None,
        chunksize=None,
        task_timeout=None,
        initializer=None,
        max_tasks_per_child=None,
        total=None,
        tasks_count_estimate=None,
    )


def results() -> None:
    with fast_map(half, numbers) as mapped:
        assert_type(mapped, FastMap[float])
        assert_type(next(mapped), float)
        assert_type(mapped.next(timeout=0.5), float)
        assert_type(mapped.send(None), float)
        assert_type(len(mapped), int)
        assert_type(list(mapped), list[float])
        mapped.close()
    pipeline = fast_map(repeat, fast_map(str, numbers), fast_map(round, [0.5]))
    assert_type(pipeline, FastMap[str])
    assert_type(dict(enumerate(fast_map(fetch, texts))), dict[int, bytes])
    generator: Generator[complex, None, None] = fast_map(half, numbers)
    generator.close()


async def results_in_an_event_loop() -> None:
    async with fast_map(half, numbers) as mapped:
        assert_type(mapped, FastMap[float])
        async for result in mapped:
            assert_type(result, float)
        assert_type(await anext(mapped), float)
        await mapped.aclose()
    assert_type([text async for text in fast_map(fetch, texts)], list[bytes])


def callbacks(take: Callable[[float], object]) -> None:
    thread = fast_map_async(half, numbers, on_result=take, on_done=numbers.clear, retries=1)
    assert_type(thread, threading.Thread)
    fast_map_async(repeat, texts, numbers, on_result=print, on_error=print)
    fast_map_async(fetch, texts, on_result=bytes.upper)
    fast_map_async(half, numbers, on_result=None, on_done=None, on_error=None)


def options_passed_on(**keywords: int) -> FastMap[float]:
    return fast_map(half, numbers, threads_limit=keywords.get("threads"))
