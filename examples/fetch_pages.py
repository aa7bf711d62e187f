"""Download a few hundred pages with blocking urllib requests and count the words of each.

It shows tasks that mostly wait: every request blocks one thread, so many threads are wanted. The
pages come from a small web server on the loopback interface which answers late on purpose. The
example starts it as a process of its own, and it ends together with the example.

Run it with:  python examples/fetch_pages.py [--pages N] [--latency MS] [--concurrency N]
Compare with: python examples/fetch_pages.py --compare
"""

import argparse
import contextlib
import multiprocessing
import multiprocessing.pool
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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

# A proxy that the environment names must not see requests to the loopback interface.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def count_words(url: str) -> Page:
    with OPENER.open(url, timeout=30) as response:
        text = response.read().decode()
    return urllib.parse.urlsplit(url).path, len(text.split())


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


def compare(urls: list[str], concurrency: int) -> int:
    """Time each way of doing the same; 1 if any of them came to other results, else 0."""
    expected, reference, status = None, 0.0, 0
    for name, run in CONTENDERS.items():
        started = time.perf_counter()
        results = run(urls, concurrency)
        seconds = time.perf_counter() - started
        if expected is None:
            expected, reference = results, seconds
        line = f"{name:<16} {seconds:8.2f} s {seconds / reference:8.2f} x fast_map's time"
        if results != expected:
            line += "  RESULTS DIFFER FROM fast_map's"
            status = 1
        print(line, flush=True)
    words = sum(count for _, count in expected or [])
    agreement = "results differ" if status else "all results agree"
    print(f"{len(urls)} pages, {words} words, {agreement}")
    return status


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


class PageHandler(BaseHTTPRequestHandler):
    latency = 0.0  # seconds, on average

    def do_GET(self) -> None:
        number = int(self.path.rpartition("/")[2])
        time.sleep(self.latency * (0.5 + number * 37 % 101 / 100))
        body = page_text(number).encode()
        with contextlib.suppress(ConnectionError):  # the caller may have gone away meanwhile
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class PageServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def serve(latency: float) -> None:
    """Answer requests until standard input ends, which it does when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    PageHandler.latency = latency
    server = PageServer(("127.0.0.1", 0), PageHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


@contextlib.contextmanager
def page_server(latency_ms: int) -> Iterator[str]:
    """Run this file again as the server, and give the address at which it answers."""
    command = [sys.executable, __file__, "--serve", "--latency", str(latency_ms)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        try:
            address = server.stdout.readline().strip() if server.stdout else ""
            if not address:
                sys.exit("the page server did not start")
            yield address
        finally:
            server.terminate()


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
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.latency / 1000)
        return 0
    with page_server(options.latency) as address:
        print(f"pages come from {address}", flush=True)
        urls = [f"{address}/page/{number}" for number in range(options.pages)]
        if options.compare:
            return compare(urls, options.concurrency)
        print_pages(urls, options.concurrency)
    return 0


if __name__ == "__main__":
    sys.exit(main())
