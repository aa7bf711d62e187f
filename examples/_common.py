"""What several examples share: checks of arguments, and the comparison that --compare prints."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def folder(text: str) -> str:
    if not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"{text!r} does not exist")
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return text


def compare(
    contenders: Mapping[str, Callable[..., list]],
    *arguments: Any,
    describe: Callable[[list], str],
) -> int:
    """Time each way of doing the same; 1 if any of them came to other results, else 0."""
    expected: list = []
    reference, status = 0.0, 0
    width = max(map(len, contenders)) + 1
    for name, run in contenders.items():
        started = time.perf_counter()
        results = run(*arguments)
        seconds = time.perf_counter() - started
        if not reference:
            expected, reference = results, seconds
        line = f"{name:<{width}} {seconds:8.2f} s {seconds / reference:8.2f} x fast_map's time"
        if results != expected:
            line += "  RESULTS DIFFER FROM fast_map's"
            status = 1
        print(line, flush=True)
    agreement = "results differ" if status else "all results agree"
    print(f"{describe(expected)}, {agreement}")
    return status


def exit_with(main: Callable[[], int]) -> None:
    """Exit with main's status, and quietly when the reader of the output, as `head`, has gone."""
    status = 0
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Nothing may be flushed to the reader at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
