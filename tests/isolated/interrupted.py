"""Iterate until Ctrl-C comes. Arguments: what the map is doing, "lets" it pass or "catches" it."""

import sys

import busy_maps

it = busy_maps.start(sys.argv[1])
try:
    for _ in it:
        pass
except KeyboardInterrupt:
    if sys.argv[2] == "lets":
        raise
    print("stopped")
