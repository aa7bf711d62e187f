"""Results are those of map, in its order, and they stream: started early, bounded, never early."""

import itertools
import operator
import threading
import time

import pytest
from markers import measures_memory, time_limit
from support import (
    Gate,
    SharedInts,
    child_pids,
    drain,
    identity,
    leaves_nothing,
    resident_bytes,
    wait_until,
)

from fast_map import fast_map


def square(value):
    return value * value


def join(*values):
    return "-".join(map(str, values))


def generate(iterable):
    yield from iterable


class ByIndex:
    """Iterable only through __getitem__, as the oldest protocol has it."""

    def __getitem__(self, index):
        if index >= 50:
            raise IndexError(index)
        return index


class Backwards(list):
    """A list that iterates otherwise than by its indexes."""

    def __iter__(self):
        return reversed(list(super().__iter__()))


INPUTS = {
    "range": lambda: range(1000),
    "range with a step": lambda: range(1000, -1000, -7),
    "list": lambda: list(range(1000)),
    "tuple": lambda: tuple(range(1000)),
    "generator": lambda: generate(range(1000)),
    "iterator of a list": lambda: iter(list(range(1000))),
    "dict": lambda: dict.fromkeys(range(1000)),
    "bytes": lambda: bytes(range(256)),
    "sequence protocol": ByIndex,
    "list subclass": lambda: Backwards(range(1000)),
    "one item": lambda: [7],
    "one item from a generator": lambda: generate([7]),
    "empty list": list,
    "empty tuple": tuple,
    "empty range": lambda: range(0),
    "empty generator": lambda: generate(()),
}


@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS.keys())
def test_results_equal_those_of_map(make):
    assert list(fast_map(square, make())) == list(map(square, make()))


SEVERAL = {
    "two lists": lambda: ([1, 2, 3], [4, 5, 6]),
    "first is shorter": lambda: (range(5), range(100)),
    "last is shorter": lambda: (range(100), range(5)),
    "one is empty": lambda: (range(100), []),
    "list and generator": lambda: (list(range(50)), generate(range(40))),
    "generator and list": lambda: (generate(range(50)), list(range(40))),
    "infinite and tuple": lambda: (itertools.count(), ("a", "b", "c")),
    "three kinds": lambda: ("abcdef", range(4), generate([None, True, 2.5, (), []])),
    "the same iterator twice": lambda: itertools.repeat(iter(range(10)), 2),
}


@pytest.mark.parametrize("make", SEVERAL.values(), ids=SEVERAL.keys())
def test_several_iterables_end_with_the_shortest(make):
    assert list(fast_map(join, *make())) == list(map(join, *make()))


@pytest.mark.parametrize("kind", [identity, generate], ids=["range", "generator"])
def test_a_hundred_thousand_items_equal_those_of_map(kind):
    items = range(100_000)
    assert list(fast_map(square, kind(items))) == list(map(square, items))


@pytest.mark.parametrize("kind", [list, generate], ids=["list", "generator"])
def test_falsy_results_come_back(kind):
    items = [None, 0, False, "", [], 0.0, (), {}, b"", None, 1, None]
    results = list(fast_map(identity, kind(items)))
    assert results == items
    assert [type(result) for result in results] == [type(item) for item in items]


def test_all_results_may_be_none():
    assert list(fast_map(lambda item: None, range(5000))) == [None] * 5000


def test_an_item_that_takes_longer_is_not_overtaken():
    def finish_in_reverse(index):
        time.sleep((20 - index) * 0.005)
        return index

    assert list(fast_map(finish_in_reverse, range(20), threads_limit=20)) == list(range(20))


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_infinite_input_gives_its_first_results_and_leaves_nothing(threads):
    with leaves_nothing():
        endless = fast_map(square, itertools.count(), threads_limit=threads)
        assert list(itertools.islice(endless, 10)) == [i * i for i in range(10)]
        del endless


def test_work_starts_at_the_call_and_not_at_the_first_next():
    started = SharedInts(4)
    it = fast_map(lambda index: operator.setitem(started, index, 1), range(4))
    started.wait_for_number(4)
    assert list(it) == [None] * 4


@pytest.mark.parametrize("kind", [list, generate], ids=["list", "generator"])
def test_first_result_comes_while_the_last_item_still_runs(kind):
    gate = Gate()

    def last_waits(index):
        return gate.hold(index) if index == 99 else index

    it = fast_map(last_waits, kind(range(100)))
    assert next(it) == 0
    gate.open()
    assert list(it) == list(range(1, 100))


@pytest.mark.parametrize("number", [1, 2])
def test_a_single_result_arrives_while_the_input_pauses(number):
    """The lone result is delivered, not kept back until more of them make a batch."""
    more = threading.Event()

    def pausing():
        yield from range(number)
        assert more.wait(20)
        yield number

    it = fast_map(identity, pausing())
    assert [next(it) for _ in range(number)] == list(range(number))
    more.set()
    assert list(it) == [number]


