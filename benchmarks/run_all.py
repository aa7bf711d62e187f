"""All questions one after the other, then the page, and all targets.

    python benchmarks/run_all.py [--quick | --full] [--output FOLDER]

About 50 minutes, 4 with --quick, two hours with --full, on a machine that does nothing else.
"""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

import report
from results import align, load
from runner import parse_options

# Rehearsals and a run of each contender happen even if a question's time is over.
TIMES_AS_LONG, MORE_SECONDS = 4, 120


def run_one(name: str, options: argparse.Namespace) -> bool:
    """Whether it ended by itself, and well, within its time."""
    limit = importlib.import_module(name).QUESTION.seconds[options.size]
    script = Path(__file__).resolve().with_name(f"{name}.py")
    command = [sys.executable, str(script), "--size", options.size]
    command += ["--output", str(options.output)]
    command += [f"--only={contender}" for contender in options.only]
    if options.repetitions is not None:
        command += ["--repetitions", str(options.repetitions)]
    process = subprocess.Popen(command)
    try:
        return process.wait(TIMES_AS_LONG * limit + MORE_SECONDS) == 0
    except subprocess.TimeoutExpired:
        print(f"\n{name}: given up", flush=True)
        return False
    finally:
        # It ends its contenders then.
        process.terminate()
        process.wait()


def print_targets(folder: Path) -> None:
    found = [load(folder / f"{name}.json") for name in report.list_results(folder)]
    rows = [target.cells() for _, _, targets in found for target in targets]
    print("\n".join(align([["target", "bound", "measured", ""], *rows])))


def main() -> int:
    options = parse_options("All questions one after the other.")
    began = time.monotonic()
    failed = []
    for name in report.QUESTIONS:
        print(f"\n==== {name}", flush=True)
        if not run_one(name, options):
            failed.append(name)
    print(f"\n==== targets, after {time.monotonic() - began:.0f} s\n")
    print_targets(options.output)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
