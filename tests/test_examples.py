"""Every program in examples/ runs as a user would run it, and prints what it should.

What the programs print is checked against values that are computed here in another way. A program
without a test of its own name fails test_every_example_has_a_test.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RUN_TIMEOUT = 60
pytestmark = pytest.mark.timeout(90)


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
    return run([sys.executable, EXAMPLES / name, *arguments], cwd, **options)


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
    """The example with a fast_map that gets the order wrong. (-B: no caches in the source tree.)"""
    script = DISORDERLY.format(module=module)
    return run([sys.executable, "-B", "-c", script, EXAMPLES, *arguments], cwd)


def test_every_example_has_a_test():
    names = sorted(path.stem for path in EXAMPLES.rglob("*.py"))
    assert names, f"no examples in {EXAMPLES}"
    tests = [name for name in globals() if name.startswith("test_")]
    untested = [name for name in names if not any(t.startswith(f"test_{name}_") for t in tests)]
    assert untested == []


def test_every_example_is_in_the_readme():
    readme = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.rglob("*.py"):
        assert f"python examples/{path.relative_to(EXAMPLES)}" in readme


# basic_usage.py


def test_basic_usage_takes_about_one_second(tmp_path):
    lines = lines_of_success(run_example("basic_usage.py", cwd=tmp_path))
    found = [re.fullmatch(r" *(\d+\.\d\d) s  (\d+)", line) for line in lines[:-1]]
    assert all(found), lines
    sum_of_steps = 10**5 * (10**5 - 1) // 2
    assert [int(match[2]) for match in found] == [n * sum_of_steps for n in range(8)]
    times = [float(match[1]) for match in found]
    assert times == sorted(times)
    total = re.match(r" *(\d+\.\d\d) s  in total", lines[-1])
    assert total, lines
    assert 1.0 <= times[0] <= times[-1] <= float(total[1])
    assert float(total[1]) < 4  # on an idle machine 1.1, one after the other 8


# checksum_tree.py


def expected_lines(paths: list[str]) -> list[list[str]]:
    expected = []
    for path in paths:
        data = Path(path).read_bytes()
        sizes = [str(len(data)), str(len(zlib.compress(data)))]
        expected.append([hashlib.sha256(data).hexdigest(), *sizes, path])
    return expected


def check_checksums(lines: list[str], paths: list[str]) -> None:
    expected = expected_lines(paths)
    assert [line.split(maxsplit=3) for line in lines[:-1]] == expected
    size, compressed = (sum(int(row[column]) for row in expected) for column in (1, 2))
    summary = f"{len(paths)} files, {size} bytes, {compressed} compressed, 0 unreadable, "
    assert re.fullmatch(re.escape(summary) + r"\d+\.\d\d seconds", lines[-1]), lines[-1]


def files_in_order(folder: Path) -> list[str]:
    tests = ["-name", "__pycache__", "-prune", "-o", "-type", "f", "-print0"]
    found = subprocess.run(
        ["find", folder, *tests], stdout=subprocess.PIPE, check=True, timeout=RUN_TIMEOUT
    )
    return sorted(os.fsdecode(path) for path in found.stdout.split(b"\0") if path)


@pytest.fixture
def tree(tmp_path) -> Path:
    """A folder with what a folder may hold; by depth or by name parts it would sort otherwise."""
    root = tmp_path / "tree"
    chance = random.Random(1)
    contents = {
        "a/b.txt": b"inner\n",
        "a-b.txt": b"a hyphen sorts before the slash\n",
        "a.txt": b"and so does a dot\n",
        "a/deep/er/still/file": b"deep",
        "name with  blanks": b"blanks",
        "empty": b"",
        "large": b"many lines that are all alike\n" * 100_000,
        "noise": chance.randbytes(200_000),
        "sch\u00f6n": b"not ASCII",
        "__pycache__/a.pyc": b"left out",
        "a/__pycache__/b.pyc": b"left out",
    }
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "link").symlink_to("a.txt")
    (root / "link to a folder").symlink_to("a")
    (root / "link to nothing").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    return root


def test_checksum_tree_of_a_folder(tree, tmp_path):
    paths = files_in_order(tree)
    assert len(paths) == 9
    result = run_example("checksum_tree.py", tree, cwd=tmp_path)
    check_checksums(lines_of_success(result), paths)


def test_checksum_tree_prints_paths_as_the_folder_was_given(tree, tmp_path):
    result = run_example("checksum_tree.py", "tree/a", cwd=tmp_path)
    paths = [line.split(maxsplit=3)[3] for line in lines_of_success(result)[:-1]]
    assert paths == ["tree/a/b.txt", "tree/a/deep/er/still/file"]


def test_checksum_tree_of_the_standard_library(tmp_path):
    everything = files_in_order(Path(sysconfig.get_paths()["stdlib"]))
    result = run_example("checksum_tree.py", "--limit", 60, cwd=tmp_path)
    check_checksums(lines_of_success(result), everything[:60])


def test_checksum_tree_of_an_empty_folder(tmp_path):
    lines = lines_of_success(run_example("checksum_tree.py", tmp_path, cwd=tmp_path))
    check_checksums(lines, [])


def test_checksum_tree_shows_unprintable_names_on_one_line(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "two\nlines").write_bytes(b"1")
    (folder / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"2")
    lines = lines_of_success(run_example("checksum_tree.py", folder, cwd=tmp_path))
    assert len(lines) == 3
    assert lines[0].endswith(r"not-utf8-\udcff'")
    assert lines[1].endswith(r"two\nlines'")


def test_checksum_tree_reports_an_unreadable_file_and_goes_on(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("first", "second", "third"):
        (folder / name).write_text(name)
    (folder / "second").chmod(0)
    command = [sys.executable, EXAMPLES / "checksum_tree.py", folder]
    if os.geteuid() == 0:  # who may read everything, unless that right is given up
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv, or a user other than root")
        rights = "--bounding-set=-dac_override,-dac_read_search"
        command = ["setpriv", rights, "--", *command]
        if run([*command[:3], "true"], tmp_path).returncode:
            pytest.skip("setpriv may not give up rights here")
    lines = lines_of_success(run(command, tmp_path))
    assert lines[1] == f"unreadable: {folder / 'second'} (Permission denied)"
    readable = [str(folder / "first"), str(folder / "third")]
    assert [line.split(maxsplit=3) for line in (lines[0], lines[2])] == expected_lines(readable)
    assert lines[3].startswith("2 files, 10 bytes, ")
    assert ", 1 unreadable, " in lines[3]


def test_checksum_tree_compares_in_agreement(tree, tmp_path):
    lines = lines_of_success(run_example("checksum_tree.py", tree, "--compare", cwd=tmp_path))
    expected = ["fast_map", "Pool.imap", "Pool.imap, chunksize=16", "builtin map"]
    assert contenders(lines[:-1]) == expected
    assert lines[-1] == "9 files, all results agree"


def test_checksum_tree_notices_results_that_differ(tree, tmp_path):
    result = run_disorderly("checksum_tree", tree, "--compare", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stdout.count("RESULTS DIFFER") == 3
    assert result.stdout.endswith("9 files, results differ\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "'nowhere' does not exist"),
        (["file"], "'file' is not a folder"),
        (["--limit", "0"], "0 is not at least 1"),
        (["--limit", "many"], "'many'"),
        (["--colour"], "--colour"),
    ],
)
def test_checksum_tree_refuses_bad_arguments(arguments, complaint, tmp_path):
    (tmp_path / "file").touch()
    result = run_example("checksum_tree.py", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("usage: ")
    assert "error: " in result.stderr.splitlines()[-1]
    assert complaint in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_checksum_tree_ends_quietly_when_the_reader_leaves(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(2000):  # lines for several times what a pipe holds
        (folder / f"{number:04}").write_text(str(number))
    command = [sys.executable, EXAMPLES / "checksum_tree.py", folder]
    with started(command, tmp_path) as process:
        first = process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=RUN_TIMEOUT) == 0
    assert first.split(maxsplit=3)[3] == f"{folder}/0000\n"


# fetch_pages.py


def count_words_of_served_pages(count: int, cwd: Path) -> list[int]:
    """Start the example's server by itself, and read its pages one by one."""
    command = [sys.executable, EXAMPLES / "fetch_pages.py", "--serve", "--latency", "1"]
    counts = []
    with started(command, cwd, stdin=subprocess.PIPE) as server:
        host = urllib.parse.urlsplit(server.stdout.readline().strip()).netloc
        for number in range(count):
            connection = HTTPConnection(host, timeout=RUN_TIMEOUT)
            connection.request("GET", f"/page/{number}")
            text = connection.getresponse().read().decode("ascii")
            connection.close()
            counts.append(len(re.findall(r"[A-Za-z]+", text)))
        # This ends its standard input, and so the server.
        output, errors = server.communicate(timeout=RUN_TIMEOUT)
        assert (server.returncode, output, errors) == (0, "", "")
    return counts


def test_fetch_pages_with_its_defaults(tmp_path):
    # A proxy which nobody answers at must not be asked.
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "no_proxy": ""}
    result = run_example("fetch_pages.py", cwd=tmp_path, env={**os.environ, **proxy})
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
    command = [sys.executable, EXAMPLES / "fetch_pages.py", *arguments]
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
