"""Sums numbers behind a bar; with the argument "fail" an item in the middle fails."""

import sys
import time

from fast_map import fast_map


def nap(number):
    time.sleep(0.05)
    if number == 20 and "fail" in sys.argv:
        raise LookupError(number)
    return number


print(sum(fast_map(nap, range(40), threads_limit=4, progress="naps")))
