"""Call fast_map 500 times in many ways; print what this process holds before and after."""

import itertools
import json

from support import Footprint, drain, identity, mappings, resident_bytes, wait_until

from fast_map import fast_map


def finish_a_list():
    assert len(list(fast_map(identity, list(range(20))))) == 20


def finish_a_generator():
    assert len(list(fast_map(identity, iter(range(20)), threads_limit=5))) == 20


def close_an_endless_one():
    it = fast_map(identity, itertools.count())
    assert next(it) == 0
    it.close()


def drop_one_with_large_results():
    assert len(next(fast_map(bytes, [1 << 20] * 5))) == 1 << 20


def fail():
    results, error = drain(fast_map(lambda value: 1 // value, iter([1, 0, 1])))
    assert results == [1]
    assert type(error) is ZeroDivisionError


WAYS = [finish_a_list, finish_a_generator, close_an_endless_one, drop_one_with_large_results, fail]


def call(times):
    for way in itertools.islice(itertools.cycle(WAYS), times):
        way()


def held(before):
    wait_until(lambda: Footprint.now() == before, timeout=2)
    children, descriptors, threads, shared = Footprint.now()
    return {
        "children": len(children),
        "descriptors": sorted(descriptors.items()),
        "threads": threads,
        "shared mappings": shared,
        "mappings": len(mappings()),
        "resident": resident_bytes(),
    }


start = Footprint.now()
call(50)
report = [held(start)]
call(500)
report.append(held(start))
print(json.dumps(report))
