"""Hold a map until somebody kills this process. Argument: what the map is doing."""

import sys
import time

import busy_maps

it = busy_maps.start(sys.argv[1])
time.sleep(600)
