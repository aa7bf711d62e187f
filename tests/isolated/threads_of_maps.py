"""Maps that feed each other, in a process with no other thread: any warning is an error."""

import warnings

from fast_map import fast_map

warnings.simplefilter("error")


def square(number):
    return number * number


def identity(value):
    return value


for _ in range(20):
    first = fast_map(identity, iter(range(5)))
    second = fast_map(square, first)
    print(list(fast_map(identity, second)))
