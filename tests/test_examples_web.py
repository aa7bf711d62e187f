"""The programs in examples/ that fetch pages from a site which they serve themselves."""

import os
import re
import signal
import socket
import time
import urllib.parse
from pathlib import Path

import pytest
from example_programs import (
    EXAMPLES,
    PYTHON,
    RUN_TIMEOUT,
    check_refusal,
    contenders,
    lines_of_success,
    read_page,
    run_disorderly,
    run_example,
    run_without,
    site_of,
    started,
)

pytestmark = pytest.mark.timeout(90)


# A proxy at which nobody answers, and which therefore must not be asked.
DEAD_PROXY = {
    "http_proxy": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "no_proxy": "",
}


# fetch_pages.py


def count_words_of_served_pages(count: int, cwd: Path) -> list[int]:
    with site_of("fetch_pages", "lambda path: late_page(0, path)", cwd) as address:
        texts = [read_page(f"{address}/page/{number}")[1] for number in range(count)]
    return [len(re.findall(r"[A-Za-z]+", text)) for text in texts]


def test_fetch_pages_with_its_defaults(tmp_path):
    result = run_example("fetch_pages.py", cwd=tmp_path, env={**os.environ, **DEAD_PROXY})
    lines = lines_of_success(result)
    counts = count_words_of_served_pages(300, tmp_path)
    assert len(set(counts)) > 50
    assert re.fullmatch(r"pages come from http://127\.0\.0\.1:\d+", lines[0])
    assert lines[1:-1] == [f"/page/{n} {count} words" for n, count in enumerate(counts)]
    summary = re.fullmatch(r"300 pages, (\d+) words, (\d+\.\d\d) seconds", lines[-1])
    assert summary, lines[-1]
    assert int(summary[1]) == sum(counts)
    assert float(summary[2]) < 7.5  # on an idle machine 0.5, one after the other 15


def test_fetch_pages_compares_in_agreement(tmp_path):
    arguments = ["--pages", "40", "--latency", "20", "--compare"]
    lines = lines_of_success(run_example("fetch_pages.py", *arguments, cwd=tmp_path))
    assert contenders(lines[1:-1]) == ["fast_map", "Pool.imap", "ThreadPool.imap"]
    words = sum(count_words_of_served_pages(40, tmp_path))
    assert lines[-1] == f"40 pages, {words} words, all results agree"


def test_fetch_pages_notices_results_that_differ(tmp_path):
    arguments = ["--pages", "4", "--latency", "1", "--compare"]
    result = run_disorderly("fetch_pages", *arguments, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stdout.count("RESULTS DIFFER") == 2
    assert result.stdout.endswith(", results differ\n")


@pytest.mark.parametrize("option", ["--pages", "--latency", "--concurrency"])
@pytest.mark.parametrize("value", ["0", "-1", "1001", "many"])
def test_fetch_pages_refuses_bad_arguments(option, value, tmp_path):
    result = run_example("fetch_pages.py", option, value, cwd=tmp_path)
    assert result.returncode == 2
    assert option in result.stderr.splitlines()[-1]
    assert value in result.stderr.splitlines()[-1]


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_fetch_pages_server_ends_with_its_parent(number, tmp_path):
    arguments = ["--pages", "1000", "--latency", "1000", "--concurrency", "2"]
    command = [*PYTHON, EXAMPLES / "fetch_pages.py", *arguments]
    # A test run in the background may have been told to ignore Ctrl-C; the example shall not be.
    heed_interrupts = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with started(command, tmp_path, **heed_interrupts) as process:
        url = urllib.parse.urlsplit(process.stdout.readline().split()[-1])
        assert process.stdout.readline().startswith("/page/0 ")
        assert answers(url.hostname, url.port)
        process.send_signal(number)
        process.wait(timeout=RUN_TIMEOUT)
        assert process.returncode == -number
        deadline = time.monotonic() + 10
        while answers(url.hostname, url.port):
            assert time.monotonic() < deadline, "the server outlived the example"
            time.sleep(0.05)


# crawl_site.py


def crawl_one_by_one(address: str) -> list[str]:
    """What the example prints of each page, by a loop over regular expressions."""
    lines, known = [], ["/"]
    for path in known:  # which grows meanwhile
        status, text = read_page(f"{address}{path}")
        links = [link.split("#")[0] for link in re.findall(r'href="([^"]*)"', text)]
        here = ["/" if link == "." else f"/{link}" for link in links if link and ":" not in link]
        new = [link for link in dict.fromkeys(here) if link not in known]
        known += new
        lines.append(f"{status} {path} {len(new)} new links")
    return lines


@pytest.fixture(scope="module")
def crawled_lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crawl")
    with site_of("crawl_site", "render_site().get", folder) as address:
        return crawl_one_by_one(address)


@pytest.mark.parametrize("client", ["aiohttp", "httpx"])
def test_crawl_site_visits_all_pages_breadth_first(client, crawled_lines, tmp_path):
    pytest.importorskip(client)
    env = {**os.environ, **DEAD_PROXY}
    result = run_example("crawl_site.py", "--client", client, cwd=tmp_path, env=env)
    lines = lines_of_success(result)
    assert lines[:-1] == crawled_lines
    missing = sum(line.startswith("404 ") for line in crawled_lines)
    assert 0 < missing < len(crawled_lines)
    summary = f"{len(crawled_lines)} pages, {missing} missing, "
    pattern = re.escape(summary) + rf"\d+\.\d\d seconds with {client}"
    assert re.fullmatch(pattern, lines[-1]), lines[-1]


def test_crawl_site_may_be_left_early(crawled_lines, tmp_path):
    pytest.importorskip("aiohttp")
    lines = lines_of_success(run_example("crawl_site.py", "--pages", "7", cwd=tmp_path))
    assert lines[:-1] == crawled_lines[:7]
    assert lines[-1].startswith("7 pages, 0 missing, ")


def test_crawl_site_takes_the_client_that_is_installed(tmp_path):
    pytest.importorskip("httpx")
    result = run_without("aiohttp", "crawl_site.py", "--pages", "1", cwd=tmp_path)
    assert lines_of_success(result)[-1].endswith(" seconds with httpx")


def test_crawl_site_says_what_it_needs(tmp_path):
    result = run_without("aiohttp,httpx", "crawl_site.py", cwd=tmp_path)
    check_refusal(result, "needs aiohttp or httpx: pip install aiohttp")
    result = run_without("aiohttp", "crawl_site.py", "--client", "aiohttp", cwd=tmp_path)
    check_refusal(result, "needs aiohttp: pip install aiohttp")


def test_crawl_site_refuses_bad_arguments(tmp_path):
    result = run_example("crawl_site.py", "--pages", "0", cwd=tmp_path)
    check_refusal(result, "0 is not at least 1")
    result = run_example("crawl_site.py", "--client", "requests", cwd=tmp_path)
    check_refusal(result, "requests")
