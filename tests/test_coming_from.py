"""Each row of the README's table "Coming from": our call gives what theirs gives."""

import ast
import functools
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from coming_from import run
from markers import time_limit
from support import SANITIZERS, Script

from fast_map import fast_map, fast_map_async

ROOT = Path(__file__).parents[1]
NAMESAKE = "fast_map==0.3.1"  # the last one in Python; installed beside ours it would replace it

INSTALL_TIMEOUT = 30
THEIR_TIMEOUT = 40
pytestmark = [
    time_limit(INSTALL_TIMEOUT + THEIR_TIMEOUT + 20),
    pytest.mark.skipif(SANITIZERS != "", reason="it is about what others do"),
]


class Row(NamedTuple):
    setup: str
    theirs: str
    ours: str

    def __str__(self):
        return f"{self.library}: {self.theirs}"

    @property
    def library(self):
        return re.match(r"(?:async with|with|from) (\w+)", self.setup)[1]

    @property
    def our_setup(self):
        return self.setup if self.library == "fast_map" else "pass"

    def tidy(self, text):
        return sorted(ast.literal_eval(text)) if "ordered=False" in self.ours else text


def read_table():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| from \| there \| here \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    setup = None
    for line in table[1].splitlines():
        codes = [re.findall("`(.+?)`", cell) for cell in line.strip("|").split("|")]
        (setup,), (theirs,), (ours,) = (codes[0] or [setup]), codes[1], codes[2]
        yield Row(setup, theirs, ours)


ROWS = list(read_table())


class PlainMap:
    """What fast_map() gives, by nothing but calls in a row."""

    def __init__(self, fn, *iterables, return_exceptions=False, **options):
        groups = zip(*iterables, strict=False)
        self._results = self._call_each(fn, groups, return_exceptions, **options)

    @classmethod
    def _call_each(cls, fn, groups, return_exceptions, star=False, kwstar=False, args=(), **_):
        for index, group in enumerate(groups):
            values, keywords = group, {}
            if kwstar:
                values, keywords = ((), *group) if star is None else group[0]
                values = (values,) if star is False else values
            elif star:
                (values,) = group
            try:
                yield cls._call(fn, *values, *args, **keywords)
            except Exception as error:
                assert return_exceptions
                error.seq_index = index
                yield error

    @staticmethod
    def _call(fn, *args, **kwargs):
        result = fn(*args, **kwargs)
        if not hasattr(result, "send"):
            return result
        with pytest.raises(StopIteration) as end:  # of a coroutine that waits for nothing
            result.send(None)
        return end.value.value

    def __iter__(self):
        return self._results

    async def __aiter__(self):
        for result in self._results:
            yield result

    def next(self, timeout):
        return next(self._results)


def plain_map_async(fn, *iterables, on_result, on_done):
    def call_back():
        for result in map(fn, *iterables):
            on_result(result)
        on_done()

    thread = threading.Thread(target=call_back)
    thread.start()
    return thread


@functools.cache
def our_results(row):
    names = {"fast_map": fast_map, "fast_map_async": fast_map_async}
    return row.tidy(run(row.our_setup, row.ours, **names))


def their_results(rows):
    """In one process, as they have the same setup: importing some libraries takes long."""
    calls = [row.theirs for row in rows]
    with Script("other_library.py", rows[0].setup, *calls) as script:
        status, out, err = script.finish(timeout=THEIR_TIMEOUT)
    if missing := re.search("^not here: (.*)", err, re.MULTILINE):
        pytest.skip(missing[1])
    assert status == 0, err
    return out.splitlines()[-len(rows) :]


@pytest.fixture(scope="session")
def namesake_folder(tmp_path_factory):
    """Where the package of PyPI that has our name is."""
    folder = ROOT / "benchmarks" / "peers"  # as benchmarks/peers.py has it
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("namesake")
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "--retries", "0"]
        command += ["--target", str(folder), NAMESAKE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"{NAMESAKE} can't be installed: {error}")
    return folder


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_gives_what_plain_calls_give(row):
    names = {"fast_map": PlainMap, "fast_map_async": plain_map_async}
    assert our_results(row) == row.tidy(run("pass", row.ours, **names))


@pytest.mark.parametrize("setup", dict.fromkeys(row.setup for row in ROWS))
def test_rows_give_what_the_other_library_gives(setup, request, monkeypatch):
    rows = [row for row in ROWS if row.setup == setup]
    if rows[0].library == "fast_map":
        monkeypatch.setenv("PYTHONPATH", str(request.getfixturevalue("namesake_folder")))
    for row, theirs in zip(rows, their_results(rows), strict=True):
        assert our_results(row) == row.tidy(theirs), row


def test_the_table_has_all_libraries():
    assert {row.library for row in ROWS} == {
        "aiomultiprocess",
        "asyncio",  # for asyncioeval, which is no package but a script
        "concurrent",
        "fast_map",
        "joblib",
        "mpire",
        "multiprocessing",
        "parmapper",
        "pebble",
        "streamexecutors",
        "tqdm",
    }
