"""Plain instances have a format of their own, and come out as if they had been pickled."""

import abc
import copyreg
import enum
import gc
import pickle
import sys
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from markers import time_limit
from support import drain, identity
from values import Plain, same

from fast_map import fast_map

pytestmark = time_limit(120)  # the first tests also wait for the build


class Child(Plain):
    """Of a plain base."""


class Weak(Plain):
    def __getitem__(self, key):
        return vars(self)[key]

    def __setattr__(self, name, value):
        raise AttributeError("read-only")


@dataclass
class Record:
    number: int
    name: str = "naïve"
    parts: list = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    number: int


PLAIN = [
    Plain(),
    Plain(x=1, y=2.5, _hidden="ä"),
    Child(x=[1, {"key": (2,)}], y={}),
    Weak(x=b"bytes", y=2**60),
    Record(3, "three", [1, 2]),
    Frozen(4),
    Plain(inner=Plain(inner=Child(z=[]))),
    [Plain(x=1), Plain(x=2)],
    (Record(1), {"key": Record(2)}),
]


class HasGetstate(Plain):
    def __getstate__(self):
        return {"was": vars(self).copy()}


class HasSetstate(Plain):
    def __setstate__(self, state):
        vars(self).update(state, restored=True)


class HasReduce(Plain):
    def __reduce__(self):
        return Plain, ()


class HasReduceEx(Plain):
    def __reduce_ex__(self, protocol):
        return Plain, ()


class HasNewargs(Plain):
    def __new__(cls, *values, **attributes):
        made = super().__new__(cls)
        made.made_of = values
        return made

    def __getnewargs__(self):
        return 1, 2


class HasNew(Plain):
    def __new__(cls, **attributes):
        made = super().__new__(cls)
        made.made = True
        return made


class HasSlots(Plain):
    __slots__ = ("slot",)


class HasOnlySlots:
    __slots__ = ("slot",)

    def __init__(self, slot=1):
        self.slot = slot

    def __eq__(self, other):
        return self.slot == other.slot


class HasGetattr(Plain):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return 5


class HasGetattribute(Plain):
    def __getattribute__(self, name):
        return object.__getattribute__(self, name)


class HasDict(Plain):
    def __init__(self):
        self.x = 1

    @property
    def __dict__(self):
        return {"other": 2}


class HasMetaclass(Plain, metaclass=abc.ABCMeta):
    pass


class IsRegistered(Plain):
    pass


copyreg.pickle(IsRegistered, lambda instance: (Plain, ()))


class Outer:
    class Inner(Plain):
        pass


class Number(int):
    pass


class Colour(enum.Enum):
    RED = 1


Pair = namedtuple("Pair", "left right")

shared = [1]
cyclic = Plain()
cyclic.itself = cyclic
reduced = Plain(x=1)
reduced.__reduce_ex__ = lambda protocol: (Child, ())

OTHERS = [
    *(HasGetstate(x=1), HasSetstate(x=1), HasReduce(x=1), HasReduceEx(x=1), HasNewargs(x=1)),
    *(HasNew(x=1), HasSlots(x=1), HasOnlySlots(), HasGetattr(x=1), HasGetattribute(x=1), HasDict()),
    *(HasMetaclass(x=1), IsRegistered(x=1), Outer.Inner(x=1), Number(3), Colour.RED, Pair(1, 2)),
    *(Plain(ä=1), Plain(**{"x" * 70: 1}), Plain(x=shared, y=shared), Plain(x={1, 2}), Path("/")),
    reduced,
]
by_type = {"ids": lambda value: type(value).__name__}


def through_pickle(value):
    return pickle.loads(pickle.dumps(value, protocol=5))


@pytest.mark.parametrize("value", PLAIN[:6], **by_type)
def test_it_is_no_pickle(codec, value):
    tag, payload = codec.encode(value)
    assert tag == codec.encode(Plain())[0]
    assert same(vars(codec.decode(tag, payload, None)), vars(value))


@pytest.mark.parametrize("value", OTHERS, **by_type)
def test_what_has_a_say_in_its_pickling_is_pickled(codec, value):
    assert codec.encode(value)[0] == codec.encode({1})[0]


