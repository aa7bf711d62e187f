"""Crawl a site breadth first with coroutines in the workers, and async for outside.

In each worker an event loop runs many requests at once and looks for links in what they bring.
Links that are new go into a queue, and the queue is what the map reads: results come in the order
of the queue, so the crawl is breadth first. The site is the standard library's documentation as
pydoc renders it, which the example itself serves on the loopback interface.

Needs aiohttp or httpx: pip install aiohttp
Run it with:  python examples/crawl_site.py [--pages N] [--client {aiohttp,httpx}]
"""

import argparse
import asyncio
import html.parser
import importlib
import importlib.util
import pydoc
import queue
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from _common import exit_with, positive
from _local_site import local_site

from fast_map import fast_map

PACKAGES = ["collections", "concurrent", "html", "json", "logging", "xml"]


# What runs in the workers. A session is made once in each, at its first request.

session: Any = None


async def get_with_aiohttp(url: str) -> tuple[int, str]:
    global session
    if session is None:
        import aiohttp

        session = aiohttp.ClientSession()
    async with session.get(url) as response:
        return response.status, await response.text()


async def get_with_httpx(url: str) -> tuple[int, str]:
    global session
    if session is None:
        import httpx

        session = httpx.AsyncClient(trust_env=False)
    response = await session.get(url)
    return response.status_code, response.text


CLIENTS = {"aiohttp": get_with_aiohttp, "httpx": get_with_httpx}


class LinkParser(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attributes if name == "href" and value]


def same_site_links(url: str, text: str) -> list[str]:
    """Each address once, in the order of the page and without the part after the #."""
    parser = LinkParser()
    parser.feed(text)
    absolute = (urllib.parse.urldefrag(urllib.parse.urljoin(url, link))[0] for link in parser.links)
    site = urllib.parse.urljoin(url, "/")
    return list(dict.fromkeys(link for link in absolute if link.startswith(site)))


async def visit(url: str, get: Callable) -> tuple[str, int, list[str]]:
    status, text = await get(url)
    return url, status, same_site_links(url, text)


# The caller's side.


async def crawl(start: str, client: str, most: int | None) -> None:
    started = time.perf_counter()
    addresses: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # None ends it
    addresses.put(start)
    seen = {start}
    visited = missing = 0
    async with fast_map(visit, iter(addresses.get, None), args=(CLIENTS[client],)) as pages:
        async for url, status, links in pages:
            new = [link for link in links if link not in seen]
            seen.update(new)
            for link in new:
                addresses.put(link)
            visited += 1
            missing += status != 200
            print(f"{status} {urllib.parse.urlsplit(url).path} {len(new)} new links", flush=True)
            if visited in (len(seen), most):
                addresses.put(None)
                break
    seconds = time.perf_counter() - started
    print(f"{visited} pages, {missing} missing, {seconds:.2f} seconds with {client}")


# The site: a page of pydoc for each module of a few packages.


def render(name: str) -> str:
    module = importlib.import_module(name)
    return pydoc.html.page(pydoc.describe(module), pydoc.html.document(module, name))


def render_site() -> dict[str, str]:
    """The pages by path. What those packages import does not have a page, but is linked to."""
    for name in PACKAGES:
        importlib.import_module(name)
    names = sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES)
    pages = {
        f"/{name}.html": page for name, page in zip(names, fast_map(render, names), strict=True)
    }
    pages["/"] = "".join(f'<a href="{name}.html">{name}</a>\n' for name in PACKAGES)
    return pages


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Crawl a site breadth first.")
    parser.add_argument("--pages", metavar="N", type=positive, help="leave after N pages")
    parser.add_argument("--client", choices=CLIENTS, help="default: whichever is installed")
    options = parser.parse_args(arguments)
    wanted = [options.client] if options.client else list(CLIENTS)
    installed = [name for name in wanted if importlib.util.find_spec(name)]
    if not installed:
        parser.error(f"needs {' or '.join(wanted)}: pip install {wanted[0]}")
    with local_site(render_site().get) as address:
        asyncio.run(crawl(f"{address}/", installed[0], options.pages))
    return 0


if __name__ == "__main__":
    exit_with(main)
