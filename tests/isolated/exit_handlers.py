"""Have handlers, finalizers and an input that tell their end. Argument: "finished" or "closed"."""

import atexit
import sys
import threading
import weakref

from support import PATIENCE

from fast_map import fast_map


class Holder:
    def __del__(self):
        print("deleted")


input_ended = threading.Event()


def source():
    try:
        yield from range(10_000)
    finally:
        print("input ended")
        input_ended.set()


holder = Holder()
weakref.finalize(holder, print, "finalized")
atexit.register(print, "atexit")
threading._register_atexit(print, "threading atexit")
it = fast_map(lambda number: (number, holder)[0], source(), buffersize=10)
if sys.argv[1] == "finished":
    list(it)
else:
    next(it)
it.close()
assert input_ended.wait(PATIENCE)  # close() itself does not wait long for the input's thread
