"""What the object offers beyond a generator: next(timeout), its length, a description of itself."""

import inspect
import operator
import pydoc
import re
import signal
import threading
import time

import pytest
from support import Gate, identity

import fast_map as package
from fast_map import FastMap, fast_map


@pytest.mark.parametrize("timeout", [0, 0.02, -1])
def test_next_gives_up_after_its_timeout_and_loses_nothing(timeout):
    gate = Gate()
    it = fast_map(gate.hold, range(3))
    for _ in range(5):
        with pytest.raises(TimeoutError):
            it.next(timeout)
    gate.open()
    assert [it.next(timeout=60) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopIteration):
        it.next(timeout=60)


@pytest.mark.parametrize("timeout", [None, 20, 20.5, 1e9])
def test_next_returns_as_soon_as_there_is_a_result(timeout):
    it = fast_map(identity, range(3))
    assert [it.next(timeout) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopIteration):
        it.next(timeout)


def test_next_without_arguments_is_that_of_the_protocol():
    it = fast_map(identity, range(2))
    assert [it.next(), next(it)] == [0, 1]


@pytest.mark.parametrize("timeout", ["1", [1], 1j, ...], ids=repr)
def test_a_timeout_that_is_no_number_is_refused(timeout):
    it = fast_map(identity, range(2))
    with pytest.raises(TypeError):
        it.next(timeout)
    assert list(it) == [0, 1]


def test_next_raises_the_error_of_its_item():
    it = fast_map(lambda value: 1 // value, [1, 0])
    assert it.next(timeout=20) == 1
    with pytest.raises(ZeroDivisionError):
        it.next(timeout=20)


def test_a_timeout_over_a_pausing_input_loses_nothing():
    go_on = threading.Event()

    def pausing():
        yield 0
        assert go_on.wait(20)
        yield 1

    it = fast_map(identity, pausing())
    assert it.next(timeout=20) == 0
    with pytest.raises(TimeoutError):
        it.next(timeout=0.02)
    go_on.set()
    assert it.next(timeout=20) == 1


# Signals while waiting


class Interrupted(Exception):
    pass


@pytest.fixture
def on_alarm():
    """Set the handler of SIGALRM and have it called soon."""

    def arm(handler):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.getsignal(signal.SIGALRM)
    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_raises_interrupts_the_wait(on_alarm):
    def interrupt(number, frame):
        raise Interrupted

    def interrupted(it):
        on_alarm(interrupt)
        next(it)

    it = fast_map(time.sleep, [600])
    with pytest.raises(Interrupted):
        interrupted(it)
    it.close()


def test_a_signal_handler_that_returns_does_not_disturb_the_wait(on_alarm):
    gate = Gate()

    def let_go(number, frame):
        gate.open()

    it = fast_map(gate.hold, [1])
    on_alarm(let_go)
    assert next(it) == 1


# Length


def test_the_length_is_known_for_sequences():
    assert len(fast_map(identity, range(10))) == 10
    assert len(fast_map(identity, [])) == 0
    assert len(fast_map(pow, [1, 2, 3], (1, 2), range(1, 50))) == 2


def test_the_length_of_other_inputs_is_unknown():
    for it in (fast_map(identity, iter([1, 2, 3])), fast_map(pow, [1, 2], iter([1, 2]))):
        with pytest.raises(TypeError):
            len(it)
        assert operator.length_hint(it, 7) == 7
        it.close()


def test_the_length_hint_is_what_remains():
    it = fast_map(identity, range(10))
    hints = [it.__length_hint__()]
    for _ in it:
        hints.append(it.__length_hint__())
    assert hints == list(range(10, -1, -1))


def test_the_length_hint_of_a_closed_one_is_zero():
    it = fast_map(identity, range(10))
    it.close()
    assert it.__length_hint__() == 0
    assert list(it) == []


# What it says of itself


def test_its_representation_is_its_own_at_any_time():
    it = fast_map(identity, range(2))
    for _ in range(3):
        assert "FastMap" in repr(it)
        assert repr(it) != object.__repr__(it)
        next(it, None)
    it.close()
    assert "FastMap" in repr(it)


def test_its_signature_can_be_inspected():
    parameters = inspect.signature(fast_map).parameters
    kinds = [(name, parameter.kind.name) for name, parameter in parameters.items()]
    assert kinds[:2] == [("fn", "POSITIONAL_ONLY"), ("iterables", "VAR_POSITIONAL")]
    assert {kind for _, kind in kinds[2:]} == {"KEYWORD_ONLY"}
    defaults = {name: parameters[name].default for name, _ in kinds[2:]}
    assert defaults["threads_limit"] is defaults["procs_limit"] is defaults["buffersize"] is None
    assert (defaults["retries"], defaults["return_exceptions"]) == (0, False)


def is_signature(line):
    """pydoc writes those on one line before Python 3.13, and named tuples do so themselves."""
    return re.match(r"[ |]*(async |Create new instance of )?\w+\(.*\)( -> .*)?$", line)


@pytest.mark.parametrize("name", package.__all__)
def test_help_fits_a_terminal(name):
    lines = pydoc.plain(pydoc.render_doc(getattr(package, name))).splitlines()
    lines += ["    " + line for line in package.__doc__.splitlines()]
    assert [line for line in lines if len(line) > 80 and not is_signature(line)] == []


@pytest.mark.parametrize("function", [fast_map, package.fast_map_async])
def test_help_has_every_option(function):
    described = re.findall(r"^ {4}\*{0,2}(\w+): ", inspect.getdoc(function), re.MULTILINE)
    assert set(inspect.signature(function).parameters) <= set(described)


@pytest.mark.parametrize("thing", [fast_map, FastMap])
def test_help_describes_it(thing):
    assert thing.__doc__
    assert thing.__module__ == "fast_map"
    assert thing.__name__ in pydoc.render_doc(thing)