def test_the_call_does_not_wait_for_its_input():
    go_on = threading.Event()

    def late():
        assert go_on.wait(20)
        yield from range(3)

    it = fast_map(identity, late())
    go_on.set()  # reached only if the call has returned without an item
    assert list(it) == [0, 1, 2]


class Counted:
    """An endless input that counts the items taken out of it."""

    def __init__(self, make_item=identity):
        self.taken = 0
        self.make_item = make_item

    def __iter__(self):
        return self

    def __next__(self):
        self.taken += 1
        return self.make_item(self.taken - 1)


def settled(number):
    """The value of number() once it has stopped changing for a while."""
    value = None
    while value != (value := number()):
        time.sleep(0.15)
    return value


@pytest.mark.parametrize("buffersize", [1, 2, 5, 1000])
def test_buffersize_bounds_how_far_the_input_is_read_ahead(buffersize):
    source = Counted()
    it = fast_map(identity, source, buffersize=buffersize)
    yielded = 0
    for steps in (0, 1, 6):
        for _ in range(steps):
            next(it)
        yielded += steps
        assert wait_until(lambda least=yielded + buffersize: source.taken >= least)
        # One more may be in the feeder's hand, waiting to be admitted.
        assert settled(lambda: source.taken) <= yielded + buffersize + 1


@pytest.mark.parametrize("buffersize", [1, 3, 100])
def test_buffersize_bounds_how_many_items_of_a_list_are_started(buffersize):
    started = SharedInts(1000)
    it = fast_map(
        lambda index: operator.setitem(started, index, 1), list(range(1000)), buffersize=buffersize
    )
    started.wait_for_number(buffersize)
    assert settled(started.number_set) == buffersize
    next(it)
    started.wait_for_number(buffersize + 1)
    assert settled(started.number_set) == buffersize + 1


def test_without_buffersize_the_input_is_still_not_read_without_bound():
    source = Counted()
    it = fast_map(identity, source)
    assert next(it) == 0
    assert settled(lambda: source.taken) < 1_000_000


@pytest.mark.parametrize("kind", [list, generate], ids=["list", "generator"])
@pytest.mark.parametrize("buffersize", [1, 2, 3, 7, 10_000, 1_000_000])
def test_every_buffersize_gives_the_same_results(kind, buffersize):
    items = range(2000)
    assert list(fast_map(square, kind(items), buffersize=buffersize)) == list(map(square, items))


def test_a_list_mutated_between_two_yields_arrives_as_it_was_at_each():
    def growing():
        item = []
        for number in range(2000):
            item.append(number)
            yield item
            if len(item) == 40:
                item.clear()

    assert list(fast_map(tuple, growing())) == list(map(tuple, growing()))


class Box:
    value = None


def test_an_object_mutated_between_two_yields_arrives_as_it_was_at_each():
    def refilled():
        box, table = Box(), {}
        for number in range(2000):
            box.value = table["value"] = number
            yield box, table

    results = list(fast_map(lambda item: (item[0].value, item[1]["value"]), refilled()))
    assert results == [(number, number) for number in range(2000)]


def test_a_list_changed_after_the_call_is_seen_as_it_was_at_the_call():
    items = list(range(300))
    it = fast_map(identity, items, buffersize=1)
    items[:] = ["changed"] * 500
    assert list(it) == list(range(300))


def test_an_emptied_list_still_gives_all_results():
    items = [str(number) for number in range(300)]
    it = fast_map(identity, items, buffersize=1)
    items.clear()
    assert list(it) == [str(number) for number in range(300)]


@pytest.mark.parametrize("stages", [2, 3])
def test_one_map_feeds_another(stages):
    with leaves_nothing():
        it = range(3000)
        for _ in range(stages):
            it = fast_map(lambda value: value + 1, it)
        assert list(it) == list(range(stages, 3000 + stages))
        del it


def test_an_abandoned_pipeline_ends_all_its_stages():
    with leaves_nothing():
        first = fast_map(square, itertools.count())
        second = fast_map(square, first)
        assert [next(second) for _ in range(5)] == [i**4 for i in range(5)]
        second.close()
        first.close()
        del first, second


def test_an_error_passes_through_a_pipeline_in_its_place():
    first = fast_map(lambda value: 10 // (5 - value), range(100))
    results, error = drain(fast_map(identity, first))
    assert results == [10 // (5 - value) for value in range(5)]
    assert isinstance(error, ZeroDivisionError)


@pytest.mark.slow
@time_limit(180)
@measures_memory
def test_a_slow_consumer_of_a_million_items_needs_flat_memory():
    """Everything buffered would be about 150 MB."""
    count, step = 1_000_000, 1000
    it = fast_map(identity, (f"{number:>100}" for number in range(count)))
    family = ["self", *child_pids()]
    sizes = []
    for number, result in enumerate(it):
        if number % step == 0:
            assert int(result) == number
            time.sleep(0.002)
            sizes.append([resident_bytes(pid) for pid in family])
    assert number == count - 1
    warm = sizes[len(sizes) // 10]
    for sample in sizes[len(sizes) // 10 : -1]:
        assert all(now - then < 32 << 20 for now, then in zip(sample, warm, strict=True))
