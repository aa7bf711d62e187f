"""Start maps over and over until somebody kills this process."""

import time

from fast_map import fast_map

print("ready", flush=True)
while True:
    fast_map(time.sleep, [600] * 4).close()
