"""End while a map is alive. Arguments: what the map is doing, how this process ends."""

import atexit
import os
import sys
import threading

import busy_maps

state, how = sys.argv[1:]
it = busy_maps.start(state)

if how == "cycle":
    holder = [it]
    holder.append(holder)
    del it, holder
elif how == "daemon thread":
    inside = threading.Event()

    def consume():
        inside.set()
        list(it)

    threading.Thread(target=consume, daemon=True).start()
    inside.wait()
elif how == "closed at exit":
    atexit.register(it.close)
elif how == "sys.exit":
    for _ in it:
        sys.exit(5)
elif how == "os._exit":
    for _ in it:
        os._exit(6)
elif how == "exception":
    raise LookupError("at the end")
