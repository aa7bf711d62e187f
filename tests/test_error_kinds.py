"""Exceptions of every make arrive as they were raised: state, text, what they were raised from."""

import builtins
import sys

import pytest
from support import drain

from fast_map import RemoteTraceback, fast_map

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


def error_of(value):
    """What comes out when an fn raises value."""

    def fail(index):
        raise value

    _, error = drain(fast_map(fail, [0]))
    return error


class NeedsTwo(Exception):
    """The way of pickle fails: args has one value, __init__ wants two."""

    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right


class Formats(KeyError):
    """The way of pickle doubles the text."""

    def __init__(self, name):
        super().__init__(f"no {name}")


class DecodesOwn(UnicodeDecodeError):
    """Some of its state lies in C."""

    def __init__(self, data):
        super().__init__("ascii", data, 0, 1, "own")


class Slotted(Exception):
    """Some of its state comes back by its __init__ alone."""

    __slots__ = ("code",)

    def __init__(self, code):
        super().__init__(code)
        self.code = code


INITS = [NeedsTwo("salt", "pepper"), Formats("bread"), DecodesOwn(b"\xff"), Slotted(3)]


@pytest.mark.parametrize("raised", INITS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a group"])
def test_an_exception_with_an_init_of_its_own_arrives_as_it_was(raised, grouped):
    error = error_of(ExceptionGroup("group", [raised]) if grouped else raised)
    if grouped:
        (error,) = error.exceptions
    assert type(error) is type(raised)
    assert (error.args, str(error)) == (raised.args, str(raised))
    assert vars(error).items() >= vars(raised).items()
    assert getattr(error, "code", None) == getattr(raised, "code", None)


def built_in_exceptions():
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type)]
    return sorted(
        (kind for kind in kinds if issubclass(kind, BaseException)), key=lambda kind: kind.__name__
    )


def example(kind):
    """An exception of that class, with arguments that it takes."""
    if issubclass(kind, UnicodeError) and kind is not UnicodeError:
        text = "\xff" if kind is not UnicodeDecodeError else b"\xff"
        coding = () if kind is UnicodeTranslateError else ("ascii",)
        return kind(*coding, text, 0, 1, "reason")
    if issubclass(kind, BaseExceptionGroup):
        return kind("group", [ValueError(1)])
    if issubclass(kind, SyntaxError):
        return kind("message", ("file", 1, 2, "text"))
    return kind("first", "second")


def test_every_built_in_exception_arrives_as_itself():
    kinds = [kind for kind in built_in_exceptions() if kind is not StopIteration]

    def fail(kind):
        raise example(kind)

    errors = list(fast_map(fail, kinds, return_exceptions=True))
    for kind, error in zip(kinds, errors, strict=True):
        raised = example(kind)
        assert type(error) is type(raised)
        assert (str(error), repr(error.args)) == (str(raised), repr(raised.args))
        assert type(error.__cause__) is RemoteTraceback


def test_what_cannot_be_shown_of_an_item_does_not_hide_its_error():
    class ExitsWhenShown:
        def __repr__(self):
            sys.exit(5)

    def fail(value):
        raise LookupError("to be told")

    _, error = drain(fast_map(fail, [ExitsWhenShown()]))
    assert (type(error), error.args) == (LookupError, ("to be told",))


@pytest.mark.parametrize(
    ("suppressed", "told"), [(True, False), (False, True)], ids=["from None", "context"]
)
def test_the_remote_traceback_has_the_context_unless_that_is_suppressed(suppressed, told):
    def fail(index):
        try:
            raise KeyError("while handling this")
        except KeyError:
            if suppressed:
                raise ValueError("second") from None
            raise ValueError("second")  # noqa: B904 - the context is what this is about

    _, error = drain(fast_map(fail, [0]))
    assert ("while handling this" in str(error.__cause__)) is told
    assert "second" in str(error.__cause__)
