"""The tests of the plain-C core, which are C programs: built by CMake and run by CTest."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import time_limit

ROOT = Path(__file__).parents[1]


def tool(name):
    """The program of the `test` extra, beside the interpreter, or else the system's."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is missing: install fast_map[test]"
    return found


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    options = ["-DFM_EXTENSION=OFF", "-DFM_C_TESTS=ON", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    run(tool("cmake"), "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *options)
    run(tool("cmake"), "--build", str(folder), "--parallel", "2")
    return folder


@time_limit(600)
def test_every_unit_of_the_core_passes_its_c_tests(build):
    report = run(tool("ctest"), "--test-dir", str(build), "--output-on-failure")
    assert "100% tests passed" in report


@time_limit(600)
def test_every_unit_of_the_core_has_a_c_test(build):
    listed = run(tool("ctest"), "--test-dir", str(build), "--show-only")
    tested = set(re.findall(r"Test +#\d+: (?:test_)?(\w+)", listed))
    # pool_batch.c and its like are parts of the unit `pool`.
    units = {source.stem.split("_")[0] for source in (ROOT / "src" / "core").glob("*.c")}
    assert units - tested == set()
