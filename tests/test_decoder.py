"""The codec apart from all else: whole payloads, and damaged ones, which are an error at the worst.

A pickle that is handed to pickle does what it says; so none that was damaged gets there.
"""

import pickle
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markers import time_limit
from support import SLOWNESS, pattern
from values import nested, same

thorough = settings(deadline=None, max_examples=300 // SLOWNESS)
pytestmark = time_limit(120)  # the first tests also wait for the build

WAYS = [
    {},
    {"owned": True},
    {"may_rerun": True},
    {"owned": True, "may_rerun": True},
    {"is_inline": True},
]
ways = st.sampled_from(WAYS)


# Whole payloads


def fresh(value):
    """A copy that nobody else refers to, so that the codec need not keep track of aliases."""
    return pickle.loads(pickle.dumps(value))


def test_any_value_comes_out_as_it_went_in(codec):
    @thorough
    @given(nested, st.sampled_from(WAYS[:4]))
    def survives(value, way):
        tag, payload = codec.encode(fresh(value))
        assert same(codec.decode(tag, payload, pickle.loads, **way), value)

    survives()


NATIVE = [
    *(None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, -(2**200), 1.5, -0.0, 1 - 2j),
    *("", "ascii", "\x80", "\xff", "\u0100", "\uffff", "\U00010000", "\U0010ffff\u00e9", "\ud800"),
    *("\U0010ffff\U000f0000", b"", b"bytes", pattern(100_000), pattern(100_000).decode("latin-1")),
    *((), [], {}, (1, (2.5, ("three", b"4", None, True))), ["\u0100", "x\u0100y", "\U0001f642"]),
    *({"key": [1], 2: {"inner": ()}, (1, 2): 1j}, [[[[[[[[0]]]]]]]]),
]


@pytest.mark.parametrize("value", NATIVE, ids=lambda value: ascii(value)[:30])
def test_these_have_a_format_of_their_own(codec, value):
    tag, payload = codec.encode(fresh(value))
    assert same(codec.decode(tag, payload, None), value)


@pytest.mark.parametrize("way", WAYS[:4], ids=str)
@pytest.mark.parametrize("size", [0, 100, 65_000, 300_000])
def test_buffers_arrive_writable_if_they_were(codec, size, way):
    buffers = [bytearray(pattern(size)), b"read-only" + pattern(size)]
    tag, payload = codec.encode([pickle.PickleBuffer(buffer) for buffer in buffers])
    results = codec.decode(tag, payload, pickle.loads, **way)
    assert [bytes(result) for result in results] == buffers
    assert [memoryview(result).readonly for result in results] == [False, True]


# Damaged payloads


def keep_pickle(pickle, *, buffers=()):
    """In the place of pickle.loads: goes over all bytes, and keeps the buffers alive."""
    return [bytes(pickle), *map(bytes, buffers), buffers]


def assert_sound(value):
    """Each string is as if Python had made it from its characters."""
    if isinstance(value, str):
        again = "".join(map(chr, map(ord, value)))
        assert value == again
        assert value.isascii() == again.isascii()
    elif isinstance(value, dict):
        assert_sound(list(value.items()))
    elif isinstance(value, (list, tuple)):
        for element in value:
            assert_sound(element)


def decode_if_possible(codec, tag, payload, way):
    """The value, or None after an error that may be; a key that has no hash is a TypeError."""
    try:
        return codec.decode(tag, payload, keep_pickle, **way)
    except (ValueError, TypeError):
        return None


def assert_harmless(codec, tag, payload, way):
    """A value, or the payload's own error, for no more memory than the payload explains."""
    tracemalloc.start()
    value = decode_if_possible(codec, tag, payload, way)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_sound(value)
    assert peak < 100 * len(payload) + 100_000


EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x10FFFF, 0x110000, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
numbers = st.one_of(
    st.integers(0, 255).map(lambda n: struct.pack("<B", n)),
    st.sampled_from([n for n in EDGES if n < 2**32]).map(lambda n: struct.pack("<I", n)),
    st.sampled_from(EDGES).map(lambda n: struct.pack("<Q", n)),
)


@st.composite
def damaged(draw, payload):
    """The payload with bytes overwritten, inserted, repeated or cut out here and there."""
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(payload)))
        end = draw(st.integers(begin, len(payload)))
        number = draw(numbers)
        overwritten = payload[:begin] + number + payload[begin + len(number) :]
        inserted = payload[:begin] + number + payload[begin:]
        repeated = payload[:end] + payload[begin:]
        cut = payload[:begin] + payload[end:]
        payload = draw(st.sampled_from([overwritten, inserted, repeated, cut, payload[:begin]]))
    return payload


buffers = st.lists(st.binary(max_size=100).map(pickle.PickleBuffer), min_size=1, max_size=4)


def test_a_damaged_payload_is_an_error_or_another_value(codec):
    @thorough
    @given(st.data(), st.one_of(nested, nested, buffers), ways)
    def is_harmless(data, value, way):
        tag, payload = codec.encode(value)
        assert_harmless(codec, tag, data.draw(damaged(payload)), way)

    is_harmless()


def test_any_bytes_are_an_error_or_a_value(codec):
    @thorough
    @given(st.integers(0, 255) | st.integers(0, 20), st.binary(max_size=300), ways)
    def is_harmless(tag, payload, way):
        assert_harmless(codec, tag, payload, way)

    is_harmless()


# What must not be left to chance: payloads that would do harm if they were believed


def assert_refused(codec, tag, payload, way=None):
    with pytest.raises(ValueError, match="damaged payload"):
        codec.decode(tag, payload, keep_pickle, **(way or {}))


