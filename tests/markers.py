"""Marks of tests: how long one may take, and where it cannot run."""

import pytest
from support import SANITIZERS, SLOWNESS


def time_limit(seconds):
    """A hard limit other than the default; "thread" also ends a test that hangs inside C."""
    return pytest.mark.timeout(seconds * SLOWNESS, method="thread")


# AddressSanitizer keeps what was freed for a while, and takes terabytes of address space;
# copying their tables makes a fork last tens of milliseconds.
measures_memory = pytest.mark.skipif("address" in SANITIZERS, reason="sanitizers take memory")
measures_time = pytest.mark.skipif(bool(SANITIZERS), reason="sanitizers take time")
