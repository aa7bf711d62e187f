"""Work that takes a given time: steps of a loop, and how long one of them takes here."""

import time

MANY_STEPS = 20_000


def count_down(steps: int) -> int:
    """Without a range, so that even a few steps cost little more than the call."""
    while steps:
        steps -= 1
    return steps


def seconds_per_call(steps: int, calls: int) -> float:
    """What the builtin map takes for one call: the quickest of five attempts."""
    attempts = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in map(count_down, [steps] * calls):
            pass
        attempts.append((time.perf_counter() - began) / calls)
    return min(attempts)


class Calibration:
    """How many steps give a call of so many seconds."""

    def __init__(self) -> None:
        self.call = seconds_per_call(0, 100_000)
        self.step = (seconds_per_call(MANY_STEPS, 10) - self.call) / MANY_STEPS

    def steps_for(self, seconds: float) -> int:
        return max(0, round((seconds - self.call) / self.step))
