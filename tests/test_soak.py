"""A short soak: workers killed at random for some seconds, and nobody may notice."""

import re
from pathlib import Path

import pytest
from markers import time_limit
from support import run_script

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


@pytest.mark.slow
@time_limit(150)
@pytest.mark.parametrize("procs", [2, 4])
def test_results_are_right_whatever_is_killed(procs):
    options = ["--items", 80_000, "--kills", 200, "--seconds", 120, "--procs", procs]
    status, out, err = run_script(SOAK, *options, timeout=140)
    told = f"{out}\n{err}"  # with the seed
    assert status == 0, told
    items, kills = map(int, re.search(r"(\d+) items, (\d+) kills", out).groups())
    assert items >= 80_000, told
    assert kills == 200, told
    assert "0 WorkerCrashed, 0 processes left" in out, told