@pytest.mark.parametrize("value", [*PLAIN, *OTHERS], **by_type)
@pytest.mark.parametrize(("kind", "ways"), [(list, 1), (iter, 2)], ids=["list", "iterator"])
def test_it_comes_out_as_from_pickle(kind, ways, value):
    (result,) = fast_map(identity, kind([value]))
    expected = value
    for _ in range(ways):
        expected = through_pickle(expected)
    assert type(result) is type(expected)
    assert pickle.dumps(result) == pickle.dumps(expected) or result == expected


def test_what_is_shared_within_an_item_stays_shared():
    (result,) = fast_map(identity, [Plain(x=shared, y=shared)])
    assert result.x is result.y
    (result,) = fast_map(identity, [cyclic])
    assert result.itself is result
    one = Plain(x=1)
    (result,) = fast_map(identity, [[one, one]])
    assert result[0] is result[1]


def test_attributes_are_names_as_python_has_them():
    (result,) = fast_map(identity, [Plain(some_name=1)])
    assert all(name is sys.intern(name) for name in vars(result))


def test_a_class_that_changes_is_looked_at_again(codec):
    class Changing(Plain):
        pass

    Changing.__qualname__ = "Changing"
    globals()["Changing"] = Changing
    plain, pickled = codec.encode(Plain())[0], codec.encode({1})[0]
    try:
        assert codec.encode(Changing(x=1))[0] == plain
        Changing.__reduce__ = lambda self: (Plain, ())
        assert codec.encode(Changing(x=1))[0] == pickled
        del Changing.__reduce__
        assert codec.encode(Changing(x=1))[0] == plain
        Changing.__bases__ = (HasSetstate,)
        assert codec.encode(Changing(x=1))[0] == pickled
        Changing.__bases__ = (Plain,)
        copyreg.pickle(Changing, lambda instance: (Plain, ()))
        assert codec.encode(Changing(x=1))[0] == pickled
        del copyreg.dispatch_table[Changing]
        assert codec.encode(Changing(x=1))[0] == plain
        globals()["Changing"] = Child
        with pytest.raises(pickle.PicklingError):
            codec.encode(Changing(x=1))
    finally:
        del globals()["Changing"]


def test_classes_that_come_and_go_are_not_taken_for_each_other():
    def make(number):
        base = HasSetstate if number % 2 else Plain
        made = type("Passing", (base,), {"__module__": __name__})
        globals()["Passing"] = made
        return made(number=number)

    try:
        for number in range(40):
            (result,) = fast_map(identity, iter([make(number)]), procs_limit=1)
            expected = {"number": number, **({"restored": True} if number % 2 else {})}
            assert vars(result) == expected
            gc.collect()
    finally:
        del globals()["Passing"]


def test_a_class_that_became_less_plain_here_has_its_say():
    class Late(Plain):
        pass

    Late.__qualname__ = "Late"
    globals()["Late"] = Late
    try:
        results = fast_map(lambda number: Late(number=number), range(3), procs_limit=1)
        assert vars(next(results)) == {"number": 0}
        Late.__setstate__ = lambda self, state: vars(self).update(state, late=True)
        assert vars(next(results)) == {"number": 1, "late": True}
        del globals()["Late"]
        result, error = drain(results)
        assert result == []
        assert type(error) is pickle.UnpicklingError
        assert "Late" in str(error)
    finally:
        globals().pop("Late", None)


def test_its_module_is_imported_where_it_is_needed(tmp_path, monkeypatch):
    (tmp_path / "only_in_workers.py").write_text("class Thing:\n    x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def make(number):
        import only_in_workers

        thing = only_in_workers.Thing()
        thing.number = number
        return thing

    try:
        things = list(fast_map(make, range(3)))
        assert [(type(thing).__name__, vars(thing)) for thing in things] == [
            ("Thing", {"number": number}) for number in range(3)
        ]
    finally:
        sys.modules.pop("only_in_workers", None)


def test_neither_classes_nor_names_gather_references(codec):
    value = Record(1, "one", [Plain(x=1)])
    value.parts = [Plain(x=1)]

    def travel():
        tag, payload = codec.encode(value)
        return codec.decode(tag, payload, None)

    travel()
    gc.collect()
    names = [Record, Plain, Record.__qualname__, "number"]
    before = [sys.getrefcount(name) for name in names]
    for _ in range(1000):
        travel()
    gc.collect()
    after = [sys.getrefcount(name) for name in names]
    assert all(now - then < 100 for now, then in zip(after, before, strict=True))
