"""Values of all kinds, for tests of what becomes of them on their way."""

import collections
import struct

from hypothesis import strategies as st

# Equality that notices what == does not: types, the sign of zero, NaN, the order of a dict


def bits(number):
    return struct.pack("<d", number)


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return bits(one) == bits(other)
    if isinstance(one, complex):
        return bits(one.real) == bits(other.real) and bits(one.imag) == bits(other.imag)
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (set, frozenset)):
        return one == other and {*map(type, one)} == {*map(type, other)}
    if isinstance(one, Plain):
        return same(vars(one), vars(other))
    return one == other


# An object with nothing but attributes


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)


# Strategies

integers = st.one_of(
    st.integers(),
    st.integers(-(2**300), 2**300),
    st.builds(lambda power, step: 2**power + step, st.integers(0, 300), st.integers(-2, 2)),
)
text = st.one_of(
    st.text(),
    st.text(st.characters(max_codepoint=255)),
    st.text(st.characters(max_codepoint=0xFFFF)),
    st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])),
)
hashable = st.one_of(
    st.none(), st.booleans(), integers, st.floats(allow_nan=False), text, st.binary()
)
scalars = st.one_of(hashable, st.floats(), st.complex_numbers())
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(hashable, inner, max_size=6),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
        st.dictionaries(st.text("abcxyzäß_", min_size=1, max_size=3), inner, max_size=4).map(
            lambda attributes: Plain(**attributes)
        ),
    ),
    max_leaves=30,
)
