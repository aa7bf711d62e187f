"""Iterate until SIGTERM comes. Arguments: what the map is doing, "default" or "handler"."""

import signal
import sys

import busy_maps

if sys.argv[2] == "handler":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))

for _ in busy_maps.start(sys.argv[1]):
    pass
