"""What type checkers make of the calls in typing/, and whether they know all options."""

import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from markers import time_limit

from fast_map import _signature, fast_map

CALLS = Path(__file__).with_name("typing")

COMMANDS = {
    "mypy": ["mypy", "--strict", "--cache-dir=cache"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.fixture(params=COMMANDS, scope="module")
def report(request, tmp_path_factory):
    """What a checker says of the calls, away from the source: of the installed package."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = shutil.copytree(CALLS, tmp_path_factory.mktemp(request.param) / "calls")
    command = [sys.executable, "-m", *COMMANDS[request.param], "accepted.py", "refused.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert error_lines(done, "refused.py"), f"it did not run: {done.stdout}{done.stderr}"
    return done


def error_lines(report, name):
    found = re.findall(rf"{name}:(\d+)(?::\d+ -|:) error: ", report.stdout)
    return {int(line) for line in found}


# A checker takes seconds, or minutes on a machine that does a lot besides.
@pytest.mark.slow
@time_limit(1200)
def test_sound_calls_are_accepted(report):
    assert not error_lines(report, "accepted.py"), report.stdout + report.stderr


@pytest.mark.slow
@time_limit(1200)
def test_wrong_calls_are_refused_where_they_stand(report):
    lines = (CALLS / "refused.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert error_lines(report, "refused.py") == wrong, report.stdout + report.stderr


def test_checkers_and_the_function_know_the_same_options():
    parameters = inspect.signature(fast_map).parameters.values()
    options = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    for known in (_signature.PlainStar, _signature.CatchingStar):
        assert known.__required_keys__ | known.__optional_keys__ == options
