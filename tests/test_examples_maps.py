"""The programs in examples/ that work on sources: a pipeline of maps, and a progress bar."""

import ast
import collections
import re
import sqlite3
import sysconfig
import tokenize
from contextlib import closing
from pathlib import Path

import pytest
from example_programs import (
    EXAMPLES,
    PYTHON,
    check_refusal,
    contenders,
    lines_of_success,
    run,
    run_disorderly,
    run_example,
    run_without,
)

SOURCES = Path(sysconfig.get_paths()["stdlib"])
pytestmark = pytest.mark.timeout(90)


# word_pipeline.py


def count_words(path: Path) -> collections.Counter:
    text = path.read_text(errors="replace").lower()
    return collections.Counter(re.sub("[^a-z]", " ", text).split())


def read_database(path: Path) -> dict[str, dict[str, int]]:
    stored = collections.defaultdict(dict)
    with closing(sqlite3.connect(path)) as database:
        for page, word, count in database.execute("SELECT page, word, count FROM words"):
            assert word not in stored[page]
            stored[page][word] = count
    return stored


@pytest.fixture(scope="module")
def expected_counts() -> dict[str, collections.Counter]:
    return {path.name: count_words(path) for path in sorted(SOURCES.glob("*.py"))}


def test_word_pipeline_stores_the_counts_of_all_pages(expected_counts, tmp_path):
    path = tmp_path / "words.sqlite"
    result = run_example("word_pipeline.py", "--database", path, cwd=tmp_path)
    lines = lines_of_success(result)
    counts = expected_counts
    assert lines[:-2] == [f"{name} {counts[name].total()} words" for name in counts]
    assert read_database(path) == {name: count for name, count in counts.items() if count}
    total = sum(counts.values(), collections.Counter())
    common = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:5]
    assert lines[-2] == "most common: " + ", ".join(f"{word} {count}" for word, count in common)
    summary = f"{len(counts)} pages stored, {len(counts)} of {len(counts)} requested, "
    assert re.fullmatch(re.escape(summary) + r"\d+\.\d\d seconds", lines[-1]), lines[-1]


STOP_EARLY = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import word_pipeline

def count_children():
    tasks = [f"/proc/self/task/{task}/children" for task in os.listdir("/proc/self/task")]
    return sum(len(open(path).read().split()) for path in tasks)

word_pipeline.main(["--database", sys.argv[2], "--stop-after", "5"])
give_up = time.monotonic() + 10
while count_children() and time.monotonic() < give_up:
    time.sleep(0.01)
print(count_children(), "processes left")
"""


def test_word_pipeline_ends_its_first_map_with_its_last(expected_counts, tmp_path):
    path = tmp_path / "words.sqlite"
    lines = lines_of_success(run([*PYTHON, "-c", STOP_EARLY, EXAMPLES, path], tmp_path))
    names = list(expected_counts)
    first = [f"{name} {expected_counts[name].total()} words" for name in names[:5]]
    assert lines[:5] == first
    stored = read_database(path)
    assert {*names[:5]} <= {*stored} <= {*names}
    assert all(stored[name] == expected_counts[name] for name in stored)
    summary = re.match(rf"5 pages stored, (\d+) of {len(names)} requested, ", lines[-2])
    assert summary, lines[-2]
    # Three maps hold 16 pages each, and each may have its hand on one more.
    assert 5 <= int(summary[1]) <= 5 + 3 * 17 < len(names)
    assert lines[-1] == "0 processes left"


def test_word_pipeline_refuses_a_database_that_it_cannot_write(tmp_path):
    (tmp_path / "notes.txt").write_text("no database, but a text that is in the way" * 50)
    for name in ("notes.txt", "nowhere/words.sqlite", "."):
        result = run_example("word_pipeline.py", "--database", name, cwd=tmp_path)
        check_refusal(result, f"cannot create a table in {name!r}: ")


def test_word_pipeline_does_not_add_to_a_database(tmp_path):
    arguments = ["--database", "words.sqlite", "--stop-after", "1"]
    lines_of_success(run_example("word_pipeline.py", *arguments, cwd=tmp_path))
    result = run_example("word_pipeline.py", *arguments, cwd=tmp_path)
    check_refusal(result, "already exists")


# longest_functions.py


def first_files(count: int) -> list[Path]:
    others = re.compile(r"/(site-packages|dist-packages|tests?|idle_test)/")
    paths = [path for path in SOURCES.rglob("*.py") if not others.search(str(path))]
    return sorted(paths, key=str)[:count]


def functions_of(path: Path) -> list[tuple[int, str, str]]:
    """The lines, name and file of each function; there are as many as words "def" in the file."""
    functions = [
        (node.end_lineno - node.lineno + 1, node.name, str(path.relative_to(SOURCES)))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if type(node).__name__ in ("FunctionDef", "AsyncFunctionDef")
    ]
    with tokenize.open(path) as file:
        words = [token.string for token in tokenize.generate_tokens(file.readline)]
    assert len(functions) == words.count("def")
    return functions


def test_longest_functions_are_found_behind_a_bar(tmp_path):
    arguments = ["--files", "30", "--latency", "5"]
    result = run_example("longest_functions.py", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"parsing: 100% 30/30 \[.*\]\n$", result.stderr)
    functions = [function for path in first_files(30) for function in functions_of(path)]
    longest = sorted(functions, reverse=True)[:10]
    lines = result.stdout.splitlines()
    assert [line.split() for line in lines[:-1]] == [
        [str(size), "lines", name, "in", file] for size, name, file in longest
    ]
    assert lines[-1].startswith(f"30 files, {len(functions)} functions, ")


def test_longest_functions_compares_in_agreement(tmp_path):
    arguments = ["--files", "10", "--latency", "5", "--compare"]
    lines = lines_of_success(run_example("longest_functions.py", *arguments, cwd=tmp_path))
    assert contenders(lines[:-1]) == ["fast_map", "Pool.imap", "ThreadPool.imap"]
    functions = sum(len(functions_of(path)) for path in first_files(10))
    assert lines[-1] == f"10 files, {functions} functions, all results agree"


def test_longest_functions_notices_results_that_differ(tmp_path):
    arguments = ["--files", "4", "--latency", "1", "--compare"]
    result = run_disorderly("longest_functions", *arguments, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stdout.count("RESULTS DIFFER") == 2


def test_longest_functions_says_what_the_bar_needs(tmp_path):
    result = run_without("tqdm,tqdm.auto", "longest_functions.py", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    message = "progress needs tqdm, which is not installed: pip install 'fast_map[progress]'\n"
    assert result.stderr == message


@pytest.mark.parametrize("option", ["--files", "--latency"])
def test_longest_functions_refuses_bad_arguments(option, tmp_path):
    result = run_example("longest_functions.py", option, "0", cwd=tmp_path)
    check_refusal(result, f"argument {option}: 0 is not at least 1")
