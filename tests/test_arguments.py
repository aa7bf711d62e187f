"""What is passed is checked at the call: what is refused and how, what is accepted."""

import functools
import inspect
import operator
import sys
import threading

import pytest
from support import identity, leaves_nothing

from fast_map import fast_map

LEAST = {
    "threads_limit": 1,
    "procs_limit": 0,
    "buffersize": 1,
    "buffer_bytes": 1,
    "chunksize": 1,
    "max_tasks_per_child": 1,
}
LIMITS = list(LEAST)


class Unsuitable:
    """Neither callable nor iterable nor a number; its name must show up in the message."""

    def __repr__(self):
        """Without an address: processes that share the tests must name them alike."""
        return "Unsuitable()"


class Index:
    """An int only through __index__, as NumPy's integers are."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


# Refused


@pytest.mark.parametrize("fn", [None, 42, "len", [len], Unsuitable()], ids=repr)
def test_fn_that_is_not_callable_is_refused(fn):
    with pytest.raises(TypeError, match="callable") as caught:
        fast_map(fn, [1])
    assert type(fn).__name__ in str(caught.value)


def test_a_call_of_a_coroutine_function_is_no_fn():
    async def fetch(url):
        return url

    called = fetch(1)
    with pytest.raises(TypeError, match="'coroutine': pass the function itself, without calling"):
        fast_map(called, [1])
    called.close()


def test_a_call_without_fn_is_refused():
    with pytest.raises(TypeError, match=r"fast_map|fn"):
        fast_map()


def test_a_call_without_an_iterable_is_refused():
    with pytest.raises(TypeError, match="iterable"):
        fast_map(len)


@pytest.mark.parametrize("bad", [None, 42, 2.5, len, Unsuitable()], ids=repr)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_argument_that_is_not_iterable_is_refused(bad, place):
    iterables = [[1, 2], (3, 4), iter("ab")]
    iterables[place] = bad
    with pytest.raises(TypeError, match="iterable") as caught:
        fast_map(print, *iterables)
    assert type(bad).__name__ in str(caught.value)


async def asynchronous():
    yield 1


async def later():
    return [1]


def generate():
    yield 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (asynchronous, r"'async_generator' .* \[item async for item in \.\.\.\]"),
        (lambda: generate, "'function' .* call the generator function"),
        (later, "'coroutine' .* await it first"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"procs_limit": 0}, {"start_method": "forkserver"}])
def test_an_input_that_is_nearly_iterable_is_refused_with_the_remedy(make, words, options):
    bad = make()
    with leaves_nothing(timeout=0), pytest.raises(TypeError, match=f"must be iterable.*{words}"):
        fast_map(pow, [1, 2], bad, **options)
    if inspect.iscoroutine(bad):
        bad.close()


def test_a_class_is_not_mistaken_for_its_iterable_instances():
    with pytest.raises(TypeError, match="iterable"):
        fast_map(identity, list)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "value", ["least", -1, -(2**31), -(2**63) - 1, sys.maxsize + 1, 2**64, 10**30]
)
def test_a_limit_out_of_range_is_refused(name, value):
    value = LEAST[name] - 1 if value == "least" else value
    with pytest.raises(ValueError, match=name) as caught:
        fast_map(identity, [1], **{name: value})
    assert str(value) in str(caught.value)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("below", [1, 5])
def test_an_int_like_limit_out_of_range_is_refused(name, below):
    value = LEAST[name] - below
    with pytest.raises(ValueError, match=name) as caught:
        fast_map(identity, [1], **{name: Index(value)})
    assert str(value) in str(caught.value)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [True, False, 2.0, "2", b"2", [2], 2j, Unsuitable()], ids=repr)
def test_a_limit_that_is_no_int_is_refused(name, value):
    with pytest.raises(TypeError, match=name) as caught:
        fast_map(identity, [1], **{name: value})
    message = str(caught.value)
    assert type(value).__name__ in message or repr(value) in message


OPTIONS = [
    name
    for name, parameter in inspect.signature(fast_map).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
]

# Values and the options that take them.
TAKEN_BY = [
    (Unsuitable(), ()),
    (-1, ()),
    (float("nan"), ()),
    (2 + 3j, ()),
    (10**30, ("task_timeout",)),
    ("text", ("progress",)),
    (True, ("star", "kwstar", "ordered", "return_exceptions", "progress")),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for value, takers in TAKEN_BY for name in OPTIONS if name not in takers],
)
def test_every_option_refuses_by_its_name_what_it_does_not_take(name, value):
    with leaves_nothing(timeout=0), pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
        fast_map(identity, [1], **{name: value})


def test_the_type_of_a_value_is_named_so_that_it_is_understood():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match=r"ordered must be True or False, not 'numpy\.bool_?'"):
        fast_map(identity, [1], ordered=numpy.True_)
    with pytest.raises(TypeError, match="buffersize must be an int or None, not 'bool'"):
        fast_map(identity, [1], buffersize=True)


@pytest.mark.parametrize(
    "options",
    [
        {"chunksize": 1000, "buffersize": 2},
        {"chunksize": 1000, "ordered": False, "buffersize": 1},
        {"procs_limit": 5, "threads_limit": 1},
        {"initargs": (1, 2)},
        {"total": 3},
        {"ordered": False, "return_exceptions": True, "retries": 1, "task_timeout": 60},
        {"ordered": False, "max_tasks_per_child": 1, "chunksize": 7},
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", [list, iter])
def test_options_that_bound_each_other_are_no_contradiction(options, kind):
    """The lowest of two bounds holds, as everywhere."""
    results = list(fast_map(identity, kind(range(20)), **options))
    assert (results if options.get("ordered", True) else sorted(results)) == list(range(20))


@pytest.mark.parametrize(
    "make", [dict.fromkeys, set, "".join, frozenset], ids=["dict", "set", "str", "frozenset"]
)
def test_any_iterable_is_an_input_as_for_map(make):
    values = make(["a", "b", "c"])
    assert list(fast_map(identity, values)) == list(map(identity, values))


def test_an_error_inside_index_of_a_limit_passes_through():
    class Broken:
        def __index__(self):
            raise LookupError("no index today")

    with pytest.raises(LookupError, match="no index today"):
        fast_map(identity, [1], threads_limit=Broken())


@pytest.mark.parametrize("name", ["thread_limit", "chunks", "iterable", "timeout", "Ünïcode"])
def test_an_unknown_option_is_refused_in_pythons_words(name):
    with pytest.raises(TypeError, match=r"unexpected keyword|invalid keyword") as e:
        fast_map(identity, [1], **{name: 1})
    assert f"'{name}'" in str(e.value)
    assert "fast_map" in str(e.value)


def test_fn_cannot_be_passed_by_name():
    with pytest.raises(TypeError, match=r"fn|argument"):
        fast_map(fn=identity)
    with pytest.raises(TypeError, match="'fn'"):
        fast_map(identity, [1], fn=identity)


def test_a_refused_call_starts_nothing_and_takes_nothing_from_its_input():
    source = iter(range(3))
    with leaves_nothing(timeout=0):
        for refused in (
            {"threads_limit": 0},
            {"buffersize": "1"},
            {"procs_limit": True},
            {"unknown": 1},
        ):
            with pytest.raises((TypeError, ValueError)):
                fast_map(identity, source, **refused)
    assert list(source) == [0, 1, 2]


def test_an_error_of_iter_is_raised_at_the_call():
    class Refuses:
        def __iter__(self):
            raise LookupError("no iterator today")

    with leaves_nothing(), pytest.raises(LookupError, match="no iterator today"):
        fast_map(print, [1, 2], Refuses())


def test_an_iter_that_gives_no_iterator_is_refused_at_the_call():
    class Wrong:
        def __iter__(self):
            return [1, 2, 3]

    with pytest.raises(TypeError, match="iterator"):
        fast_map(identity, Wrong())


# Accepted


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [None, 1, 2, 3, Index(2)])
def test_a_sound_limit_is_accepted(name, value):
    assert list(fast_map(abs, range(-20, 0), **{name: value})) == list(range(20, 0, -1))


@pytest.mark.parametrize("name", ["threads_limit", "buffersize"])
def test_the_largest_index_is_accepted(name):
    """A limit is an upper bound, so that a huge one means no more than "no bound"."""
    assert list(fast_map(abs, iter([-1, -2]), **{name: sys.maxsize})) == [1, 2]


@pytest.mark.parametrize("name", LIMITS)
def test_numpy_integers_are_accepted(name):
    numpy = pytest.importorskip("numpy")
    for kind in (numpy.int8, numpy.uint16, numpy.int64):
        assert list(fast_map(abs, [-1, -2], **{name: kind(2)})) == [1, 2]


def test_all_limits_together():
    it = fast_map(abs, iter(range(-9, 0)), threads_limit=3, procs_limit=2, buffersize=4)
    assert list(it) == list(range(9, 0, -1))


# Kinds of fn


class Adder:
    def __init__(self, amount):
        self.amount = amount
        self.lock = threading.Lock()  # so that neither it nor its methods can be pickled

    def __call__(self, value):
        return value + self.amount

    def add(self, value):
        return value + self.amount

    @classmethod
    def add_one(cls, value):
        return value + 1

    @staticmethod
    def add_two(value):
        return value + 2


def closure_over(amount):
    def add(value):
        return value + amount

    return add


CALLABLES = {
    "lambda": (lambda value: value + 3, 3),
    "closure": (closure_over(4), 4),
    "partial": (functools.partial(operator.add, 5), 5),
    "partial of a lambda": (functools.partial(lambda a, b: a + b, 6), 6),
    "bound method": (Adder(7).add, 7),
    "class method": (Adder.add_one, 1),
    "static method": (Adder.add_two, 2),
    "callable instance": (Adder(8), 8),
    "method wrapper": ((9).__add__, 9),
    "cached": (functools.lru_cache(closure_over(10)), 10),
    "builtin": (abs, 0),
    "class": (int, 0),
}


@pytest.mark.parametrize(("fn", "amount"), CALLABLES.values(), ids=CALLABLES.keys())
@pytest.mark.parametrize("kind", [list, iter])
def test_every_kind_of_callable_works(fn, amount, kind):
    assert list(fast_map(fn, kind([10, 20, 30]))) == [10 + amount, 20 + amount, 30 + amount]


def test_fn_sees_the_variables_of_the_moment_of_the_call():
    factor = 2
    it = fast_map(lambda value: value * factor, range(5), buffersize=1)
    factor = 1000
    assert list(it) == [0, 2, 4, 6, 8]
