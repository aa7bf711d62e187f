"""Values on their way to a worker and back: equal, of the same type, sharing what they shared."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import back_only, both_ways
from values import hashable, integers, nested, same, scalars, text

from fast_map import fast_map

# Many values in each of a few examples, which are three maps each.
few = settings(deadline=None, max_examples=5)


def to_worker(values):
    """Compared inside the workers with what they have by inheritance."""
    return list(fast_map(lambda pair: same(pair[1], values[pair[0]]), enumerate(values)))


def assert_survive(values):
    assert to_worker(values) == [True] * len(values)
    for results in (both_ways(values), back_only(values)):
        for number, (result, value) in enumerate(zip(results, values, strict=True)):
            assert same(result, value), number


# What hypothesis finds


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(integers, id="int"),
        pytest.param(st.floats(), id="float"),
        pytest.param(st.complex_numbers(), id="complex"),
        pytest.param(text, id="str"),
        pytest.param(st.binary(max_size=400), id="bytes"),
        pytest.param(st.lists(scalars, max_size=12), id="list"),
        pytest.param(st.lists(scalars, max_size=12).map(tuple), id="tuple"),
        pytest.param(st.dictionaries(hashable, scalars, max_size=12), id="dict"),
        pytest.param(nested, id="nested"),
    ],
)
def test_any_value_survives(strategy):
    @few
    @given(st.lists(strategy, min_size=12, max_size=60))
    def survives(values):
        assert_survive(values)

    survives()


# What must not be left to chance


def test_singletons_are_themselves():
    values = [None, True, False, Ellipsis, NotImplemented, int, len, ValueError, fast_map]
    assert all(result is value for result, value in zip(both_ways(values), values, strict=True))
    assert all(result is value for result, value in zip(back_only(values), values, strict=True))


def test_integers_around_every_word_size():
    powers = [7, 8, 15, 16, 29, 30, 31, 32, 59, 60, 61, 62, 63, 64, 65, 90, 127, 128, 1000, 100_003]
    values = [sign * 2**power + step for power in powers for sign in (1, -1) for step in (-1, 0, 1)]
    assert_survive([0, 1, -1, *range(-300, 300), *values])


def test_floats_at_their_edges():
    payload = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_BEEF))[0]
    values = [0.0, -0.0, float("inf"), -float("inf"), float("nan"), payload, 5e-324, 1.8e308]
    assert_survive([*values, *(complex(a, b) for a in values for b in values)])


def test_strings_of_every_width_and_length():
    letters = ["a", "\0", "é", "ÿ", "Ā", "€", "\ud800", "\udfff", "\uffff", "\U0001f600"]
    lengths = [1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 100, 255, 256, 1000, 5000]
    values = [letter * length for letter in letters for length in lengths]
    assert_survive([*values, "mixed aé€\U0001f600\udc80", "".join(letters) * 50])


class Colour(enum.IntEnum):
    RED = 1


class Number(int):
    pass


class Real(float):
    pass


class Text(str):
    pass


class Raw(bytes):
    pass


class Items(list):
    pass


class Row(tuple):
    pass


class Table(dict):
    pass


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Record:
    name: str
    values: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right

    def __eq__(self, other):
        return (self.left, self.right) == (other.left, other.right)


@functools.total_ordering
class Reduced:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Reduced, (self.value,)

    def __eq__(self, other):
        return self.value == other.value

    def __lt__(self, other):
        return self.value < other.value


def test_subclasses_of_builtin_types_keep_their_type():
    values = [Number(5), Real(0.5), Text("t"), Raw(b"r"), Items([1]), Row((1, 2)), Table(a=1)]
    assert_survive([*values, Colour.RED, Point(1, Point(2, "z")), Text(), Number(2**90)])
    assert_survive([values, tuple(values), dict(enumerate(values)), [True, 1, 1.0, Number(1)]])


def test_attributes_of_a_subclass_of_a_builtin_type_survive():
    tagged = Items([1, 2])
    tagged.tag = "kept"
    for result in both_ways([tagged]) + back_only([tagged]):
        assert (result, result.tag) == ([1, 2], "kept")


def test_ones_of_different_types_stay_apart_inside_containers():
    assert_survive([[1, True, 1.0, 1 + 0j], (0, False, 0.0, -0.0), {1: True}, {True: 1}])


def test_user_objects_survive():
    record = Record("r", [Record("inner"), None])
    assert_survive([record, Frozen(3), Slotted(1, "two"), Reduced([1, 2]), [record, Frozen(4)]])


def test_objects_of_the_standard_library_survive():
    noon = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
    numbers = [decimal.Decimal("1.10"), fractions.Fraction(1, 3), noon, noon.date()]
    containers = [
        collections.OrderedDict(b=1, a=2),
        collections.Counter("hello"),
        collections.deque([1, 2], maxlen=3),
        collections.defaultdict(list, a=[1]),
        array.array("d", [1.5, -0.0]),
    ]
    others = [pathlib.Path("/a/b"), uuid.UUID(int=5), re.compile("a+"), range(3, 9, 2)]
    assert_survive([*numbers, *containers, *others])


def test_dicts_keep_their_order():
    keys = [f"key {(number * 7919) % 1000}" for number in range(1000)]
    assert_survive(
        [dict.fromkeys(keys[:length], length) for length in (0, 1, 2, 5, 8, 9, 50, 1000)]
    )


def test_containers_of_every_length_survive():
    lengths = [*range(40), 63, 64, 65, 255, 256, 257, 5000]
    assert_survive([list(range(length)) for length in lengths])
    assert_survive([tuple(map(str, range(length))) for length in lengths])


def nest(depth, wrap):
    value = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


def test_nested_containers_survive():
    wraps = [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: [1, (v, {"k": [v]})]]
    depths = [1, 2, 5, 8]
    assert_survive([nest(depth, wrap) for wrap in wraps for depth in depths])
    assert_survive([nest(100, wrap) for wrap in wraps[:3]])


# Aliasing


@pytest.mark.parametrize("make", [list, dict, set, bytearray, Items, lambda: Record("r")])
@pytest.mark.parametrize("wrap", [lambda v: [v, v], lambda v: (v, v), lambda v: {0: v, 1: v}])
def test_an_object_that_occurs_twice_in_an_item_is_one_object_there_too(make, wrap):
    items = [wrap(make()) for _ in range(20)]
    shared = list(fast_map(lambda pair: pair[0] is pair[1], iter(items)))
    assert shared == [True] * 20
    assert all(result[0] is result[1] for result in both_ways(items) + back_only(items))


def test_equal_objects_that_were_two_stay_two():
    for result in both_ways([[[], []]] * 5) + back_only([[[], []]] * 5):
        assert result == [[], []]
        assert result[0] is not result[1]


def test_an_object_that_contains_itself_survives():
    loop = [1]
    loop.append(loop)
    table = {}
    table["self"] = table
    for result in (both_ways([loop])[0], back_only([loop])[0]):
        assert result[0] == 1
        assert result[1] is result
    for result in (both_ways([table])[0], back_only([table])[0]):
        assert result["self"] is result


def test_items_share_nothing_with_each_other():
    item = [1]
    results = both_ways([item] * 100)
    assert len({id(result) for result in results}) == 100
    results[0].append(2)
    assert results[1:] == [[1]] * 99


def test_keys_that_come_again_are_the_same_objects():
    records = [{"number": i, "na\u00efve": 1, "x" * 40: 2} for i in range(200)]
    results = list(fast_map(lambda value: value, records))
    assert results == records
    assert len({id(key) for result in results for key in result if key == "number"}) == 1


@pytest.mark.parametrize("kind", [list, iter])
def test_more_keys_than_are_kept_stay_apart(kind):
    records = [{f"key {i % 500} {j}": j for j in range(5)} | {"": i} for i in range(2000)]
    assert list(fast_map(lambda value: value, kind(records))) == records
