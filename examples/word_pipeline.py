"""Download pages, count their words and store the counts in SQLite: three maps in a row.

Each map is the input of the next, so that all three work at once, and none of them reads far ahead
of the last. The pages are the sources of the standard library, from a slow web server on the
loopback interface.

Run it with:  python examples/word_pipeline.py [--database FILE]
Stop early:   python examples/word_pipeline.py --stop-after 5
"""

import argparse
import collections
import contextlib
import re
import sqlite3
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from _common import exit_with, positive
from _local_site import download, local_site

from fast_map import fast_map

SOURCES = Path(sysconfig.get_paths()["stdlib"])


# One function for each map. The second gets what the first returns, and so on.


def fetch(url: str) -> tuple[str, str]:  # waits
    return url.rpartition("/")[2], download(url)


def count_words(page: tuple[str, str]) -> tuple[str, dict[str, int]]:  # computes
    name, text = page
    return name, dict(collections.Counter(re.findall("[a-z]+", text.lower())))


def store(page: tuple[str, dict[str, int]]) -> tuple[str, int]:  # writes
    name, counts = page
    with database:  # a transaction
        rows = [(name, word, count) for word, count in counts.items()]
        database.executemany("INSERT INTO words VALUES (?, ?, ?)", rows)
    return name, sum(counts.values())


def open_database(path: str) -> None:
    """Called once in the worker, on whichever of its threads comes first."""
    global database
    database = sqlite3.connect(path, check_same_thread=False)


def count_and_store(urls: Iterator[str], path: str, stop_after: int | None) -> int:
    """Run the pipeline; the number of pages that came out of it."""
    pages = fast_map(fetch, urls, threads_limit=16, buffersize=16)
    counts = fast_map(count_words, pages, buffersize=16)
    # SQLite has one writer at a time, so there is one process with one thread for it.
    stored = fast_map(
        store, counts, threads_limit=1, buffersize=16, initializer=open_database, initargs=(path,)
    )
    with stored:  # leaving it ends the last map, which ends those before it
        for number, (name, words) in enumerate(stored, 1):
            print(f"{name} {words} words", flush=True)
            if number == stop_after:
                break
    return number


# What the maps work on.


def source_page(path: str) -> str:
    time.sleep(0.02)
    return (SOURCES / path[1:]).read_text(errors="replace")


def create_table(path: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE words (page TEXT, word TEXT, count INTEGER)")


def most_common(path: str) -> list[tuple[str, int]]:
    query = "SELECT word, SUM(count) FROM words GROUP BY word ORDER BY 2 DESC, word LIMIT 5"
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def run(names: list[str], path: str, stop_after: int | None) -> int:
    requested = 0

    def addresses() -> Iterator[str]:
        nonlocal requested
        for name in names:
            requested += 1
            yield f"{address}/{name}"

    started = time.perf_counter()
    with local_site(source_page) as address:
        number = count_and_store(addresses(), path, stop_after)
    print(f"most common: {', '.join(f'{word} {count}' for word, count in most_common(path))}")
    seconds = time.perf_counter() - started
    print(f"{number} pages stored, {requested} of {len(names)} requested, {seconds:.2f} seconds")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Store the word counts of pages in SQLite.")
    parser.add_argument("--database", metavar="FILE", help="keep the counts in this new file")
    parser.add_argument("--stop-after", metavar="N", type=positive, help="leave after N pages")
    options = parser.parse_args(arguments)
    names = sorted(path.name for path in SOURCES.glob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        path = options.database or f"{folder}/words.sqlite"
        try:
            create_table(path)
        except sqlite3.Error as error:
            parser.error(f"cannot create a table in {path!r}: {error}")
        return run(names, path, options.stop_after)


if __name__ == "__main__":
    exit_with(main)
