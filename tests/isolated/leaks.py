"""Use a case of leak_cases.py again and again; print as JSON what this process holds.

A line once the caches are full, and one after each further round. Arguments: the case's name, the
number of rounds, and the uses in each.
"""

import ctypes
import gc
import json
import sys
import time
from collections import Counter

from leak_cases import CASES, PASSED

if __name__ == "__main__":
    # The fork server's children import this module as well, and have no use for pytest, which takes
    # most of the time of such a map.
    from support import Footprint, mappings, resident_bytes, wait_until


class MallInfo2(ctypes.Structure):
    """What the C library says of its heaps; glibc 2.33 and later."""

    _fields_ = [
        *((f"others_{number}", ctypes.c_size_t) for number in range(7)),
        ("in_use", ctypes.c_size_t),
        *((f"others_{number}", ctypes.c_size_t) for number in range(7, 9)),
    ]


def heap_bytes():
    """In use of what malloc has given out, or 0 where that can't be known."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is None:
        return 0
    function.restype = MallInfo2
    return function().in_use


def mapped_bytes():
    """Writable address space."""
    total = 0
    for line in mappings():
        addresses, permissions = line.split()[:2]
        if "w" in permissions:
            begin, end = (int(address, 16) for address in addresses.split("-"))
            total += end - begin
    return total


def held(before):
    wait_until(lambda: Footprint.now().is_within(before), timeout=2)
    footprint = Footprint.now()
    gc.collect()  # empties Python's free lists too
    counts = {
        "memory blocks": sys.getallocatedblocks(),
        "private mappings": len(mappings()) - footprint.shared,
    }
    return {
        "children": len(footprint.children),
        "descriptors": sorted(footprint.descriptors.values()),
        "threads": footprint.threads,
        "shared mappings": footprint.shared,
        "mapped": mapped_bytes(),
        "references": [sys.getrefcount(passed) for passed in PASSED],
        "objects": dict(Counter(type(each).__qualname__ for each in gc.get_objects())),
        "counts": counts,
        "heap": heap_bytes(),
        "resident": resident_bytes(),
    }


def repeat(case, times):
    for _ in range(times):
        case()


def warm_up(case, start):
    """Cheap cases are used often, for they show what caches are still filling."""
    deadline = time.monotonic() + 1
    for number in range(200):
        case()
        if number > 10 and time.monotonic() > deadline:
            break
    held(start)  # the first look leaves something itself
    repeat(case, 5)


if __name__ == "__main__":
    case, rounds, uses = CASES[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
    start = Footprint.now()
    warm_up(case, start)
    print(json.dumps(held(start)))
    for _ in range(rounds):
        repeat(case, uses)
        print(json.dumps(held(start)))
