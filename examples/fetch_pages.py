"""Download a few hundred pages with blocking urllib requests and count the words of each.

It shows tasks that mostly wait: every request blocks one thread, so many threads are wanted. The
pages come from a small web server on the loopback interface which answers late on purpose. The
example starts it as a process of its own, and it ends together with the example.

Run it with:  python examples/fetch_pages.py [--pages N] [--latency MS] [--concurrency N]
Compare with: python examples/fetch_pages.py --compare
"""

import argparse
import functools
import multiprocessing
import multiprocessing.pool
import random
import time
import urllib.parse
from collections.abc import Callable, Sequence

from _common import compare, exit_with
from _local_site import download, local_site

from fast_map import fast_map

VOCABULARY = """
    a after again along and autumn before below boat bridge bright by carries cold corner crosses
    evening field finds garden gate green harbour has heavy her hill his house in into island its
    keeps lamp late leaves letter light little long market morning near never of old on once open
    over path quiet rain river road roof round sea silver slow small snow some stone street sun
    the their then through to tower town under valley very village wall warm water wide wind
    window winter with wood
"""


# The caller's side.

Page = tuple[str, int]


def count_words(url: str) -> Page:
    return urllib.parse.urlsplit(url).path, len(download(url).split())


def print_pages(urls: list[str], concurrency: int) -> None:
    total = 0
    started = time.perf_counter()
    for path, words in fast_map(count_words, urls, threads_limit=concurrency):
        print(f"{path} {words} words", flush=True)
        total += words
    print(f"{len(urls)} pages, {total} words, {time.perf_counter() - started:.2f} seconds")


def with_fast_map(urls: list[str], concurrency: int) -> list[Page]:
    return list(fast_map(count_words, urls, threads_limit=concurrency))


def with_pool(urls: list[str], concurrency: int) -> list[Page]:
    with multiprocessing.Pool() as pool:
        return list(pool.imap(count_words, urls))


def with_thread_pool(urls: list[str], concurrency: int) -> list[Page]:
    with multiprocessing.pool.ThreadPool(concurrency) as pool:
        return list(pool.imap(count_words, urls))


# Processes are forked before the first thread is started, so the thread pool comes last.
CONTENDERS: dict[str, Callable[[list[str], int], list[Page]]] = {
    "fast_map": with_fast_map,
    "Pool.imap": with_pool,
    "ThreadPool.imap": with_thread_pool,
}


def describe(results: list[Page]) -> str:
    return f"{len(results)} pages, {sum(words for _, words in results)} words"


# The server's side.


def page_text(number: int) -> str:
    """Some paragraphs of sentences, always the same ones for the same number."""
    chance = random.Random(number)
    vocabulary = VOCABULARY.split()
    paragraphs = []
    for _ in range(chance.randint(3, 8)):
        sentences = []
        for _ in range(chance.randint(2, 6)):
            words = chance.choices(vocabulary, k=chance.randint(4, 14))
            sentences.append(" ".join(words).capitalize() + ".")
        paragraphs.append(" ".join(sentences))
    return "\n\n".join(paragraphs) + "\n"


def late_page(latency: float, path: str) -> str:
    """The page of the number in which the path ends, after about that many seconds."""
    number = int(path.rpartition("/")[2])
    time.sleep(latency * (0.5 + number * 37 % 101 / 100))
    return page_text(number)


def up_to_1000(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and 1000")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Count the words of pages that a slow local web server sends."
    )
    parser.add_argument(
        "--pages", metavar="N", type=up_to_1000, default=300, help="default: %(default)s"
    )
    parser.add_argument(
        "--latency",
        metavar="MS",
        type=up_to_1000,
        default=50,
        help="milliseconds until the server answers, on average (default: %(default)s)",
    )
    parser.add_argument(
        "--concurrency",
        metavar="N",
        type=up_to_1000,
        default=100,
        help="requests under way at once (default: %(default)s)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="time fast_map against multiprocessing's Pool.imap and ThreadPool.imap instead",
    )
    options = parser.parse_args(arguments)
    with local_site(functools.partial(late_page, options.latency / 1000)) as address:
        print(f"pages come from {address}", flush=True)
        urls = [f"{address}/page/{number}" for number in range(options.pages)]
        if options.compare:
            return compare(CONTENDERS, urls, options.concurrency, describe=describe)
        print_pages(urls, options.concurrency)
    return 0


if __name__ == "__main__":
    exit_with(main)
