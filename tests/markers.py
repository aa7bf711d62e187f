"""Marks of tests: how long one may take, and where it cannot run."""

import pytest
from support import SANITIZERS, SLOWNESS


def time_limit(seconds):
    """A hard limit other than the default; "thread" also ends a test that hangs inside C."""
    return pytest.mark.timeout(seconds * SLOWNESS, method="thread")


# AddressSanitizer keeps what was freed for a while; and in its allocator (gcc 12's) another thread
# may hold a lock at the moment of a fork, which nobody releases in the child.
measures_memory = pytest.mark.skipif("address" in SANITIZERS, reason="freed memory is kept")
forks_beside_threads = pytest.mark.skipif("address" in SANITIZERS, reason="malloc may be locked")
