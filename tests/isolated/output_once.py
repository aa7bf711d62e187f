"""Print in the parent and in workers, never flushing. Argument: "plain", "nested" or "closed"."""

import sys

from fast_map import fast_map


def say(index):
    print(f"item {index}\n", end="")  # in one piece, for other threads print too
    if sys.argv[1] == "nested":
        list(fast_map(lambda inner: print("inner", index, inner), range(2)))


print("before")
# Nested in one thread: CPython cannot fork safely beside a thread that is flushing stdout.
it = fast_map(say, range(10), threads_limit=1 if sys.argv[1] == "nested" else None)
if sys.argv[1] == "closed":
    next(it)
    it.close()
else:
    list(it)
print("after")
