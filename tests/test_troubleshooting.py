"""The messages that the README's troubleshooting table quotes are those that the mistakes give."""

import os
import pdb
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from unittest import mock

import pytest
from support import PATIENCE, die_of, meeting, run_script

from fast_map import fast_map

ROOT = Path(__file__).parents[1]

# Quotes of what other software says, or of what it takes another one to see.
OF_OTHERS = {
    "Can't get attribute 'fn' on <module '__main__'",
    "Cannot re-initialize CUDA in forked subprocess",
    "fast_map() got an unexpected keyword argument 'ordered'",
}


def read_quotes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| what you see \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [line.split("|")[1] for line in table[1].splitlines()]
    codes = {code for cell in cells for code in re.findall("`(.+?)`", cell)}
    return {code for code in codes if " " in code or code.endswith("Quit")}


def fork_beside_a_thread():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fast_map(abs, range(3))
    finally:
        stop.set()
        thread.join()


def return_generators():
    list(fast_map(lambda item: (each for each in [item]), range(3)))


def die_by(number):
    list(fast_map(lambda item: die_of(number), range(1)))


def close_all_descriptors():
    list(fast_map(lambda item: (os.closerange(3, 1024), time.sleep(600)), range(1)))


def ask():
    list(fast_map(input, [""]))


def debug():
    list(fast_map(lambda item: pdb.Pdb(readrc=False).set_trace(), range(1)))


def share_a_connection_among_threads():
    kept, meet = [], meeting(2)

    def connect():
        kept.append(sqlite3.connect(":memory:"))

    def query(item):
        meet(item)  # so that a second thread is added
        return kept[0].execute("select ?", [item]).fetchone()

    list(fast_map(query, range(2), procs_limit=1, initializer=connect))


def show_progress_without_tqdm():
    with mock.patch.dict(sys.modules, {"tqdm.auto": None}):
        fast_map(abs, range(3), progress=True)


def set_a_handler_in_fn():
    meet = meeting(2)

    def fn(item):
        meet(item)  # so that a second thread is added
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)

    list(fast_map(fn, range(2), procs_limit=1))


def start_with_no_process_left():
    status, out, err = run_script("limited.py", "processes", "list", 0)
    if "the limit binds nobody" in out:
        pytest.skip("no limit on processes binds this user")
    assert status == 0, err
    return out


def leave_a_main_module_unguarded():
    return run_script("fork_server.py", "unguarded")[2]


def import_in_a_subinterpreter():
    pytest.importorskip("_testcapi", reason="this interpreter comes without its test modules")
    program = "import _testcapi; _testcapi.run_in_subinterp('import fast_map')"
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stderr


def leave_a_thread_behind():
    program = """
import threading, time
from fast_map import fast_map
list(fast_map(lambda _: threading.Thread(target=time.sleep, args=[600]).start(), range(1)))
"""
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stderr


def build_elsewhere():
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


MISTAKES = {
    "DeprecationWarning: this process": fork_beside_a_thread,
    "PicklingError:": return_generators,
    "WorkerCrashed: … was killed by SIGKILL": lambda: die_by(signal.SIGKILL),
    "WorkerCrashed: … was killed by SIGSEGV": lambda: die_by(signal.SIGSEGV),
    "WorkerCrashed: … exited with status 70": close_all_descriptors,
    "EOFError:": ask,
    "BdbQuit": debug,
    "ValueError: signal": set_a_handler_in_fn,
    "SQLite objects": share_a_connection_among_threads,
    "fast_map: a worker ended": leave_a_thread_behind,
    "BlockingIOError:": start_with_no_process_left,
    "RuntimeError: … a main module": leave_a_main_module_unguarded,
    "ImportError: progress": show_progress_without_tqdm,
    "ImportError: fast_map runs in": import_in_a_subinterpreter,
    "fast_map runs on Linux only": build_elsewhere,
}


def message_of(mistake):
    """What it raises, or what a process that made it has written."""
    try:
        return mistake()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("start", MISTAKES)
def test_a_mistake_gives_the_message_that_is_quoted(start):
    (quote,) = (quote for quote in read_quotes() if quote.startswith(start))
    parts = [re.escape(part.strip()) for part in quote.split("…")]
    assert re.search(".*".join(parts), message_of(MISTAKES[start]))


def test_every_message_that_is_quoted_has_a_mistake():
    untested = {quote for quote in read_quotes() if not quote.startswith(tuple(MISTAKES))}
    assert untested == OF_OTHERS
