"""Run a map with large results where /dev/shm is full; print their number.

Prints why instead where this user can't mount a file system.
"""

import ctypes
import os
import subprocess
import sys

from fast_map import fast_map

CLONE_NEWNS = 0x20000  # a mount table of our own


def mount(*arguments):
    return subprocess.run(["mount", *arguments], stderr=subprocess.DEVNULL).returncode == 0


if (
    ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0
    or not mount("--make-rprivate", "/")
    or not mount("-t", "tmpfs", "-o", "size=4k", "none", "/dev/shm")
):
    print("nothing can be mounted")
    sys.exit()
with open("/dev/shm/full", "wb", buffering=0) as file:
    while True:
        try:
            file.write(bytes(4096))
        except OSError:
            break
assert os.statvfs("/dev/shm").f_bavail == 0
print(sum(len(result) == 8 << 20 for result in fast_map(bytes, [8 << 20] * 20)), "results")
