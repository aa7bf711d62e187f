"""The process that one contender runs in: it measures what the runner asks for, line by line.

A request names a question's module, what to measure there, the contender with its settings, and
parameters. The reply is a value or an error. Nothing that a library prints gets in between.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from contenders import CONTENDERS, NotInstalled, Start


@dataclass(frozen=True)
class Task:
    """What is mapped: the function, what makes its input, and how many results there must be."""

    fn: Callable[[Any], Any]
    make_input: Callable[[], Iterable[Any]]
    count: int


@lru_cache(maxsize=1)
def make_task(module: str, parameters: str) -> Task:
    """The last one is kept, so that repetitions need not build a large input again."""
    task: Task = importlib.import_module(module).make_task(**json.loads(parameters))
    return task


def time_task(start: Start, task: Task) -> float:
    """Seconds from the start of a contender's workers, over all results, to their end."""
    began = time.perf_counter()
    with start() as run:
        for _ in run(task.fn, task.make_input(), task.count):
            pass
    return time.perf_counter() - began


def rehearse_task(start: Start, task: Task) -> float:
    """The same, but it also counts the results."""
    began = time.perf_counter()
    with start() as run:
        found = sum(1 for _ in run(task.fn, task.make_input(), task.count))
    if found != task.count:
        raise ValueError(f"gave {found} results of {task.count}")
    return time.perf_counter() - began


def measure(request: dict[str, Any]) -> float:
    """By the question's own function, if it names one; what is no contender has no settings."""
    module, parameters, name = request["module"], request["parameters"], request["contender"]
    start: list[Any] = [partial(CONTENDERS[name], **request["settings"])] if name else []
    if request["measure"] is not None:
        own = getattr(importlib.import_module(module), request["measure"])
        return float(own(*start, **parameters))
    act = rehearse_task if request["rehearsal"] else time_task
    return act(start[0], make_task(module, json.dumps(parameters)))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": measure(request)}
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        known = isinstance(error, NotInstalled)
        return {"error": text if known else f"{type(error).__name__}: {text}"}


def main() -> None:
    replies = os.dup(sys.stdout.fileno())
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stdout.fileno())
    os.dup2(silence, sys.stderr.fileno())
    while line := sys.stdin.readline():
        os.write(replies, json.dumps(answer(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    # Questions import Task from here: there must not be two of it.
    sys.modules["host"] = sys.modules["__main__"]
    main()
