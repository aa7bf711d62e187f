"""Fork while a map is alive, and look at it from both sides. Argument: what the child does."""

import gc
import os
import sys

from fast_map import fast_map


def gives_a_result(it):
    try:
        next(it)
    except Exception:
        return False
    return True


it = fast_map(abs, (-number for number in range(20_000)), procs_limit=2)
first = [next(it) for _ in range(10)]
reading, writing = os.pipe()
child = os.fork()
if not child:
    os.close(writing)
    action = sys.argv[1]
    if action == "lingers":
        os.read(reading, 1)
        os._exit(0)
    if action == "looks":
        os._exit(gives_a_result(it))
    if action == "closes":
        it.close()
    del it
    gc.collect()
    if action == "crashes":
        os.kill(os.getpid(), 9)
    sys.exit(0)

os.close(reading)
if sys.argv[1] != "lingers":
    print("child", os.waitpid(child, 0)[1])
print("complete", first + list(it) == list(range(20_000)))
if sys.argv[1] == "lingers":
    os.close(writing)
    print("child", os.waitpid(child, 0)[1])
