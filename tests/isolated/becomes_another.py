"""Execute another program while maps are alive, which waits until it has no children.

Argument: what one of the maps is doing.
"""

import itertools
import os
import sys

import busy_maps

from fast_map import fast_map

OTHER_PROGRAM = """
import os

try:
    while True:
        os.wait()
except ChildProcessError:
    print("alone")
"""

it = busy_maps.start(sys.argv[1])
with_a_nursery = fast_map(abs, itertools.count(), buffersize=4, retries=1)
next(with_a_nursery)
os.execv(sys.executable, [sys.executable, "-c", OTHER_PROGRAM])
