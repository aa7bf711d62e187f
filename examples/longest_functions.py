"""Find the longest functions of the standard library, with a progress bar.

Each task waits for a slow web server (on the loopback interface) to send a source file, and then
parses it. So threads alone do not help, as they share one CPU, nor do processes alone, as each of
them waits for one file at a time.

Run it with:  python examples/longest_functions.py [--files N] [--latency MS]
Compare with: python examples/longest_functions.py --compare
"""

import argparse
import ast
import functools
import heapq
import multiprocessing
import multiprocessing.pool
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from _common import compare, exit_with, positive
from _local_site import download, local_site

from fast_map import fast_map

SOURCES = Path(sysconfig.get_paths()["stdlib"])
THREADS = 32

Function = tuple[int, str, str]  # lines, name, file


def functions_of(url: str) -> list[Function]:
    source = download(url)  # waits
    tree = ast.parse(source)  # computes
    file = url.split("/", 3)[3]
    return [
        (node.end_lineno - node.lineno + 1, node.name, file)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def print_longest(urls: list[str]) -> None:
    started = time.perf_counter()
    functions: list[Function] = []
    for found in fast_map(functions_of, urls, threads_limit=THREADS, progress="parsing"):
        functions += found
    for lines, name, file in heapq.nlargest(10, functions):
        print(f"{lines:6} lines  {name} in {file}")
    seconds = time.perf_counter() - started
    print(f"{len(urls)} files, {len(functions)} functions, {seconds:.2f} seconds")


def with_fast_map(urls: list[str]) -> list[list[Function]]:
    return list(fast_map(functions_of, urls, threads_limit=THREADS))


def with_pool(urls: list[str]) -> list[list[Function]]:
    with multiprocessing.Pool() as pool:
        return list(pool.imap(functions_of, urls))


def with_thread_pool(urls: list[str]) -> list[list[Function]]:
    with multiprocessing.pool.ThreadPool(THREADS) as pool:
        return list(pool.imap(functions_of, urls))


# Processes are forked before the first thread is started, so the thread pool comes last.
CONTENDERS = {
    "fast_map": with_fast_map,
    "Pool.imap": with_pool,
    "ThreadPool.imap": with_thread_pool,
}


def describe(results: list[list[Function]]) -> str:
    return f"{len(results)} files, {sum(map(len, results))} functions"


def source_files() -> list[str]:
    """Relative to the standard library; without its tests, some of which are no valid Python."""
    paths = (path.relative_to(SOURCES) for path in SOURCES.rglob("*.py"))
    left_out = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
    return sorted(str(path) for path in paths if left_out.isdisjoint(path.parts))


def source_page(latency: float, path: str) -> str:
    time.sleep(latency)
    return (SOURCES / path[1:]).read_text(errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print the longest functions of many files.")
    parser.add_argument(
        "--files", metavar="N", type=positive, default=300, help="default: the first %(default)s"
    )
    parser.add_argument(
        "--latency",
        metavar="MS",
        type=positive,
        default=50,
        help="milliseconds until the server answers (default: %(default)s)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="time fast_map against multiprocessing's Pool.imap and ThreadPool.imap instead",
    )
    options = parser.parse_args(arguments)
    with local_site(functools.partial(source_page, options.latency / 1000)) as address:
        urls = [f"{address}/{name}" for name in source_files()[: options.files]]
        if options.compare:
            return compare(CONTENDERS, urls, describe=describe)
        try:
            print_longest(urls)
        except ImportError as error:  # the bar needs tqdm
            sys.exit(str(error))
    return 0


if __name__ == "__main__":
    exit_with(main)
