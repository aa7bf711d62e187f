"""Ends while a map of fast_map_async runs, whose thread the interpreter waits for."""

import threading
import time

from fast_map import fast_map_async

main_ends = threading.Event()


def numbers():
    main_ends.wait()
    yield from range(20)


def nap(number):
    time.sleep(0.05)
    return number


fast_map_async(nap, numbers(), on_result=print, on_done=lambda: print("done"), threads_limit=4)
print("main ends")
main_ends.set()
