"""Coroutine functions that several tests call."""

import asyncio


async def identity(value):
    return value


async def nap_in_a_loop(seconds):
    await asyncio.sleep(seconds)
    return seconds


async def sleep_briefly(value):
    await asyncio.sleep(0.001 * (value % 5))
    return value


async def never_end(_):
    await asyncio.get_running_loop().create_future()
