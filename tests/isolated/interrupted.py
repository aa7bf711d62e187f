"""Iterate until Ctrl-C comes. Arguments: what the map is doing, "lets" it pass or "catches" it."""

import signal
import sys

import busy_maps

# A program in the background inherits that Ctrl-C is ignored; this one stands for one in front.
signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    it = busy_maps.start(sys.argv[1])
    for _ in it:
        pass
except KeyboardInterrupt:
    if sys.argv[2] == "lets":
        raise
    print("stopped")
