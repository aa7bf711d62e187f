"""Maps that start while another thread imports: workers find no module half made."""

import contextlib
import threading
import time
from importlib import _bootstrap

import pytest
from support import PATIENCE, identity, run_script

from fast_map import _imports, fast_map

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.mark.parametrize("importer", ["feeder", "local", "thread"])
def test_fn_may_import_what_another_thread_is_importing(importer):
    assert run_script("imports_in_threads.py", importer) == (0, "[1, 2, 3, 4]\n", "")


@contextlib.contextmanager
def another_thread(work):
    """Has it do that over and over."""
    begun, stop = threading.Event(), threading.Event()

    def go_on():
        while not stop.is_set():
            work(begun, stop)

    thread = threading.Thread(target=go_on)
    thread.start()
    assert begun.wait(PATIENCE)
    yield
    stop.set()
    thread.join()


def import_until(begun, stop):
    with _bootstrap._ModuleLockManager("never_there"):
        begun.set()
        stop.wait()


def fail_to_import(begun, stop):
    begun.set()
    with contextlib.suppress(ImportError):
        import never_there  # noqa: F401


def test_an_import_that_does_not_end_is_waited_for_once(monkeypatch):
    monkeypatch.setattr(_imports, "_WAIT_MOST", 0.5)
    seconds = []
    with another_thread(import_until):
        for _ in range(3):
            start = time.monotonic()
            assert list(fast_map(identity, range(3))) == [0, 1, 2]
            seconds.append(time.monotonic() - start)
    assert seconds[0] > 0.5
    assert min(seconds[1:]) < 0.5


def test_a_thread_that_imports_all_the_time_does_not_hold_up_maps():
    with another_thread(fail_to_import):
        for _ in range(3):
            assert list(fast_map(identity, range(3))) == [0, 1, 2]


def test_a_map_may_start_within_an_import():
    with _bootstrap._ModuleLockManager("being_imported"):
        start = time.monotonic()
        assert list(fast_map(identity, range(3))) == [0, 1, 2]
        assert time.monotonic() - start < _imports._WAIT_MOST / 2
