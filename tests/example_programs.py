"""Runs the programs in examples/ as a user would run them."""

import os
import re
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RUN_TIMEOUT = 60
PYTHON = [sys.executable, "-B"]  # no caches in the source tree


@contextmanager
def started(command: list, cwd: Path, **options) -> Iterator[subprocess.Popen]:
    """A process in a group of its own, of which nothing is left when the test is over."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, text=True, start_new_session=True, **options
    )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(command: list, cwd: Path, **options) -> subprocess.CompletedProcess:
    with started(command, cwd, **options) as process:
        output, errors = process.communicate(timeout=RUN_TIMEOUT)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def run_example(name: str, *arguments, cwd: Path, **options) -> subprocess.CompletedProcess:
    return run([*PYTHON, EXAMPLES / name, *arguments], cwd, **options)


def lines_of_success(result: subprocess.CompletedProcess) -> list[str]:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.splitlines()


def contenders(lines: list[str]) -> list[str]:
    """The names in the lines that --compare prints, each with its time and ratio."""
    pattern = re.compile(r"(\S.*?) +\d+\.\d\d s +\d+\.\d\d x fast_map's time")
    found = [pattern.fullmatch(line) for line in lines]
    assert all(found), lines
    return [match[1] for match in found]


DISORDERLY = """
import sys
sys.path.insert(0, sys.argv[1])
import {module}
{module}.fast_map = lambda fn, items, **options: map(fn, reversed(items))
sys.exit({module}.main(sys.argv[2:]))
"""


def run_disorderly(module: str, *arguments, cwd: Path) -> subprocess.CompletedProcess:
    """The example with a fast_map that gets the order wrong."""
    script = DISORDERLY.format(module=module)
    return run([*PYTHON, "-c", script, EXAMPLES, *arguments], cwd)


SERVE = """
import sys
sys.path.insert(0, sys.argv[1])
from _local_site import local_site
from {module} import *
with local_site({page}) as address:
    print(address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def site_of(module: str, page: str, cwd: Path) -> Iterator[str]:
    """The address of what the example's page function, an expression, serves."""
    command = [*PYTHON, "-c", SERVE.format(module=module, page=page), EXAMPLES]
    with started(command, cwd, stdin=subprocess.PIPE) as process:
        yield process.stdout.readline().strip()
        # This ends its standard input, and so the server.
        output, errors = process.communicate(timeout=RUN_TIMEOUT)
    assert (process.returncode, output, errors) == (0, "", "")


def read_page(url: str) -> tuple[int, str]:
    """The status and text with which a site answers."""
    parts = urllib.parse.urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=RUN_TIMEOUT)
    connection.request("GET", parts.path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


WITHOUT_MODULES = """
import runpy, sys
_, folder, program, modules, *arguments = sys.argv
for name in modules.split(","):
    sys.modules[name] = None  # so that an import of it fails
sys.path.insert(0, folder)
sys.argv = [program, *arguments]
runpy.run_path(f"{folder}/{program}", run_name="__main__")
"""


def run_without(modules: str, name: str, *arguments, cwd: Path) -> subprocess.CompletedProcess:
    """The example where those modules (with commas between them) are not installed."""
    command = [*PYTHON, "-c", WITHOUT_MODULES, EXAMPLES, name, modules, *arguments]
    return run(command, cwd)


def check_refusal(result: subprocess.CompletedProcess, complaint: str) -> None:
    """What a newcomer's mistake gives: usage, and one line that says what is wrong."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("usage: ")
    assert "error: " in result.stderr.splitlines()[-1]
    assert complaint in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
