"""The object behaves as Python's own generators do; the same tests are run on one of those."""

import collections.abc
import copy
import gc
import pickle
import threading
import time
import weakref

import pytest
from support import Gate, identity, leaves_nothing

from fast_map import FastMap, fast_map


def python_generator(number):
    for value in range(number):  # noqa: UP028 - range has no send() to delegate to
        yield value


def mapped_list(number):
    return fast_map(identity, list(range(number)))


def mapped_generator(number):
    return fast_map(identity, python_generator(number))


@pytest.fixture(params=[python_generator, mapped_list, mapped_generator])
def make(request):
    """Python's generator is tried by the same tests: it shows that they ask for the right thing."""
    return request.param


# As every generator


def test_it_is_registered_as_a_generator(make):
    it = make(3)
    assert isinstance(it, collections.abc.Generator)
    assert isinstance(it, collections.abc.Iterator)
    assert iter(it) is it
    assert list(it) == [0, 1, 2]


def test_an_exhausted_one_stays_exhausted(make):
    it = make(2)
    assert list(it) == [0, 1]
    for _ in range(3):
        assert next(it, "end") == "end"
        assert list(it) == []


def test_the_end_carries_no_value(make):
    it = make(0)
    with pytest.raises(StopIteration) as caught:
        next(it)
    assert caught.value.value is None


def test_send_none_starts_it(make):
    it = make(3)
    assert it.send(None) == 0
    assert list(it) == [1, 2]


@pytest.mark.parametrize("value", [0, False, "text", [1]])
def test_a_value_cannot_be_sent_before_the_first_result(make, value):
    it = make(3)
    with pytest.raises(TypeError, match="just-started"):
        it.send(value)
    assert list(it) == [0, 1, 2]


def test_a_value_sent_later_is_ignored(make):
    it = make(4)
    assert next(it) == 0
    assert [it.send(value) for value in ("x", None, 5)] == [1, 2, 3]
    with pytest.raises(StopIteration):
        it.send("after the end")


def test_send_takes_exactly_one_value(make):
    it = make(1)
    with pytest.raises(TypeError):
        it.send()
    with pytest.raises(TypeError):
        it.send(None, None)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(
    ("thrown", "expected"),
    [
        (ValueError("mine"), ValueError),
        (ValueError, ValueError),
        (KeyboardInterrupt, KeyboardInterrupt),
        (GeneratorExit, GeneratorExit),
    ],
    ids=repr,
)
def test_throw_raises_and_finishes(make, started, thrown, expected):
    it = make(5)
    if started:
        assert next(it) == 0
    with pytest.raises(expected) as caught:
        it.throw(thrown)
    if isinstance(thrown, BaseException):
        assert caught.value is thrown
    assert next(it, "end") == "end"


def test_throw_on_a_finished_one_raises_what_was_thrown(make):
    it = make(1)
    assert list(it) == [0]
    for _ in range(2):
        with pytest.raises(LookupError, match="late"):
            it.throw(LookupError("late"))


@pytest.mark.parametrize("thrown", [None, 5, "text", int, ...], ids=repr)
def test_what_is_no_exception_cannot_be_thrown(make, thrown):
    it = make(5)
    assert next(it) == 0
    with pytest.raises(TypeError, match="exception"):
        it.throw(thrown)
    it.close()


@pytest.mark.filterwarnings("ignore:the .*signature of throw:DeprecationWarning")
def test_throw_in_its_older_form(make):
    it = make(5)
    with pytest.raises(ValueError, match="text"):
        it.throw(ValueError, "text")
    it = make(5)
    with pytest.raises(ValueError, match="instance"):
        it.throw(ValueError, ValueError("instance"), None)


@pytest.mark.parametrize("taken", [0, 2, 5])
def test_close_finishes_and_may_be_repeated(make, taken):
    it = make(5)
    assert [next(it) for _ in range(taken)] == list(range(taken))
    for _ in range(3):
        assert it.close() is None
    assert next(it, "end") == "end"
    with pytest.raises(StopIteration):
        it.send(None)


def test_a_generator_that_delegates_to_it(make):
    def outer():
        return (yield from make(4))

    it = outer()
    assert next(it) == 0
    assert it.send("ignored") == 1
    with pytest.raises(LookupError, match="thrown in"):
        it.throw(LookupError("thrown in"))
    assert list(outer()) == [0, 1, 2, 3]


def test_a_weak_reference_does_not_keep_it(make):
    it = make(5)
    reference = weakref.ref(it)
    assert reference() is it
    del it
    gc.collect()
    assert reference() is None


def test_it_cannot_be_pickled_or_copied(make):
    it = make(5)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(it)
    assert list(it) == list(range(5))


@pytest.mark.parametrize("number", [0, 3])
def test_it_is_true_even_when_empty(make, number):
    it = make(number)
    assert bool(it) is True
    assert len(list(it)) == number
    assert bool(it) is True


def test_throw_is_given_the_caller_as_its_traceback(make):
    it = make(5)
    with pytest.raises(ValueError, match="mine") as caught:
        it.throw(ValueError("mine"))
    assert caught.traceback[0].name == "test_throw_is_given_the_caller_as_its_traceback"


# Beyond a generator


def test_it_is_a_fast_map():
    it = fast_map(identity, range(3))
    assert type(it) is FastMap
    assert list(it) == [0, 1, 2]


def test_the_class_is_not_called_directly():
    with pytest.raises(TypeError):
        FastMap()


def test_only_one_thread_advances_it_at_a_time():
    gate = Gate()
    it = fast_map(gate.hold, [1, 2])
    outcomes = set()

    def advance():
        try:
            outcomes.add(next(it))
        except ValueError as error:
            outcomes.add(str(error))
            gate.open()  # only now can the other one get its result

    threads = [threading.Thread(target=advance) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {1, "generator already executing"}
    assert list(it) == [2]


def test_threads_may_take_turns():
    it = fast_map(identity, range(100))
    taken = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: taken.extend(next(it) for _ in range(20)))
        thread.start()
        thread.join()
    assert taken == list(range(100))


@pytest.mark.parametrize("make", [mapped_list, mapped_generator])
@pytest.mark.parametrize("taken", [0, 1, 1000])
def test_with_closes_it(make, taken):
    with leaves_nothing():
        with make(1000) as it:
            assert isinstance(it, FastMap)
            assert [next(it) for _ in range(taken)] == list(range(taken))
        assert next(it, "end") == "end"


def test_with_lets_exceptions_pass():
    with pytest.raises(LookupError, match="inside"), fast_map(identity, range(1000)) as it:
        raise LookupError("inside")
    assert next(it, "end") == "end"


def test_close_does_not_wait_for_its_items():
    with leaves_nothing():
        it = fast_map(time.sleep, [0, *[600] * 20])
        assert next(it) is None
        it.close()
