"""Start a map while a thread imports what fn imports too.

Argument: what kind of thread imports.
"""

import sys
import threading
import time
import warnings

from fast_map import fast_map


def import_slowly(number):
    import slow_to_import

    return number + slow_to_import.ONE


def numbers():
    yield 0
    yield import_slowly(1)


def start_importing(kind):
    if kind == "feeder":
        warnings.simplefilter("error")  # No warning of threads tells of this one.
        first = fast_map(abs, numbers())
        next(first)
        return first
    if kind == "local":
        return fast_map(import_slowly, [0], procs_limit=0)
    threading.Thread(target=import_slowly, args=(0,)).start()
    return None


kept = start_importing(sys.argv[1])
while "slow_to_import" not in sys.modules:
    time.sleep(0.001)
print(list(fast_map(import_slowly, range(4))))
