"""A script whose workers come from a fork server. Argument: what it does wrong, or what happens."""

import decimal
import os
import signal
import sys
import threading
import time

from worker_processes import kill_fork_server

from fast_map import fast_map

how = sys.argv[1]


if how == "sets the precision":
    decimal.getcontext().prec = 3


def square(number):
    return number * number


def divide(number):
    time.sleep(0.005)
    return str(1 / decimal.Decimal(number))


def start(numbers):
    return fast_map(square, numbers, start_method="forkserver")


def interrupt_soon():
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()


if __name__ == "__mp_main__" and how == "slow import":
    time.sleep(600)

if how == "unguarded":
    print(list(start(range(3))))

if __name__ == "__main__":
    if how in ("guarded", "server killed"):
        print(list(start(range(3))))
    if how == "server killed":
        kill_fork_server()
        print(list(start(range(3))))
    elif how == "sets the precision":
        print(sorted({*fast_map(divide, [3] * 100, start_method="forkserver")}))
    elif how == "slow import":
        try:
            interrupt_soon()
            start(range(3))
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
    elif how == "killed":
        running = start(range(10**6))
        next(running)
        os.kill(os.getpid(), signal.SIGKILL)
