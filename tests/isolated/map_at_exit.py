"""Use a map when this process has come to its end. Argument: which map, and when."""

import atexit
import builtins
import itertools
import sys
import time

from fast_map import fast_map


def nap(index):
    time.sleep(0.01)
    return index


def stay_unfinished(index):
    time.sleep(600 if index else 0)


def consume_begun():
    print(len(list(begun)))


def consume_new():
    print(len(list(fast_map(nap, range(20)))))


def leave_one_alive():
    it = fast_map(nap, itertools.count())
    print(next(it))
    cycle = [it]
    cycle.append(cycle)


class Finalized:
    """Among the builtins it is kept until the interpreter takes itself apart."""

    def __init__(self, action):
        self.action = action
        builtins.kept = self

    def __del__(self):
        try:
            self.action()
        except RuntimeError as error:
            print(error)


which = sys.argv[1]
if which == "begun, before the handler":
    begun = fast_map(nap, range(50))
    atexit.register(consume_begun)
elif which == "begun, after the handler":
    atexit.register(consume_begun)
    begun = fast_map(stay_unfinished, range(50))
elif which == "new, in a handler":
    atexit.register(consume_new)
elif which == "left alive by a handler":
    atexit.register(leave_one_alive)
elif which == "begun, in a finalizer":
    begun = fast_map(stay_unfinished, range(50))
    Finalized(lambda begun=begun: print(len(list(begun))))
elif which == "new, in a finalizer":
    Finalized(lambda fast_map=fast_map: print(len(list(fast_map(abs, range(20))))))
