"""The benchmarks run, in their smallest size, and say of contenders that fail how they do."""

import json
import math
import os
import re
import signal
from pathlib import Path

import pytest
from markers import time_limit
from support import ISOLATED, Script, run_script, wait_until

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RUN_TIMEOUT = 100
pytestmark = time_limit(120)


def run_benchmark(script, folder, *options):
    """The document that it writes, its page, and what it prints."""
    options = ["--size", "tiny", "--output", folder, *options]
    status, out, err = run_script(script, *options, timeout=RUN_TIMEOUT)
    assert status == 0, f"{out}\n{err}"
    document = json.loads((folder / f"{Path(script).stem}.json").read_text())
    return document, (folder / "README.md").read_text(), out


def find_values(document, panel):
    return {
        record["label"]: record["values"]
        for record in document["records"]
        if record["panel"] == panel
    }


def is_alive(path):
    return os.path.exists(f"/proc/{path.name}")


def test_overhead_is_measured_and_reported(tmp_path):
    options = ["--only", "map", "--only", "fast_map", "--repetitions", 2]
    document, page, out = run_benchmark(BENCHMARKS / "overhead.py", tmp_path, *options)
    for record in document["records"]:
        assert record["failure"] is None, record
        assert len(record["values"]) == 2
        assert all(0 < value < math.inf for value in record["values"])
    panels = {(record["panel"], record["label"]) for record in document["records"]}
    sources = ("range", "list", "generator")
    assert panels == {(source, name) for source in sources for name in ("map", "fast_map")}
    times = find_values(document, "generator")
    measured = (sum(times["fast_map"]) / 2) / (sum(times["map"]) / 2)
    targets = {target["what"]: target["measured"] for target in document["targets"]}
    assert targets["no-op, generator: time over map's"] == pytest.approx(measured)
    assert targets["no-op, range: times faster than Pool.imap(fn, it)"] is None
    for text in (page, out):
        assert re.search(r"no-op, generator: time over map's .*reached", text)
    assert "| **fast_map** |" in page


def test_start_and_end_are_measured_beside_bare_forks(tmp_path):
    options = ["--only", "fast_map", "--only", "Pool.imap"]
    document, page, _ = run_benchmark(BENCHMARKS / "startup.py", tmp_path, *options)
    times = find_values(document, "start, two items, end")
    assert set(times) == {"two bare os.fork", "fast_map", "with Pool(2)"}
    assert all(values and values[0] > 0 for values in times.values())
    assert all(target["measured"] > 0 for target in document["targets"])
    assert "with Pool(2)" in page


@pytest.fixture
def faults(tmp_path, monkeypatch):
    folder = tmp_path / "pids"
    folder.mkdir()
    monkeypatch.setenv("FAULTS_FOLDER", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (BENCHMARKS, ISOLATED))))
    return folder


def test_contenders_that_fail_are_reported_and_ended(tmp_path, faults):
    document, page, _ = run_benchmark("faulty_contenders.py", tmp_path)
    outcomes = {(record["label"], record["x"]): record["failure"] for record in document["records"]}
    absent = outcomes.pop(("absent", 1))
    assert outcomes == {
        ("hang", 1): "over 3 s",
        ("end", 1): "exited: 3",
        ("fail", 1): "LookupError: no 0",
        ("lose", 1): "ValueError: gave 3 results of 4",
        ("work", 1): None,
        ("hang", 2): "not run, over 3 s at 1",
    }
    # Who has installed it, by peers.py, has it here as well.
    assert absent in (None, "not installed")
    assert "| over 3 s |" in page
    pids = list(faults.iterdir())
    assert pids
    assert wait_until(lambda: not any(map(is_alive, pids))), pids


def test_a_benchmark_that_is_ended_ends_its_contenders(tmp_path, faults, monkeypatch):
    monkeypatch.setenv("FAULTS_LAST", "1")
    arguments = ["--size", "tiny", "--output", tmp_path]
    with Script("faulty_contenders.py", *arguments) as script:
        assert wait_until(lambda: list(faults.iterdir()), 60)
        script.signal_parent(signal.SIGTERM)
        script.wait(30)
    pids = list(faults.iterdir())
    assert wait_until(lambda: not any(map(is_alive, pids))), pids


def test_every_benchmark_is_on_the_page(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import report

    names = {path.stem for path in BENCHMARKS.glob("*.py") if "QUESTION = " in path.read_text()}
    assert names == set(report.QUESTIONS)
    assert report.MARKER in report.PAGE.read_text()
