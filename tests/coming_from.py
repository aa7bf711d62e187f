"""What the rows of the README's table "Coming from" are about, and how a side of one is run.

It does not import fast_map: the other package of that name is run by it too.
"""

import asyncio
import itertools
import re
import textwrap
import threading
from collections.abc import Iterable


def fn(number):
    return number * number


def fn2(a, b):
    return f"{a}, {b}"


def fails(number):
    if number % 3 == 2:
        raise ValueError(f"not {number}")
    return number


async def co(number):
    return -number


async def co2(a, b):
    return [a, b]


def start(name):
    """An initializer."""


def make_names():
    """What the rows name, anew for each run."""
    got = []
    return {
        "fn": fn,
        "fn2": fn2,
        "fails": fails,
        "co": co,
        "co2": co2,
        "start": start,
        "items": list(range(10)),
        "xs": [1, 2, 3],
        "ys": ["a", "b", "c"],
        "pairs": [(1, "a"), (2, "b"), (3, "c")],
        "keywords": [{"a": 1, "b": 2}, {"b": 3, "a": 4}],
        "calls": [(1, {"b": 2}), (3, {"b": 4})],
        "endless": itertools.count(),
        "islice": itertools.islice,
        "got": got,
        "done": lambda: got.append("done"),
    }


def tell(result, got):
    """The results as text; of exceptions what they say and which item they belong to."""
    if isinstance(result, threading.Thread):
        result.join()
        result = got
    if isinstance(result, str) or not isinstance(result, Iterable):
        return repr(result)
    return repr([describe(each) if isinstance(each, Exception) else each for each in result])


def describe(error):
    return type(error), str(error), getattr(error, "seq_index", None)


def run(setup, code, **names):
    """Evaluate code after setup, or inside it if it is a with statement; the results as text."""
    lines = [setup, f"return tell({code}, got)"]
    if setup.endswith(":"):
        lines[1] = f"    {lines[1]}"
    if module := re.match(r"(?:async )?with (\w+(?:\.[a-z]\w*)*)\.", setup):
        lines.insert(0, f"import {module[1]}")
    is_async = re.search(r"\b(async|await)\b", f"{setup} {code}")
    head = "async def side():\n" if is_async else "def side():\n"
    names = {**make_names(), **names, "tell": tell}
    exec(head + textwrap.indent("\n".join(lines), "    "), names)
    return asyncio.run(names["side"]()) if is_async else names["side"]()
