"""Read stdin in workers, after the parent has read (and so buffered) some of it, and go on."""

import os
import sys

from fast_map import fast_map

print("parent", sys.stdin.readline().strip())
for seen in fast_map(lambda _: (sys.stdin.read(), os.read(0, 10)), range(4)):
    print("worker", *seen)
print("parent", len(sys.stdin.read()))
