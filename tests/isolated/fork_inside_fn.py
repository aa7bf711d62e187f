"""A thread of a map forks this process inside fn, and the child returns from there."""

import os
import warnings

from fast_map import fast_map

warnings.simplefilter("ignore", DeprecationWarning)
parent = os.getpid()
children = []


def fork(index):
    if index == 50:
        child = os.fork()
        if child:
            children.append(child)
    return index, os.getpid() == parent


results = []
for result in fast_map(fork, iter(range(1000)), procs_limit=0):
    results.append(result)
print("ends", os.waitpid(children[0], 0)[1])
print("complete", results == [(index, True) for index in range(1000)])
