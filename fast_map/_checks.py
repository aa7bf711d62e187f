"""Checks of arguments: each returns the value as the extension takes it, or says what is wrong.

Messages begin with the argument's name.
"""

import operator
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from ._coroutines import is_coroutine_function


def check_fn(fn: Callable[..., Any]) -> None:
    if not callable(fn):
        is_called = isinstance(fn, (Awaitable, AsyncIterator))
        hint = ": pass the function itself, without calling it" if is_called else ""
        raise TypeError(f"fast_map() argument 1 must be callable, not {_kind(fn)}{hint}")


def check_limit(name: str, value: int | None) -> int:
    """An int of at least 1, or None, which becomes 0."""
    return 0 if value is None else check_int(name, value, 1, " or None")


def check_procs(value: int | None) -> int:
    """An int of at least 0, or None, which becomes -1."""
    return -1 if value is None else check_int("procs_limit", value, 0, " or None")


def check_local(
    coroutines: bool, task_timeout: float | None, max_tasks_per_child: int | None, start_method: str
) -> None:
    """Refuse what threads of this process can't do."""
    if coroutines:
        raise ValueError(
            "procs_limit=0 runs fn in threads of this process, but a coroutine function runs in a "
            "worker's event loop: give a procs_limit of at least 1"
        )
    refused = {
        "task_timeout": (task_timeout, ", for a thread can't be ended"),
        "max_tasks_per_child": (max_tasks_per_child, ""),
        "start_method": (None if start_method == "fork" else start_method, ""),
    }
    for name, (value, why) in refused.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} needs worker processes{why}: leave it out, or give a "
                "procs_limit of at least 1 instead of 0"
            )


def check_int(name: str, value: int, least: int, also: str = "") -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int{also}, not {_kind(value)}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int{also}, not {_kind(value)}") from None
    if not least <= number <= sys.maxsize:
        raise ValueError(f"{name} must be from {least} to {sys.maxsize}{also}, not {number}")
    return number


def check_total(total: int | None, estimate: int | None) -> int | None:
    """The two names of one option."""
    if total is not None and estimate is not None:
        raise TypeError("total and tasks_count_estimate are the same: give one of them")
    if total is not None:
        return check_int("total", total, 0, " or None")
    if estimate is not None:
        return check_int("tasks_count_estimate", estimate, 0, " or None")
    return None


def check_seconds(name: str, value: float | None) -> float:
    """A number of more than 0, or None, which becomes 0."""
    if value is None:
        return 0.0
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    try:
        seconds = float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds or None, not {_kind(value)}") from None
    except OverflowError:
        raise ValueError(f"{name} must be at most {sys.float_info.max} seconds or None") from None
    if not seconds > 0:
        raise ValueError(f"{name} must be more than 0 seconds or None, not {value!r}")
    return seconds


def check_bool(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_kind(value)}")
    return value


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}")
    return value


def check_callable(name: str, value: Callable[..., object] | None) -> Callable[..., object] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, not {_kind(value)}")
    return value


def check_initializer(
    value: Callable[..., object] | None, coroutines: bool
) -> Callable[..., object] | None:
    """Only the event loop of a coroutine function's workers can await an initializer."""
    check_callable("initializer", value)
    if value is not None and not coroutines and is_coroutine_function(value):
        raise TypeError(
            "initializer must not be a coroutine function unless fn is one: there is no event loop "
            "to await it"
        )
    return value


def check_arguments(name: str, value: Iterable[Any]) -> tuple[Any, ...]:
    """Positional arguments; a single string would be taken apart, which nobody means."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a tuple of arguments, not {value!r}; write ({value!r},)")
    try:
        return tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be a tuple of arguments, not {_kind(value)}") from None


def check_keywords(name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping or None, not {_kind(value)}")
    keywords = dict(value)
    for key in keywords:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have str as keys, not {key!r}")
    return keywords


def check_star(star: bool | None, kwstar: bool, inputs: int) -> int:
    """How an item becomes arguments, as enum fm_star of the extension."""
    if star is not None and not isinstance(star, bool):
        raise TypeError(f"star must be True, False or None, not {_kind(star)}")
    check_bool("kwstar", kwstar)
    if inputs > 1 and star is not False:
        raise ValueError(f"star={star} needs items from one iterable, not from {inputs}")
    if inputs > 1 and kwstar:
        raise ValueError(f"kwstar=True needs items from one iterable, not from {inputs}")
    return {False: 0, True: 1, None: 2}[star]


def _kind(value: object) -> str:
    """The name of its type, with the module's where a bare "bool", say, would not tell."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return repr(module + kind.__qualname__)
