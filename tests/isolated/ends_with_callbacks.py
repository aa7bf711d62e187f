"""Ends while a map of fast_map_async runs, whose thread the interpreter waits for."""

import time

from fast_map import fast_map_async


def nap(number):
    time.sleep(0.05)
    return number


fast_map_async(nap, range(20), on_result=print, on_done=lambda: print("done"), threads_limit=4)
print("main ends")
