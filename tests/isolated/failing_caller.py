"""Fail in this process, which has maps running. Arguments: where, how, "list" or "iter".

Where is "argument encode" or "result decode", how the name of a signal or "os._exit".
"""

import os
import signal
import sys
import time

from support import Trap, die_of

from fast_map import fast_map

AT = 5
where, how, kind = sys.argv[1:]
step = where.split()[1]
trap = Trap(step, os._exit, 3) if how == "os._exit" else Trap(step, die_of, signal.Signals[how])


def stay(value):
    time.sleep(600)


def stay_behind_the_trap(index):
    if index > AT:
        time.sleep(600)
    return trap if index == AT else index


print("ready", flush=True)
if where == "argument encode":
    results = fast_map(stay, iter([0, 1, 2, 3, 4, trap]), retries=3)
else:
    indexes = range(50)
    inputs = indexes if kind == "list" else iter(indexes)
    results = fast_map(stay_behind_the_trap, inputs, retries=3)
for result in results:
    print(result, flush=True)
