"""Calls that type checkers refuse: an error on each line that ends in "refused", on no other."""

from fast_map import FastMap, fast_map, fast_map_async


def half(number: int) -> float:
    return number / 2


def repeat(text: str, times: int) -> str:
    return text * times


async def fetch(url: str) -> bytes:
    return url.encode()


numbers = [1, 2, 3]
texts = ["a", "b"]

# What fn takes
fast_map(half, texts)  # refused
fast_map(fetch, numbers)  # refused
fast_map(str.upper, numbers)  # refused
fast_map(len, numbers)  # refused
fast_map(half, [1, None])  # refused
fast_map(repeat, numbers, texts)  # refused
fast_map(repeat, texts, texts)  # refused

# How many arguments
fast_map(repeat, texts)  # refused
fast_map(half, numbers, numbers)  # refused
fast_map(repeat, texts, numbers, numbers)  # refused
fast_map(lambda: 1, numbers)  # refused
fast_map(repeat, [("a", 1)])  # refused
fast_map(repeat, [("a", 1)], star=False, threads_limit="2")  # refused
fast_map()  # refused
fast_map(half)  # refused
fast_map(fn=half, iterable=numbers)  # refused

# What is no function, and what no iterable
fast_map("half", numbers)  # refused
fast_map(None, numbers)  # refused
fast_map(half, 3)  # refused
fast_map(half, None)  # refused
fast_map(half, list)  # refused
fast_map(repeat, texts, 3)  # refused
fast_map(repeat, 3, star=True)  # refused

# Options
fast_map(half, numbers, thread_limit=2)  # refused
fast_map(half, numbers, timeout=2)  # refused
fast_map(half, numbers, threads_limit="2")  # refused
fast_map(half, numbers, procs_limit=1.5)  # refused
fast_map(half, numbers, buffersize=[1])  # refused
fast_map(half, numbers, buffer_bytes="1M")  # refused
fast_map(half, numbers, chunksize=b"1")  # refused
fast_map(half, numbers, task_timeout="1s")  # refused
fast_map(half, numbers, retries=None)  # refused
fast_map(half, numbers, ordered=None)  # refused
fast_map(half, numbers, return_exceptions="yes")  # refused
fast_map(half, numbers, initializer="print")  # refused
fast_map(half, numbers, initargs=1)  # refused
fast_map(half, numbers, max_tasks_per_child="1")  # refused
fast_map(half, numbers, start_method="spawn")  # refused
fast_map(half, numbers, start_method="fork".upper())  # refused
fast_map(half, numbers, progress=1)  # refused
fast_map(half, numbers, total="3")  # refused
fast_map(half, numbers, tasks_count_estimate=1.5)  # refused
fast_map(repeat, [("a", 1)], star="yes")  # refused
fast_map(repeat, [("a", 1)], star=True, kwstar=None)  # refused
fast_map(repeat, [("a", 1)], star=True, thread_limit=2)  # refused
fast_map(repeat, texts, texts, star=True)  # refused
fast_map(repeat, texts, texts, kwstar=True)  # refused
fast_map(repeat, texts, args=1)  # refused
fast_map(repeat, texts, args=None)  # refused
fast_map(repeat, texts, kwargs=[("times", 1)])  # refused
fast_map(repeat, texts, kwargs={1: 2})  # refused

# Callbacks
fast_map_async(half, numbers, on_result=3)  # refused
fast_map_async(half, numbers, on_done="done")  # refused
fast_map_async(half, 3)  # refused

# What is yielded
as_int: FastMap[int] = fast_map(half, numbers)  # refused
as_coroutine: FastMap[str] = fast_map(fetch, texts)  # refused
without_failures: FastMap[float] = fast_map(half, numbers, return_exceptions=True)  # refused
fast_map(half, fast_map(fetch, texts))  # refused
fast_map(half, numbers).send(1)  # refused
fast_map(half, numbers).next(timeout="1")  # refused
with fast_map(half, numbers) as mapped:
    mapped.finish()  # refused
