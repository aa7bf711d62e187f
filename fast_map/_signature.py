"""What type checkers know of fast_map(): its overloads. Nothing here does anything at run time.

A new option is one line in Options and one in fast_map() itself; tests/test_typing.py compares the
two. How an item becomes arguments decides how much of fn can be checked: all of it for plain items,
only what it returns with star, kwstar, args or kwargs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, overload

if TYPE_CHECKING:
    # In the standard library's typing only since Python 3.11; type checkers bring this along.
    from typing_extensions import Unpack

    from ._core import FastMap

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
R = TypeVar("R")

StartMethod = Literal["fork", "forkserver"]


class Options(TypedDict, total=False):
    """The options that have no part in what fn takes and what is yielded."""

    ordered: bool
    threads_limit: int | None
    procs_limit: int | None
    buffersize: int | None
    buffer_bytes: int | None
    chunksize: int | None
    task_timeout: float | None
    retries: int
    initializer: Callable[..., object] | None
    initargs: Iterable[Any]
    max_tasks_per_child: int | None
    start_method: StartMethod


class OptionsAndKwargs(Options, total=False):
    kwargs: Mapping[str, Any] | None


class OptionsAndArgs(OptionsAndKwargs, total=False):
    args: Iterable[Any]


class OptionsAndKwstar(OptionsAndArgs, total=False):
    kwstar: bool


class Signature(Protocol):
    """fast_map() as it may be called.

    Each overload is there twice: return_exceptions=True adds exceptions to what is yielded. R is
    what fn returns or, if that is a coroutine, what it gives when awaited.
    """

    @overload
    def __call__(
        self,
        fn: Callable[[A], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        /,
        *,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        /,
        *,
        return_exceptions: bool,
        **options: Unpack[Options],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        b: Iterable[B],
        /,
        *,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        b: Iterable[B],
        /,
        *,
        return_exceptions: bool,
        **options: Unpack[Options],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        *,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        *,
        return_exceptions: bool,
        **options: Unpack[Options],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C, D], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        d: Iterable[D],
        /,
        *,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C, D], Coroutine[Any, Any, R] | R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        d: Iterable[D],
        /,
        *,
        return_exceptions: bool,
        **options: Unpack[Options],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        e: Iterable[Any],
        /,
        *more: Iterable[Any],
        return_exceptions: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        e: Iterable[Any],
        /,
        *more: Iterable[Any],
        return_exceptions: bool,
        **options: Unpack[Options],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *,
        star: bool | None,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[OptionsAndKwstar],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *,
        star: bool | None,
        return_exceptions: bool,
        **options: Unpack[OptionsAndKwstar],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *,
        kwstar: bool,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[OptionsAndArgs],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *,
        kwstar: bool,
        return_exceptions: bool,
        **options: Unpack[OptionsAndArgs],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        args: Iterable[Any],
        return_exceptions: Literal[False] = ...,
        **options: Unpack[OptionsAndKwargs],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        args: Iterable[Any],
        return_exceptions: bool,
        **options: Unpack[OptionsAndKwargs],
    ) -> FastMap[R | BaseException]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        kwargs: Mapping[str, Any] | None,
        return_exceptions: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> FastMap[R]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R] | R],
        a: Iterable[Any],
        /,
        *more: Iterable[Any],
        kwargs: Mapping[str, Any] | None,
        return_exceptions: bool,
        **options: Unpack[Options],
    ) -> FastMap[R | BaseException]: ...


def declared(function: Signature) -> Signature:
    """Give fast_map() its overloads; a type checker also sees that it takes what they say."""
    return function
