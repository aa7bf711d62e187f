"""How an item becomes a call: star, kwstar, args, kwargs."""

import collections
import types

import pytest
from support import drain, leaves_nothing

from fast_map import fast_map


def seen(*args, **kwargs):
    return args, kwargs


def table(star, kwstar):
    """Items, and the positional and keyword arguments that each brings along."""
    return {
        (False, False): [(1, (1,), {}), ((2, 3), ((2, 3),), {}), (None, (None,), {})],
        (True, False): [
            ((1, 2), (1, 2), {}),
            ([3], (3,), {}),
            ("ab", ("a", "b"), {}),
            ((), (), {}),
        ],
        (None, False): [(1, (), {}), ((2, 3), (), {}), ({"x": 1}, (), {})],
        (None, True): [
            ({"x": 1}, (), {"x": 1}),
            ({}, (), {}),
            ({"x": 2, "y": 3}, (), {"x": 2, "y": 3}),
        ],
        (False, True): [((1, {"x": 1}), (1,), {"x": 1}), ([(2, 3), {}], ((2, 3),), {})],
        (True, True): [(((1, 2), {"x": 1}), (1, 2), {"x": 1}), (([], {"y": 2}), (), {"y": 2})],
    }[star, kwstar]


WORKERS = [
    {"procs_limit": 0},
    {"procs_limit": 1},
    {"procs_limit": 2},
    {"start_method": "forkserver"},
]


@pytest.mark.parametrize("workers", WORKERS, ids=repr)
@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("kwargs", [None, {}, {"x": 0, "z": 9}], ids=repr)
@pytest.mark.parametrize("args", [(), (7,), [7, 8]], ids=repr)
@pytest.mark.parametrize("kwstar", [False, True])
@pytest.mark.parametrize("star", [False, True, None])
def test_every_row_of_the_table(star, kwstar, args, kwargs, feed, workers):
    rows = table(star, kwstar)
    mapped = fast_map(
        seen,
        feed([item for item, _, _ in rows]),
        star=star,
        kwstar=kwstar,
        args=args,
        kwargs=kwargs,
        **workers,
    )
    expected = [((*own, *args), {**(kwargs or {}), **keywords}) for _, own, keywords in rows]
    assert list(mapped) == expected


def test_several_iterables_bring_an_argument_each():
    mapped = fast_map(seen, [1, 2], iter("ab"), args=(0,), kwargs={"x": 1})
    assert list(mapped) == [((1, "a", 0), {"x": 1}), ((2, "b", 0), {"x": 1})]


def test_keywords_may_be_any_mapping():
    items = [collections.OrderedDict(x=1), types.MappingProxyType({"y": 2})]
    assert list(fast_map(seen, items, star=None, kwstar=True)) == [((), {"x": 1}), ((), {"y": 2})]


def test_what_fn_does_to_its_keywords_is_gone_with_the_call():
    def spoil(**kwargs):
        kwargs["x"] = kwargs["y"] = "spoilt"

    kwargs = {"x": 1}
    mapped = fast_map(
        lambda item, **keywords: (spoil(**keywords), keywords), range(3), kwargs=kwargs
    )
    assert list(mapped) == [(None, {"x": 1})] * 3


@pytest.mark.parametrize(
    ("item", "options", "kind", "words"),
    [
        (5, {"star": True}, TypeError, "star=True .* iterable, not 'int'"),
        (5, {"kwstar": True}, TypeError, "pair .*, not 'int'"),
        ((1, {}, 3), {"kwstar": True}, ValueError, "pair .* 3 elements"),
        ((), {"kwstar": True}, ValueError, "pair .* 0 elements"),
        ("ab", {"kwstar": True}, TypeError, "keywords must be a mapping, not 'str'"),
        ({"x": 1, "y": 2}, {"kwstar": True}, TypeError, "mapping, not 'str'"),
        (None, {"star": True}, TypeError, "star=True .* iterable, not 'NoneType'"),
        ((1, 2), {"kwstar": True}, TypeError, "keywords must be a mapping, not 'int'"),
        ((5, {}), {"star": True, "kwstar": True}, TypeError, "iterable, not 'int'"),
        ([1], {"star": None, "kwstar": True}, TypeError, "mapping, not 'list'"),
        ({1: 2}, {"star": None, "kwstar": True}, TypeError, "keywords must be strings"),
    ],
)
@pytest.mark.parametrize("feed", [list, iter], ids=["inherited", "fed"])
@pytest.mark.parametrize("workers", WORKERS, ids=repr)
def test_an_item_that_does_not_fit_fails_alone(item, options, kind, words, feed, workers):
    first = table(options.get("star", False), options.get("kwstar", False))[0][0]
    mapped = fast_map(
        seen, feed([first, item, first]), return_exceptions=True, **options, **workers
    )
    before, error, after = mapped
    assert before == after
    with pytest.raises(kind, match=words):
        raise error


def test_an_iterable_item_that_raises_passes_its_error_on():
    def values():
        yield 1
        raise LookupError("inside the item")

    results, error = drain(fast_map(seen, [(1,), values()], star=True))
    assert results == [((1,), {})]
    assert (type(error), str(error)) == (LookupError, "inside the item")


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"star": 1}, TypeError, "star must be True, False or None, not 'int'"),
        ({"star": "no"}, TypeError, "star must be"),
        ({"kwstar": None}, TypeError, "kwstar must be True or False"),
        ({"args": "ab"}, TypeError, r"args must be .* write \('ab',\)"),
        ({"args": 5}, TypeError, "args must be a tuple"),
        ({"kwargs": [("x", 1)]}, TypeError, "kwargs must be a mapping"),
        ({"kwargs": {1: 2}}, TypeError, "kwargs must have str as keys, not 1"),
        ({"initializer": 5}, TypeError, "initializer must be callable or None"),
        ({"initargs": "ab"}, TypeError, "initargs must be a tuple"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, kind, words):
    with leaves_nothing(timeout=0), pytest.raises(kind, match=words):
        fast_map(seen, [1], **options)


@pytest.mark.parametrize("options", [{"star": True}, {"star": None}, {"kwstar": True}], ids=repr)
def test_star_and_kwstar_need_one_iterable(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}=.* one iterable, not from 2"):
        fast_map(seen, [1], [2], **options)
