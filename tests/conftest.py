"""What all tests share: a hard time limit, a look for processes left behind, some fixtures."""

import asyncio
import gc
import importlib.util
import signal
import sys
from multiprocessing import resource_tracker

import pytest
from cmake_build import build_once
from markers import time_limit
from support import SANITIZERS, child_pids, kill_leftover_children, leaves_nothing

from fast_map import _forkserver, fast_map

DEFAULT_LIMIT = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes several seconds")
    # A shell's background jobs ignore it, and so would what the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    # Tests run in several processes: none shall begin with a long one when the others are done.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(time_limit(DEFAULT_LIMIT))


def pytest_collection_finish():
    # Modules and thousands of tests stay: no garbage collection need go through them again, which
    # after a fork costs a copy of each of their pages.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_process_left_behind():
    before = child_pids()
    yield
    left = kill_leftover_children(before)
    assert not left, f"child processes left behind: {left}"


@pytest.fixture(scope="session", autouse=True)
def fork_server():
    """Its processes live as long as ours: here before the first test, they are nobody's leak."""
    # What the tests' modules import takes long to import, and each map would do it again.
    _forkserver._server.set_forkserver_preload([_forkserver.__name__, "pytest", "asyncio"])
    list(fast_map(abs, [0], start_method="forkserver"))
    yield
    _forkserver._server._stop()
    resource_tracker._resource_tracker._stop()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine to its end in a new loop, of which nothing stays, nor of its maps."""
    new_loop = asyncio.new_event_loop
    if request.param == "uvloop":
        new_loop = pytest.importorskip("uvloop").new_event_loop
        new_loop().close()  # the first one makes descriptors that stay

    def run(coroutine):
        with leaves_nothing():
            loop = new_loop()
            try:
                return loop.run_until_complete(coroutine)
            finally:
                loop.close()

    return run


@pytest.fixture(scope="session")
def codec(tmp_path_factory):
    """codec_harness, built with the sanitizers that the installed extension was built with."""
    python = f"-DPython_EXECUTABLE={sys.executable}"
    options = ["-DFM_FUZZ=ON", f"-DFM_SANITIZE={SANITIZERS}", python]
    folder = build_once(tmp_path_factory, "codec", *options)
    (path,) = folder.glob("tests/fuzz/codec_harness*.so")
    spec = importlib.util.spec_from_file_location("codec_harness", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
