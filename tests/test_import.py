"""What importing the package says where it can't work."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE

import fast_map

PACKAGE = Path(__file__).parents[1] / "fast_map"


def import_from(folder, prelude=""):
    command = [sys.executable, "-c", f"{prelude}\nimport fast_map"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


def last_line(text):
    return text.strip().splitlines()[-1]


@pytest.fixture
def source(tmp_path):
    """A folder with the package as it is in the repository: without the extension."""
    shutil.copytree(PACKAGE, tmp_path / "fast_map", ignore=shutil.ignore_patterns("*.so"))
    return tmp_path


def test_the_source_folder_says_that_it_is_no_installation(source):
    done = import_from(source)
    assert done.returncode == 1
    assert last_line(done.stderr).startswith("ImportError: the extension of fast_map is not in")


@pytest.mark.parametrize(
    "elsewhere", ["sys.platform = 'darwin'", "sys.implementation.name = 'pypy'"]
)
def test_other_systems_are_refused_in_one_sentence(source, elsewhere):
    done = import_from(source, f"import sys; {elsewhere}")
    assert done.returncode == 1
    assert last_line(done.stderr).startswith("ImportError: fast_map runs on CPython under Linux")


def test_what_is_not_asked_for_is_not_imported(tmp_path):
    """No bar, no coroutine function and no fork server: none of what they need."""
    program = """if True:
        import sys
        from fast_map import fast_map
        assert list(fast_map(abs, [-1])) == [1]
        print({"tqdm", "asyncio", "multiprocessing", "inspect"} & sys.modules.keys())
    """
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_the_version_is_that_of_the_distribution():
    assert fast_map.__version__.count(".") == 2


def test_everything_that_is_exported_exists():
    assert all(hasattr(fast_map, name) for name in fast_map.__all__)