def count(number):
    return struct.pack("<I", number)


@pytest.mark.parametrize(
    "value", [(), (1, ("b", b"c")), [1.5, None, 1j], {"k": ["\u0100"]}], ids=repr
)
def test_a_container_that_is_cut_or_goes_on_is_refused(codec, value):
    tag, payload = codec.encode(fresh(value))
    for size in range(len(payload)):
        assert_refused(codec, tag, payload[:size])
    assert_refused(codec, tag, payload + b"\0")


@pytest.mark.parametrize("inner", [(), [], {}, "ascii", "\u0100", b"bytes"], ids=repr)
def test_a_count_is_not_believed(codec, inner):
    tag, payload = codec.encode(fresh([inner]))
    inner_tag, none = payload[4:5], bytes(10)
    for number in (11, 2**31 - 1, 2**31, 2**32 - 1):
        assert_refused(codec, tag, count(1) + inner_tag + count(number) + none)
        assert_refused(codec, tag, count(number) + inner_tag + count(10) + none)


def test_nesting_goes_no_deeper_than_encoded(codec):
    tag, payload = codec.encode([[]])
    inner_tag = payload[4:5]
    for depth in (20, 100_000):
        assert_refused(codec, tag, (count(1) + inner_tag) * depth + count(0))


def test_kinds_that_nobody_writes_are_refused(codec):
    container, _ = codec.encode([])
    pickled, _ = codec.encode({1})
    last, _ = codec.encode(pickle.PickleBuffer(b""))
    for tag in range(last + 1, 256):
        assert_refused(codec, tag, bytes(30))
    for tag in range(pickled, 256):
        assert_refused(codec, container, count(1) + bytes([tag]) + bytes(30))


# A string of the kind that the characters claim to be, and the characters.
STRINGS = {
    "ASCII with a high bit": ("a", b"a\x80"),
    "ASCII with a high bit far behind": ("a", b"a" * 100 + b"\xff" + b"a" * 30),
    "Latin-1 that is ASCII": ("\xff", b"ab"),
    "Latin-1 of nothing": ("\xff", b""),
    "UCS-2 that is cut": ("\u0100", b"\0\1\0"),
    "UCS-2 that is Latin-1": ("\u0100", b"\xff\0"),
    "UCS-4 that is cut": ("\U00010000", b"\0\0\1\0\0"),
    "UCS-4 that is UCS-2": ("\U00010000", b"\xff\xff\0\0"),
    "UCS-4 just beyond Unicode": ("\U00010000", struct.pack("<2I", 0x110000, 0x10000)),
    "UCS-4 far beyond Unicode": ("\U00010000", b"\xff" * 40),
}


@pytest.mark.parametrize(("like", "characters"), STRINGS.values(), ids=STRINGS)
def test_a_string_that_python_would_not_make_is_refused(codec, like, characters):
    tag, _ = codec.encode(like)
    assert_refused(codec, tag, characters)
    container, payload = codec.encode([like])
    inner = payload[4:5] + count(len(characters)) + characters
    assert_refused(codec, container, count(1) + inner)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_complex_of_another_size_is_refused(codec, size):
    tag, _ = codec.encode(1j)
    assert_refused(codec, tag, bytes(size))


def with_buffers(*ranges, size=200, pickle_size=0, buffers=None):
    """A payload as codec_pickle.c lays it out: header, ranges, and zeros for all else."""
    number = len(ranges) if buffers is None else buffers
    header = struct.pack("<QQ", number, pickle_size)
    return (header + b"".join(struct.pack("<QQQ", *r, 0) for r in ranges)).ljust(size, b"\0")


HUGE = 2**64 - 1
BUFFERS = {
    "nothing": b"",
    "a header that is cut": bytes(15),
    "more ranges than there is room": with_buffers(buffers=9),
    "a number of ranges that overflows": with_buffers(buffers=HUGE // 24 + 1),
    "a huge number of ranges": with_buffers(buffers=HUGE),
    "a pickle beyond the end": with_buffers(pickle_size=185),
    "a huge pickle": with_buffers(pickle_size=HUGE),
    "a buffer beyond the end": with_buffers((201, 0)),
    "a buffer that crosses the end": with_buffers((100, 101)),
    "a buffer that wraps around": with_buffers((128, HUGE - 100)),
    "a buffer at a huge offset": with_buffers((HUGE, 1)),
    "a buffer over the header": with_buffers((0, 10)),
    "a buffer over its range": with_buffers((39, 10)),
    "a buffer over the pickle": with_buffers((128, 10), pickle_size=100),
    "buffers that overlap": with_buffers((128, 10), (137, 10)),
    "buffers out of order": with_buffers((150, 10), (100, 10)),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("payload", BUFFERS.values(), ids=BUFFERS)
def test_buffers_that_are_not_apart_within_the_payload_are_refused(codec, payload, way):
    tag, _ = codec.encode(pickle.PickleBuffer(b""))
    assert_refused(codec, tag, payload, way)


def test_a_slot_has_no_room_for_buffers(codec):
    tag, _ = codec.encode(pickle.PickleBuffer(b""))
    sound = with_buffers(size=40)
    assert codec.decode(tag, sound, keep_pickle) == [b"", ()]
    assert_refused(codec, tag, sound, {"is_inline": True})


def test_one_buffer_many_times_takes_no_memory(codec):
    tag, _ = codec.encode(pickle.PickleBuffer(b""))
    payload = with_buffers(*[(24_016, 36_000)] * 1000, size=60_016)
    assert_harmless(codec, tag, payload, {"owned": True})
