"""End the main thread while another one consumes a map. Argument: whose thread that is.

It says "complete" when it has had, as far as it knows, all results.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from fast_map import fast_map


def nap(index):
    time.sleep(0.02)
    return index


def consume(number, begun):
    results = []
    for result in fast_map(nap, iter(range(number)), threads_limit=2):
        results.append(result)
        begun.set()
    print("complete", len(results))


begun = threading.Event()
if sys.argv[1] == "thread":
    threading.Thread(target=consume, args=(50, begun)).start()
elif sys.argv[1] == "daemon":
    threading.Thread(target=consume, args=(100_000, begun), daemon=True).start()
else:
    ThreadPoolExecutor(1).submit(consume, 50, begun)
begun.wait()
