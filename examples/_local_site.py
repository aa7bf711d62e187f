"""A web server on the loopback interface, in a process of its own, for examples that need one."""

import contextlib
import multiprocessing
import signal
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A proxy that the environment names must not see requests to the loopback interface.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def download(url: str) -> str:
    with OPENER.open(url, timeout=30) as response:
        return response.read().decode()


@contextlib.contextmanager
def local_site(page: Callable[[str], str | None]) -> Iterator[str]:
    """Give the address of a site that answers with page(path), or with 404 where that is None."""
    with Site(page) as site:
        address = f"http://127.0.0.1:{site.server_port}"
        # A daemon ends when this process exits; serve() ends when this process is killed.
        server = multiprocessing.get_context("fork").Process(
            target=serve, args=(site,), daemon=True
        )
        server.start()
    try:
        yield address
    finally:
        server.terminate()
        server.join()


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, page: Callable[[str], str | None]) -> None:
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.page = page


class PageHandler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        text = self.server.page(urllib.parse.unquote(self.path))
        body = ("no such page\n" if text is None else text).encode()
        kind = "text/html" if self.path.endswith(".html") else "text/plain"
        with contextlib.suppress(ConnectionError):  # the caller may have gone away meanwhile
            self.send_response(404 if text is None else 200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(site: Site) -> None:
    """Answer requests until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=site.serve_forever, daemon=True).start()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
