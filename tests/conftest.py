"""A hard time limit for every test, and after each one a look for processes left behind."""

from multiprocessing import resource_tracker

import pytest
from support import child_pids, kill_leftover_children, time_limit

from fast_map import _forkserver, fast_map

DEFAULT_LIMIT = 30


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes several seconds")


def pytest_collection_modifyitems(items):
    # Tests run in several processes: none shall begin with a long one when the others are done.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(time_limit(DEFAULT_LIMIT))


@pytest.fixture(autouse=True)
def no_process_left_behind():
    before = child_pids()
    yield
    left = kill_leftover_children(before)
    assert not left, f"child processes left behind: {left}"


@pytest.fixture(scope="session", autouse=True)
def fork_server():
    """Its processes live as long as ours: here before the first test, they are nobody's leak."""
    list(fast_map(abs, [0], start_method="forkserver"))
    yield
    _forkserver._server._stop()
    resource_tracker._resource_tracker._stop()
