"""The tests of the plain-C core, which are C programs: built by CMake and run by CTest."""

import re

import pytest
from cmake_build import ROOT, build_once, run, tool
from markers import time_limit

pytestmark = pytest.mark.slow  # and of no Python: once is enough


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_once(tmp_path_factory, "core", "-DFM_C_TESTS=ON")


@time_limit(1200)
def test_every_unit_of_the_core_passes_its_c_tests(folder):
    report = run(tool("ctest"), "--test-dir", str(folder), "--output-on-failure")
    assert "100% tests passed" in report


@time_limit(1200)
def test_every_unit_of_the_core_has_a_c_test(folder):
    listed = run(tool("ctest"), "--test-dir", str(folder), "--show-only")
    tested = set(re.findall(r"Test +#\d+: (?:test_)?(\w+)", listed))
    # pool_batch.c and its like are parts of the unit `pool`.
    units = {source.stem.split("_")[0] for source in (ROOT / "src" / "core").glob("*.c")}
    assert units - tested == set()
