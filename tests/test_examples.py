"""Every program in examples/ runs as a user would run it, and prints what it should.

What the programs print is checked against values that are computed here in another way. A program
without a test of its own name fails test_every_example_has_a_test.
"""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sysconfig
import zlib
from pathlib import Path

import pytest
from example_programs import (
    EXAMPLES,
    PYTHON,
    RUN_TIMEOUT,
    contenders,
    lines_of_success,
    run,
    run_disorderly,
    run_example,
    started,
)

pytestmark = pytest.mark.timeout(90)


PROGRAMS = sorted(EXAMPLES.glob("[!_]*.py"))


def test_every_example_has_a_test():
    assert PROGRAMS, f"no examples in {EXAMPLES}"
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_examples*.py"))
    assert [path.stem for path in PROGRAMS if f"def test_{path.stem}_" not in tests] == []


def test_every_example_is_in_the_readme():
    readme = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in PROGRAMS if f"python examples/{path.name}" not in readme] == []


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
    command = [*PYTHON, EXAMPLES / "checksum_tree.py", folder]
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
    command = [*PYTHON, EXAMPLES / "checksum_tree.py", folder]
    with started(command, tmp_path) as process:
        first = process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=RUN_TIMEOUT) == 0
    assert first.split(maxsplit=3)[3] == f"{folder}/0000\n"
